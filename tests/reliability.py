"""What trials of the reliability campaign start from, and what they compare: runs folders on the stand-in."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forked import Ended, Fault, Job, Running, run

from benchmark.records.record import read_records, read_scores
from benchmark.store.listing import visible

RUN = ("run", "--suite", "artists", "--device", "cpu", "--runs", "runs", "--method")
SET = ("--set", "batch=4", "--set", "lower_steps=2", "--set", "checkpoint_every=2")
TABLE = ("table", "--all", "--long", "--format", "json", "--records", "runs/records")
PLAN = (
    "--method bilevel --suite artists --alone --set batch=4 --set lower_steps=2\n--method uce --suite artists --alone\n"
)


@dataclass(frozen=True)
class Command:
    """A command of the campaign, and the folder that it starts from: empty, with a reference, or with a run."""

    words: tuple[str, ...]
    start: str
    code: int = 0


COMMANDS = {
    "run": Command((*RUN, "bilevel", *SET, "--alone"), "reference"),
    "run, from an empty folder": Command((*RUN, "bilevel", "--set", "batch=6", *SET[2:]), "empty"),
    # conceptprune needs a larger budget and is refused, after the others are done: exit code 2
    "run --method all": Command((*RUN, "all", "--alone", "--budget", "2e10"), "reference", 2),
    "eval": Command(
        (
            "eval",
            "--checkpoint",
            "exported",
            "--name",
            "theirs",
            "--suite",
            "artists",
            "--alone",
            "--device",
            "cpu",
            "--runs",
            "runs",
        ),
        "reference",
    ),
    "prune aptp": Command(
        ("prune", "aptp", "--experts", "2", "--macs", "0.7", "--steps", "3", "--runs", "runs"), "empty"
    ),
    "campaign": Command(("campaign", "plan.txt", "--runs", "runs"), "reference"),
    "export": Command(("export", "bilevel", "out", "--runs", "runs", "--records", "runs/records"), "run"),
    "report": Command(("report", "--out", "out", "--runs", "runs", "--records", "runs/records"), "run"),
}
KINDS = ("pruned", "latents", "model", "images", "seen", "features", "experts")
"""Kinds of artefacts whose files are equal in every undisturbed run; `cost` has measured times."""
MEASURED = {"seconds", "wall_seconds", "device_seconds", "peak_memory_bytes"}
"""Fields of records that are measured, and differ between any two runs."""


class World:
    """Folders to start from and the results of undisturbed commands, each made when it is first needed."""

    def __init__(self, folder: Path, weights: Path) -> None:
        self.folder, self.weights = folder, weights
        self._results: dict[str, tuple[dict[str, Any], Ended]] = {}

    def start(self, name: str) -> Path:
        """The folder to start from; read only."""
        folder = self.folder / f"start-{name}"
        if folder.exists():
            return folder
        if name == "empty":
            folder.mkdir()
            (folder / "plan.txt").write_text(PLAN)
            return folder
        before, *words = {
            "reference": (
                "empty",
                (*RUN, "distilled", "--alone"),
                ("export", "distilled", "exported", "--runs", "runs"),
            ),
            "run": ("reference", (*RUN, "bilevel", *SET, "--alone"), (*RUN, "bilevel", "--alone")),
        }[name]
        making = folder.with_name(f"making-{name}")
        shutil.rmtree(making, ignore_errors=True)
        shutil.copytree(self.start(str(before)), making, symlinks=True)
        for command in words:
            ended = run(Job(tuple(command), making, self.weights))
            assert ended.code == 0, ended.err
        making.rename(folder)
        return folder

    def copy(self, name: str, to: Path) -> Path:
        """A copy of the folder that a command starts from."""
        shutil.copytree(self.start(COMMANDS[name].start), to, symlinks=True)
        return to

    def undisturbed(self, name: str) -> tuple[dict[str, Any], Ended]:
        """The state that a command leaves if nothing disturbs it, and how it ended."""
        if name not in self._results:
            folder = self.folder / f"undisturbed-{name.replace(' ', '-')}"
            shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was broken off
            self.copy(name, folder)
            ended = run(self.job(name, folder))
            assert ended.code == COMMANDS[name].code, ended.err
            self._results[name] = (self.state(folder, ended.out), ended)
        return self._results[name]

    def finished(self, name: str) -> Path:
        """The folder that an undisturbed command leaves; read only."""
        self.undisturbed(name)
        return self.folder / f"undisturbed-{name.replace(' ', '-')}"

    def job(self, command: str, folder: Path, fault: Fault | None = None, **more: Any) -> Job:
        """The process of one of `COMMANDS` in `folder`; `more` are fields of `Job`."""
        return Job(COMMANDS[command].words, folder, self.weights, fault or Fault(), **more)

    def check(self, name: str, folder: Path, ended: Ended) -> None:
        """Fail unless a command that was disturbed, and then run to its end, left what it leaves undisturbed."""
        assert ended.code == COMMANDS[name].code, ended.err[-3000:]
        expected, _ = self.undisturbed(name)
        state = self.state(folder, ended.out)
        for key in expected:
            assert state[key] == expected[key], f"{key} differ{_first_difference(state[key], expected[key])}"
        assert left_over(folder) == []

    def state(self, folder: Path, printed: str) -> dict[str, Any]:
        """Figures, scores, pictures and weights in a folder, without times; `printed` is what the command printed."""
        home = folder / "runs"
        records = read_records([home / "records"])
        table = ""
        if records:
            ended = run(Job(TABLE, folder, self.weights, name="table"))
            assert ended.code == 0, ended.err
            table = re.sub(r'"seconds": \{.*?\}', "", ended.out, flags=re.DOTALL)
        pictures = {path.name: _digest(path) for path in visible(home / "images", "**/*.png")}
        return {
            "printed": printed,
            "table": table,
            "records": {record.stem: _figures(record.model_dump(mode="json")) for record in records},
            "scores": {record.stem: read_scores(record).to_pydict() for record in records},
            "artefacts": {
                f"{kind}/{path.relative_to(home / 'artefacts' / kind)}": _digest(path)
                for kind in KINDS
                for path in visible(home / "artefacts" / kind, "**/*")
                if path.is_file() and path.name != "artefact.json"
            },
            "pictures": pictures | {path.name: _digest(path) for path in visible(home / "pictures", "*")},
            "written": {
                str(path.relative_to(folder)): _digest(path)
                for path in visible(folder / "out", "**/*")
                if path.is_file()
            },
        }


def left_over(folder: Path) -> list[str]:
    """What no finished command leaves behind: temporary files, claims, partial results, damaged artefacts."""
    home = folder / "runs"
    found = {*folder.rglob(".tmp-*"), *home.glob("tmp/*"), *home.glob("claims/*"), *home.glob("scratch/*/*")}
    return sorted(str(path.relative_to(folder)) for path in {*found, *home.glob("damaged/*"), *home.glob(".writable")})


def _figures(record: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record without the time it was made at and measured seconds."""
    kept = {key: value for key, value in record.items() if key != "made"}
    return json.loads(json.dumps(kept), object_hook=lambda entry: {k: v for k, v in entry.items() if k not in MEASURED})


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _first_difference(found: Any, expected: Any) -> str:
    """Where two states differ first, for the message of a failed trial."""
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in sorted({*found, *expected}):
            if key not in found or key not in expected:
                return f" at {key}, which is {'missing' if key not in found else 'new'}"
            if found[key] != expected[key]:
                return f" at {key}{_first_difference(found[key], expected[key])}"
    if isinstance(found, str) and isinstance(expected, str):
        pairs = zip(found.splitlines(), expected.splitlines(), strict=False)
        return next((f": {a!r} instead of {b!r}" for a, b in pairs if a != b), ": one is longer")
    return f": {str(found)[:100]} instead of {str(expected)[:100]}"


def warnings_of(ended: Ended) -> Sequence[str]:
    """The lines of standard error that warn."""
    return [line for line in ended.err.splitlines() if line.startswith(("!", "Moved", "error:"))]


__all__ = ["COMMANDS", "Command", "Fault", "Running", "World", "left_over", "warnings_of"]
