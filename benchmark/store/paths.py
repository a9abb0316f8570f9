"""Locates the runs folder, where commands store their results: $PALIMPSEST_HOME, else ./runs."""

from __future__ import annotations

import os
from pathlib import Path

from benchmark.errors import UsageError
from benchmark.store import disk, durable
from benchmark.store.disk import size as size


def home() -> Path:
    """Return the runs folder, which need not exist yet.

    Raises:
        UsageError: $PALIMPSEST_HOME is set but empty, or it is not the name of a folder.
    """
    value = environment(durable.HOME_VARIABLE)
    if value is None:
        return Path("runs")
    try:
        folder = Path(value).expanduser()
    except RuntimeError as error:  # "~unknown-user"
        raise UsageError(
            f"{durable.HOME_VARIABLE}={value} is not the name of a folder ({error}): give an absolute path."
        ) from error
    return check_folder(folder, durable.HOME_VARIABLE)


def kept_home(runs: Path | None) -> Path:
    """Return the runs folder to read from: `runs`, or else `home()`.

    Raises:
        UsageError: the folder was named by --runs or by $PALIMPSEST_HOME, but does not exist.
    """
    folder = home() if runs is None else check_folder(runs, "--runs")
    name = durable.HOME_VARIABLE if runs is None else "--runs"
    if (runs is not None or durable.HOME_VARIABLE in os.environ) and not folder.exists():
        raise UsageError(f"{name} {folder} does not exist: name the folder that `bench run` wrote into.")
    return folder


def check_folder(folder: Path, name: str) -> Path:
    """Return `folder`, which need not exist yet.

    Raises:
        UsageError: it exists but is not a folder. The message calls it `name`, the option or variable that it is from.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{name} {folder} is not a folder: give a folder, or set {durable.HOME_VARIABLE} to one.")
    return folder


def environment(name: str) -> str | None:
    """Return the value of an environment variable; None if it is not set.

    Raises:
        UsageError: it is set but empty.
    """
    value = os.environ.get(name)
    if value is not None and not value.strip():
        raise UsageError(f"The environment variable {name} is set but empty: give it a value, or unset it.")
    return value


def records_folder(home: Path) -> Path:
    """Return the folder of records in the runs folder `home`."""
    return home / "records"


def prepare(home: Path, needed: int) -> Path:
    """Create the runs folder, check that it is writable and has `needed` bytes free, and return it.

    Raises:
        StoreError: it is not writable, or its disk has too little free space.
    """
    for folder in (home, *(home / name for name in ("records", "receipts", "pictures", "prompts"))):
        durable.sweep(folder)
    probe = home / ".writable"
    durable.write_bytes(probe, b"palimpsest")
    with durable.storing(home):
        probe.unlink(missing_ok=True)  # another process that checks at the same time may have removed it
    disk.check({home: needed}, "This command")
    return home
