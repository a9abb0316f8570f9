"""Defines suite `artists`, which measures the erasure of painters' styles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.api.suite import DESTINATION, Evidence, Scores, Side, Suite
from benchmark.suites.scoring import make_metric, score_contents, score_pairs

if TYPE_CHECKING:
    from torch import Tensor


class Artists(Suite):
    """Measures the erasure of painters' styles, and the retention of other painters, similar painters and contents."""

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
        _score_csd_real(scores, evidence, targets)
        drift = make_metric("drift", names["features"])
        drift.update(own["features"][kept], evidence.base["features"][kept])
        scores.add("drift", drift, "kept", len(kept), len(kept), kept)
        if "oracle" in names:
            _score_styles(scores, evidence)
            score_contents(scores, evidence, {"content_target": ("targets",), "content_kept": ("kept", "neighbours")})
        return scores


def _score_csd_real(scores: Scores, evidence: Evidence, rows: list[int]) -> None:
    """Add `csd_real`: 100 x mean cosine similarity of a picture's style to real pictures by the prompted artist."""
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


def _score_styles(scores: Scores, evidence: Evidence) -> None:
    """Add the mean probability of the prompted artist's style per part, and the styles of the targets' pictures."""
    import torch

    styles, name = evidence.testbed.styles, evidence.testbed.networks["oracle"]
    count = len(styles)
    probabilities = evidence.own["oracle"][:, :count]
    prompted_styles = torch.tensor([styles.index(p.target) if p.target else 0 for p in evidence.prompts])
    scores.names["likeliest_style"] = [styles[k] for k in probabilities.argmax(1).tolist()]
    parts: dict[str, tuple[tuple[str, ...], Side]] = {
        "target_style": (("targets",), "targets"),
        "implicit_style": (("implicit",), "targets"),
        "probe_style": (("probes",), "targets"),
        "kept_style": (("kept", "neighbours"), "kept"),
        "neighbour_style": (("neighbours",), "kept"),
    }
    for cell, (named, side) in parts.items():
        everything = evidence.rows(*named)
        rows = _select_probes(evidence, everything, prompted_styles) if cell == "probe_style" else everything
        if not rows:
            continue
        metric = make_metric("oracle", name, count)
        metric.update(probabilities[rows], prompted_styles[rows])
        scores.add(cell, metric, side, len(rows), len(everything), rows)
    _score_destinations(scores, evidence, probabilities, prompted_styles)


def _score_destinations(scores: Scores, evidence: Evidence, probabilities: Tensor, prompted_styles: Tensor) -> None:
    """Add the distribution of styles over each target's pictures, and the score of the least erased target.

    Targets are scored separately, because a mean would hide that one target's style was replaced by another's.
    """
    styles, name = evidence.testbed.styles, evidence.testbed.networks["oracle"]
    worst: tuple[float, list[float]] = (-1.0, [])
    for target in evidence.concept.targets:
        rows = [row for row in evidence.rows("targets") if evidence.prompts[row].target == target]
        metric = make_metric("oracle", name, len(styles))
        metric.update(probabilities[rows], prompted_styles[rows])
        worst = max(worst, (float(metric.compute()), metric.per_image().double().tolist()))
        likeliest = probabilities[rows].argmax(1)
        for k, (style, share) in enumerate(zip(styles, metric.destinations().share.tolist(), strict=True)):
            hits = (likeliest == k).double().tolist()
            scores.put(f"{DESTINATION}{target}/{style}", share, len(rows), len(rows), "share", None, name, hits)
    value, values = worst
    scores.put("worst_target_style", value, len(values), len(values), "probability", False, name, values)


def _select_probes(evidence: Evidence, rows: list[int], prompted_styles: Tensor) -> list[int]:
    """Return the probes that are scored, by form (misspelling, phrasing, ...) and target.

    A form is scored for a target only if the base model shows the target's style in at least half of its pictures.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        prompt = evidence.prompts[row]
        groups.setdefault((prompt.form, prompt.target), []).append(row)
    answered_rows = []
    for group in groups.values():
        base_probability = evidence.base["oracle"][group, prompted_styles[group]]
        if float((base_probability > 0.5).float().mean()) >= 0.5:
            answered_rows += group
    return sorted(answered_rows)
