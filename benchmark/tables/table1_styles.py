"""Builds Table 1 of the paper from records, with further columns and notes. No torch is imported.

This module selects the rows. `columns.py` defines the columns, and `render.py` prints tables.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmark.api.request import RunRequest
from benchmark.api.suite import DESTINATION
from benchmark.errors import DataError
from benchmark.records.record import BROUGHT, Cell, Record, check_one_sampler
from benchmark.tables.columns import (
    BUILT_IN,
    EXPLICIT,
    Column,
    by_section,
    compares_with_reference,
    declared,
    named,
    split,
    stands_beside_paper,
    table1_columns,
    undeclared,
    unlisted,
)
from benchmark.tables.contents import check_contents
from benchmark.tables.footnotes import Note
from benchmark.tables.labels import budget_words, pruning_label, short_label, short_variant, told_apart
from benchmark.tables.picture_scores import derived
from benchmark.tables.published_values import published, quotes
from benchmark.tables.row_choice import EVERY_ROW, RowChoice
from benchmark.tables.select import (
    ALL_PRUNINGS,
    Found,
    brought_targets,
    current,
    forgets_explicit,
    is_usual,
    joined,
    note_own_sampler,
    note_single_colour,
    of_suite,
    targets_of,
    without_repeats,
)
from benchmark.tables.table import Figure, Row, Table
from benchmark.testbeds.resolve import default_targets
from methods.budget import Ledger


def table(
    entries: Iterable[Found],
    testbed: str,
    suite: str,
    *,
    long: bool = False,
    paper: bool = False,
    everything: bool = False,
    pruning: str = "",
    targets: Sequence[str] = (),
    made_on: str = "",
    suite_option: str = "",
    choice: RowChoice = EVERY_ROW,
) -> Table:
    """Build Table 1 of a testbed. Rows: base, distilled, other seeds of it, other methods.

    Only the default budget, targets and pruning are shown, unless `everything` is set; a note counts the hidden
    records. `pruning` shows that pruning at all its MACs, and `ALL_PRUNINGS` shows all prunings side by side. `targets`
    replace the default ones. `made_on` and `suite_option` are testbed and suite as the user named them, possibly as
    files; messages use them. The columns of plug-in suites and metrics are read from the records. `choice` selects rows
    by method and source.

    Raises:
        DataError: there is no record to show.
        UsageError: no row is of a method in `choice`.
        RecordError: rows were sampled with different samplers.
    """
    entries = list(entries)
    all_records = [record for record, _ in entries]
    suites, suite_entries = of_suite(entries, testbed, suite)
    # Models without a record of the suite have no row, except for `artists` and `coco`, which form one table.
    needs_suite = suite not in ("artists", "coco")
    has_targets = not forgets_explicit(suite, (record for record, _ in suite_entries))
    brought = brought_targets(suite, (record for record, _ in suite_entries))
    usual_targets = frozenset(targets or brought or default_targets(testbed)) if has_targets else frozenset()
    shown_entries = suite_entries
    if not everything:
        current_entries = current(suite_entries)
        shown_entries = [
            entry for entry in current_entries if is_usual(entry[0], usual_targets, current_entries, pruning)
        ]
    suite_records = [record for record, _ in shown_entries if not needs_suite or record.suite == suite]
    if not any(record.method != "base" or not pruning for record in suite_records):
        options = "" if testbed == "mini" else f" --testbed {shlex.quote(made_on or testbed)}"
        options += f" --pruning {shlex.quote(pruning)}" if pruning not in ("", ALL_PRUNINGS) else ""
        options += f" --targets {shlex.quote(','.join(targets))}" if targets else ""
        command = f"`bench run --method bilevel --suite {shlex.quote(suite_option or suite)}{options}`"
        hidden_note = f" ({len(suite_entries)} with other settings: add --all)" if suite_entries else ""
        raise DataError(
            f"There are no records of suite '{suite}' on testbed '{testbed}'{hidden_note}; {command} makes them."
        )
    check_one_sampler(record for record, _ in shown_entries)
    pairs = joined(without_repeats(shown_entries), suites)
    if needs_suite:
        pairs = [(group, source) for group, source in pairs if group[0].suite == suite]
    pairs = choice.of(pairs)
    records = [record for group, _ in pairs for record in group]
    wanted_columns = table1_columns([*suites, "cost"], long)
    own_columns = declared(records, [column.key for column in wanted_columns])
    if suite not in BUILT_IN and not any(column.suite == suite for column in own_columns):
        own_columns += undeclared(suite, records)
    wanted_columns += [column for column in own_columns if long or not column.section]
    if suite not in BUILT_IN:  # its own columns come first
        wanted_columns.sort(key=lambda column: suites.index(column.suite) if column.suite in suites else len(suites))
    wanted_columns += unlisted(records, [*wanted_columns, *own_columns]) if long else []
    columns = [split_column for column in by_section(wanted_columns) for split_column in split(column, records)]
    quoted = published() if paper and suite in BUILT_IN and suite not in EXPLICIT else None
    values_by_method = quotes(quoted, 1)
    # The paper has one row per method, which is quoted in the first row of that method here.
    first_records = {group[0].method: group[0] for group, _ in reversed(pairs)}
    rows = []
    for group, source in pairs:
        quoted_values = values_by_method.get(group[0].method, {}) if first_records[group[0].method] is group[0] else {}
        label = _label(group[0], usual_targets) + _label_reference(group[0], records) + _label_inputs(group[0], records)
        cells = _cells(group, columns, quoted_values)
        rows.append(Row(label, source, group[0], cells, (tuple(group),), check_contents(group, all_records)))
    rows = told_apart(rows, records)
    filled_keys = {key for row in rows for key in row.cells}
    columns = [c for c in columns if c.key in filled_keys or not (c.section or stands_beside_paper(c))]
    shown_methods = {row.record.method for row in rows}
    reference_notes = _reference_notes(rows, columns)
    notes = reference_notes + _notes(rows, choice.count(suite_entries) - choice.count(shown_entries))
    notes += note_single_colour([(row.label, group) for row, (group, _) in zip(rows, pairs, strict=True)])
    if any(_label_inputs(row.record, records) for row in rows):
        text = (
            "Rows with different inputs (the testbed's weights and data, the suite's prompts) cannot be compared with "
            "each other."
        )
        notes.append(Note(text, "Rows with different inputs cannot be compared.", 0))
    return Table(
        number=1,
        testbed=testbed,
        suite=suite,
        columns=columns,
        rows=rows,
        notes=notes,
        reference_notes=frozenset(reference_notes),
        paper=quoted,
        paper_only={
            method: cells
            for method, cells in values_by_method.items()
            if method not in shown_methods and method in (choice.methods or (method,))
        },
    )


def _label(record: Record, usual_targets: frozenset[str]) -> str:
    """Return the record's label, extended by every unusual setting that the label does not name."""
    parts = [record.preset, short_variant(record), record.solver or ""] if record.method != "base" else []
    parts = [part for part in parts if part not in ("", "default", "alternating")]
    has_macs = record.method != "base" and not record.own_sampler
    if has_macs and (record.pruning, record.macs) != (RunRequest.pruning, RunRequest.macs):
        parts += filter(None, [pruning_label(record)])
    if usual_targets and targets_of(record) and targets_of(record) != usual_targets:
        parts.append(", ".join(sorted(targets_of(record))))
    if record.data == "all-but-targets":
        parts.append(record.data)
    parts += budget_words(record)
    label = short_label(record)
    return " · ".join([label, *(part for part in parts if part not in label)])


