"""Trials of the reliability campaign: numbered, seeded, and each written down once with its outcome.

    uv run pytest -m campaign tests/test_reliability_*.py
    uv run python tests/reliability_page.py

The first command carries out all trials that `results/reliability.jsonl` does not have yet for the present code, so it
goes on after a stop. RELIABILITY=FILE names another file. The second writes `results/reliability.md` from the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmark.records import provenance

ROOT = Path(__file__).parents[1]


def results() -> Path:
    """The file of outcomes: one JSON object a line."""
    return Path(os.environ.get("RELIABILITY") or ROOT / "results" / "reliability.jsonl")


@cache
def code() -> str:
    """Checksum of the project's code, without tests."""
    return provenance.code_fingerprint()[:12]


@cache
def _commit() -> str:
    facts = provenance.collect()
    return f"{str(facts['commit'])[:12]}{'+' * bool(facts['modified'])}"


def read(path: Path) -> list[dict[str, Any]]:
    """The outcomes so far; the rest of a line that was cut off by a kill is left out."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


@dataclass
class Trial:
    """One trial. The test adds to `facts` what was done; `rng` makes every choice of it."""

    part: str
    number: int
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        return int(hashlib.sha256(f"{self.part} {self.number}".encode()).hexdigest()[:8], 16)

    @property
    def rng(self) -> random.Random:
        """A new generator with the trial's seed."""
        return random.Random(self.seed)


@contextmanager
def recorded(trial: Trial, test: str, record: bool = True) -> Iterator[None]:
    """Carry out a trial and write its outcome; skip it if it stands there as passed, for the same code."""
    path = results()
    passed = {(line["part"], line["number"], line["code"]) for line in read(path) if line["outcome"] == "ok"}
    if record and (trial.part, trial.number, code()) in passed:
        pytest.skip(f"{trial.part} {trial.number} is in {path.name}")
    began, outcome, problem = time.monotonic(), "ok", ""
    try:
        yield
    except pytest.skip.Exception:
        outcome = ""
        raise
    except BaseException as error:
        outcome, problem = "failed", f"{type(error).__name__}: {error}".splitlines()[0][:300]
        again = f"RELIABILITY=/tmp/again.jsonl uv run pytest -n 0 -m campaign 'tests/{test}'"
        print(f"{trial.part} {trial.number} failed with {trial.facts}. Alone: {again}")
        raise
    finally:
        if record and outcome:
            line = {
                "part": trial.part, "number": trial.number, "seed": trial.seed, **trial.facts, "outcome": outcome,
                "seconds": round(time.monotonic() - began, 1), "commit": _commit(), "code": code(),
                **({"problem": problem.replace(str(Path.home()), "~")} if problem else {}),
            }  # fmt: skip
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def numbers(count: int, usual: int) -> list[Any]:
    """Parameters of a test: its number, and whether its outcome is written down.

    With `-m campaign` there are `count` trials. The usual test suite has the first few, with a fast command and without
    writing them down.
    """
    few = [pytest.param(number, False, id=f"usual-{number}") for number in range(usual)]
    every = [pytest.param(n, True, id=f"trial-{n:03d}", marks=pytest.mark.campaign) for n in range(count)]
    return few + every
