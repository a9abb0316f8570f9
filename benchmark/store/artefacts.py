"""The store saves computed results ("artefacts") under the hash of their identity: everything they depend on.

    <home>/artefacts/<kind>/<key>/   files + artefact.json (schema, kind, identity, files, facts about the computation,
                                     and a checksum of itself)
    <home>/scratch/<kind>/<key>/     resumable partial results, removed when the artefact is complete
    <home>/claims/<kind>-<key>.json  the process that is computing the artefact
    <home>/damaged/                  artefacts that did not match their checksums
    <home>/tmp/                      artefacts that are being written; the next start removes those of killed processes

Shipped layers are folders with the same `<kind>/<key>` folders in them. They are searched after `home` and never
written.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import DataError, StoreError
from benchmark.json_types import Identity, JsonObject
from benchmark.store import durable, manifest
from benchmark.store.manifest import FileEntry

_log = logging.getLogger("palimpsest")
_KIND = re.compile(r"[a-z0-9][a-z0-9_-]*")


def key_of(kind: str, identity: Mapping[str, Any]) -> str:
    """Return the key of the artefact of `kind` with this `identity`: twenty hexadecimal digits.

    Raises:
        TypeError: `identity` contains types that `manifest.canonical` does not accept.
        ValueError: `identity` contains NaN or infinity, or `kind` contains characters that are not allowed.
    """
    if not _KIND.fullmatch(kind):
        raise ValueError(f"the kind {kind!r} does not match the pattern [a-z0-9][a-z0-9_-]*")
    text = manifest.canonical({"kind": kind, "identity": dict(identity)})
    return hashlib.sha256(text.encode()).hexdigest()[:20]


PRIVATE = ("explicit-images", "explicit-latents")
"""Kinds of artefacts that only their owner may read: explicit images, and latents that a VAE decodes to such images.

