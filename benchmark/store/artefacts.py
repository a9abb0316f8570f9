"""The store: whatever was computed once is kept under the hash of what made it.

    <home>/artefacts/<kind>/<key>/   files + artefact.json (schema, kind, identity, files, made, seal)
    <home>/scratch/<kind>/<key>/     resumable partial work, removed when its artefact is made
    <home>/claims/<kind>-<key>.json  who is making it
    <home>/damaged/                  what did not match its checksums, set aside
    <home>/tmp/                      artefacts being written; a killed process's leftovers are swept at the next start

Shipped layers have the same `<kind>/<key>` folders right under them, are searched after home, and never written.
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
    """Twenty hex digits that name the artefact of `kind` made by exactly `identity` (canonical JSON types only)."""
    if not _KIND.fullmatch(kind):
        raise ValueError(f"the kind {kind!r} is not of the form [a-z0-9][a-z0-9_-]*")
    text = manifest.canonical({"kind": kind, "identity": dict(identity)})
    return hashlib.sha256(text.encode()).hexdigest()[:20]


PRIVATE = ("explicit-images", "explicit-latents")
"""Kinds that only their owner may read, from the first byte on: pictures, and latents, which a VAE decodes
to pictures. (What networks see in a picture, "seen" and "features", is too little for that, and scores need it.)"""


@dataclass(frozen=True)
class Artefact:
    """A whole artefact, checked on the way out of the store; never write into `folder`."""

    folder: Path
    kind: str
    key: str
    identity: Identity
    files: dict[str, FileEntry]
    made: JsonObject  # provenance and whatever the maker left: ledger, figures

    def path(self, name: str) -> Path:
        """Where the file `name` lies. Raises DataError if the artefact has none of that name."""
        if name not in self.files:
            raise DataError(f"The artefact {self.folder} has no file {name!r}; it has {', '.join(self.files)}.")
        return self.folder / name


class Store:
    """Content-addressed folders under `home`, with read-only `shipped` layers behind it.

    Nothing is written before the first `make` or `scratch`: a store over a missing folder is an empty store.
    """

    def __init__(self, home: Path, shipped: Sequence[Path] = ()) -> None:
        self.home = Path(home)
        self.shipped = tuple(Path(layer) for layer in shipped)
        self._verified: set[tuple[Any, ...]] = set()  # contents hashed by this process, by name, size and time
        try:
            for folder in ("tmp", "claims"):
                durable.sweep(self.home / folder)
            for scratch in self.home.glob("scratch/*/*"):  # killed between making and removing its scratch
                if os.path.exists(self._place(scratch.parent.name, scratch.name)):
                    self._discard(scratch)
        except PermissionError as error:
            raise StoreError(f"Cannot look into {self.home} (permission denied): make it readable.") from error

    def find(self, kind: str, identity: Mapping[str, Any]) -> Artefact | None:
        """The artefact, its sizes and checksums verified, or None.

        A damaged one in home is set aside with one warning line, a damaged shipped one is passed over with one.
        Raises StoreError for one that may not be read or that a newer version made.
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
                    _log.warning("The shipped artefact %s is damaged (%s); it will be made again.", folder, damage)
                elif inode == _inode(folder):  # else another process has replaced it meanwhile
                    try:
                        self._set_aside(folder, str(damage))
                    except OSError:
                        _log.warning("The artefact %s is damaged (%s) and cannot be set aside.", folder, damage)
        return None

    def has(self, kind: str, identity: Mapping[str, Any]) -> bool:
        """True if `find` would look whole by its sizes alone: quick, for saying what will be reused."""
        key = key_of(kind, identity)
        for layer in (self.home / "artefacts", *self.shipped):
            with suppress(OSError, manifest.Damage, manifest.Newer):
                manifest.read_seal(layer / kind / key)
                return True
        return False

    @contextmanager
    def make(self, kind: str, identity: Mapping[str, Any], made: Mapping[str, Any] | None = None) -> Iterator[Path]:
        """Yield an empty folder to fill; at the block's end it is checksummed, fsynced and given its name.

        `made` is read at the end of the block, so a ledger may be added inside it. If the block raises, nothing
        remains. If another process has made the artefact meanwhile, that one stays. Scratch is removed after.
        Raises StoreError for a full disk or a folder that cannot be written, ValueError for a block that wrote no
        file, TypeError or ValueError for an identity or `made` that is not of canonical JSON types.
        """
        key = key_of(kind, identity)
        final = self._place(kind, key)
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
        self._discard(self._scratch(kind, key))

    def get_or_make(
        self,
        kind: str,
        identity: Mapping[str, Any],
        fill: Callable[[Path], None],
        made: Mapping[str, Any] | None = None,
    ) -> Artefact:
        """The artefact from the store, or made now by `fill`, which writes its files into an empty folder.

        `made` is read after `fill`. Raises what `make` and `get` raise.
        """
        artefact = self.find(kind, identity)
        if artefact is not None:
            return artefact
        with self.make(kind, identity, made) as folder:
            fill(folder)
        return self.get(kind, identity)

    def get(self, kind: str, identity: Mapping[str, Any]) -> Artefact:
        """The artefact. Raises StoreError where it is missing or damaged, for example removed while the run goes on."""
        artefact = self.find(kind, identity)
        if artefact is None:
            raise StoreError(
                f"{self._place(kind, key_of(kind, identity))} was made and is not there any more: something else "
                "removes or damages files in the runs folder; run again without it."
            )
        return artefact

    def scratch(self, kind: str, identity: Mapping[str, Any]) -> Path:
        """A folder for resumable partial work towards an artefact. Raises StoreError.

        Processes that make the same artefact share it, and the first to finish removes it: write into it with
        `durable.write_bytes` or a Checkpointer, which make it again, and hold nothing there that cannot be remade.
        """
        folder = self._scratch(kind, key_of(kind, identity))
        with durable.storing(folder):
            durable.make_folder(folder)
        durable.sweep(folder)
        return folder

    def claim_path(self, kind: str, identity: Mapping[str, Any]) -> Path:
        """Where the process that makes this artefact says so (claims.py)."""
        return self.home / "claims" / f"{kind}-{key_of(kind, identity)}.json"

    def _place(self, kind: str, key: str) -> Path:
        return self.home / "artefacts" / kind / key

    def scratch_path(self, kind: str, identity: Mapping[str, Any]) -> Path:
        """Where partial work towards an artefact lies, if there is any."""
        return self._scratch(kind, key_of(kind, identity))

    def _scratch(self, kind: str, key: str) -> Path:
        return self.home / "scratch" / kind / key

    def _verify(self, folder: Path, kind: str, key: str, identity: Mapping[str, Any]) -> Artefact:
        header = manifest.read_seal(folder)
        if (header["kind"], header["key"]) != (kind, key) or header["identity"] != dict(identity):
            raise manifest.Damage("it was made by something else than its name says")
        names = header["files"]
        stamp = (folder, *((name, os.stat(folder / name).st_mtime_ns, names[name]["sha256"]) for name in names))
        if stamp not in self._verified:
            manifest.check_contents(folder, header)
            self._verified.add(stamp)
        return Artefact(folder, kind, key, header["identity"], names, header["made"])

    def _publish(self, temporary: Path, final: Path) -> None:
        """Give `temporary` its name, unless a whole artefact already has it."""
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
                continue  # set aside by another process: the name is free again
            except manifest.Newer as error:
                raise _newer(final, error) from error
            except manifest.Damage as damage:
                self._set_aside(final, str(damage))

    def _set_aside(self, folder: Path, why: str) -> None:
        """Move a damaged artefact to <home>/damaged, where it can be looked at, and say so in one line."""
        damaged = self.home / "damaged"
        durable.make_folder(damaged)
        name, count = f"{folder.parent.name}-{folder.name}", 1
        while True:
            try:
                durable.publish(folder, damaged / f"{name}-{count}")
                break
            except FileExistsError:
                count += 1
            except FileNotFoundError:  # another process was first
                return
        _log.warning("Set aside the damaged artefact %s (%s) in %s; it will be made again.", folder, why, damaged)

    def _discard(self, scratch: Path) -> None:
        """Remove a scratch folder; it is renamed first, so that a kill does not leave half of one to resume from."""
        with suppress(OSError):
            temporary = durable.temporary_folder(self.home / "tmp")
            with suppress(OSError):
                os.rename(scratch, temporary)
            durable.remove(temporary)


def _newer(folder: Path, error: manifest.Newer) -> StoreError:
    return StoreError(
        f"{folder} was made by a newer palimpsest ({error}): update palimpsest, "
        f"or set {durable.HOME_VARIABLE} to another folder."
    )


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None
