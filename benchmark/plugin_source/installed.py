"""Reads the entry points of installed packages, once for each value of `sys.path`."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import metadata


def entry_points(group: str, name: str | None = None) -> metadata.EntryPoints:
    """Return the entry points of a group, or those with a name, as `importlib.metadata.entry_points` does.

    That function reads a file of every installed package at each call, and a command needs entry points many times.
    Packages that are installed into a folder of `sys.path` while the process runs are not found.
    """
    points = _read_all(tuple(sys.path)).select(group=group)
    return points if name is None else points.select(name=name)


@lru_cache(maxsize=8)
def _read_all(path: tuple[str, ...]) -> metadata.EntryPoints:
    """Read the entry points of all packages in `sys.path`, whose value is the key under which they are kept."""
    return metadata.entry_points()
