"""Where what a user makes lies: $PALIMPSEST_HOME, else ./runs."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.errors import UsageError
from benchmark.store import disk, durable
from benchmark.store.disk import size as size


def home() -> Path:
    """The runs folder; it need not exist yet. UsageError for a variable that is empty or names no folder."""
    named = environment(durable.HOME_VARIABLE)
    if named is None:
        return Path("runs")
    try:
        folder = Path(named).expanduser()
    except RuntimeError as error:  # "~stranger"
        raise UsageError(f"{durable.HOME_VARIABLE}={named} names no folder ({error}): give its whole path.") from error
    return check_folder(folder, durable.HOME_VARIABLE)


def kept_home(runs: Path | None) -> Path:
    """The runs folder that is read from: `runs`, or else `home()`. UsageError for one that is named and not there."""
    folder = home() if runs is None else check_folder(runs, "--runs")
    name = durable.HOME_VARIABLE if runs is None else "--runs"
    if (runs is not None or durable.HOME_VARIABLE in os.environ) and not folder.exists():
        raise UsageError(f"{name} {folder} is not there to be read: name the folder that `bench run` wrote into.")
    return folder


def check_folder(folder: Path, name: str) -> Path:
    """`folder`, which may be new. UsageError, naming the option or variable, where a file has its name."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{name} {folder} is not a folder: name one, or set {durable.HOME_VARIABLE} to one.")
    return folder


def environment(name: str) -> str | None:
    """An environment variable; None where it is not set. UsageError for one that is set but empty."""
    value = os.environ.get(name)
    if value is not None and not value.strip():
        raise UsageError(f"The environment variable {name} is set but empty: give it a value, or unset it.")
    return value


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
