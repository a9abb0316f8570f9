"""Table 1 of the paper from records, and what a careful reader wants beside it. No torch is imported.

Rows are decided here, columns in `columns.py`; how they look on a terminal, in JSON or Markdown in `tables_render.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from benchmark.columns import COLUMNS, DESTINATION, EXPLICIT, Column, named, split, unlisted
from benchmark.errors import DataError, UsageError
from benchmark.listing import default_targets
from benchmark.paths import records_folder
from benchmark.records import BROUGHT, SUFFIX, Cell, Record, check_one_sampler, read_records
from benchmark.request import RunRequest
from methods.budget import Ledger

RESULTS = Path(__file__).resolve().parents[1] / "results"
ALL_PRUNINGS = "all"
"""Stands for every pruning where one is asked for."""
Source = Literal["reference", "local", "both"]
Found = tuple[Record, Source]
_ORDER = ("base", "distilled", "esd", "esd+kd", "uce", "conceptprune", "bilevel")
BESIDE = dict.fromkeys(("artists", *EXPLICIT), "coco")  # the suite whose record stands in the same row


@dataclass(frozen=True)
class Figure:
    """One figure in its row and column. `n` of `of` images were scored; None for what no image has, such as cost."""

    value: float | None
    n: int | None = None
    of: int | None = None
    unit: str = ""
    back_end: str = ""
    ci: tuple[float, float] | None = None
    name: str = ""  # what the figure is about, where the column does not say it: the likeliest destination
    paper: float | None = None


@dataclass(frozen=True)
class Row:
    """One model. `record` is the first of the records that it is made of."""

    label: str
    source: Source
    record: Record
    cells: dict[str, Figure]


@dataclass(frozen=True)
class Table:
    """A table, ready to be printed."""

    number: int
    testbed: str
    suite: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str]
    paper: dict[str, Any] | None = None  # `results/paper.json`, where asked for
    paper_only: dict[str, dict[str, float]] = field(default_factory=dict)  # the paper's rows that nothing was run for


def gather(testbed: str, runs: Path, given: Sequence[Path] = ()) -> list[Found]:
    """Records with where they come from: the committed and the user's own, or only those `given` (files or folders).

    Raises RecordError for a damaged or newer one, DataError for a given path that holds none.
    """
    reference = RESULTS / testbed / "records"
    if given:
        return [(record, _source(path, reference)) for path in given for record in _read_given(path)]
    own = records_folder(runs)
    return [(r, "reference") for r in read_records([reference])] + [(r, "local") for r in read_records([own])]


def table(
    found: Iterable[Found],
    testbed: str,
    suite: str,
    *,
    long: bool = False,
    paper: bool = False,
    everything: bool = False,
    pruning: str = "",
    targets: Sequence[str] = (),
) -> Table:
    """Table 1 of a testbed. Rows: base, distilled, other seeds of it, other methods.

    Shown are the default budget, targets and pruning, unless `everything`; what that hides is counted in a note. With
    the name of a `pruning` it is that one at all its MACs; with `ALL_PRUNINGS`, all of them side by side. `targets`
    stand for the default ones.
    Raises DataError if nothing is left to show, RecordError if rows were sampled differently.
    """
    suites = [suite] + ([BESIDE[suite]] if suite in BESIDE else [])
    here = [(r, source) for r, source in found if r.testbed == testbed and r.suite in suites]
    if suite in BESIDE:  # plain captions of models that forgot another kind of concept are another table's
        here = [(r, source) for r, source in here if (r.concept.get("kind") == "explicit") == (suite in EXPLICIT)]
    usual = frozenset(targets or default_targets(testbed)) if suite not in EXPLICIT else frozenset()
    now = current(here)
    shown = here if everything else [each for each in now if is_usual(each[0], usual, now, pruning)]
    asked = [record for record, _ in shown if suite not in EXPLICIT or record.suite == suite]
    if not any(record.method != "base" or not pruning for record in asked):
        also = "" if testbed == "mini" else f" --testbed {testbed}"
        also += f" --pruning {pruning}" if pruning not in ("", ALL_PRUNINGS) else ""
        make = f"`bench run --method bilevel --suite {suite}{also}`"
        elsewhere = f" ({len(here)} with other settings: add --all)" if here else ""
        raise DataError(
            f"There are no records of suite '{suite}' on testbed '{testbed}'{elsewhere}; {make} makes them."
        )
    check_one_sampler(record for record, _ in shown)
    pairs = [pair for pair in joined(_folded(shown), suites) if suite not in EXPLICIT or pair[0][0].suite == suite]
    records = [record for group, _ in pairs for record in group]
    wanted = [c for c in COLUMNS if c.suite in (*suites, "cost") and (long or not c.section)]
    wanted += unlisted(records, wanted) if long else []
    columns = [one for column in wanted for one in split(column, records)]
    quoted = published() if paper and suite not in EXPLICIT else None
    told = quotes(quoted, 1)
    firsts = {group[0].method: group[0] for group, _ in reversed(pairs)}  # the paper has one row a method: our first
    rows = []
    for group, source in pairs:
        said = told.get(group[0].method, {}) if firsts[group[0].method] is group[0] else {}
        label = _label(group[0], usual) + _against(group[0], records) + _standing(group[0], records)
        rows.append(Row(label, source, group[0], _cells(group, columns, said)))
    present = {key for row in rows for key in row.cells}
    columns = [c for c in columns if not c.section or c.key in present]
    ran = {row.record.method for row in rows}
    notes = _notes(rows, len(here) - len(shown))
    if any(_standing(row.record, records) for row in rows):
        notes.append("Each world (a testbed's weights and data) has figures of its own: nothing compares between them.")
    return Table(
        number=1,
        testbed=testbed,
        suite=suite,
        columns=columns,
        rows=rows,
        notes=notes,
        paper=quoted,
        paper_only={method: cells for method, cells in told.items() if method not in ran},
    )


def published() -> dict[str, Any]:
    """The paper's own figures, by table and method, with the setting they were measured in."""
    return dict(json.loads((RESULTS / "paper.json").read_text("utf-8")))


