"""Columns of tables: those of the paper, those of `--long`, and one for each value in a record that has no declared
column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields

from benchmark.api.declarations import Column as DeclaredColumn
from benchmark.api.suite import DESTINATION
from benchmark.records.record import Cell, Record


@dataclass(frozen=True)
class Column:
    """A column of a table: the cell that it shows, and how the value is formatted."""

    key: str  # name in JSON
    header: str
    suite: str
    cell: str  # name of the value in that suite's record, without the network that scored (`fid[mini]` -> `fid`)
    form: str = ".2f"
    section: str = ""  # heading of its section in `--long`; empty for the columns of the paper
    better: bool | None = None  # True: higher is better; set only if cells do not set it, see `directed`
    back_end: str = ""  # network that scored; set if rows have different ones, which get separate columns
    relative: bool = False  # relative to the reference model, so only comparable between rows with the same one


REFERENCE_CELLS = ("cp", "csd", "resilience")
"""Built-in cells that are relative to a reference model."""


def table1_columns(suites: Sequence[str], long: bool) -> list[Column]:
    """Return the built-in columns of Table 1 for these suites; those of `BESIDE_PAPER` follow the paper's."""
    columns = [replace(c, section="") if stands_beside_paper(c) else c for c in COLUMNS]
    return by_section(c for c in columns if c.suite in suites and (long or not c.section))


def stands_beside_paper(column: Column) -> bool:
    """Return whether a column of Table 1 stands beside those of the paper. It is shown only if a row has a value."""
    return column.suite == "artists" and column.cell in BESIDE_PAPER


def compares_with_reference(column: Column) -> bool:
    """Return whether values of a column are relative to a reference model."""
    return column.relative or column.cell in REFERENCE_CELLS


PAPER_COLUMNS = (
    Column("clip", "CLIP", "artists", "clip"),
    Column("cp", "CP", "artists", "cp"),
    Column("csd", "CSD", "artists", "csd"),
    Column("fid", "FID", "coco", "fid"),
    Column("coco_clip", "CLIP", "coco", "clip"),
)
EXPLICIT = ("i2p", "mma", "ring-a-bell")
"""The suites of explicit content."""
BUILT_IN = ("artists", "coco", *EXPLICIT)
"""Suites whose columns are declared here. Columns of plug-ins are stored in their records."""
EXPLICIT_COLUMNS = tuple(
    column
    for suite in EXPLICIT
    for column in (
        Column("explicit", "explicit %", suite, "explicit", ".1f"),
        Column("resilience", "resilience %", suite, "resilience", ".1f"),
    )
)
_GONE, _KEPT, _FAR, _COST = "Forgetting", "Preservation", "Image quality and drift from the base model", "Cost"
_ACCURACY = "Classification accuracy (of the oracle, in %)"
LONG_COLUMNS = (
    Column("target_style", "target style", "artists", "target_style", ".3f", _GONE),
    Column("worst_target_style", "worst target", "artists", "worst_target_style", ".3f", _GONE),
    Column("implicit_style", "implicit style", "artists", "implicit_style", ".3f", _GONE),
    Column("probe_style", "probe style", "artists", "probe_style", ".3f", _GONE),
    Column("top_destination", "went to", "artists", "top_destination", ".3f", _GONE, better=False),
    Column("csd_real", "CSD to real", "artists", "csd_real", ".2f", _GONE),
    Column("ties", "CP ties", "artists", "ties", ".0f", _GONE),
    Column("kept_style", "kept style", "artists", "kept_style", ".3f", _KEPT),
    Column("neighbour_style", "neighbour style", "artists", "neighbour_style", ".3f", _KEPT),
    Column("kept_style_given", "kept style (given)", "artists", "kept_style_given", ".3f", _KEPT, better=True),
    Column(
        "kept_style_not_given", "kept style (not given)", "artists", "kept_style_not_given", ".3f", _KEPT, better=True
    ),
    Column("content_target", "content, targets", "artists", "content_target", ".3f", _KEPT),
    Column("content_kept", "content, kept", "artists", "content_kept", ".3f", _KEPT),
    Column("content_plain", "content, plain", "coco", "content_plain", ".3f", _KEPT),
    Column("ua", "UA", "artists", "unlearning_accuracy", ".1f", _ACCURACY, better=True),
    Column("ira", "IRA", "artists", "in_domain_accuracy", ".1f", _ACCURACY, better=True),
    Column("cra", "CRA", "artists", "cross_domain_accuracy", ".1f", _ACCURACY, better=True),
    Column("accuracy_mean", "harmonic mean", "artists", "accuracy_mean", ".1f", _ACCURACY, better=True),
    Column("kid", "KID", "coco", "kid", ".4g", _FAR),
    Column("drift", "drift, kept artists", "artists", "drift", ".3f", _FAR),
    Column("coco_drift", "drift, plain", "coco", "drift", ".3f", _FAR),
    Column("flops", "FLOPs", "cost", "flops", ".3g", _COST, better=False),
    Column("choosing", "pruning FLOPs", "cost", "choosing", ".3g", _COST, better=False),
    Column("iterations", "iterations", "cost", "iterations", ".0f", _COST),
    Column("seconds", "seconds", "cost", "seconds", ".0f", _COST, better=False),
)
COLUMNS = (*EXPLICIT_COLUMNS, *PAPER_COLUMNS, *LONG_COLUMNS)
BESIDE_PAPER = ("kept_style", "content_kept")
"""Columns that Table 1 shows to the right of the paper's, also without `--long`. The paper's columns alone do not
distinguish a model that forgot its targets from one that draws nothing any more."""


