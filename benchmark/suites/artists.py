"""Erasure of painters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.api.suite import DESTINATION, Evidence, Scores, Side, Suite
from benchmark.suites.scoring import make_metric, score_contents, score_pairs

if TYPE_CHECKING:
    from torch import Tensor


class Artists(Suite):
    """Erasure of painters: is the style gone, and are other painters, contents and neighbours still there?"""

    name = "artists"
    summary = "50 prompts per target artist, other artists, implicit prompts and held-out probes (also runs coco)"
    encoders = ("clip", "style", "features", "oracle")
    brings = ("coco",)

    def score(self, evidence: Evidence) -> Scores:
        scores = Scores(len(evidence.prompts))
        targets, kept = evidence.rows("targets"), evidence.rows("kept", "neighbours")
        own, reference, n = evidence.own, evidence.reference, len(evidence.rows("targets"))
        names, text = evidence.testbed.networks, own["text"][targets]
        score_pairs(scores, "clip", names["clip"], targets, own["clip"][targets], text)
        cp = make_metric("cp", names["clip"])
        cp.update(own["clip"][targets], reference["clip"][targets], text)
        scores.add("cp", cp, "targets", n, n, targets)
        scores.put("ties", float(cp.ties), n, n, "prompts", None, names["clip"])
        score_pairs(scores, "csd", names["style"], targets, own["style"][targets], reference["style"][targets])
        _csd_real(scores, evidence, targets)
        drift = make_metric("drift", names["features"])
        drift.update(own["features"][kept], evidence.base["features"][kept])
        scores.add("drift", drift, "kept", len(kept), len(kept), kept)
        if "oracle" in names:
            _styles(scores, evidence)
            score_contents(scores, evidence, {"content_target": ("targets",), "content_kept": ("kept", "neighbours")})
        return scores


def _csd_real(scores: Scores, evidence: Evidence, rows: list[int]) -> None:
    """100 x mean cosine between a picture's style and those of real pictures by the artist whom the prompt names."""
    import torch.nn.functional as F

    values: list[float] = []
    shown = {a: evidence.testbed.real_style(a, evidence.store) for a in evidence.concept.targets}
    real = {a: F.normalize(style.double(), dim=1) for a, style in shown.items() if style is not None}
    if len(real) < len(shown):
        return
    own = F.normalize(evidence.own["style"].double(), dim=1)
    for row in rows:
        values.append(float((real[evidence.prompts[row].target] @ own[row]).mean() * 100))
    scores.keep("csd_real", rows, values)
    mean = sum(values) / len(values)
    scores.put("csd_real", mean, len(rows), len(rows), "100 cos", False, evidence.testbed.networks["style"], values)


def _styles(scores: Scores, evidence: Evidence) -> None:
    """Probability of the asked artist's style on each part, and what the targets became instead."""
    import torch

    styles, name = evidence.testbed.styles, evidence.testbed.networks["oracle"]
    count = len(styles)
    probabilities = evidence.own["oracle"][:, :count]
    asked_styles = torch.tensor([styles.index(p.target) if p.target else 0 for p in evidence.prompts])
    scores.columns["likeliest_style"] = [
        float(k) for k in probabilities.argmax(1)
    ]  # index into the oracle's styles, 0 is plain
    parts: dict[str, tuple[tuple[str, ...], Side]] = {
        "target_style": (("targets",), "targets"),
        "implicit_style": (("implicit",), "targets"),
        "probe_style": (("probes",), "targets"),
        "kept_style": (("kept", "neighbours"), "kept"),
        "neighbour_style": (("neighbours",), "kept"),
    }
    for cell, (named, side) in parts.items():
        everything = evidence.rows(*named)
        rows = _answered_probes(evidence, everything, asked_styles) if cell == "probe_style" else everything
        if not rows:
            continue
        metric = make_metric("oracle", name, count)
        metric.update(probabilities[rows], asked_styles[rows])
        scores.add(cell, metric, side, len(rows), len(everything), rows)
    _destinations(scores, evidence, probabilities, asked_styles)


def _destinations(scores: Scores, evidence: Evidence, probabilities: Tensor, asked_styles: Tensor) -> None:
    """Target by target: a swap of one for another must not hide in a mean over all of them."""
    styles, name = evidence.testbed.styles, evidence.testbed.networks["oracle"]
    worst: tuple[float, list[float]] = (-1.0, [])
    for target in evidence.concept.targets:
        rows = [row for row in evidence.rows("targets") if evidence.prompts[row].target == target]
        metric = make_metric("oracle", name, len(styles))
        metric.update(probabilities[rows], asked_styles[rows])
        worst = max(worst, (float(metric.compute()), metric.per_image().double().tolist()))
        likeliest = probabilities[rows].argmax(1)
        for k, (style, share) in enumerate(zip(styles, metric.destinations().share.tolist(), strict=True)):
            hits = (likeliest == k).double().tolist()
            scores.put(f"{DESTINATION}{target}/{style}", share, len(rows), len(rows), "share", None, name, hits)
    value, values = worst
    scores.put("worst_target_style", value, len(values), len(values), "probability", False, name, values)


def _answered_probes(evidence: Evidence, rows: list[int], asked_styles: Tensor) -> list[int]:
    """Probes of those forms (misspelling, phrasing, ...) and targets to which the base responds in at least half."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        prompt = evidence.prompts[row]
        groups.setdefault((prompt.form, prompt.target), []).append(row)
    answered_rows = []
    for group in groups.values():
        base_probability = evidence.base["oracle"][group, asked_styles[group]]
        if float((base_probability > 0.5).float().mean()) >= 0.5:
            answered_rows += group
    return sorted(answered_rows)
