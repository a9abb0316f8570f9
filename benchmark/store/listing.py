"""Lists the files of a folder, without hidden files such as those that file managers and notebooks create."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from benchmark.errors import DataError

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""Kinds of paths that are neither files nor folders. Reading them can block forever."""


def visible(folder: Path, pattern: str) -> list[Path]:
    """Return the sorted paths in `folder` that match the glob `pattern`, without hidden ones.

    A path is hidden if the name of the path or of one of its parents below `folder` begins with a dot. Examples are
    the `._*` and `.DS_Store` files of macOS, and `.ipynb_checkpoints`, which contains copies.

    Raises:
        DataError: the folder may not be listed (it would look empty), or `refuse_unreadable` refuses a match.
    """
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
        raise DataError(f"The folder {folder} cannot be listed (permission denied): make it readable.")
    matches = [
        path for path in matching(folder, pattern) if not any(n.startswith(".") for n in path.relative_to(folder).parts)
    ]
    for path in matches:
        refuse_unreadable(path)
    return matches


def matching(folder: Path, pattern: str) -> list[Path]:
    """Return the sorted paths in `folder` that match the glob `pattern`.

    Another process may add and remove files meanwhile. `Path.glob` fails if it removes a folder that is about to be
    listed; the listing is then repeated.
    """
    while True:
        try:
            return sorted(folder.glob(pattern))
        except FileNotFoundError:
            continue


def statuses_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield every file and folder below `folder`, which need not exist, with its status, in no particular order.

    Paths that another process removes meanwhile are left out, and so are links to missing files. Links to folders are
    not followed.
    """
    for parent, folder_names, file_names in os.walk(folder):  # leaves out folders that cannot be listed any more
        for name in (*folder_names, *file_names):
            path = Path(parent, name)
            try:
                status = path.stat()
            except OSError:
                continue
            yield path, status


def refuse_unreadable(path: Path) -> None:
    """Raise DataError if `path` is a pipe, a socket, a device or a link to itself. It need not exist."""
    try:
        kind = KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError as error:
        kind = "a link that leads to itself" if error.errno == errno.ELOOP else ""
    if kind:
        raise DataError(f"{path} is {kind}, not a file: move it away.")
