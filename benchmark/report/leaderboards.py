"""Leaderboards of a report: the rows and values of `bench table`, formatted for a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from benchmark.api.request import RunRequest
from benchmark.errors import DataError
from benchmark.records.record import BROUGHT
from benchmark.report.contents import Contents, Run
from benchmark.tables.columns import Column
from benchmark.tables.contents import MARK
from benchmark.tables.over_seeds import groups_of, over_seeds
from benchmark.tables.render import MARKS, MEANINGS, count_text, header, interval_text, notes_of, title, value_text
from benchmark.tables.select import ALL_PRUNINGS, targets_of
from benchmark.tables.table import Figure, Row, Table
from benchmark.tables.table1_styles import table
from benchmark.tables.table2_3_explicit import ATTACKS, table2

LEADING = ("target_style", "content_target", "flops", "iterations", "seconds")
"""Columns of `bench table --long` that a leaderboard shows beside those of the default view."""
COST = "Cost"


@dataclass(frozen=True)
class Value:
    """The text of one cell, and the number to sort it by."""

    text: str
    interval: str
    count: str
    detail: str
    number: float | None
    is_partial: bool
    """Whether some pictures were not scored."""


@dataclass(frozen=True)
class Heading:
    """The heading of a column; `better` is "higher", "lower" or empty."""

    text: str
    better: str


@dataclass(frozen=True)
class Line:
    """One row: a model, or the mean of several training seeds of it."""

    label: str
    mark: str
    meaning: str
    runs: list[Run]
    values: list[Value | None]
    commands: str
    """The commands that make its values, one per line."""
    footnote: str
    """Mark of a row whose images lost contents, or empty. A marked row stays last, however rows are sorted."""


@dataclass(frozen=True)
class Grid:
    """A table of the page. Its `id` is unique: ids of parts have a colon, which names of suites cannot have."""

    id: str
    caption: str
    headings: list[Heading]
    lines: list[Line]


@dataclass(frozen=True)
class Leaderboard:
    """A leaderboard with its details: further columns, and each training seed on a row of its own."""

    id: str
    title: str
    suite: str
    command: str
    notes: list[str]
    main: Grid
    details: list[tuple[str, list[Grid]]]
    is_default: bool
    """Whether it shows the suite's default targets and pruning."""
    table: Table
    """The rows before training seeds are averaged, for plots and pictures."""


def leaderboards(contents: Contents, warn: Callable[[str], None]) -> list[Leaderboard]:
    """Return the leaderboards of all suites: one for each set of targets, one for all prunings, and Table 2.

    A leaderboard without a record of the default settings is left out, with a warning.

    Raises:
        DataError: there is no leaderboard.
    """
    boards: list[Leaderboard] = []
    refusals: list[DataError] = []
    for build in _views(contents):
        try:
            boards.append(build())
        except DataError as error:
            refusals.append(error)
    if not boards:
        raise refusals[0] if refusals else DataError(
            f"There are no records of testbed '{contents.testbed}' to report: create some with `bench run --method "
            "bilevel --suite artists`, or name their folder with --records."
        )  # fmt: skip
    for refusal in refusals:
        warn(str(refusal))
    return boards


def _views(contents: Contents) -> list[Callable[[], Leaderboard]]:
    views: list[Callable[[], Leaderboard]] = []
    for suite in contents.suites:
        targets = _other_targets(contents) if suite == "artists" and not contents.everything else []
        prunings = [ALL_PRUNINGS] if _has_other_prunings(contents, suite) and not contents.everything else []
        choices: list[tuple[tuple[str, ...], str]] = [((), ""), *((names, "") for names in targets)]
        choices += [((), pruning) for pruning in prunings]
        views += [
            partial(_leaderboard, contents, suite, f"board-{suite}-{number}", *choice)
            for number, choice in enumerate(choices)
        ]
    if any(suite in contents.suites for suite in ATTACKS):
        views.append(partial(_attacks, contents))
    return views


def _other_targets(contents: Contents) -> list[tuple[str, ...]]:
    """Return the sets of artists, other than the default one, that models of suite `artists` forgot."""
    names: dict[frozenset[str], tuple[str, ...]] = {}
    for record, _ in contents.entries:
        targets = record.concept.get("targets")
        if record.suite == "artists" and record.method != "base" and isinstance(targets, list):
            names[targets_of(record)] = tuple(map(str, targets))
    return sorted(listed for key, listed in names.items() if listed and key != frozenset(contents.usual_targets))