Features of networks ("seen", "features") are not private: they contain too little to restore an image, and scores need
them."""


@dataclass(frozen=True)
class Artefact:
    """A complete artefact whose checksums were verified. Never write into `folder`."""

    folder: Path
    kind: str
    key: str
    identity: Identity
    files: dict[str, FileEntry]
    made: JsonObject  # provenance and other facts from its computation, such as the FLOPs ledger

    def path(self, name: str) -> Path:
        """Return the path of the file `name`. Raises DataError if the artefact does not have it."""
        if name not in self.files:
            raise DataError(f"The artefact {self.folder} has no file {name!r}; it has {', '.join(self.files)}.")
        return self.folder / name


class Store:
    """Content-addressed folders under `home`, followed by the read-only `shipped` layers.

    `home` need not exist; it is created by the first `make` or `scratch`.
    """

    def __init__(self, home: Path, shipped: Sequence[Path] = ()) -> None:
        self.home = Path(home)
        self.shipped = tuple(Path(layer) for layer in shipped)
        self._verified: set[tuple[Any, ...]] = set()  # folder, names, times and checksums of artefacts already hashed
        try:
            for folder in ("tmp", "claims"):
                durable.sweep(self.home / folder)
            for scratch in self.home.glob("scratch/*/*"):  # left by a process killed just after its artefact was saved
                if os.path.exists(self._artefact_path(scratch.parent.name, scratch.name)):
                    self._discard(scratch)
        except PermissionError as error:
            raise StoreError(f"Cannot look into {self.home} (permission denied): make it readable.") from error

    def find(self, kind: str, identity: Mapping[str, Any]) -> Artefact | None:
        """Return the artefact, with its sizes and checksums verified, or None if the store does not have it.

        A damaged artefact is moved to <home>/damaged, or skipped if it is a shipped one; each is reported in one
        warning line.

        Raises:
            StoreError: the artefact may not be read, or a newer version of palimpsest wrote it.
        """
        key = key_of(kind, identity)
        for layer in (self.home / "artefacts", *self.shipped):
            folder = layer / kind / key
            inode = _inode(folder)
            try:
                return self._verify(folder, kind, key, identity)
            except FileNotFoundError:
                continue
            except PermissionError as error:
                raise StoreError(f"Cannot read {folder} (permission denied): make it readable.") from error
            except manifest.Newer as error:
                raise _newer(folder, error) from error
            except manifest.Damage as damage:
                if layer in self.shipped:
                    _log.warning("The shipped artefact %s is damaged (%s); it will be computed again.", folder, damage)
                elif inode == _inode(folder):  # otherwise another process has replaced it meanwhile
                    try:
                        self._move_to_damaged(folder, str(damage))
                    except OSError:
                        _log.warning("The artefact %s is damaged (%s) and cannot be moved away.", folder, damage)
        return None

    def has(self, kind: str, identity: Mapping[str, Any]) -> bool:
        """Return whether the store has the artefact, judged by its manifest and file sizes only.

        This is faster than `find` and is used to report what will be reused.
        """
        key = key_of(kind, identity)
        for layer in (self.home / "artefacts", *self.shipped):
            with suppress(OSError, manifest.Damage, manifest.Newer):
                manifest.read_seal(layer / kind / key)
                return True
        return False

    @contextmanager
    def make(self, kind: str, identity: Mapping[str, Any], made: Mapping[str, Any] | None = None) -> Iterator[Path]:
        """Yield an empty folder for the block to fill, and save it as the artefact at the end of the block.

        `made` is read at the end of the block, so the block may add to it. If the block raises, nothing is saved. If
        another process has saved the artefact meanwhile, that one is retained. The scratch folder is removed.

        Raises:
            StoreError: the disk is full, or a folder cannot be written.
            TypeError: `identity` or `made` contains types that `manifest.canonical` does not accept.
            ValueError: `identity` or `made` contains NaN or infinity, or the block wrote no file.
        """
        key = key_of(kind, identity)
        final = self._artefact_path(kind, key)
        with durable.storing(final):
            if kind in PRIVATE:
                durable.make_folder(final.parent)
                os.chmod(final.parent, 0o700)
            temporary = durable.temporary_folder(self.home / "tmp", 0o700 if kind in PRIVATE else 0o777)
        try:
            with durable.filling(temporary, final):
                yield temporary
            with durable.storing(final):
                header = {"kind": kind, "key": key, "identity": dict(identity), "made": dict(made or {})}
                manifest.seal(temporary, header)
                self._publish(temporary, final)
        finally:
            durable.remove(temporary)
        self._discard(self._scratch_path(kind, key))

    def get_or_make(
        self,
        kind: str,
        identity: Mapping[str, Any],
        fill: Callable[[Path], None],
        made: Mapping[str, Any] | None = None,
    ) -> Artefact:
        """Return the artefact; if the store does not have it, create it with `fill`.

        `fill` writes the files of the artefact into an empty folder. `made` is read afterwards. Raises the errors of
        `make` and `get`.
        """
        artefact = self.find(kind, identity)
        if artefact is not None:
            return artefact
        with self.make(kind, identity, made) as folder:
            fill(folder)
        return self.get(kind, identity)

    def get(self, kind: str, identity: Mapping[str, Any]) -> Artefact:
        """Return the artefact. Raises StoreError if it is missing or damaged, e.g. because it was removed meanwhile."""
        artefact = self.find(kind, identity)
        if artefact is None:
            raise StoreError(
                f"{self._artefact_path(kind, key_of(kind, identity))} was saved but is now missing or damaged: stop "
                "the program that removes or damages files in the runs folder, and run again."
            )
        return artefact

    def scratch(self, kind: str, identity: Mapping[str, Any]) -> Path:
        """Create and return a folder for resumable partial results of an artefact. Raises StoreError.

        Processes that compute the same artefact share this folder, and the first one to finish removes it, so it can
        disappear at any time. Write into it only with `durable.write_bytes` or a Checkpointer, which create the folder
        again if it is missing, and only results that can be computed again.
        """
        folder = self._scratch_path(kind, key_of(kind, identity))
        with durable.storing(folder):
            durable.make_folder(folder)
        durable.sweep(folder)
        return folder

    def claim_path(self, kind: str, identity: Mapping[str, Any]) -> Path:
        """Return the path of the claim for this artefact (see claims.py)."""
        return self.home / "claims" / f"{kind}-{key_of(kind, identity)}.json"

    def _artefact_path(self, kind: str, key: str) -> Path:
        return self.home / "artefacts" / kind / key

    def scratch_path(self, kind: str, identity: Mapping[str, Any]) -> Path:
        """Return the path of the folder for partial results of an artefact, without creating it."""
        return self._scratch_path(kind, key_of(kind, identity))

    def _scratch_path(self, kind: str, key: str) -> Path:
        return self.home / "scratch" / kind / key

    def _verify(self, folder: Path, kind: str, key: str, identity: Mapping[str, Any]) -> Artefact:
        header = manifest.read_seal(folder)
        if (header.get("kind"), header.get("key")) != (kind, key) or header.get("identity") != dict(identity):
            raise manifest.Damage("its kind, key or identity differs from what its path says")
        names = header["files"]
        stamp = (folder, *((name, os.stat(folder / name).st_mtime_ns, names[name]["sha256"]) for name in names))
        if stamp not in self._verified:
            manifest.check_contents(folder, header)
            self._verified.add(stamp)
        return Artefact(folder, kind, key, header["identity"], names, header.get("made", {}))

    def _publish(self, temporary: Path, final: Path) -> None:
        """Rename `temporary` to `final`, unless `final` is already a complete artefact."""
        while True:
            try:
                return durable.publish(temporary, final)
            except FileExistsError:
                if not final.is_dir():
                    raise
            try:
                manifest.check_contents(final, manifest.read_seal(final))
                return None
            except FileNotFoundError:
                continue  # another process has moved it to <home>/damaged
            except manifest.Newer as error:
                raise _newer(final, error) from error
            except manifest.Damage as damage:
                self._move_to_damaged(final, str(damage))

    def _move_to_damaged(self, folder: Path, why: str) -> None:
        """Move a damaged artefact to <home>/damaged, so that users can inspect it, and log one warning.

        Raises OSError if it cannot be moved, or is behind a link that leads out of the store.
        """
        if durable.is_outside(folder, self.home):
            raise OSError(f"{folder} is behind a link that leads out of {self.home}")
        damaged = self.home / "damaged"
        durable.make_folder(damaged)
        name, count = f"{folder.parent.name}-{folder.name}", 1
        while True:
            try:
                durable.publish(folder, damaged / f"{name}-{count}")
                break
            except FileExistsError:
                count += 1
            except FileNotFoundError:  # another process has moved it
                return
        _log.warning("Moved the damaged artefact %s (%s) to %s; it will be computed again.", folder, why, damaged)

    def _discard(self, scratch: Path) -> None:
        """Remove a scratch folder atomically: it is renamed first, so that no run resumes from a part of it.

        A folder behind a link that leads out of the store is left as it is.
        """
        if durable.is_outside(scratch, self.home):
            return
        with suppress(OSError):
            temporary = durable.temporary_folder(self.home / "tmp")
            with suppress(OSError):
                os.rename(scratch, temporary)
            durable.remove(temporary)


def _newer(folder: Path, error: manifest.Newer) -> StoreError:
    return StoreError(
        f"{folder} was written by a newer version of palimpsest ({error}): update palimpsest, "
        f"or set {durable.HOME_VARIABLE} to another folder."
    )


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None
