"""Selects what `bench clean` deletes: by run, age and kind, without what other runs or running processes need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.records.clean_choice import Choice, chosen_runs
from benchmark.records.stored_runs import FEATURES, PICTURES, WEIGHTS, Inventory, StoredPart, StoredRun
from benchmark.store.claims import USE, Holder

PARTS_OF_KIND = {"weights": WEIGHTS, "pictures": PICTURES, "features": FEATURES, "checkpoints": ("checkpoints",)}
"""Kinds of artefacts of each kind of `bench clean --kind`, except stages."""


@dataclass
class Selection:
    """What is deleted, and sentences about what was chosen but stays."""

    parts: list[StoredPart] = field(default_factory=list)
    records: int = 0
    """Number of records that are deleted."""
    record_files: list[Path] = field(default_factory=list)
    """The files of these records and of their scores."""
    stays: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes that deleting the parts frees."""
        return sum(part.bytes for part in self.parts)


def select(inventory: Inventory, choice: Choice, live: Mapping[str, Holder], now: float) -> Selection:
    """Return what is deleted for a choice.

    Args:
        inventory: contents of the runs folder.
        choice: what the user chose.
        live: running processes by what they compute or read: see `claims.live`.
        now: the present time in seconds since 1970.

    Raises:
        UsageError: a name is that of no run, or of several.
    """
    runs = [run for run in chosen_runs(inventory, choice.names) if now - run.written >= choice.older_than]
    selection = Selection()
    keys = {run.key for run in runs}
    removed_keys = set()
    label_of = {run.key: run.label for run in inventory.runs}
    for run in runs:
        holder = live.get(f"{USE}-{run.key}") or live.get(f"model-{run.key}")
        needed_by = [key for key in run.needed_by if key not in keys]
        if holder is not None:
            selection.stays.append(f"{run.label} ({run.id}) is in use by {holder}")
        elif needed_by and not choice.shared:
            labels = ", ".join(dict.fromkeys(label_of[key] for key in needed_by[:3]))
            more = f" and {len(needed_by) - 3} more runs" if len(needed_by) > 3 else ""
            selection.stays.append(f"{run.label} ({run.id}) is needed by {labels}{more}: --shared deletes it too")
        else:
            selection.parts += [part for part in run.parts if _is_of_kind(part, choice.kinds)]
            removed_keys |= set() if choice.kinds else {run.key}
            if choice.records:
                selection.records += len(run.records)
                selection.record_files += _record_files(run)
    if "stages" in choice.kinds or not (choice.names or choice.kinds):
        staying = [run for run in inventory.runs if run.key not in removed_keys]
        _select_stages(selection, inventory, choice, staying, live, now)
    return selection


def _record_files(run: StoredRun) -> list[Path]:
    """Return the files of a run's records and of their scores."""
    files = list(run.record_files)
    for path, record in zip(run.record_files, run.records, strict=True):
        files += [path.with_name(record.scores.file)] if record.scores is not None else []
    return files


def _is_of_kind(part: StoredPart, kinds: Sequence[str]) -> bool:
    return not kinds or any(part.kind in PARTS_OF_KIND.get(kind, ()) for kind in kinds)


def _select_stages(
    selection: Selection,
    inventory: Inventory,
    choice: Choice,
    staying: Sequence[StoredRun],
    live: Mapping[str, Holder],
    now: float,
) -> None:
    """Add stages that no staying run needs. Only of pruned networks it is known which runs need them."""
    old_enough = [part for part in inventory.stages if now - part.written >= choice.older_than]
    if old_enough and live:
        holder = next(iter(live.values()))
        selection.stays.append(f"shared stages stay while a run is in progress ({holder})")
        return
    needed: dict[str, int] = {}
    for part in old_enough:
        if part.kind == "pruned":
            is_needed = any(part.identity.items() <= run.identity.items() for run in staying if run.identity)
        else:
            is_needed = bool(staying)
        if is_needed and not choice.shared:
            needed[part.kind] = needed.get(part.kind, 0) + 1
        else:
            selection.parts.append(part)
    for kind, count in needed.items():
        selection.stays.append(f"{count} shared {kind} can be needed by other runs: --shared deletes them too")
