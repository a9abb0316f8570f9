"""Writes files and folders of a build atomically."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.store import durable


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, sync it to disk at the end, and rename it to `path`.

    Only one process may write at a time. The temporary name is always the same, so remains of a killed process are
    replaced.
    """
    temporary = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(temporary, ignore_errors=True)
    yield temporary
    for written in (*temporary.rglob("*"), temporary):
        (durable.sync_folder if written.is_dir() else durable.sync_file)(written)
    os.replace(temporary, path)
    durable.sync_folder(path.parent)
