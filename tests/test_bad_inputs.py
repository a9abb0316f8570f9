"""Mistakes at the command line: each is refused in one sentence, before any work, and changes no file.

The cases are in `bad_inputs.txt`: at least 100, and some for every command that `bench --help` lists.
"""

import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import write_files, write_runs
from typer.main import get_command

from benchmark.cli.app import COMMANDS, app

LINES = [
    line
    for line in Path(__file__).with_name("bad_inputs.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
CASES = list(zip(LINES[::2], LINES[1::2], strict=True))
COMMAND: Any = get_command(app)  # built once, which saves most of the time


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files of the cases, which no case may change."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name in ("files", "runs", "work"):
        (folder / name).mkdir()
    write_files(folder / "files")
    write_runs(folder / "runs")
    return folder


def contents(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return size and time of change of every file, and the names of all folders."""
    return {
        path: (status.st_size, status.st_mtime_ns) if path.is_file() else (0, 0)
        for path in folder.rglob("*")
        if (status := path.lstat())
    }


@pytest.mark.parametrize(("words", "sentence"), CASES, ids=[words for words, _ in CASES])
def test_mistake_is_refused_in_one_sentence_before_any_work(
    words: str, sentence: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ("PALIMPSEST_HOME", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(root / "work")
    places = {"{d}": str(root / "files"), "{r}": str(root / "runs")}

    def filled(text: str) -> str:
        for mark, place in places.items():
            text = text.replace(mark, place)
        return text

    before = contents(root)
    with pytest.raises(SystemExit) as end:
        COMMAND.main([filled(word) for word in shlex.split(words)], "bench")
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert printed.out == ""
    assert printed.err.startswith(f"error: {filled(sentence.strip())}")
    assert printed.err.count("\n") == 1  # a stage of a run would print a line
    assert printed.err.rstrip().endswith((".", "?", ")"))
    assert contents(root) == before


def test_every_command_has_cases_and_none_is_repeated() -> None:
    commands = {name for group in COMMANDS.values() for name in group}
    assert commands == {words.split()[0] for words, _ in CASES} & commands
    assert len({words for words, _ in CASES}) == len(CASES) >= 100


def test_doctor_reports_a_mistake_with_code_1(root: Path, capsys: pytest.CaptureFixture) -> None:
    """Its code 1 is documented: a check failed."""
    for option, place, sentence in (
        ("--method", "code.py:Nothing", "Unknown class in"),
        ("--method", "syntax.py:X", "cannot be loaded (SyntaxError"),
        ("--concept", "broken.toml", "is not TOML"),
    ):
        began = time.monotonic()
        with pytest.raises(SystemExit) as end:
            COMMAND.main(["doctor", option, str(root / "files" / place)], "bench")
        assert end.value.code == 1
        assert sentence in capsys.readouterr().out
        assert time.monotonic() - began < 60