def _label_reference(record: Record, shown: Sequence[Record]) -> str:
    """Name the distilled model that a base is compared with, if several prunings are shown: CP and CSD depend on it."""
    pruned = [r for r in shown if r.method != "base" and r.pruning != BROUGHT]
    if record.method != "base" or len({(r.pruning, r.macs) for r in pruned}) < 2:
        return ""
    own = {(r.pruning, r.macs): r for r in pruned if r.reference_key == record.reference_key}
    names = [pruning_label(own[setting]) for setting in sorted(own)]
    return " · against " + " or ".join(names) if names else ""


def _label_inputs(record: Record, shown: Sequence[Record]) -> str:
    """Return a label of the record's inputs, if the shown records have different ones, for example after a rebuild."""
    checksums = {_inputs_checksum(r) for r in shown if r.world and r.suite == record.suite}
    return f" · inputs {_inputs_checksum(record)}" if len(checksums) > 1 and record.world else ""


def _inputs_checksum(record: Record) -> str:
    """Return a short checksum of everything that `world` holds: weights, data, prompts."""
    return hashlib.sha256(json.dumps(record.world, sort_keys=True).encode()).hexdigest()[:8]


def _cells(group: Sequence[Record], columns: Sequence[Column], quoted_values: dict[str, float]) -> dict[str, Figure]:
    """Return the values of one row by column key, without columns that have no value."""
    by_suite = {record.suite: record for record in group}
    cells: dict[str, Figure] = {}
    for column in columns:
        figure = _cost(group[0], column.cell) if column.suite == "cost" else None
        if record := by_suite.get(column.suite):
            figure = _figure(record, column)
        if figure:
            cells[column.key] = replace(figure, paper=quoted_values.get(column.key.partition("[")[0]))
    return cells


