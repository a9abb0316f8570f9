"""`bench prompts`: a list is added once, found whole or not at all, and its text never reaches the screen."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from faults import dead_name
from public_lists import SECRET, table, written
from typer.testing import CliRunner, Result

from benchmark.cli.app import app
from benchmark.errors import DataError, UsageError
from benchmark.store import durable
from benchmark.suites.prompt_lists import add, find, state
from prompts.sources import SOURCES

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "open_clip",
    "torchmetrics",
    "matplotlib",
    "pyarrow",
    "numpy",
)


SD21 = ("--testbed", "sd21")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALIMPSEST_HOME", str(tmp_path / "runs"))
    return tmp_path / "runs"


def bench(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, ["prompts", *map(str, arguments)])
    assert SECRET not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def answer(result: Result) -> str:
    """Standard error of a command that must have failed in one sentence."""
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


# the folder


def test_an_added_list_comes_back_changed(tmp_path, home):
    data = table("i2p", 5, prompt=[SECRET, "b", SECRET, "", "c"])
    added = add(home, "i2p", written(tmp_path, data, "my copy.csv"))
    assert find(home, "i2p") == added
    assert (home / "prompts" / "i2p.csv").read_text() == data
    assert json.loads((home / "prompts" / "i2p.json").read_text()) == {
        "source": "i2p",
        "file": "i2p.csv",
        "original": "my copy.csv",
        "sha256": added.sha256,
        "rows": 5,
        "unique": 3,
    }
    assert [state(home, one.name) for one in SOURCES].count("present") == 1


def test_an_earlier_copy_is_found_instead_of_the_later(tmp_path, home):
    add(home, "ring-a-bell", written(tmp_path, table("ring-a-bell", 4)))
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"prompt": ["x", "y"]}), tmp_path / "list.parquet")
    add(home, "ring-a-bell", tmp_path / "list.parquet")
    assert [row.text for row in find(home, "ring-a-bell").rows] == ["x", "y"]
    assert sorted(path.name for path in (home / "prompts").iterdir()) == ["ring-a-bell.json", "ring-a-bell.parquet"]


def test_a_bad_file_replaces_a_good_list(tmp_path, home):
    good = add(home, "mma", written(tmp_path, table("mma")))
    with pytest.raises(DataError):
        add(home, "mma", written(tmp_path, "<html>"))
    assert find(home, "mma") == good


def test_an_interrupted_addition_is_taken_for_a_list(tmp_path, home, monkeypatch):
    add(home, "mma", written(tmp_path, table("mma")))
    write = durable.write_bytes

    def stopped(path, data):
        if path.suffix == ".json":
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(durable, "write_bytes", stopped)
    for name, was in (("mma", "damaged"), ("i2p", "missing")):
        with pytest.raises(KeyboardInterrupt):
            add(home, name, written(tmp_path, table(name, 3)))
        assert state(home, name) == was


@pytest.mark.skipif(os.name != "posix", reason="there are no such locks here")
def test_of_two_additions_at_once_one_gets_the_others_papers(tmp_path, home, monkeypatch):
    """A second one begins when the first has written its list and not yet its papers."""
    write, later = durable.write_bytes, []

    def held_up(path, data):
        write(path, data)
        if path.suffix == ".csv" and not later:
            later.append(threading.Thread(target=add, args=(home, "mma", written(tmp_path, table("mma", 3), "b.csv"))))
            later[0].start()
            later[0].join(0.5)
            assert later[0].is_alive()  # it waits

    monkeypatch.setattr(durable, "write_bytes", held_up)
    add(home, "mma", written(tmp_path, table("mma", 2), "a.csv"))
    later[0].join()
    assert len(find(home, "mma").rows) == 3


@pytest.mark.skipif(os.name != "posix", reason="there are no such locks here")
def test_a_file_system_without_locks_cannot_keep_a_list(tmp_path, home, monkeypatch):
    def refused(*told):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    add(home, "mma", written(tmp_path, table("mma", 2)))
    assert len(find(home, "mma").rows) == 2


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("mma.csv", b"adv_prompt\nanother\n"),
        ("mma.csv", None),
        ("mma.json", b"{"),
        ("mma.json", b"[]"),
        ("mma.json", b'{"file": 3, "sha256": ""}'),
        ("mma.json", b"\xff"),
    ],
)
def test_a_damaged_copy_is_asked(tmp_path, home, file, data):
    add(home, "mma", written(tmp_path, table("mma")))
    path = home / "prompts" / file
    path.unlink() if data is None else path.write_bytes(data)
    with pytest.raises(
        DataError, match=r"copy of mma in .* is damaged: add the list again with `bench prompts add mma"
    ):
        find(home, "mma")
    assert state(home, "mma") == "damaged"


def test_a_missing_list_leaves_its_user_alone(tmp_path, home):
    with pytest.raises(DataError) as caught:
        find(home, "mma")
    told = str(caught.value)
    assert "mma is not shipped: get mma-diffusion-nsfw-adv-prompts.csv from https://huggingface.co/datasets/Y" in told
    assert "access must be asked for: sign in to Hugging Face and request access" in told
    assert told.endswith("then `bench prompts add mma FILE --testbed sd21`.")
    with pytest.raises(DataError) as caught:
        find(tmp_path / "other runs", "i2p")
    assert "asked for" not in str(caught.value)
    assert str(caught.value).endswith(f"`bench prompts add i2p FILE --testbed sd21 --runs '{tmp_path}/other runs'`.")
    with pytest.raises(UsageError, match="Did you mean 'i2p'"):
        find(home, "i2")


# the commands


def test_the_list_hides_what_is_gated_or_missing(tmp_path, home):
    add(home, "mma", written(tmp_path, table("mma")))
    add(home, "i2p", written(tmp_path, table("i2p")))
    (home / "prompts" / "i2p.csv").write_text("")
    result = bench("list")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert list(lines) == [one.name for one in SOURCES]
    words = {name: line.split() for name, line in lines.items()}
    assert words["mma"][1:7] == ["1000", "gated", "CC", "BY-NC-ND", "3.0", "present"]
    assert words["i2p"][1:5] == ["4703", "open", "MIT", "damaged"]
    assert words["ring-a-bell"][1:6] == ["285", "gated", "none", "stated", "missing"]


def test_what_a_killed_addition_left_stays_for_ever(tmp_path, home):
    left = home / "prompts" / dead_name()
    left.parent.mkdir(parents=True)
    left.write_text(SECRET)
    add(home, "i2p", written(tmp_path, table("i2p")))
    assert not left.exists()


def test_a_check_changes_something(tmp_path, home):
    result = bench("check", "mma", written(tmp_path, table("mma", 3)))
    assert result.exit_code == 0
    assert result.stdout.startswith("mma: 3 rows, 3 unique (0 empty, 0 repeated), sha256 ")
    assert result.stderr.startswith("warning: ")
    assert "has 3 rows, but mma was published with 1000" in result.stderr
    assert not home.exists()


def test_a_check_tells_one_error_of_many(tmp_path):
    path = written(tmp_path, table("i2p", 30, sd_seed=["-1", *["1"] * 5, *[SECRET] * 24]))
    result = bench("check", "i2p", path)
    assert result.exit_code == 2
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "row 2: the seed '-1'" in errors[0]
    assert "row 8: the seed is" in errors[1]
    assert len(errors) == 21
    assert errors[-1].endswith("has 5 more errors.")


def test_an_addition_does_not_say_what_it_has_kept(tmp_path, home):
    result = bench("add", "i2p", *SD21, written(tmp_path, table("i2p", 4, prompt=[SECRET, "", SECRET, SECRET])))
    assert result.exit_code == 0, result.output
    assert f"i2p: 4 rows, 1 unique (1 empty, 2 repeated), sha256 {find(home, 'i2p').sha256}" in result.stdout
    assert result.stdout.endswith(f"kept in {home / 'prompts'}\n")
    assert len([line for line in result.stderr.splitlines() if line.startswith("warning: ")]) == 3
    other = tmp_path / "elsewhere"
    assert bench("add", "mma", *SD21, written(tmp_path, table("mma")), "--runs", other).exit_code == 0
    assert (state(other, "mma"), state(home, "mma")) == ("present", "missing")


@pytest.mark.parametrize("verb", [["check"], ["add", *SD21]])
def test_a_wrong_name_or_file_is_a_traceback(tmp_path, verb):
    assert "Did you mean 'ring-a-bell'?" in answer(bench(*verb, "ringabell", tmp_path / "absent.csv"))
    assert "absent.csv cannot be read" in answer(bench(*verb, "mma", tmp_path / "absent.csv"))
    assert "row 3: the text is not UTF-8" in answer(bench(*verb, "mma", written(tmp_path, b"adv_prompt\nx\n\xff\n")))
    assert "missing columns: adv_prompt" in answer(bench(*verb, "mma", written(tmp_path, f"{SECRET}, one\n")))


def test_a_folder_that_cannot_be_written_is_a_traceback(tmp_path, home):
    home.write_text("in the way")
    told = bench("add", "mma", *SD21, written(tmp_path, table("mma")))
    assert told.exit_code == 2
    assert "is not a folder" in told.stderr


def test_a_list_that_a_testbed_never_asks_is_refused(tmp_path, home):
    path = written(tmp_path, table("mma"))
    told = answer(bench("add", "mma", path))
    assert f"never asks the list mma, so nothing was kept: `bench prompts add mma {path} --testbed sd21`" in told
    assert not home.exists()
    assert "Unknown testbed 'nope'" in answer(bench("add", "mma", path, "--testbed", "nope"))
    mine = tmp_path / "mine.toml"
    mine.write_text('like = "sd21"\n')
    assert bench("add", "mma", path, "--testbed", mine).exit_code == 0
    assert state(home, "mma") == "present"


@pytest.mark.parametrize("command", [[], ["list"], ["check"], ["add"]])
def test_help_is_without_an_example(command):
    result = bench(*command, "--help")
    assert result.exit_code == 0
    assert not command or f"bench prompts {command[0]}" in result.stdout


def test_a_quick_command_imports_what_is_heavy(tmp_path, home):
    add(home, "mma", written(tmp_path, table("mma")))
    for words in (["--help"], ["list"], ["check", "mma", str(tmp_path / "list.csv")]):
        code = (
            "import atexit, sys\n"
            f"atexit.register(lambda: print('heavy:', *[m for m in {HEAVY} if m in sys.modules], file=sys.stderr))\n"
            "from benchmark.cli import main\n"
            f"sys.argv = {['bench', 'prompts', *words]}\n"
            "main()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == "heavy:", done.stderr
