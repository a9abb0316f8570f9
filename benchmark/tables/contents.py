"""Checks whether a model still draws the objects that its prompts name.

A model whose weights are damaged has good CLIP, CP and CSD: its images resemble neither the targets nor anything else.
Tables mark such a row, and leaderboards do not rank it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.records.record import REFERENCE_SEED, Cell, Record
from benchmark.tables.columns import named
from benchmark.tables.footnotes import Note
from benchmark.tables.select import targets_of

MARGIN = 0.1
"""A row is marked if its share is lower than the reference's 95 % interval by more than this."""
MARK = "†"
HEADERS = {"content_kept": "content, kept", "content_target": "content, targets", "content_plain": "content, plain"}
"""Cells with the share of images that show the requested object, from 0 to 1, with their headings."""


@dataclass(frozen=True)
class ContentCheck:
    """The shares of a row, by cell, next to the 95 % intervals of its reference model."""

    shares: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    reference: str

    @property
    def lost(self) -> list[str]:
        """The cells whose share is lower than the reference's interval by more than `MARGIN`."""
        return [cell for cell, share in self.shares.items() if share < self.intervals[cell][0] - MARGIN]

    def __str__(self) -> str:
        """The lost shares as text: "content, kept 0.034 (distilled: 0.888…0.974)"."""
        return " and ".join(
            f"{HEADERS[cell]} {self.shares[cell]:.3f} ({self.reference}: "
            f"{self.intervals[cell][0]:.3f}…{self.intervals[cell][1]:.3f})"
            for cell in self.lost
        )


def check_contents(records: Sequence[Record], pool: Iterable[Record]) -> ContentCheck | None:
    """Compare a model's content with that of the model that its CP and CSD are relative to.

    The contents of kept and target prompts are compared, and those of plain captions only if the records have neither.

    Args:
        records: the records of one model, one per suite.
        pool: records among which the reference model is searched; tables need not show it.

    Returns:
        The comparison; None if the pool has no record of the reference model for the same prompts, or if no share was
        measured for both by the same network with an interval.
    """
    pool = list(pool)
    shares: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    label = ""
    for record in records:
        own = _contents(record)
        reference = _reference_of(record, pool) if own else None
        for name, cell in (_contents(reference) if reference else {}).items():
            if name in own and cell.ci is not None and own[name].back_end == cell.back_end:
                shares[name] = own[name].value or 0.0
                intervals[name] = cell.ci
                label = reference.label if reference else label
    if len(shares) > 1:
        shares.pop("content_plain", None)
    return ContentCheck(shares, intervals, label) if shares else None


def note_lost_contents(rows: Sequence[tuple[str, ContentCheck | None]]) -> list[str]:
    """Return the footnote on the rows of (label, check) that are marked, or no note if there are none."""
    marked = [f"{label}, with {check}" for label, check in rows if check is not None and check.lost]
    note = (
        f"{MARK} The share of images that show the requested object is more than {MARGIN:g} below the interval of the "
        f"reference model: {'; '.join(marked)}. Damaged images also score as forgetting, so such rows are never ranked."
    )
    labels = ", ".join(label for label, check in rows if check is not None and check.lost)
    return [Note(note, f"{MARK} Images of {labels} have lost their objects.", 0)] if marked else []


def mean_check(checks: Sequence[ContentCheck | None]) -> ContentCheck | None:
    """Return the comparison of the mean shares of several training seeds; None if one of them has none.

    Only cells that all of them have are compared. The interval is that of the first one's reference model.
    """
    present = [check for check in checks if check is not None]
    if not present or len(present) < len(checks):
        return None
    names = [name for name in present[0].shares if all(name in check.shares for check in present)]
    shares = {name: sum(check.shares[name] for check in present) / len(present) for name in names}
    return ContentCheck(shares, present[0].intervals, present[0].reference) if shares else None


def _contents(record: Record) -> dict[str, Cell]:
    return {name: cell for name, cell in named(record).items() if name in HEADERS and cell.value is not None}


def _reference_of(record: Record, pool: Sequence[Record]) -> Record | None:
    """Return the record of the reference model for the same prompts; None if there is none, or no unique one."""
    same_prompts = [
        candidate
        for candidate in pool
        if (candidate.testbed, candidate.suite, candidate.world) == (record.testbed, record.suite, record.world)
        and (record.suite == "coco" or targets_of(candidate) == targets_of(record))
        and candidate.sampler.get("limit") == record.sampler.get("limit")
    ]
    if record.reference_key:
        matching = [candidate for candidate in same_prompts if candidate.model_id == record.reference_key[:8]]
    else:  # an old record, which names its reference model by its method alone
        matching = [
            candidate
            for candidate in same_prompts
            if candidate.method == record.reference and candidate.seed == REFERENCE_SEED and not candidate.reference_key
        ]
        matching = [candidate for candidate in matching if _may_share_pruning(candidate, record)] or matching
        if len({(candidate.pruning, candidate.macs, candidate.model_id) for candidate in matching}) > 1:
            return None
    same_sampler = [candidate for candidate in matching if candidate.sampler == record.sampler]
    return next(iter(same_sampler or matching), None)


def _may_share_pruning(reference: Record, record: Record) -> bool:
    return (reference.pruning, reference.macs) == (record.pruning, record.macs)