def _source(given: Path, reference: Path) -> Source:
    place = given.resolve()
    return "reference" if place in (reference, reference.parent) or place.parent == reference else "local"


def only(table: Table, keys: Sequence[str]) -> Table:
    """The table with these columns alone, in this order. UsageError for one that it does not have."""
    columns = {column.key: column for column in table.columns}
    if strange := [key for key in keys if key not in columns]:
        raise UsageError(f"The table has no column '{strange[0]}'; it has: {', '.join(columns)}.")
    return replace(table, columns=[columns[key] for key in keys])


def _read_given(path: Path) -> list[Record]:
    if not path.exists():
        raise DataError(f"There is no {path} to read records from.")
    folder = path if path.is_dir() else path.parent
    records = [r for r in read_records([folder]) if path.is_dir() or r.stem + SUFFIX == path.name]
    if not records:
        raise DataError(
            f"{path} holds no record: give a *{SUFFIX} file under the name it was written with, or a folder."
        )
    return records


def targets_of(record: Record) -> frozenset[str]:
    targets = record.concept.get("targets")
    return frozenset(map(str, targets)) if isinstance(targets, list) else frozenset()


def current(found: Sequence[Found]) -> list[Found]:
    """Without the records of models as they were before the file of a pruning, or a search for experts, changed: of
    those that differ in their reference model alone, the newest and those that share its reference."""
    newest: dict[str, Record] = {}
    for record, _ in found:
        other = newest.setdefault(_but_reference(record), record)
        if str(record.made.get("time", "")) > str(other.made.get("time", "")):
            newest[_but_reference(record)] = record
    return [
        (record, source)
        for record, source in found
        if record.method == "base" or record.reference_key == newest[_but_reference(record)].reference_key
    ]


def _but_reference(record: Record) -> str:
    told = (record.testbed, record.suite, record.label, record.reference, record.sampler, record.world)
    return str((*training(record), sorted(targets_of(record)), *told))


def is_usual(record: Record, usual: frozenset[str], here: Sequence[Found], pruning: str = "") -> bool:
    """Default budget and targets, the pruning asked for (or the default one), the newest recipe of its method, and fp32
    (bf16 where nothing is in fp32).

    A model made elsewhere has a pruning of its own, and is shown.
    """
    pruned = record.pruning == BROUGHT or (record.pruning, record.macs) == (RunRequest.pruning, RunRequest.macs)
    if pruning:
        pruned = pruning in (record.pruning, ALL_PRUNINGS)
    if record.method == "base":  # its CP and CSD are relative to a reference, which must be that of the rows beside it
        others = {r.reference_key for r, _ in here if r.method != "base" and is_usual(r, usual, here, pruning)}
        pruned = not others or record.reference_key in others
    aimed = not usual or not targets_of(record) or targets_of(record) == usual
    coarse = all("precision" in other.sampler for other, _ in here)
    newest = max(other.recipe for other, _ in here if other.method == record.method)
    chosen = pruned and aimed and (coarse or "precision" not in record.sampler)
    return chosen and record.budget.get("default") is not False and record.recipe == newest


