"""Sealed folders: files beside a manifest that holds their checksums and its own.

A folder is sealed last of all, so one with a good seal is whole; any other is damaged and says why.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

from benchmark.json_types import JsonObject
from benchmark.store.durable import sync_folder
from benchmark.store.listing import visible

MANIFEST = "artefact.json"
SCHEMA = 1


class Damage(Exception):
    """A sealed folder has changed since it was sealed; the message says how."""


class Newer(Exception):
    """A sealed folder was made by a version with a newer schema."""


def canonical(value: Any) -> str:
    """`value` as JSON text that is equal exactly where the values are: sorted keys, ASCII, floats by repr.

    Only str, int, float, bool, None, list and dict with str keys, exactly (no tuples, NumPy scalars or enums, whose
    text may change from version to version): TypeError for others, ValueError for NaN and infinities.
    """
    _check(value, "value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _check(value: Any, where: str) -> None:
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{where} has the key {key!r}; keys are str")
            _check(item, f"{where}.{key}")
    elif type(value) is list:
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    elif type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}; only finite numbers have a canonical form")
    elif value is not None and type(value) not in (str, int, bool):
        raise TypeError(f"{where} is a {type(value).__name__}, not a str, int, float, bool, None, list or dict")


class FileEntry(TypedDict):
    """A file of an artefact, as its manifest lists it."""

    sha256: str
    """Hex digits."""
    bytes: int


def seal(folder: Path, header: Mapping[str, Any]) -> None:
    """Checksum and fsync the files in `folder`, not hidden ones, and write the manifest: `header`, schema, files, seal.

    Raises ValueError if there is no file, OSError as the system does.
    """
    paths = [path for path in visible(folder, "**/*") if path.is_file()]
    if not paths:
        raise ValueError(f"nothing was written into {folder}")
    with ThreadPoolExecutor(8) as pool:  # the disk commits many fsyncs at once; hashing leaves the GIL
        entries = list(pool.map(_digest_synced, paths))
    files = {path.relative_to(folder).as_posix(): entry for path, entry in zip(paths, entries, strict=True)}
    manifest = {**header, "schema": SCHEMA, "files": files}
    manifest["seal"] = _digest_of(manifest)
    with open(folder / MANIFEST, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, sort_keys=True, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    for inner in sorted({path.parent for path in paths} | {folder}):
        sync_folder(inner)


def read_seal(folder: Path) -> JsonObject:
    """The manifest of `folder`, once the seal holds and each file is there in its size.

    Raises Damage, Newer, FileNotFoundError where there is no folder, and PermissionError.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        if folder.is_dir():
            raise Damage(f"{MANIFEST} is missing") from None
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(*error.args) from error
    except PermissionError:
        raise
    except (ValueError, OSError) as error:
        raise Damage(f"{MANIFEST} cannot be read ({type(error).__name__})") from error
    if not isinstance(manifest, dict):
        raise Damage(f"{MANIFEST} is not an object")
    if type(manifest.get("schema")) is int and manifest["schema"] > SCHEMA:
        raise Newer(f"schema {manifest['schema']}, this version reads {SCHEMA}")
    if manifest.pop("seal", None) != _digest_of(manifest):
        raise Damage(f"{MANIFEST} does not match its own checksum")
    for name, entry in manifest["files"].items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != entry["bytes"]:
            raise Damage(f"{name} is missing" if size is None else f"{name} has {size} bytes, not {entry['bytes']}")
    return manifest


def check_contents(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise Damage for the first file whose checksum is not the manifest's."""
    names = list(manifest["files"])
    with ThreadPoolExecutor(8) as pool:
        digests = pool.map(lambda name: _digest(folder / name), names)
        for name, digest in zip(names, digests, strict=True):
            if digest != manifest["files"][name]["sha256"]:
                raise Damage(f"{name} does not match its checksum")


def _digest_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(dict(manifest)).encode()).hexdigest()


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_synced(path: Path) -> FileEntry:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}
