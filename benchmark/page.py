"""`bench page`: the tables of a Markdown page, made again by the commands that stand above them.

A block begins with `<!-- bench table ... -->` (or `compare`, or `study`) and ends with `<!-- end -->`; what is between
is what the command prints as Markdown. So no figure of a page is typed, and each says how it is made.
"""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

from benchmark import durable
from benchmark.errors import DataError, UsageError

BLOCK = re.compile(r"<!-- bench (?P<command>[^\n]*?) -->\n(?P<made>.*?)<!-- end -->", re.DOTALL)
MAKERS = ("table", "compare", "study")


def blocks(page: str) -> list[str]:
    """The commands of a page, in their order, as they stand there."""
    return [match["command"] for match in BLOCK.finditer(page)]


def filled(page: str) -> str:
    """The page with every block made anew. UsageError for a command that prints no table, or a wrong one."""
    return BLOCK.sub(lambda match: f"<!-- bench {match['command']} -->\n{_made(match['command'])}\n<!-- end -->", page)


def fill(path: Path) -> int:
    """Fill the page in its place; how many blocks it has. DataError where there is no page, or no block in it."""
    try:
        page = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path} ({error}): give a Markdown page.") from error
    if not (count := len(blocks(page))):
        raise DataError(f"{path} has no block to fill: put `<!-- bench table -->` and `<!-- end -->` around its place.")
    durable.write_bytes(path, filled(page).encode())
    return count


def _made(command: str) -> str:
    from typer.main import get_command

    from benchmark.cli import app

    words = shlex.split(command)
    if not words or words[0] not in MAKERS:
        raise UsageError(f"`bench {command}` makes no table for a page: {', '.join(MAKERS)} do.")
    out = io.StringIO()
    try:
        with redirect_stdout(out):  # what is wrong is told on standard error, by the command itself
            get_command(app).main([*words, "--format", "markdown"], "bench")
    except SystemExit as end:
        if end.code:
            raise UsageError(f"`bench {command}` cannot be made, see above: the page stays as it is.") from None
    return out.getvalue().strip()