def _folded(found: Sequence[Found]) -> list[Found]:
    """A local record that repeats a reference run figure by figure is one row, marked as both."""
    by_stem: dict[str, list[Found]] = {}
    for record, source in found:
        same = by_stem.setdefault(record.stem, [])
        for place, (other, other_source) in enumerate(same):
            if _agree(other, record):
                same[place] = (other, other_source if other_source == source else "both")
                break
        else:
            same.append((record, source))
    return [each for same in by_stem.values() for each in same]


def _agree(one: Record, other: Record) -> bool:
    """The same cells and counts, and figures that differ by less than the order of a sum can make them."""
    return one.cells.keys() == other.cells.keys() and all(
        (cell.n, cell.of, cell.unit) == (other.cells[name].n, other.cells[name].of, other.cells[name].unit)
        and math.isclose(cell.value or 0.0, other.cells[name].value or 0.0, rel_tol=1e-6, abs_tol=1e-9)
        for name, cell in one.cells.items()
    )


def joined(found: Sequence[Found], suites: Sequence[str]) -> list[tuple[list[Record], Source]]:
    """Records of one model side by side, in the order of the table's rows."""
    main = [each for each in found if each[0].suite == suites[0]]
    beside = [each for each in found if each[0].suite != suites[0]]
    pairs: list[tuple[list[Record], Source]] = []
    used: set[int] = set()
    for record, source in main:
        other = next((r for rule in _SAME_MODEL for r, s in beside if _meets(s, source) and rule(r, record)), None)
        used.add(id(other))
        pairs.append(([record, other] if other else [record], source))
    pairs += [([record], source) for record, source in beside if id(record) not in used]
    return sorted(pairs, key=lambda pair: place(pair[0][0], pair[1]))


def _meets(left: Source, right: Source) -> bool:
    return left == right or "both" in (left, right)


def training(record: Record) -> tuple:
    keys = ("pruning", "macs", "method", "preset", "variant", "solver", "data", "budget", "seed", "recipe")
    return tuple(getattr(record, key) for key in keys)


def _same_training(left: Record, right: Record) -> bool:
    return training(left) == training(right)


# A model that erases nothing is the same whatever the targets are, unless its data were chosen by them.
# The base is one model, and has a record for each reference that it was compared with.
_SAME_MODEL: tuple[Callable[[Record, Record], bool], ...] = (
    lambda left, right: (
        _same_training(left, right)
        and targets_of(left) == targets_of(right)
        and left.reference_key == right.reference_key
    ),
    lambda left, right: _same_training(left, right) and targets_of(left) == targets_of(right),
    lambda left, right: (
        _same_training(left, right) and left.method in ("base", "distilled") and left.data != "all-but-targets"
    ),
)


def place(record: Record, source: Source) -> tuple:
    rank = _ORDER.index(record.method) if record.method in _ORDER else len(_ORDER)
    chosen = (record.preset != "default", record.preset, record.variant != "default", record.variant)
    sort_of_budget = json.dumps(record.budget, sort_keys=True)
    pruned = (-record.macs, record.pruning)
    return rank, record.method, chosen, *pruned, sorted(targets_of(record)), sort_of_budget, record.seed, source


def _label(record: Record, usual: frozenset[str]) -> str:
    """The record's own label, and whatever is not as usual, if the label does not say it."""
    told = [record.preset, record.variant, record.solver or ""] if record.method != "base" else []
    told = [word for word in told if word not in ("", "default", "alternating")]
    if record.method != "base" and (record.pruning, record.macs) != (RunRequest.pruning, RunRequest.macs):
        told.append(f"{record.pruning} {record.macs:g}")
    if usual and targets_of(record) and targets_of(record) != usual:
        told.append(", ".join(sorted(targets_of(record))))
    if record.data == "all-but-targets":
        told.append(record.data)
    if record.budget.get("default") is False:
        told += [f"{record.budget[unit]:.3g} {unit}" for unit in ("flops", "iterations") if record.budget.get(unit)]
    return " · ".join([record.label, *(word for word in told if word not in record.label)])


