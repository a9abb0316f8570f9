"""Parquet is read in the thread that asks for it: a command that ends soon afterwards leaves no thread behind."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COUNT = """
import os, sys
import numpy, pyarrow.parquet
from prompts.parquet import read_parquet
data = open(sys.argv[1], "rb").read()
before = set(os.listdir("/proc/self/task"))
rows = read_parquet(data).num_rows
print(rows, len(set(os.listdir("/proc/self/task")) - before))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted as Linux shows them")
def test_reading_parquet_starts_no_thread() -> None:
    path = min((ROOT / "results" / "mini" / "records").glob("*.parquet"))
    done = subprocess.run([sys.executable, "-c", COUNT, path], capture_output=True, text=True, cwd=ROOT, timeout=60)
    rows, started_threads = map(int, done.stdout.split())
    assert (rows > 0, started_threads) == (True, 0), done.stderr


def test_all_parquet_is_read_in_one_place() -> None:
    sources = [
        path for package in ("benchmark", "methods", "metrics", "prompts") for path in ROOT.glob(f"{package}/**/*.py")
    ]
    readers = {path.name for path in sources if "pq.read_table" in (text := path.read_text()) or "ParquetFile(" in text}
    assert readers == {"parquet.py"}


def test_command_that_ends_right_after_reading_exits_normally() -> None:
    words = ["table", "2", "--label", "NOPE"]
    commands = [
        subprocess.Popen([sys.executable, "-m", "benchmark", *words], cwd=ROOT, stderr=subprocess.PIPE)
        for _ in range(4)
    ]  # at once, as on a busy machine
    for command in commands:
        _, message = command.communicate(timeout=120)
        assert (command.returncode, message.count(b"\n")) == (2, 1), message
