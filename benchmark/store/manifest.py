"""Writes and checks manifests, which contain the checksums of all files in a folder and a checksum of the manifest.

A folder with a manifest is called sealed; the checksum of the manifest itself is its seal. The manifest is written
last, so a folder whose seal is correct is complete.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict

from benchmark.json_types import JsonObject
from benchmark.store.durable import sync_folder
from benchmark.store.listing import visible

MANIFEST = "artefact.json"
SCHEMA = 1


class Damage(Exception):
    """A sealed folder is incomplete or has changed since its manifest was written; the message says how."""


class Newer(Exception):
    """The manifest of a sealed folder has a newer schema than this version can read."""


def canonical(value: Any) -> str:
    """Return `value` as canonical JSON text: two texts are equal if and only if the values are equal.

    Keys are sorted, characters outside ASCII are escaped, and floats are written by `repr`. Only str, int, float, bool,
    None, list, and dict with str keys are allowed. Tuples, NumPy scalars and enums are not, because their texts may
    differ between versions.

    Raises:
        TypeError: `value` contains a different type.
        ValueError: it contains NaN or infinity.
    """
    _check(value, "value")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _check(value: Any, where: str) -> None:
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise TypeError(f"{where} has the key {key!r}: keys must be str")
            _check(item, f"{where}.{key}")
    elif type(value) is list:
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    elif type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}: numbers must be finite")
    elif value is not None and type(value) not in (str, int, bool):
        raise TypeError(
            f"{where} has type {type(value).__name__}: only str, int, float, bool, None, list and dict are allowed"
        )


class FileEntry(TypedDict):
    """The entry of a file in a manifest."""

    sha256: str
    """Hexadecimal digits."""
    bytes: int


def seal(folder: Path, header: Mapping[str, Any]) -> None:
    """Compute checksums of the files in `folder`, fsync them, and write the manifest.

    The manifest has the entries of `header`, `schema`, `files` and `seal`. Hidden files are ignored.

    Raises:
        ValueError: the folder has no file.
        OSError: a file cannot be read, or the manifest cannot be written.
    """
    paths = [path for path in visible(folder, "**/*") if path.is_file()]
    if not paths:
        raise ValueError(f"nothing was written into {folder}")
    with ThreadPoolExecutor(8) as pool:  # disks combine concurrent fsyncs, and hashing releases the GIL
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
    """Return the manifest of `folder` after checking its seal and the size of each file, but not the files' contents.

    Raises:
        Damage: the manifest is missing or wrong, or a file is missing or has a different size.
        Newer: the manifest has a newer schema.
        FileNotFoundError: the folder does not exist.
        PermissionError: the manifest may not be read.
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
    except (ValueError, OSError, RecursionError) as error:
        raise Damage(f"{MANIFEST} cannot be read ({type(error).__name__})") from error
    if not isinstance(manifest, dict):
        raise Damage(f"{MANIFEST} is not an object")
    if type(manifest.get("schema")) is int and manifest["schema"] > SCHEMA:
        raise Newer(f"schema {manifest['schema']}, this version reads {SCHEMA}")
    try:
        is_sealed = manifest.pop("seal", None) == _digest_of(manifest)
    except (ValueError, TypeError):  # NaN, which JSON does not have
        is_sealed = False
    if not is_sealed:
        raise Damage(f"{MANIFEST} does not match its own checksum")
    if not _is_valid(manifest):
        raise Damage(f"{MANIFEST} has wrong or missing fields, or names files outside the folder")
    for name, entry in manifest["files"].items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != entry["bytes"]:
            problem = "is missing" if size is None else f"has {size} bytes instead of {entry['bytes']}"
            raise Damage(f"{name} {problem}")
    return manifest


_FIELDS = {"kind": str, "key": str, "identity": dict, "made": dict}
"""Fields of a manifest besides its files, with their types. A training's checkpoint has only the first."""


def _is_valid(manifest: Mapping[str, Any]) -> bool:
    """Return whether the fields of a manifest have the right types, and all of its files are below its folder."""
    files = manifest.get("files")
    return (
        isinstance(files, dict)
        and all(isinstance(manifest[key], kind) for key, kind in _FIELDS.items() if key in manifest)
        and all(
            isinstance(entry, dict)
            and isinstance(entry.get("sha256"), str)
            and type(entry.get("bytes")) is int
            and not PurePosixPath(name).is_absolute()
            and ".." not in PurePosixPath(name).parts
            for name, entry in files.items()
        )
    )


def check_contents(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise Damage for the first file whose checksum differs from the one in the manifest."""
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
