"""What a report is made of: its records, and the options that its commands repeat."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.api.request import RunRequest
from benchmark.records.command import Command, command_of
from benchmark.records.record import Record
from benchmark.tables.columns import BUILT_IN, EXPLICIT
from benchmark.tables.labels import pruning_label, short_label, with_files
from benchmark.tables.select import Found, Source, row_order, targets_of
from benchmark.testbeds.resolve import default_targets


@dataclass(frozen=True)
class Run:
    """A model with its records, one per suite; they share the training, the sampler and what was forgotten."""

    id: str
    """Anchor of its section on the page."""
    label: str
    source: Source
    """Where its records are from."""
    pruning: str
    """How its U-Net, or for the base model that of its reference, was pruned; empty for the default pruning."""
    records: list[Record]
    commands: dict[str, Command]
    """The commands that make its records, by suite. Plain captions have one only if no other suite runs them too."""

    def commands_for(self, suites: Sequence[str]) -> list[Command]:
        """Return the commands of these suites; all commands if the run has none of these suites."""
        chosen = [command for suite, command in self.commands.items() if suite in suites]
        return chosen or list(self.commands.values())


@dataclass(frozen=True)
class Contents:
    """The records of a report.

    Args:
        entries: records of the testbed, each with its source.
        testbed: name of the testbed.
        runs: the runs folder, which may hold pictures.
        options: the options that a `bench table` of the same records needs, such as `--records other/records`.
        limit: the `--limit` of its runs; None for full runs.
        everything: whether leaderboards also show records with other budgets, prunings or precisions.
        reveal: whether pictures of explicit suites are shown without blur.
    """

    entries: list[Found]
    testbed: str
    runs: Path
    options: tuple[str, ...] = ()
    limit: int | None = None
    everything: bool = False
    reveal: bool = False

    @cached_property
    def suites(self) -> list[str]:
        """The suites with a leaderboard, built-in ones first; `coco` only if no record of `artists` has its rows."""
        recorded = {record.suite for record, _ in self.entries}
        names = ["artists", *EXPLICIT, *sorted(recorded - set(BUILT_IN)), "coco"]
        shown = [name for name in names if name in recorded]
        return [name for name in shown if name != "coco" or "artists" not in recorded]

    @cached_property
    def runs_by_key(self) -> dict[str, Run]:
        """All runs by their key, in the order of the rows of a table."""
        groups: dict[str, list[Found]] = {}
        for record, source in sorted(self.entries, key=lambda entry: row_order(*entry)):
            groups.setdefault(self._key(record), []).append((record, source))
        return {key: self._run(key, group) for key, group in groups.items()}

    def run_of(self, record: Record) -> Run:
        """Return the run that one of the records belongs to."""
        return self.runs_by_key[self._key(record)]

    def command(self, words: Sequence[str]) -> str:
        """Return a `bench` command that reads the records of this report."""
        limit = [] if self.limit is None else ["--limit", str(self.limit)]
        return shlex.join(["bench", *words, *limit, *self.options])

    @cached_property
    def usual_targets(self) -> tuple[str, ...]:
        """The testbed's default targets."""
        return default_targets(self.testbed)

    def _run(self, key: str, group: Sequence[Found]) -> Run:
        records = sorted((record for record, _ in group), key=lambda record: _suite_order(record.suite))
        first = records[0]
        reference = next(
            (r for r, _ in self.entries if r.model_id and first.reference_key.startswith(r.model_id)), None
        )
        commands = {
            record.suite: command_of(record, reference=reference, usual_targets=self.usual_targets)
            for record in records
            if record.suite != "coco" or len(records) == 1
        }
        trained = reference if first.method == "base" else first
        unusual = trained and (trained.pruning, trained.macs) != (RunRequest.pruning, RunRequest.macs)
        pruning = pruning_label(trained) if trained and unusual else ""
        return Run(f"run-{key}", self._labels[id(first)], group[0][1], pruning, records, commands)

    @cached_property
    def _labels(self) -> dict[int, str]:
        """The label of each record, by its identity as an object."""
        records = [record for record, _ in self.entries]
        labels = with_files([short_label(record) for record in records], records)
        return {id(record): label for record, label in zip(records, labels, strict=True)}

    @cached_property
    def _folders(self) -> list[Path | None]:
        return list(dict.fromkeys(record.folder for record, _ in self.entries))

    def _key(self, record: Record) -> str:
        """Return twelve digits that are equal for the records of one model, sampler, choice of targets and folder."""
        sampler = {key: value for key, value in record.sampler.items() if key != "as_published"}
        facts = (
            record.model_id, record.method, record.preset, record.variant, record.pruning, record.macs, record.seed,
            record.recipe, sorted(record.budget.items()), record.data, sorted(targets_of(record)),
            record.reference_key, sorted(sampler.items()), self._folders.index(record.folder),
        )  # fmt: skip
        return hashlib.sha256(str(facts).encode()).hexdigest()[:12]


def _suite_order(suite: str) -> tuple[bool, int, str]:
    """Sort the plain captions last, because other suites also run them."""
    return suite == "coco", EXPLICIT.index(suite) if suite in EXPLICIT else -1, suite
