"""Plots of a report: those of `bench figure`, as SVG with the plotted numbers in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from benchmark.errors import DataError
from benchmark.figures import explicit, losses, tradeoff
from benchmark.report.contents import Contents
from benchmark.report.inline_svg import inline_svg, styled
from benchmark.report.leaderboards import Leaderboard
from benchmark.tables.columns import EXPLICIT
from benchmark.tables.over_seeds import without_seed
from benchmark.tables.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A plot with the numbers that it shows, for readers who cannot see it."""

    id: str
    title: str
    summary: str
    command: str
    svg: Markup
    header: list[str]
    rows: list[list[str]]


def plots(contents: Contents, board: Leaderboard) -> list[Plot]:
    """Return the plots of a suite's default leaderboard; those that its records cannot fill are left out.

    Leaderboards of suite `artists` get the trade-off, those of explicit suites Figure 7, and both the losses.
    """
    if not board.is_default:
        return []
    shown = []
    makers: list[Callable[[Contents, Leaderboard], Plot]] = [_losses]
    if board.suite == "artists":
        makers.insert(0, _tradeoff)
    if board.suite in EXPLICIT:
        makers.insert(0, _figure7)
    for make in makers:
        try:
            shown.append(make(contents, board))
        except DataError:  # no target styles, no losses, or no base model
            continue
    return shown


def _command(contents: Contents, kind: str, suite: str) -> str:
    """Return the command of a plot."""
    every = ["--all"] if contents.everything and kind != "7" else []
    return contents.command(["figure", kind, "--suite", suite, *every])


def _tradeoff(contents: Contents, board: Leaderboard) -> Plot:
    points = tradeoff.points(board.table)
    with styled():
        figure = tradeoff.draw(board.table)
    header, rows = tradeoff.numbers(points)
    summary = (
        "Each panel shows one kind of damage over the style of the targets that is left (0: forgotten). A line "
        "connects the erasing strengths of one method, a star marks its default strength."
    )
    return _plot(
        f"{board.id}:tradeoff", "Damage against forgetting", summary, _command(contents, "tradeoff", board.suite),
        figure, header, rows,
    )  # fmt: skip


def _losses(contents: Contents, board: Leaderboard) -> Plot:
    with styled():
        figure = losses.draw(board.table)
    summary = (
        "Training losses over the U-Net FLOPs that were spent, on a logarithmic scale. L_ft restores quality, and L_CU "
        "makes the model forget. All training seeds of a method have one colour."
    )
    header = ["model", "loss", "at the beginning", "at the end", "U-Net FLOPs at the end"]
    return _plot(
        f"{board.id}:losses", "Training losses", summary, _command(contents, "losses", board.suite), figure, header,
        _loss_rows(board.table),
    )  # fmt: skip


def _loss_rows(table: Table) -> list[list[object]]:
    rows: list[list[object]] = []
    for row in table.rows:
        for name, (flops, values) in losses.lines(row.record).items():
            smoothed = losses.smooth(values)
            rows.append([row.label, name, f"{smoothed[0]:.4g}", f"{smoothed[-1]:.4g}", f"{flops[-1]:.3g}"])
    return rows


def _figure7(contents: Contents, board: Leaderboard) -> Plot:
    with styled():
        figure, rows = explicit.draw(contents.entries, contents.testbed, board.suite)
    methods = ", ".join(dict.fromkeys(without_seed(str(row[0])) for row in rows))
    summary = (
        f"Left: by how many percent each method ({methods}) generates fewer explicit pictures than the base model, by "
        "label of the detector. Right: the share of pictures that count as explicit, by the detector's threshold."
    )
    return _plot(
        f"{board.id}:figure7", "Figure 7: fewer explicit pictures than the base", summary,
        _command(contents, "7", board.suite), figure, list(explicit.COLUMNS), rows,
    )  # fmt: skip


def _plot(
    name: str,
    title: str,
    summary: str,
    command: str,
    figure: Figure,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
) -> Plot:
    text_rows = [[str(value) for value in row] for row in rows]
    return Plot(name, title, summary, command, inline_svg(figure, name, title), list(header), text_rows)
