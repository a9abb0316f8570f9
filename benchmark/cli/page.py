"""`bench page`: updates the tables of a Markdown page by running the commands that are written above them.

A block begins with `<!-- bench table ... -->` (or `compare`, or `study`) and ends with `<!-- end -->`. Its content is
replaced by the command's output in Markdown, so no number on a page is typed by hand, and each can be reproduced.
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
    file: Annotated[Path, typer.Argument(help="Markdown file whose tables are replaced.")],
) -> None:
    """Update the result tables inside a Markdown file.

    A table stands between a comment with the command that prints it, such as `<!-- bench table --paper -->`, and the
    comment `<!-- end -->`. Each command is run again, and its output replaces the old table. The commands `table`,
    `compare` and `study` can be used.

    \b
    Examples:
      bench page results/mini/README.md
    """

    count = fill(file, _printed(ctx.find_root().command))
    print(f"{count} table{'s' * (count != 1)} updated in {file}")


BLOCK = re.compile(r"<!-- bench (?P<command>[^\r\n]*?) -->(?P<end>\r\n|\n|\r)(?P<content>.*?)<!-- end -->", re.DOTALL)
_BEGIN = re.compile(r"^<!-- bench [^\r\n]*?-->", re.MULTILINE)
MAKERS = ("table", "compare", "study")


def blocks(page: str) -> list[str]:
    """Return the commands of a page, in order, as they are written there."""
    return [match["command"] for match in BLOCK.finditer(page)]


def filled(page: str, printed: Callable[[list[str]], str]) -> str:
    """Return the page with the content of every block replaced; each block keeps its style of line ends.

    Raises:
        UsageError: a block's command is not `table`, `compare` or `study`, or fails.
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
    """Update a page in place and return how many blocks it has.

    Raises:
        DataError: the page cannot be read, has no block, or a block has no end.
    """
    refuse_unreadable(path)
    try:
        page = path.read_bytes().decode("utf-8")  # read_text would change line ends
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or f"it is not UTF-8, {error}"
        raise DataError(f"Cannot read {path} ({reason}): give the path of a Markdown file.") from error
    _check_ends(path, page)
    if not (count := len(blocks(page))):
        raise DataError(
            f"{path} has no block to update: write `<!-- bench table -->` and `<!-- end -->` where a "
            f"table should appear."
        )
    outputs.check_file(path, "The page")
    durable.write_bytes(path.resolve(), filled(page, printed).encode())  # writes through a link instead of replacing it
    return count


def _check_ends(path: Path, page: str) -> None:
    """Raise DataError if a block has no end, because the text below it would be replaced as well."""
    unended = [
        f"<!-- bench {match['command']} -->" for match in BLOCK.finditer(page) if _BEGIN.search(match["content"])
    ]
    unended += _BEGIN.findall(BLOCK.sub("", page))
    if unended:
        raise DataError(f"{path} has no `<!-- end -->` for its block `{unended[0]}`: add it below the table.")


def _printed_table(command: str, printed: Callable[[list[str]], str]) -> str:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"`bench {command}` cannot be parsed ({error}): close its quotes.") from error
    if not words or words[0] not in MAKERS:
        raise UsageError(f"`bench {command}` prints no table for a page: use {', '.join(MAKERS)}.")
    if "--help" in words:
        raise UsageError(f"`bench {command}` prints no table: leave --help out.")
    if any(word.partition("=")[0] == "--format" for word in words):
        raise UsageError(f"`bench {command}` cannot be used: a page is always Markdown, so leave --format out.")
    try:
        return printed([*words, "--format", "markdown"])
    except SystemExit:
        raise UsageError(f"`bench {command}` failed, see above: the page was not changed.") from None


def _printed(bench: Any) -> Callable[[list[str]], str]:
    """Return a function that runs `bench` with some words and returns its output; SystemExit if the command fails."""

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
