"""What a folder holds, without what file managers and notebooks leave in it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from benchmark.errors import DataError

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What is no file and no folder: reading it can take forever."""


def visible(folder: Path, pattern: str) -> list[Path]:
    """What matches `pattern` in `folder`, sorted, without what is hidden below it.

    Hidden are names that begin with a dot: the `._*` and `.DS_Store` that macOS leaves beside files, and folders such
    as `.ipynb_checkpoints`, which hold copies.

    DataError for a folder that may not be listed, as it would pass for an empty one, and for a match that
    `refuse_unreadable` refuses.
    """
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
        raise DataError(f"The folder {folder} cannot be listed (permission denied): make it readable.")
    matches = sorted(
        path for path in folder.glob(pattern) if not any(n.startswith(".") for n in path.relative_to(folder).parts)
    )
    for path in matches:
        refuse_unreadable(path)
    return matches


def refuse_unreadable(path: Path) -> None:
    """DataError for a pipe, a socket, a device and a link that leads to itself; what is not there passes."""
    try:
        kind = KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError as error:
        kind = "a link that leads to itself" if error.errno == errno.ELOOP else ""
    if kind:
        raise DataError(f"{path} is {kind}, and no file: move it away.")
