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
    disk.check({home: needed}, "This command")
    return home
