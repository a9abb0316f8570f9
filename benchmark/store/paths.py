"""Where what a user makes lies: $PALIMPSEST_HOME, else ./runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchmark.errors import StoreError
from benchmark.store import durable


def home() -> Path:
    """The runs folder; it need not exist yet."""
    return Path(os.environ.get(durable.HOME_VARIABLE) or "runs").expanduser()


def records_folder(home: Path) -> Path:
    """Where the records of runs lie under the runs folder `home`."""
    return home / "records"


def visible(folder: Path, pattern: str) -> list[Path]:
    """What matches `pattern` in `folder`, sorted, without what is hidden below it.

    Hidden are names that begin with a dot: the `._*` and `.DS_Store` that macOS leaves beside files, and folders such
    as `.ipynb_checkpoints`, which hold copies.
    """
    return sorted(
        path for path in folder.glob(pattern) if not any(n.startswith(".") for n in path.relative_to(folder).parts)
    )


def prepare(home: Path, needed: int) -> Path:
    """Make the runs folder and check, before any work, that it can be written and has `needed` bytes free.

    Returns `home`; raises StoreError in one sentence otherwise.
    """
    for folder in (home, *(home / name for name in ("records", "receipts", "pictures", "prompts"))):
        durable.sweep(folder)
    probe = home / ".writable"
    durable.write_bytes(probe, b"palimpsest")
    with durable.storing(home):
        probe.unlink(missing_ok=True)  # another process may check at the same time
        free = shutil.disk_usage(home).free
    if free < needed:
        raise StoreError(
            f"{home} needs about {size(needed)} and its disk has {size(free)} free: free some space "
            f"or set {durable.HOME_VARIABLE} to a folder on another disk."
        )
    return home


def size(count: int) -> str:
    """`count` bytes for people, in decimal units: "3.5 GB"."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
