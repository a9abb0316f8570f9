"""Suites: which prompts are asked, which networks look at the pictures, and which cells come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from benchmark import registry
from benchmark.columns import DESTINATION
from benchmark.records import Cell
from benchmark.stats import bootstrap_interval

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.store import Store
    from benchmark.testbeds.base import Testbed
    from metrics.base import FeatureMetric, ImageMetric
    from prompts.concepts import Concept, Kind
    from prompts.lists import Prompt

Side = Literal["targets", "kept"]


@dataclass(frozen=True)
class Evidence:
    """What a suite scores, row by row: features of three models, same prompts and seeds; "text" is of the prompts."""

    testbed: Testbed
    store: Store
    concept: Concept
    prompts: Sequence[Prompt]
    own: dict[str, Tensor]
    reference: dict[str, Tensor]
    base: dict[str, Tensor]

    def rows(self, *parts: str) -> list[int]:
        return [k for k, prompt in enumerate(self.prompts) if prompt.part in parts]


@dataclass
class Scores:
    """Cells for the record, and a value an image for each column of its parquet file."""

    count: int
    cells: dict[str, Cell] = field(default_factory=dict)
    columns: dict[str, list[float | None]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        metric: FeatureMetric,
        side: Side,
        n: int,
        of: int,
        rows: Sequence[int] = (),
        error: float | None = None,
    ) -> None:
        """Cell `name` from a metric that has seen its images; with `rows`, their values are kept one by one."""
        values: list[float] = []
        if rows:
            image_metric: Any = metric
            values = image_metric.per_image().double().tolist()
            self.keep(name, rows, values)
        self.put(
            name,
            float(metric.compute()),
            n,
            of,
            metric.unit,
            metric.higher_is_better_for(side),
            metric.back_end,
            values,
            error,
        )

    def keep(self, name: str, rows: Sequence[int], values: Sequence[float]) -> None:
        """A value an image, in column `name`."""
        column = self.columns.setdefault(name, [None] * self.count)
        for row, value in zip(rows, values, strict=True):
            column[row] = value

    def put(
        self,
        name: str,
        value: float,
        n: int,
        of: int,
        unit: str,
        better: bool | None,
        back_end: str,
        values: Sequence[float] = (),
        error: float | None = None,
        interval: tuple[float, float] | None = None,
    ) -> None:
        """A cell from figures; its interval as given, from the values an image, or from a standard error."""
        if interval is None:
            interval = bootstrap_interval(values) if error is None else (value - 1.96 * error, value + 1.96 * error)
        cell = Cell(value=value, n=n, of=of, unit=unit, higher_is_better=better, back_end=back_end, ci=interval)
        self.cells[name] = cell


class Suite(Protocol):
    name: ClassVar[str]
    summary: ClassVar[str]
    encoders: ClassVar[tuple[str, ...]]
    """Which of the testbed's networks look at the pictures."""
    brings: ClassVar[tuple[str, ...]]
    """Suites without which a table of this one would be half a table."""
    forgets: ClassVar[Kind]
    """The kind of concept that a method is to forget when the suite is asked for."""

    def score(self, evidence: Evidence) -> Scores: ...


class Artists:
    """Erasure of painters: is the style gone, and are other painters, contents and neighbours still there?"""

    name = "artists"
    summary = "50 prompts a target artist, kept artists, neighbours, implicit prompts and held-out probes (brings coco)"
    encoders = ("clip", "style", "features", "oracle")
    brings = ("coco",)
    forgets: ClassVar[Kind] = "style"

    def score(self, evidence: Evidence) -> Scores:
        scores = Scores(len(evidence.prompts))
        targets, kept = evidence.rows("targets"), evidence.rows("kept", "neighbours")
        own, reference, n = evidence.own, evidence.reference, len(evidence.rows("targets"))
        names, text = evidence.testbed.networks, own["text"][targets]
        _pairs(scores, "clip", names["clip"], targets, own["clip"][targets], text)
        cp = _metric("cp", names["clip"])
        cp.update(own["clip"][targets], reference["clip"][targets], text)
        scores.add("cp", cp, "targets", n, n, targets)
        scores.put("ties", float(cp.ties), n, n, "prompts", None, names["clip"])
        _pairs(scores, "csd", names["style"], targets, own["style"][targets], reference["style"][targets])
        _csd_real(scores, evidence, targets)
        drift = _metric("drift", names["features"])
        drift.update(own["features"][kept], evidence.base["features"][kept])
        scores.add("drift", drift, "kept", len(kept), len(kept), kept)
        if "oracle" in names:
            _styles(scores, evidence)
            _contents(scores, evidence, {"content_target": ("targets",), "content_kept": ("kept", "neighbours")})
        return scores


