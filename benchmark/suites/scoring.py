"""What suites score by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.api.suite import Evidence, Scores, Side

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.base import ImageMetric


def make_metric(name: str, *arguments: Any) -> Any:
    """A metric that has all images in this one process: only the first process scores."""
    metric = registry.load("metrics", name)(*arguments)
    metric.distributed_available_fn = lambda: False
    return metric


def score_pairs(
    scores: Scores,
    name: str,
    back_end: str,
    rows: list[int],
    left: Tensor,
    right: Tensor,
    side: Side = "targets",
) -> None:
    """Cell `name` of the metric of that name, which compares `left` with `right` row by row."""
    metric: ImageMetric = make_metric(name, back_end)
    metric.update(left, right)
    scores.add(name, metric, side, len(rows), len(rows), rows)


def score_contents(scores: Scores, evidence: Evidence, cells: dict[str, tuple[str, ...]]) -> None:
    """Content accuracy: share of pictures whose likeliest content is the one that the prompt asks for."""
    testbed = evidence.testbed
    likeliest = evidence.own["oracle"][:, len(testbed.styles) :].argmax(1).tolist()
    for cell, parts in cells.items():
        rows = [row for row in evidence.rows(*parts) if evidence.prompts[row].content]
        hits = [float(testbed.contents[likeliest[row]] == evidence.prompts[row].content) for row in rows]
        if hits:
            scores.keep(cell, rows, hits)
            scores.put(
                cell, sum(hits) / len(hits), len(hits), len(hits), "share", True, testbed.networks["oracle"], hits
            )
