"""The folder of a campaign: `<runs>/campaign/<name>/`, with a script, a history and a log for each run.

    003-bilevel-artists-seed1.sh      the script
    003-bilevel-artists-seed1.state   its history: submitted, started, done, ...
    003-bilevel-artists-seed1.log     what the run prints

A run keeps its number when the campaign's file changes, because a script contains the options of its run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmark.jobs.script import MARK
from benchmark.store import durable

_NAMED = ("--method", "--suite", "--concept", "--testbed", "--pruning", "--seed")
"""Options whose values are part of a script's name."""
_LONGEST = 60


@dataclass(frozen=True)
class Job:
    """A run of a campaign, and its script, which need not exist yet."""

    words: tuple[str, ...]
    """The options of `bench run`."""
    script: Path

    @property
    def number(self) -> str:
        """The number that its files start with, such as "003"."""
        return self.script.name.partition("-")[0]

    @property
    def name(self) -> str:
        """The name of the Slurm job, such as "paper-003"."""
        return f"{self.script.parent.name}-{self.number}"

    @property
    def state(self) -> Path:
        """The file of its history; see `benchmark.jobs.events`."""
        return self.script.with_suffix(".state")

    @property
    def log(self) -> Path:
        """The file that the run's output is written to."""
        return self.script.with_suffix(".log")

    @property
    def uses_launcher(self) -> bool:
        """Whether the script exists and starts the run on several GPUs."""
        return self.script.is_file() and "--multi_gpu" in self.script.read_text("utf-8", errors="replace")


def campaign_folder(runs: Path, file: Path) -> Path:
    """Return the absolute folder of the campaign whose text file is `file`."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-.") or "campaign"
    return runs.absolute() / "campaign" / name


def jobs_of(folder: Path, runs: Sequence[Sequence[str]]) -> list[Job]:
    """Return the jobs of runs, given their options. Runs without a script get the next free numbers."""
    scripts = dict(_written(folder))
    highest = max((int(script.name.partition("-")[0]) for script in scripts.values()), default=0)
    jobs = []
    for words in map(tuple, runs):
        if words not in scripts:
            highest += 1
            scripts[words] = folder / f"{highest:03d}-{_slug(words)}.sh"
        jobs.append(Job(words, scripts[words]))
    return jobs


def write(job: Job, text: str) -> None:
    """Write the script of a job, replacing an earlier one."""
    durable.write_bytes(job.script, text.encode())


def _written(folder: Path) -> list[tuple[tuple[str, ...], Path]]:
    """Return the options and the paths of all scripts in the folder, by number."""
    scripts = []
    for path in sorted(folder.glob("*.sh")):
        if not re.match(r"\d{3,}-", path.name):
            continue
        for line in path.read_text("utf-8", errors="replace").splitlines()[:5]:
            if line.startswith(MARK):
                with suppress(ValueError):  # a quotation mark is not closed, so `write` did not write this script
                    scripts.append((tuple(shlex.split(line.removeprefix(MARK))), path))
    return scripts


def _slug(words: Sequence[str]) -> str:
    """Return a name for a run from its options, such as "bilevel-artists-seed1"."""
    parts = []
    for option, value in zip(words, [*words[1:], ""], strict=True):
        name, equals, attached = option.partition("=")
        if name in _NAMED:
            text = re.sub(r"\.(py|toml)\b", "", Path(attached if equals else value).name)
            parts.append(f"seed{text}" if name == "--seed" else text)
    return re.sub(r"[^A-Za-z0-9._+]+", "-", "-".join(parts)).strip("-.")[:_LONGEST] or "run"
