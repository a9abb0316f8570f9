"""Who is making what: a claim for each artefact in the making, so that two runs do not make one of them twice.

    <home>/claims/<kind>-<key>.json   pid, host, since, what, how far; written anew every `BEAT` seconds

A claim is void where its process is dead or, on another machine, has not written it for `STALE` seconds. Claims only
save work: what is made twice is the same, and the store keeps one. So whatever a file system refuses, work goes on.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Self

from rich.markup import escape

from benchmark import launcher
from benchmark.store import durable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmark.console import Progress
    from benchmark.store.artefacts import Artefact, Store

BEAT, STALE, POLL = 5.0, 120.0, 0.5
"""Seconds between two writings of a claim, after which one that is not written is void, and between two looks at it."""


@dataclass(frozen=True)
class Holder:
    """The process that has a claim, as its file tells."""

    pid: int
    host: str
    since: str
    what: str
    status: str
    machine: str
    group: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether it is this process, or one that the same launcher started."""
        return self.group == _group()


class Claim:
    """A claim of this process; a context that ends with it. `path` is None where the file system keeps none."""

    def __init__(self, path: Path | None, what: str = "", progress: Progress | None = None) -> None:
        self.path, self._progress = path, progress
        self._holder = Holder(
            os.getpid(), platform.node() or "this machine", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", what, "",
            durable.machine(), _group(), token_hex(8),
        )  # fmt: skip

    def text(self) -> bytes:
        status = self._progress.status() if self._progress else ""
        return json.dumps({**vars(self._holder), "status": status}, indent=1).encode()

    def beat(self) -> None:
        """Write the claim anew, unless another process has found it void and taken it over."""
        if self.path is None or not self._is_held():
            return
        temporary = self.path.with_name(durable.temporary_name())
        temporary.write_bytes(self.text())
        os.replace(temporary, self.path)

    def __enter__(self) -> Self:
        if self.path is not None:
            _BEATS.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        _BEATS.discard(self)
        if self.path is not None and self._is_held():
            with suppress(OSError):
                self.path.unlink()

    def _is_held(self) -> bool:
        """Whether the file is still this claim's, and not another process's."""
        holder = None if self.path is None else _read(self.path)
        return holder is not None and holder.token == self._holder.token


class _Beats:
    """Writes the claims of this process anew, in a thread that lives while there are any."""

    def __init__(self) -> None:
        self._claims: set[Claim] = set()
        self._lock, self._ended = Lock(), Event()

    def add(self, claim: Claim) -> None:
        with self._lock:
            self._claims.add(claim)
            if len(self._claims) == 1:
                self._ended = Event()
                Thread(target=self._run, args=(self._ended,), name="claims", daemon=True).start()

    def discard(self, claim: Claim) -> None:
        with self._lock:  # no beat is under way after this
            self._claims.discard(claim)
            if not self._claims:
                self._ended.set()

    def _run(self, ended: Event) -> None:
        while not ended.wait(BEAT):
            with self._lock:
                for claim in self._claims:
                    with suppress(OSError):
                        claim.beat()


_BEATS = _Beats()


def take(store: Store, kind: str, identity: Mapping[str, Any], what: str, progress: Progress) -> Claim | Holder:
    """Claim an artefact, and return the claim as a context, or the process that already has it.

    A void claim is taken over.
    """
    path = store.claim_path(kind, identity)
    for _ in range(3):
        claim = Claim(path, what, progress)
        try:
            durable.make_folder(path.parent)
            with open(path, "xb") as file:
                file.write(claim.text())
            return claim
        except FileExistsError:
            holder = _read(path)
        except OSError:
            return Claim(None)
        if holder is None:
            continue  # it ended just now, or is just being written
        if holder.pid == os.getpid() and holder.machine == durable.machine():
            return holder
        if not (void := _void(path, holder)):
            return holder
        progress.warn(f"{holder.what}: {holder} {void}; made here instead")
        with suppress(OSError):
            path.unlink()
    return Claim(None)


@contextmanager
def making(
    store: Store, kind: str, identity: Mapping[str, Any], what: str, progress: Progress
) -> Iterator[Artefact | None]:
    """Yield the artefact if it exists, or once another process has made it; otherwise claim it and yield None.

    The block then makes the artefact, under the claim.
    """
    artefact = store.find(kind, identity)
    if artefact is not None:
        yield artefact
        return
    with _awaited(store, kind, identity, what, progress):
        yield store.find(kind, identity)


def _awaited(store: Store, kind: str, identity: Mapping[str, Any], what: str, progress: Progress) -> Claim:
    """Wait until no other process has the claim, and return it."""
    claim = take(store, kind, identity, what, progress)
    if isinstance(claim, Claim):
        return claim
    if claim.pid == os.getpid() and claim.is_here:
        return Claim(None)  # an outer block of this process makes it
    if not claim.is_here:
        progress.say(f"[yellow]…[/] {escape(waiting(what, claim))}")
    with progress.doing(f"wait for {what}") as tell:
        while isinstance(claim, Holder):
            tell(f"{claim}{': ' * bool(claim.status)}{claim.status}")
            time.sleep(POLL)
            claim = take(store, kind, identity, what, progress)
    return claim


def waiting(what: str, holder: Holder) -> str:
    """Return the sentence that names the process this one waits for."""
    return f"{what}: another run makes this ({holder}): waiting for it"


def _void(path: Path, holder: Holder) -> str:
    """Why the claim no longer holds; empty if it does."""
    if holder.machine == durable.machine() and not durable.alive(holder.pid):
        return "was killed"
    with suppress(OSError):
        # By the clock of the file system, which several machines share.
        probe = path.with_name(durable.temporary_name())
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        silent = now - path.stat().st_mtime
        if silent > STALE:
            return f"has given no sign of life for {silent:.0f} s"
    return ""


def _read(path: Path) -> Holder | None:
    try:
        fields = json.loads(path.read_bytes())
        return Holder(**fields)
    except OSError:
        return None
    except (ValueError, TypeError):  # written by another version, or cut by a full disk: only its age counts
        return Holder(0, "another machine", "some time", path.stem, "", "", "", "")


def _group() -> str:
    """Return what the processes of one launcher have in common; a process without a launcher is its own group."""
    if launcher.processes() == 1:
        return f"{durable.machine()}-{os.getpid()}"
    return ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"))
