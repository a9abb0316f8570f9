"""A full or closed standard output gives one sentence, a closed pipe none, and lost messages stop no work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = f"{sys.executable} -m benchmark"
ROOT = Path(__file__).parents[1]
full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "PYTHONWARNINGS": "ignore", **environment}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=given, cwd=ROOT, timeout=60)


@full
@pytest.mark.parametrize(
    "words",
    ["table", "table --format json", "table --format markdown", "compare bilevel esd", "list methods", "doctor",
     "prompts list", "--help", "run --help", "--version"],
)  # fmt: skip
def test_full_standard_output_gives_one_sentence(words: str) -> None:
    done = shell(f"{BENCH} {words} > /dev/full")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: Standard output cannot be written (no space left on device)")
    assert done.stderr.count("\n") == 1


@full
def test_full_standard_output_gives_one_sentence_without_a_buffer_or_utf8() -> None:
    for line, environment in ((f"{sys.executable} -u -m benchmark list suites", {}), (f"{BENCH} --help", ASCII)):
        done = shell(f"{line} > /dev/full", **environment)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


ASCII = {"PYTHONIOENCODING": "ascii"}


def test_closed_standard_output_gives_one_sentence() -> None:
    done = shell(f"{BENCH} list suites >&-")
    assert done.returncode == 2
    assert done.stderr == "error: Standard output is closed: open it, or redirect it to a file (> out.txt).\n"


def test_closed_pipe_gives_no_message() -> None:
    done = shell(f"{BENCH} table --all --long --format json | head -n 1")
    assert (done.stdout, done.stderr) == ("{\n", "")


@full
@pytest.mark.parametrize("where", ["2> /dev/full", "2>&-"])
def test_unwritable_standard_error_does_not_stop_work(where: str) -> None:
    code = "from benchmark.cli import standard_output as s; import sys; s.refuse_closed(); s.install(); "
    code += "print('lost', file=sys.stderr); print('done')"
    done = shell(f'{sys.executable} -c "{code}" {where}')
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert shell(f"{BENCH} list nothing {where}").returncode == 2
