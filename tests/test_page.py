"""Pages show in their tables what their commands print, and a wrong command leaves a page unchanged."""

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.cli.page import _printed, blocks, fill, filled
from benchmark.errors import DataError, UsageError

printed = _printed(get_command(app))
ROOT = Path(__file__).parents[1]
PAGES = [path for path in sorted((ROOT / "results").rglob("*.md")) if blocks(path.read_text("utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_committed_pages_show_what_their_commands_print(page: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    text = page.read_text("utf-8")
    assert filled(text, printed) == text


def test_committed_pages_read_committed_records_alone() -> None:
    assert ROOT / "results" / "mini" / "README.md" in PAGES
    for page in PAGES:
        assert all("--records results/" in command for command in blocks(page.read_text("utf-8")))


def test_each_block_is_filled_and_the_text_around_it_stays(tmp_path: Path) -> None:
    records = ROOT / "results" / "mini" / "records"
    options = ["table", "--columns", "cp", "--records", str(records)]
    path = tmp_path / "page.md"
    begin = f"<!-- bench {' '.join(options)} -->"
    path.write_text(f"before\n{begin}\nold\n<!-- end -->\nbetween\n{begin}\n<!-- end -->\nafter\n")
    assert fill(path, printed) == 2
    made = CliRunner().invoke(app, [*options, "--format", "markdown"]).stdout.strip()
    block = f"{begin}\n{made}\n<!-- end -->"
    assert path.read_text() == f"before\n{block}\nbetween\n{block}\nafter\n"


@pytest.mark.parametrize(
    "command", ["table --columns nonsense", "table --records nowhere", "run --method esd", "", "table --no"]
)
def test_wrong_command_leaves_the_page_unchanged(command: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "page.md"
    path.write_text(
        text := f"<!-- bench table --columns cp -->\nmine\n<!-- end -->\n<!-- bench {command} -->\n<!-- end -->\n"
    )
    with pytest.raises(UsageError, match=r"^`bench "):
        fill(path, printed)
    assert path.read_text() == text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_a_page_keeps_its_line_ends(end: str, tmp_path: Path) -> None:
    lines = ["before", "<!-- bench table -->", "old", "<!-- end -->", "after", ""]
    path = tmp_path / "page.md"
    path.write_bytes(end.join(lines).encode())
    assert fill(path, lambda words: "a\nb") == 1
    made = [*lines[:2], "a", "b", *lines[3:]]
    assert path.read_bytes() == end.join(made).encode()


def test_a_page_of_mixed_line_ends_changes_in_its_blocks_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\n<!-- bench table -->\r\nold\n<!-- end -->\nthree\r\n")
    fill(path, lambda words: "a\nb")
    made = b"\xef\xbb\xbfone\r\ntwo\n<!-- bench table -->\r\na\r\nb\r\n<!-- end -->\nthree\r\n"
    assert path.read_bytes() == made


@pytest.mark.parametrize("content", [None, b"no block", b"\xff\xfe"])
def test_missing_or_invalid_page_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"page\.md"):
        fill(path, printed)