def _has_other_prunings(contents: Contents, suite: str) -> bool:
    usual = (RunRequest.pruning, RunRequest.macs)
    return any(
        record.suite == suite and record.method != "base" and record.pruning != BROUGHT
        and (record.pruning, record.macs) != usual
        for record, _ in contents.entries
    )  # fmt: skip


def _leaderboard(contents: Contents, suite: str, name: str, targets: tuple[str, ...], pruning: str) -> Leaderboard:
    whole = table(
        contents.entries, contents.testbed, suite, long=True, everything=contents.everything, targets=targets,
        pruning=pruning,
    )  # fmt: skip
    words = ["table", "--suite", suite, "--long", "--over-seeds"]
    words += ["--targets", ",".join(targets)] if targets else []
    words += ["--pruning", pruning] if pruning else []
    words += ["--all"] if contents.everything else []
    view = ", ".join(targets) or (f"{pruning} prunings" if pruning else "")
    heading = f"{suite}: {view}" if view else suite
    return _with_details(contents, whole, name, heading, contents.command(words), is_default=not view)


def _attacks(contents: Contents) -> Leaderboard:
    whole = table2(contents.entries, contents.testbed, paper=False)
    command = contents.command(["table", "2", "--over-seeds"])
    return _with_details(contents, whole, "board-attacks", "attacks (Table 2 of the paper)", command)


def _with_details(
    contents: Contents, whole: Table, name: str, heading: str, command: str, is_default: bool = False
) -> Leaderboard:
    """Split the columns of a table into those of the leaderboard and further sections, and its rows into seeds."""
    means, (groups, _) = over_seeds(whole), groups_of(whole.rows)
    suites = ATTACKS if whole.number == 2 else (whole.suite,)
    leading = [column for column in whole.columns if not column.section or column.key in LEADING]
    leading.sort(key=lambda column: (column.section == COST, bool(column.section)))
    sections = [
        (section, list(columns))
        for section, columns in groupby(whole.columns, key=lambda column: column.section)
        if section
    ]
    grids = [
        _grid(contents, f"{name}:{number}", section, columns, means.rows, groups, suites)
        for number, (section, columns) in enumerate(sections)
    ]
    details = [("All columns", grids)] if grids else []
    if len(means.rows) < len(whole.rows):
        seeds = [[row] for row in whole.rows]
        each_seed = _grid(contents, f"{name}:seeds", "Each training seed", leading, whole.rows, seeds, suites)
        details.append(("Each training seed", [each_seed]))
    main = _grid(contents, f"{name}:main", title(means), leading, means.rows, groups, suites)
    return Leaderboard(name, heading, whole.suite, command, notes_of(means), main, details, is_default, whole)


def _grid(
    contents: Contents,
    name: str,
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Row],
    groups: Sequence[Sequence[Row]],
    suites: Sequence[str],
) -> Grid:
    shown = [column for column in columns if any(column.key in row.cells for row in rows)]
    lines = []
    for row, group in sorted(zip(rows, groups, strict=True), key=lambda pair: pair[0].lost_contents):
        runs = [contents.run_of(member.record) for member in group]
        values = [_value(row.cells[column.key], column) if column.key in row.cells else None for column in shown]
        commands = dict.fromkeys(command.text for run in runs for command in run.commands_for(suites))
        footnote = MARK if row.lost_contents else ""
        lines.append(
            Line(row.label, MARKS[row.source], MEANINGS[row.source], runs, values, "\n".join(commands), footnote)
        )
    better = {True: "higher", False: "lower", None: ""}
    headings = [Heading(header(replace(column, better=None)), better[column.better]) for column in shown]
    return Grid(name, caption, headings, lines)


def _value(figure: Figure, column: Column) -> Value:
    text, interval = value_text(figure, column), interval_text(figure, column)
    return Value(
        text,
        "" if figure.n is None and interval == f"{text}…{text}" else interval,  # a cost that all seeds share
        count_text(figure) if figure.n is not None else "",
        figure.name,
        figure.value,
        figure.n != figure.of,
    )
