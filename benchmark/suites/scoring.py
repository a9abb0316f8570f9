"""Functions that suites use to compute scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.api.suite import Evidence, Scores, Side

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.base import ImageMetric


def make_metric(name: str, *arguments: Any) -> Any:
    """Create a metric that does not gather values from other processes, because only the first process scores."""
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
    """Add the score of a metric that compares `left` with `right` row by row.

    Args:
        scores: where the score is added.
        name: name of the metric and of the score.
        back_end: name of the network that computed the features.
        rows: indices of the prompts.
        left: features (N, d) of the pictures.
        right: features (N, d) to compare with.
        side: whether the score describes erasure ("targets") or retention ("kept").
    """
    metric: ImageMetric = make_metric(name, back_end)
    metric.update(left, right)
    scores.add(name, metric, side, len(rows), len(rows), rows)


def score_contents(scores: Scores, evidence: Evidence, cells: dict[str, tuple[str, ...]]) -> None:
    """Add content accuracy: the share of pictures whose most probable content is the one that the prompt names.

    Args:
        scores: where the scores are added.
        evidence: features and prompts.
        cells: maps the name of a score to the parts of the suite that it covers.
    """
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
