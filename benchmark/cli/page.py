"""`bench page`: the tables of a Markdown page, made again by the commands that stand above them.

A block begins with `<!-- bench table ... -->` (or `compare`, or `study`) and ends with `<!-- end -->`; what is between
is what the command prints as Markdown. So no figure of a page is typed, and each says how it is made.
"""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.errors import DataError, UsageError
from benchmark.store import durable, outputs
from benchmark.store.listing import refuse_unreadable


def page(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Markdown page; its tables are replaced.")],
) -> None:
    """Make the tables of a Markdown page again.

    Each table is made by the command in the comment above it. A block begins with
    `<!-- bench table ... -->` or `<!-- bench compare ... -->` and ends with `<!-- end -->`.

    \b
    Examples:
      bench page results/mini/README.md
    """

    count = fill(file, _printed(ctx.find_root().command))
    print(f"{count} table{'s' * (count != 1)} filled in {file}")


BLOCK = re.compile(r"<!-- bench (?P<command>[^\r\n]*?) -->(?P<end>\r\n|\n|\r)(?P<made>.*?)<!-- end -->", re.DOTALL)
_BEGIN = re.compile(r"^<!-- bench [^\r\n]*?-->", re.MULTILINE)
MAKERS = ("table", "compare", "study")


def blocks(page: str) -> list[str]:
    """The commands of a page, in their order, as they stand there."""
    return [match["command"] for match in BLOCK.finditer(page)]


def filled(page: str, printed: Callable[[list[str]], str]) -> str:
    """The page with every block made anew, under the line ends that the block has.

    UsageError for a command that prints no table, or a wrong one.
    """

    def block(match: re.Match[str]) -> str:
        lines = [
            f"<!-- bench {match['command']} -->",
            *_printed_table(match["command"], printed).split("\n"),
            "<!-- end -->",
        ]
        return match["end"].join(lines)

    return BLOCK.sub(block, page)


def fill(path: Path, printed: Callable[[list[str]], str]) -> int:
    """Fill the page in its place; how many blocks it has. DataError where there is no page, no block in it, or no end
    of a block."""
    refuse_unreadable(path)
    try:
        page = path.read_bytes().decode("utf-8")  # line ends stay as they are
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path} ({error}): give a Markdown page.") from error
    _check_ends(path, page)
    if not (count := len(blocks(page))):
        raise DataError(f"{path} has no block to fill: put `<!-- bench table -->` and `<!-- end -->` around its place.")
    outputs.check_file(path, "The page")
    durable.write_bytes(path.resolve(), filled(page, printed).encode())  # a link to the page stays one
    return count


def _check_ends(path: Path, page: str) -> None:
    """DataError for a block without its end, which would take what follows it for its table, or stay as it is."""
    unended = [f"<!-- bench {match['command']} -->" for match in BLOCK.finditer(page) if _BEGIN.search(match["made"])]
    unended += _BEGIN.findall(BLOCK.sub("", page))
    if unended:
        raise DataError(f"{path} has no `<!-- end -->` for its block `{unended[0]}`: put it below the table.")


def _printed_table(command: str, printed: Callable[[list[str]], str]) -> str:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"`bench {command}` cannot be read ({error}): close its quotes.") from error
    if not words or words[0] not in MAKERS:
        raise UsageError(f"`bench {command}` makes no table for a page: {', '.join(MAKERS)} do.")
    if "--help" in words:
        raise UsageError(f"`bench {command}` makes no table: leave --help out.")
    if any(word.partition("=")[0] == "--format" for word in words):
        raise UsageError(f"`bench {command}` cannot be made: a page takes Markdown, so leave --format out.")
    try:
        return printed([*words, "--format", "markdown"])
    except SystemExit:
        raise UsageError(f"`bench {command}` cannot be made, see above: the page stays as it is.") from None


def _printed(bench: Any) -> Callable[[list[str]], str]:
    """Return a function that gives what `bench` prints for some words; SystemExit if the command fails."""

    def printed(words: list[str]) -> str:
        out = io.StringIO()
        try:
            with redirect_stdout(out):
                bench.main(words, "bench")
        except SystemExit as end:
            if end.code:
                raise
        return out.getvalue().strip()

    return printed
