"""Finds the records that a user names: by the label of a row, a record's file, or the beginning of an id."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import DataError, RecordError, UsageError
from benchmark.records.record import SUFFIX, Record, read_record
from benchmark.tables.columns import BUILT_IN, EXPLICIT
from benchmark.tables.labels import short_label
from benchmark.tables.over_seeds import folded_label, groups_of
from benchmark.tables.select import RESULTS, Found, Source, all_records, same_model, targets_of
from benchmark.tables.table import Row
from benchmark.tables.table1_styles import table

MOST = 6
"""Largest number of candidates that a message lists."""
HALVES = "kept_names=halves"
"""Part of a label that stands for the models that were trained with halves of the kept names."""
_HALF = re.compile(r"kept_names=half:\d")
_ID = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True)
class NamedRow:
    """A row with its records, one per suite, that of the row's suite first."""

    label: str
    source: Source
    records: list[Record]


def find_rows(name: str, testbed: str, suite: str, runs: Path, paths: Sequence[Path] = ()) -> list[NamedRow]:
    """Return the row that `name` stands for; several rows only for a label that stands for an average.

    The user's own records come before committed ones.

    Args:
        name: label of a row of `bench table`, also with --all or --over-seeds; the file of a record; or at least four
            digits of the beginning of a model's key or of the hash in a record's file name.
        testbed: testbed of the row; files and ids are found on every testbed whose records are read.
        suite: suite of the row; empty for any, `artists` first.
        runs: the runs folder.
        paths: files or folders of records to search instead of the committed ones and `runs`.

    Raises:
        UsageError: a record's file does not exist.
        DataError: nothing, or several models, have this name.
        RecordError: a record is damaged.
    """
    if name.endswith(SUFFIX):
        try:
            record = read_record(Path(name).expanduser())
        except FileNotFoundError:
            raise UsageError(f"The record {name} does not exist: name a file that ends in {SUFFIX}.") from None
        beside = all_records(RESULTS / record.testbed / "records", runs, [Path(name).expanduser().parent])
        sources = [source for entry, source in beside if entry.stem == record.stem]
        return [_row(record, sources[0] if sources else "local", short_label(record), beside)]
    entries = all_records(RESULTS / testbed / "records", runs, paths)
    on_testbed = [entry for entry in entries if entry[0].testbed == testbed]
    shown = [entry for entry in on_testbed if suite in ("", entry[0].suite)]
    matching = [(record, source) for record, source in shown if name in (record.label, short_label(record))]
    with_id = [entry for entry in entries if suite in ("", entry[0].suite) and _has_id(entry[0], name)]
    if not matching and with_id:
        return [_only_row(name, _own(with_id), entries)]
    by_suite = {part: _in_table(on_testbed, testbed, part, name) for part in ([suite] if suite else _suites(shown))}
    in_tables = [[_own_entry(row, entries) for row in rows] for rows in by_suite.values() if rows]
    in_tables.sort(key=lambda rows: rows[0][1] == "reference")
    if in_tables:
        return [_row(record, source, label, entries) for record, source, label in in_tables[0]]
    halves = _own([entry for entry in shown if HALVES in name and _HALF.sub(HALVES, short_label(entry[0])) == name])
    if len({(entry[0].suite, short_label(entry[0])) for entry in halves}) == len(halves) > 0:
        halves.sort(key=lambda entry: (entry[0].suite == "coco", entry[0].suite, short_label(entry[0])))
        chosen = [entry for entry in halves if entry[0].suite == halves[0][0].suite]
        return [_row(record, source, short_label(record), entries) for record, source in chosen]
    if not (matching := matching or halves):
        raise _unknown(name, testbed, suite, shown)
    return [_only_row(name, _own(matching), entries)]


def _suites(entries: Sequence[Found]) -> list[str]:
    recorded = {record.suite for record, _ in entries}
    order = ["artists", *EXPLICIT, *sorted(recorded - set(BUILT_IN)), "coco"]
    return [suite for suite in order if suite in recorded]


