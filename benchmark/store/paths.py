"""Where what a user makes lies: $PALIMPSEST_HOME, else ./runs."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.store import disk, durable
from benchmark.store.disk import size as size


def home() -> Path:
    """The runs folder; it need not exist yet."""
    return Path(os.environ.get(durable.HOME_VARIABLE) or "runs").expanduser()


def records_folder(home: Path) -> Path:
    """Where the records of runs lie under the runs folder `home`."""
    return home / "records"


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
    disk.check({home: needed}, "This command")
    return home