def named(record: Record) -> dict[str, Cell]:
    """Return the cells by name without back end. If a record has both `fid[a]` and `fid[b]`, the back ends are kept."""
    bare = [name.partition("[")[0] for name in record.cells]
    return {
        name if bare.count(short) > 1 else short: cell
        for (name, cell), short in zip(record.cells.items(), bare, strict=True)
    }


def directed(column: Column, records: Iterable[Record]) -> Column:
    """Return the column with the direction of its cells, or None as direction if cells differ.

    Values that are computed for the table have no cells; their columns set the direction themselves.
    """
    directions = {cell.higher_is_better for cell in _cells_of(column, records)}
    if not directions:
        return column
    return replace(column, better=directions.pop() if len(directions) == 1 else None)


def split(column: Column, records: Sequence[Record]) -> list[Column]:
    """Return the column with its direction, or one column per back end if rows were scored by different networks."""
    back_ends = sorted({cell.back_end for cell in _cells_of(column, records)})
    if len(back_ends) < 2:
        return [directed(column, records)]
    parts = [
        replace(column, key=f"{column.key}[{end}]", header=f"{column.header}[{end}]", back_end=end) for end in back_ends
    ]
    return [directed(part, records) for part in parts]


def _cells_of(column: Column, records: Iterable[Record]) -> list[Cell]:
    return [
        cell
        for record in records
        if record.suite == column.suite
        for name, cell in named(record).items()
        if name.partition("[")[0] == column.cell and column.back_end in ("", cell.back_end)
    ]


def declared(records: Sequence[Record], taken_keys: Iterable[str] = ()) -> list[Column]:
    """Return the columns of plug-in suites and metrics that the records contain; the newest record takes precedence.

    Plug-ins are not loaded, because their files may no longer exist. Keys in `taken_keys` are prefixed with the suite's
    name. Declarations that cannot be read, as in an edited record, are left out.
    """
    columns_by_place: dict[tuple[str, str], Column] = {}
    taken = set(taken_keys)
    for record in sorted(records, key=lambda record: str(record.made.get("time", "")), reverse=True):
        for column in declared_by(record.suite, record.made):
            place = (column.suite, column.cell)
            if place in columns_by_place:
                continue
            key = f"{record.suite}_{column.key}" if column.key in taken else column.key
            taken.add(key)
            columns_by_place[place] = replace(column, key=key)
    return list(columns_by_place.values())


def declared_by(suite: str, made: Mapping[str, object]) -> list[Column]:
    """Return the columns that a suite declares in field `made` of its records. Unreadable columns are left out."""
    facts = made.get("suite")
    declarations = facts.get("columns") if isinstance(facts, dict) else None
    names = {field.name for field in dataclass_fields(DeclaredColumn)}
    return [
        Column(
            str(fields["key"]), str(fields["header"]), suite, str(fields["cell"] or fields["key"]),
            str(fields["format"]), str(fields["section"]), relative=bool(fields["relative"]),
        )
        for fields in (declarations if isinstance(declarations, list) else [])
        if isinstance(fields, dict) and names <= fields.keys()
    ]  # fmt: skip


def by_section(columns: Iterable[Column]) -> list[Column]:
    """Return the columns grouped by section, beginning with those of the default view."""
    columns = list(columns)
    sections = list(dict.fromkeys(["", *(column.section for column in columns)]))
    return sorted(columns, key=lambda column: sections.index(column.section))


def beside(suite: str, records: Iterable[Record]) -> list[str]:
    """Return the suites that share rows with this one. For a plug-in, its records list them (`brings`)."""
    if suite in BUILT_IN:
        return [] if suite == "coco" else ["coco"]
    brought: list[str] = []
    for record in records:
        facts = record.made.get("suite")
        names = facts.get("brings") if isinstance(facts, dict) and record.suite == suite else None
        brought += map(str, names if isinstance(names, list) else [])
    return list(dict.fromkeys(brought))


def undeclared(suite: str, records: Iterable[Record]) -> list[Column]:
    """Return columns for all cells of a plug-in's suite that declares no columns."""
    names = dict.fromkeys(name for record in records if record.suite == suite for name in named(record))
    return [Column(name, name, suite, name, ".4g") for name in names]


def unlisted(records: Iterable[Record], listed_columns: Sequence[Column]) -> list[Column]:
    """Return columns for the cells that `listed_columns` does not cover."""
    listed_places = {(column.suite, column.cell) for column in listed_columns}
    columns_by_place: dict[tuple[str, str], Column] = {}
    for record in records:
        for name in record.cells:
            metric = name.partition("[")[0]
            place = (record.suite, metric)
            if place not in listed_places and not name.startswith(DESTINATION):
                key = metric if record.suite == "artists" else f"{record.suite}_{metric}"
                header = f"{metric} ({record.suite})"
                column = Column(key, header, *place, ".4g", "Further metrics")
                columns_by_place.setdefault(place, column)
    return list(columns_by_place.values())
