"""What a user of `bench clean` chooses to delete: runs, kinds of files and an age."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.errors import UsageError
from benchmark.records.stored_runs import Inventory, StoredRun

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(min|h|d|w)")
_SECONDS = {"min": 60, "h": 3600, "d": 86400, "w": 604800}
_ID = re.compile(r"[0-9a-f]{6,20}")


@dataclass(frozen=True)
class Choice:
    """What a user wants to delete. Empty names choose all runs, and empty kinds everything that a run has."""

    names: Sequence[str] = ()
    """Labels or ids of runs."""
    kinds: Sequence[str] = ()
    """Kinds of files: keys of `stored_runs.KINDS`."""
    older_than: float = 0.0
    """Smallest age in seconds."""
    shared: bool = False
    """Whether what other runs need is deleted too."""
    records: bool = False
    """Whether the records of the chosen runs are deleted too."""


def parse_age(text: str) -> float:
    """Return an age in seconds: "90min", "12h", "7d", "2w". UsageError if it is none of these."""
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(f"--older-than must be an age such as 90min, 12h, 7d or 2w; '{text}' is not.")
    return float(match[1]) * _SECONDS[match[2]]


def chosen_runs(inventory: Inventory, names: Sequence[str]) -> list[StoredRun]:
    """Return the runs with these labels or ids; all for no names.

    Raises:
        UsageError: a name is that of no run, or of several.
    """
    if not names:
        return inventory.runs
    runs = []
    for name in names:
        matching = [run for run in inventory.runs if run.label == name]
        matching = matching or [run for run in inventory.runs if _ID.fullmatch(name) and run.key.startswith(name)]
        if not matching:
            raise UsageError(f"No run in {inventory.home} has the label or id '{name}': see `bench list runs`.")
        if len(matching) > 1:
            ids = ", ".join(run.id for run in matching)
            raise UsageError(f"'{name}' is the label of {len(matching)} runs ({ids}): give one of these ids.")
        runs += [run for run in matching if run not in runs]
    return runs