def _figure(record: Record, column: Column) -> Figure | None:
    for name, cell in named(record).items():
        if name.partition("[")[0] == column.cell and column.back_end in ("", cell.back_end):
            return Figure(cell.value, cell.n, cell.of, cell.unit, cell.back_end, cell.ci)
    if figure := derived(record, column.cell):
        return Figure(figure.value, figure.n, figure.n, figure.unit, figure.back_end)
    return _top_destination(record) if column.cell == "top_destination" else None


def _top_destination(record: Record) -> Figure | None:
    """Return the largest share of a target's images that show one other artist's style: a swap is not forgetting."""
    cells_by_move: dict[str, Cell] = {}
    for name, cell in record.cells.items():
        target, _, style = name.removeprefix(DESTINATION).partition("/")
        if name.startswith(DESTINATION) and style not in ("plain", target) and cell.value is not None:
            cells_by_move[f"{target} → {style}"] = cell
    if not cells_by_move:
        return None
    move, cell = max(cells_by_move.items(), key=lambda item: item[1].value or 0.0)
    return Figure(cell.value, cell.n, cell.of, cell.unit, cell.back_end, cell.ci, name=move if cell.value else "none")


def _cost(record: Record, quantity: str) -> Figure | None:
    if quantity == "choosing":  # missing from older records, and for the base, which is not pruned
        pruning_flops = record.counted.get("spent")
        return Figure(float(pruning_flops), unit="FLOPs") if isinstance(pruning_flops, int | float) else None
    if not record.ledger:
        return None
    total = Ledger.from_json(record.ledger).total()
    value = {"flops": total.flops, "iterations": total.iterations, "seconds": total.wall_seconds}[quantity]
    return Figure(float(value), unit={"flops": "FLOPs", "seconds": "s"}.get(quantity, ""))


def _reference_notes(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Return notes on the reference model of the rows; none if no column is relative to it."""
    headers = {column.header.partition("[")[0]: None for column in columns if compares_with_reference(column)}
    if not headers:
        return []
    names = "Resilience" if rows[0].record.suite in EXPLICIT else " and ".join(headers)
    references = sorted({row.record.reference for row in rows})
    notes = [f"{names} {'are' if len(headers) > 1 else 'is'} relative to: {' or '.join(references)}."]
    pruned = [row.record for row in rows if row.record.method != "base" and row.record.pruning != BROUGHT]
    if len({(record.pruning, record.macs) for record in pruned}) > 1:
        text = f"Each pruning has its own reference model: {names} cannot be compared between prunings."
        notes.append(Note(text, f"Each pruning has its own reference for {names}.", 0))
    if len(references) > 1:
        by = [f"{row.label} ({row.record.reference})" for row in rows]
        text = f"The reference differs, so {names} cannot be compared between rows: {', '.join(by)}."
        notes.append(Note(text, f"Rows have different references for {names}.", 0))
    return notes


def _notes(rows: Sequence[Row], hidden: int) -> list[str]:
    notes = note_own_sampler([(row.label, row.record) for row in rows])
    short = [  # except probes: those for which the base model does not show the style are left out
        row.label
        for row in rows
        if any((c.n or 0) < (c.of or 0) for key, c in row.cells.items() if not key.startswith("probe_style"))
    ]
    if short:
        text = f"Not all images were scored in: {', '.join(short)}."
        brief = f"Not all images were scored in {len(short)} rows (yellow n)."
        notes.append(Note(text, min(text, brief, key=len) if len(short) > 1 else text, 0))
    if hidden:
        more = "1 more record has" if hidden == 1 else f"{hidden} more records have"
        text = f"{more} a different budget, pruning, precision, method version or targets: --all shows them."
        notes.append(Note(text, f"{hidden} more record{'s' * (hidden > 1)} with other settings: --all.", 2))
    return notes