class Coco:
    """Retention: plain captions that have nothing to do with what is forgotten."""

    name = "coco"
    summary = "retention on plain captions: FID, KID, CLIP, content and drift (1,000 captions on mini)"
    encoders = ("clip", "features", "oracle")
    brings = ()
    forgets: ClassVar[Kind] = "style"

    def score(self, evidence: Evidence) -> Scores:
        scores, own, names = Scores(len(evidence.prompts)), evidence.own, evidence.testbed.networks
        n = len(evidence.prompts)
        rows = list(range(n))
        _pairs(scores, "clip", names["clip"], rows, own["clip"], own["text"], "kept")
        real = evidence.testbed.real(evidence.store)
        for name in ("fid", "kid"):
            metric = _metric(name, names["features"], real.shape[1])
            metric.update(real, real=True)
            metric.update(own["features"], real=False)
            error = metric.standard_error(*([own["features"]] if name == "fid" else []))
            scores.add(name, metric, "kept", n, n, error=float(error))
        drift = _metric("drift", names["features"])
        drift.update(own["features"], evidence.base["features"])
        scores.add("drift", drift, "kept", n, n, rows)
        if "oracle" in names:
            _contents(scores, evidence, {"content_plain": ("retention",)})
        return scores


def _metric(name: str, *arguments: Any) -> Any:
    """A metric that has all images in this one process: only the first process scores."""
    metric = registry.load("metrics", name)(*arguments)
    metric.distributed_available_fn = lambda: False
    return metric


def _pairs(
    scores: Scores,
    name: str,
    back_end: str,
    rows: list[int],
    left: Tensor,
    right: Tensor,
    side: Side = "targets",
) -> None:
    """Cell `name` of the metric of that name, which compares `left` with `right` row by row."""
    metric: ImageMetric = _metric(name, back_end)
    metric.update(left, right)
    scores.add(name, metric, side, len(rows), len(rows), rows)


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
    seen = evidence.own["oracle"][:, :count]
    asked = torch.tensor([styles.index(p.target) if p.target else 0 for p in evidence.prompts])
    scores.columns["likeliest_style"] = [float(k) for k in seen.argmax(1)]  # index into the oracle's styles, 0 is plain
    parts: dict[str, tuple[tuple[str, ...], Side]] = {
        "target_style": (("targets",), "targets"),
        "implicit_style": (("implicit",), "targets"),
        "probe_style": (("probes",), "targets"),
        "kept_style": (("kept", "neighbours"), "kept"),
        "neighbour_style": (("neighbours",), "kept"),
    }
    for cell, (named, side) in parts.items():
        everything = evidence.rows(*named)
        rows = _answered(evidence, everything, asked) if cell == "probe_style" else everything
        if not rows:
            continue
        metric = _metric("oracle", name, count)
        metric.update(seen[rows], asked[rows])
        scores.add(cell, metric, side, len(rows), len(everything), rows)
    _destinations(scores, evidence, seen, asked)


def _destinations(scores: Scores, evidence: Evidence, seen: Tensor, asked: Tensor) -> None:
    """Target by target: a swap of one for another must not hide in a mean over all of them."""
    styles, name = evidence.testbed.styles, evidence.testbed.networks["oracle"]
    worst: tuple[float, list[float]] = (-1.0, [])
    for target in evidence.concept.targets:
        rows = [row for row in evidence.rows("targets") if evidence.prompts[row].target == target]
        metric = _metric("oracle", name, len(styles))
        metric.update(seen[rows], asked[rows])
        worst = max(worst, (float(metric.compute()), metric.per_image().double().tolist()))
        likeliest = seen[rows].argmax(1)
        for k, (style, share) in enumerate(zip(styles, metric.destinations().share.tolist(), strict=True)):
            hits = (likeliest == k).double().tolist()
            scores.put(f"{DESTINATION}{target}/{style}", share, len(rows), len(rows), "share", None, name, hits)
    value, values = worst
    scores.put("worst_target_style", value, len(values), len(values), "probability", False, name, values)


def _answered(evidence: Evidence, rows: list[int], asked: Tensor) -> list[int]:
    """Probes of those kinds (misspelling, phrasing, ...) and targets to which the base responds in at least half."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        prompt = evidence.prompts[row]
        groups.setdefault((prompt.id.split("-")[1], prompt.target), []).append(row)
    kept = []
    for group in groups.values():
        probability = evidence.base["oracle"][group, asked[group]]
        if float((probability > 0.5).float().mean()) >= 0.5:
            kept += group
    return sorted(kept)


def _contents(scores: Scores, evidence: Evidence, cells: dict[str, tuple[str, ...]]) -> None:
    """Content accuracy: share of pictures whose likeliest content is the one that the prompt asks for."""
    testbed = evidence.testbed
    found = evidence.own["oracle"][:, len(testbed.styles) :].argmax(1).tolist()
    for cell, parts in cells.items():
        rows = [row for row in evidence.rows(*parts) if evidence.prompts[row].content]
        hits = [float(testbed.contents[found[row]] == evidence.prompts[row].content) for row in rows]
        if hits:
            scores.keep(cell, rows, hits)
            scores.put(
                cell, sum(hits) / len(hits), len(hits), len(hits), "share", True, testbed.networks["oracle"], hits
            )
