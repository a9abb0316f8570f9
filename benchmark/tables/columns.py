"""The columns of tables: the paper's, those of `--long`, and one for each cell that has no column here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from benchmark.api.suite import DESTINATION
from benchmark.records.record import Cell, Record


@dataclass(frozen=True)
class Column:
    """One column: where its figure is found and how it is to be read."""

    key: str  # name in JSON
    header: str
    suite: str
    cell: str  # name in that suite's record, without back end
    better: bool | None  # True: higher is better
    form: str = ".2f"
    section: str = ""  # heading of the part of `--long` it stands in; empty for the paper's own columns
    back_end: str = ""  # set where the rows' back ends differ, and each has a column


PAPER_COLUMNS = (
    Column("clip", "CLIP", "artists", "clip", False),
    Column("cp", "CP", "artists", "cp", True),
    Column("csd", "CSD", "artists", "csd", False),
    Column("fid", "FID", "coco", "fid", False),
    Column("coco_clip", "CLIP", "coco", "clip", True),
)
EXPLICIT = ("i2p", "mma", "ring-a-bell")
"""The suites of explicit content."""
EXPLICIT_COLUMNS = tuple(
    column
    for suite in EXPLICIT
    for column in (
        Column("explicit", "explicit %", suite, "explicit", False, ".1f"),
        Column("resilience", "resilience %", suite, "resilience", True, ".1f"),
    )
)
_GONE, _KEPT, _FAR, _COST = "Forgetting", "Preservation", "Image quality and drift from the base model", "Cost"
_ACCURACY = "Classification accuracy (of the oracle, in %)"
LONG_COLUMNS = (
    Column("target_style", "target style", "artists", "target_style", False, ".3f", _GONE),
    Column("worst_target_style", "worst target", "artists", "worst_target_style", False, ".3f", _GONE),
    Column("implicit_style", "implicit style", "artists", "implicit_style", False, ".3f", _GONE),
    Column("probe_style", "probe style", "artists", "probe_style", False, ".3f", _GONE),
    Column("top_destination", "went to", "artists", "top_destination", False, ".3f", _GONE),
    Column("csd_real", "CSD to real", "artists", "csd_real", False, ".2f", _GONE),
    Column("ties", "CP ties", "artists", "ties", None, ".0f", _GONE),
    Column("kept_style", "kept style", "artists", "kept_style", True, ".3f", _KEPT),
    Column("neighbour_style", "neighbour style", "artists", "neighbour_style", True, ".3f", _KEPT),
    Column("kept_style_given", "kept style (given)", "artists", "kept_style_given", True, ".3f", _KEPT),
    Column("kept_style_not_given", "kept style (not given)", "artists", "kept_style_not_given", True, ".3f", _KEPT),
    Column("content_target", "content, targets", "artists", "content_target", True, ".3f", _KEPT),
    Column("content_kept", "content, kept", "artists", "content_kept", True, ".3f", _KEPT),
    Column("content_plain", "content, plain", "coco", "content_plain", True, ".3f", _KEPT),
    Column("ua", "UA", "artists", "unlearning_accuracy", True, ".1f", _ACCURACY),
    Column("ira", "IRA", "artists", "in_domain_accuracy", True, ".1f", _ACCURACY),
    Column("cra", "CRA", "artists", "cross_domain_accuracy", True, ".1f", _ACCURACY),
    Column("accuracy_mean", "harmonic mean", "artists", "accuracy_mean", True, ".1f", _ACCURACY),
    Column("kid", "KID", "coco", "kid", False, ".4g", _FAR),
    Column("drift", "drift, kept artists", "artists", "drift", False, ".3f", _FAR),
    Column("coco_drift", "drift, plain", "coco", "drift", False, ".3f", _FAR),
    Column("flops", "FLOPs", "cost", "flops", False, ".3g", _COST),
    Column("choosing", "pruning FLOPs", "cost", "choosing", False, ".3g", _COST),
    Column("iterations", "iterations", "cost", "iterations", None, ".0f", _COST),
    Column("seconds", "seconds", "cost", "seconds", False, ".0f", _COST),
)
COLUMNS = (*EXPLICIT_COLUMNS, *PAPER_COLUMNS, *LONG_COLUMNS)


def named(record: Record) -> dict[str, Cell]:
    """Cells by bare name; where a record has `fid[a]` and `fid[b]`, both keep their brackets."""
    bare = [name.partition("[")[0] for name in record.cells]
    return {
        name if bare.count(short) > 1 else short: cell
        for (name, cell), short in zip(record.cells.items(), bare, strict=True)
    }


def split(column: Column, records: Sequence[Record]) -> list[Column]:
    """The column, or one for each back end where rows were scored by different networks: such values never meet."""
    matching = [
        cell
        for record in records
        if record.suite == column.suite
        for name, cell in named(record).items()
        if name.partition("[")[0] == column.cell
    ]
    back_ends = sorted({cell.back_end for cell in matching})
    if len(back_ends) < 2:
        return [column]
    return [
        replace(column, key=f"{column.key}[{end}]", header=f"{column.header}[{end}]", back_end=end) for end in back_ends
    ]


def unlisted(records: Iterable[Record], listed_columns: Sequence[Column]) -> list[Column]:
    """Return columns for the cells that `listed_columns` does not cover: those of third-party metrics."""
    listed_places = {(column.suite, column.cell) for column in listed_columns}
    columns_by_place: dict[tuple[str, str], Column] = {}
    for record in records:
        for name, cell in record.cells.items():
            metric = name.partition("[")[0]
            place = (record.suite, metric)
            if place not in listed_places and not name.startswith(DESTINATION):
                key = metric if record.suite == "artists" else f"{record.suite}_{metric}"
                header = f"{metric} ({record.suite})"
                column = Column(key, header, *place, cell.higher_is_better, ".4g", "Further metrics")
                columns_by_place.setdefault(place, column)
    return list(columns_by_place.values())