def _in_table(entries: Sequence[Found], testbed: str, suite: str, name: str) -> list[Row]:
    """Return the rows with this label in the default table of a suite, or else in that of `--all`.

    Rows that have only a record of a different suite, which the table adds, are found in the table of that suite.
    """
    full = [(record, source) for record, source in entries if record.sampler.get("limit") is None]
    for everything in (False, True):
        with suppress(DataError, RecordError):
            rows = [r for r in table(full, testbed, suite, everything=everything).rows if r.record.suite == suite]
            hits = [row for row in rows if row.label == name]
            own = [row for row in hits if row.source != "reference"] or hits
            if len(own) == 1:
                return own
            if averaged := [group for group in groups_of(rows)[0] if len(group) > 1 and folded_label(group) == name]:
                return averaged[0]
            if HALVES in name and (halves := [row for row in rows if _HALF.sub(HALVES, row.label) == name]):
                return [row for row in halves if row.source != "reference"] or halves
    return []


def _own_entry(row: Row, entries: Sequence[Found]) -> tuple[Record, Source, str]:
    """Return record, source and label of a row: the user's record if the row reproduces a committed one."""
    key = (row.record.settings_stem, row.record.model_id)
    local = [r for r, source in entries if source == "local" and (r.settings_stem, r.model_id) == key]
    if row.source == "both" and local:
        return local[0], "both", row.label
    # A row that combines a committed record with a local one of a different suite counts as local in tables.
    return row.record, next(source for record, source in entries if record is row.record), row.label


def _own(entries: Sequence[Found]) -> list[Found]:
    return [entry for entry in entries if entry[1] != "reference"] or list(entries)


def _has_id(record: Record, name: str) -> bool:
    keys = (record.model_key or record.model_id, record.stem.rpartition("-")[2])
    return bool(_ID.fullmatch(name)) and any(key.startswith(name) for key in keys)


def _only_row(name: str, matching: Sequence[Found], entries: Sequence[Found]) -> NamedRow:
    """Return the row of all matching records. DataError if they are of several models."""
    first, source = min(matching, key=lambda entry: (entry[0].suite == "coco", entry[0].suite))
    strangers = [(r, s) for r, s in matching if r is not first and (r.suite == first.suite or not same_model(first, r))]
    if strangers:
        candidates = [f"{_described(record)}: {record.stem.rpartition('-')[2]}" for record, _ in matching]
        rest = f" and {len(candidates) - MOST} more" if len(candidates) > MOST else ""
        raise DataError(
            f"'{name}' stands for {len(candidates)} records; name one by the digits of its file name: "
            f"{'; '.join(candidates[:MOST])}{rest}."
        )
    return _row(first, source, short_label(first), entries)


def _described(record: Record) -> str:
    return f"{short_label(record)} on {record.suite} ({', '.join(sorted(targets_of(record)))})"


def _row(record: Record, source: Source, label: str, entries: Sequence[Found]) -> NamedRow:
    """Return the row of a record with the records of its model on other suites, from the same folder if possible."""
    partners: dict[str, Record] = {}
    for partner, _ in sorted(entries, key=lambda entry: entry[0].folder == record.folder):
        is_partner = partner.suite != record.suite and partner.testbed == record.testbed
        if is_partner and same_model(record, partner) and partner.reference_key == record.reference_key:
            partners[partner.suite] = partner
    return NamedRow(label, source, [record, *(partners[suite] for suite in sorted(partners))])


def _unknown(name: str, testbed: str, suite: str, entries: Sequence[Found]) -> DataError:
    labels = sorted({short_label(record) for record, _ in entries})
    close = difflib.get_close_matches(name, labels, n=3, cutoff=0.5)
    where = f"suite '{suite}' on testbed '{testbed}'" if suite else f"testbed '{testbed}'"
    hint = f" Similar labels: {', '.join(close)}." if close else ""
    return DataError(
        f"There is no record of '{name}' in {where}: name a row as `bench table --all` does, the file of a record, or "
        f"the first digits of its id.{hint}"
    )
