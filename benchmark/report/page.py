"""Writes the page of `bench report` from a template."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from benchmark.console import Progress
from benchmark.errors import UsageError
from benchmark.report.contents import Contents
from benchmark.report.leaderboards import Leaderboard, leaderboards
from benchmark.report.picture_grids import PictureGrid, picture_grids
from benchmark.report.plots import Plot, plots
from benchmark.report.run_details import LEDGER, run_details
from benchmark.report.stored_pictures import Embedder
from benchmark.store import durable, outputs
from benchmark.store.reveals import log_reveal

NAME = "index.html"
GENERATOR = "palimpsest report"
"""Value of the page's `generator`, by which a folder is recognised as a report."""
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Section:
    """A leaderboard of the page, with its plots and pictures."""

    board: Leaderboard
    plots: list[Plot]
    grids: list[PictureGrid]
    makes_pictures: str
    """The command that makes pictures for it; empty if it has some, or shows pictures of a different leaderboard."""


def check_folder(folder: Path) -> Path:
    """Check that a report can be written into `folder`, and return it. It may be missing, empty, or an older report.

    Raises:
        UsageError: it is a file, or holds other files.
        StoreError: it cannot be written.
    """
    outputs.check_folder(folder)
    durable.sweep(folder)  # a killed report has left its page there, under a temporary name
    page = folder / NAME
    if folder.is_dir() and any(folder.iterdir()) and not _is_report(page):
        raise UsageError(f"--out {folder} holds files and is not a report: name an empty folder, or a new one.")
    return folder


def _is_report(page: Path) -> bool:
    if not page.is_file():
        return False
    with page.open("rb") as file:
        return f'content="{GENERATOR}"'.encode() in file.read(4096)


def write_report(contents: Contents, folder: Path, progress: Progress) -> Path:
    """Write the page into `folder`, replacing an older one atomically, and return its path.

    If it shows explicit pictures without blur, only its owner can read the folder, and runs/revealed.txt logs it.

    Raises:
        DataError: there is nothing to show.
        RecordError: records cannot be shown in one table.
        StoreError: the page cannot be written.
    """
    embedder = Embedder(contents.reveal)
    text = render(contents, embedder, progress)
    path = folder / NAME
    if embedder.revealed:
        progress.warn("--reveal: the report shows explicit pictures without blur")
        log_reveal(contents.runs, str(path))
        with durable.storing(folder):
            durable.make_folder(folder)
            os.chmod(folder, 0o700)
    with progress.doing("write the page"):
        durable.write_bytes(path, text.encode())
    return path


def render(contents: Contents, embedder: Embedder, progress: Progress) -> str:
    """Return the page. Everything that records contain is escaped, and the page forbids itself all network access."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    with progress.doing("read records into tables"):
        boards = leaderboards(contents, progress.warn)
    sections: list[Section] = []
    done: set[tuple[str, ...]] = set()
    with progress.stage("plots and pictures", len(boards), "leaderboards") as stage:
        for board in boards:
            sections.append(_section(contents, board, embedder, done))
            stage.advance()
    if embedder.damaged:
        progress.warn(
            f"{len(embedder.damaged)} pictures cannot be read and are left out, such as {embedder.damaged[0]}"
        )
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    script, style = ((_TEMPLATES / name).read_text("utf-8") for name in ("script.js", "style.css"))
    with progress.doing("lay out the page"):
        return environment.get_template("page.html").render(
            generator=GENERATOR,
            policy=_policy(script),
            script=Markup(script),  # a file of this package
            style=Markup(style),
            testbed=contents.testbed,
            sections=sections,
            runs=run_details(contents),
            ledger=[heading for _, heading in LEDGER],
            record_count=len(contents.entries),
            newest=_minute(max(str(record.made.get("time", "")) for record, _ in contents.entries)),
            left_out=embedder.left_out,
            command=contents.command(["report"]),
        )


def _section(contents: Contents, board: Leaderboard, embedder: Embedder, done: set[tuple[str, ...]]) -> Section:
    if board.table.number != 1:
        return Section(board, [], [], "")
    grids, has_pictures = picture_grids(contents, board, embedder, done)
    commands = [] if has_pictures else [line.commands for line in board.main.lines if line.commands]
    return Section(board, plots(contents, board), grids, commands[-1].splitlines()[0] if commands else "")


def _minute(time: str) -> str:
    """Shorten a time in UTC: "2026-11-22T06:11:04+00:00" -> "2026-11-22 06:11 UTC"."""
    return f"{time[:16].replace('T', ' ')} UTC" if time else ""


def _policy(script: str) -> str:
    """Return a content security policy that forbids everything but the page's own script, styles and pictures."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