def _against(record: Record, shown: Sequence[Record]) -> str:
    """Which distilled model a base is compared with, where several prunings are shown: CP and CSD depend on it."""
    prunings = {(r.pruning, r.macs) for r in shown if r.method != "base"}
    if record.method != "base" or len(prunings) < 2:
        return ""
    own = {(r.pruning, r.macs) for r in shown if r.method != "base" and r.reference_key == record.reference_key}
    return " · against " + " or ".join(f"{pruning} {macs:g}" for pruning, macs in sorted(own)) if own else ""


def _standing(record: Record, shown: Sequence[Record]) -> str:
    """Which weights and data of the testbed it stands on, where those shown stand on several: after a rebuild, say."""
    worlds = {_world(r) for r in shown if r.world and r.suite == record.suite}
    return f" · world {_world(record)}" if len(worlds) > 1 and record.world else ""


def _world(record: Record) -> str:
    return hashlib.sha256(json.dumps(record.world, sort_keys=True).encode()).hexdigest()[:8]


def _cells(group: Sequence[Record], columns: Sequence[Column], said: dict[str, float]) -> dict[str, Figure]:
    """Figures of one row by column key; a column for which there is none is left out."""
    by_suite = {record.suite: record for record in group}
    cells: dict[str, Figure] = {}
    for column in columns:
        figure = _cost(group[0], column.cell) if column.suite == "cost" else None
        if record := by_suite.get(column.suite):
            figure = _figure(record, column)
        if figure:
            cells[column.key] = replace(figure, paper=said.get(column.key.partition("[")[0]))
    return cells


def _figure(record: Record, column: Column) -> Figure | None:
    for name, cell in named(record).items():
        if name.partition("[")[0] == column.cell and column.back_end in ("", cell.back_end):
            return Figure(cell.value, cell.n, cell.of, cell.unit, cell.back_end, cell.ci)
    return _top_destination(record) if column.cell == "top_destination" else None


def _top_destination(record: Record) -> Figure | None:
    """The largest share of one target's images that became one other artist's: a swap is not forgetting."""
    others: dict[str, Cell] = {}
    for name, cell in record.cells.items():
        asked, _, style = name.removeprefix(DESTINATION).partition("/")
        if name.startswith(DESTINATION) and style not in ("plain", asked) and cell.value is not None:
            others[f"{asked} → {style}"] = cell
    if not others:
        return None
    top, cell = max(others.items(), key=lambda item: item[1].value or 0.0)
    return Figure(cell.value, cell.n, cell.of, cell.unit, cell.back_end, cell.ci, name=top if cell.value else "none")


def _cost(record: Record, what: str) -> Figure | None:
    if what == "choosing":  # told by records of prunings since it is counted; the base is not pruned
        told = record.counted.get("spent")
        return Figure(float(told), unit="FLOPs") if isinstance(told, int | float) else None
    if not record.ledger:
        return None
    total = Ledger.from_json(record.ledger).total()
    value = {"flops": total.flops, "iterations": total.iterations, "seconds": total.wall_seconds}[what]
    return Figure(float(value), unit={"flops": "FLOPs", "seconds": "s"}.get(what, ""))


def quotes(paper: dict[str, Any] | None, number: int) -> dict[str, dict[str, float]]:
    """method -> column key -> the paper's value in its table of this number."""
    told: dict[str, dict[str, float]] = {}
    for quote in (paper or {}).get("figures", []):
        if quote["table"] == number:
            told.setdefault(quote["method"], {})[quote["cell"]] = quote["value"]
    return told


def _notes(rows: Sequence[Row], hidden: int) -> list[str]:
    notes = []
    references = sorted({row.record.reference for row in rows})
    relative = "Resilience is" if rows[0].record.suite in EXPLICIT else "CP and CSD are"
    notes.append(f"{relative} relative to: {' or '.join(references)}.")
    if len({(row.record.pruning, row.record.macs) for row in rows if row.record.method != "base"}) > 1:
        notes.append("Each pruning has a reference of its own: between prunings, CP and CSD do not compare.")
    if len(references) > 1:
        by = [f"{row.label} ({row.record.reference})" for row in rows]
        notes.append(f"The reference differs, so CP and CSD cannot be compared between rows: {', '.join(by)}.")
    short = [  # probes are few on purpose: those that the base itself does not answer are left out
        row.label
        for row in rows
        if any((c.n or 0) < (c.of or 0) for key, c in row.cells.items() if not key.startswith("probe_style"))
    ]
    if short:
        notes.append(f"Not all images were scored in: {', '.join(short)}.")
    if hidden:
        more = "1 more record has" if hidden == 1 else f"{hidden} more records have"
        notes.append(f"{more} another budget, pruning, precision or recipe, or other targets: --all shows all.")
    return notes
