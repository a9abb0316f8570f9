"""Describes the code of plug-ins for records: file, class or function, and checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from benchmark import registry
from benchmark.plugin_source.classes import find_source
from benchmark.records.provenance import OURS
from benchmark.records.record import Plugin


def plugin(group: str, name: str) -> Plugin | None:
    """Return the entry of a plug-in in a record; None for plug-ins of this project, which
    `Record.code` covers, and for unknown names.

    The checksum of a Python file is the one in the store keys (`registry.fingerprint`): it includes the files that
    this file imports from its folder. For an installed plug-in it is that of the module's source file.

    Args:
        group: a group of `registry.GROUPS`, or "functions".
        name: name of the plug-in, path/to/file.py:Class, or the path of a TOML file.

    Raises:
        UsageError: the name refers to a file that does not exist.
    """
    if checksum := registry.fingerprint(name):
        path, _, attribute = name.rpartition(":")
        return Plugin(group=group, name=attribute, file=path, sha256=checksum)
    if name.endswith(".toml"):
        checksum = hashlib.sha256(Path(name).expanduser().read_bytes()).hexdigest()
        return Plugin(group=group, name=Path(name).stem, file=name, sha256=checksum)
    point = registry.entry_points_of(group).get(name) if group in registry.GROUPS else None
    if point is None or registry.home_of(group, name) in OURS:
        return None
    spec = find_source(point.module)
    source = Path(spec.origin) if spec and spec.origin else None
    checksum = hashlib.sha256(source.read_bytes()).hexdigest() if source and source.is_file() else ""
    return Plugin(group=group, name=name, file=point.value, sha256=checksum)


def plugins_named(names: Iterable[tuple[str, str]]) -> list[Plugin]:
    """Return the entries of all plug-ins in (group, name), without those of this project, and each only once."""
    entries = [plugin(group, name) for group, name in dict.fromkeys(names)]
    return [entry for entry in entries if entry]
