"""Claims: lock files that say which process is computing an artefact, so that two runs do not compute it twice.

    <home>/claims/<kind>-<key>.json         pid, host, since, what, status; rewritten every `BEAT` seconds
    <home>/claims/use-<key>-<token>.json    the same, of a process that reads the model with this key: see `using`

A claim has expired if its process is dead or has not rewritten it for `STALE` seconds. Claims only save time: an
artefact that is computed twice has the same contents, and the store saves one copy. A run therefore goes on without
claims if the file system does not allow them.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, Self

from rich.markup import escape

from benchmark import launcher
from benchmark.errors import without_controls
from benchmark.store import durable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmark.console import Progress
    from benchmark.store.artefacts import Artefact, Store

BEAT, STALE, POLL = 5.0, 120.0, 0.5
"""In seconds: how often a claim is rewritten, after what time without rewriting it has expired, and how often a waiting
process checks it."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a claim, as read from the claim's file."""

    pid: int
    host: str
    since: str
    what: str
    status: str
    machine: str
    group: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, started {self.since}" if self.pid else "an unknown process"

    @property
    def is_here(self) -> bool:
        """Whether it is this process, or a process started by the same launcher."""
        return self.group == _group()


class Claim:
    """A claim of this process, used as a context manager that releases it at the end.

    `path` is None if the file system does not allow claims.
    """

    def __init__(self, path: Path | None, what: str = "", progress: Progress | None = None) -> None:
        self.path, self._progress = path, progress
        self._holder = Holder(
            os.getpid(), platform.node() or "this machine", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", what, "",
            durable.machine(), _group(), token_hex(8),
        )  # fmt: skip

    def text(self) -> bytes:
        """Return the contents of the claim's file, with the current progress."""
        status = self._progress.status() if self._progress else ""
        return json.dumps({**vars(self._holder), "status": status}, indent=1).encode()

    def beat(self) -> None:
        """Rewrite the claim, unless a different process has taken it over after it expired."""
        if self.path is None or not self._is_held():
            return
        temporary = self.path.with_name(durable.temporary_name())
        temporary.write_bytes(self.text())
        os.replace(temporary, self.path)

    def __enter__(self) -> Self:
        if self.path is not None:
            _REWRITER.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        _REWRITER.discard(self)
        if self.path is not None and self._is_held():
            with suppress(OSError):
                self.path.unlink()

    def _is_held(self) -> bool:
        """Return whether the file still contains this claim and not that of a different process."""
        holder = None if self.path is None else _read(self.path)
        return holder is not None and holder.token == self._holder.token


class _Rewriter:
    """Rewrites the claims of this process regularly, in a thread that runs while there are any."""

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
        with self._lock:  # the thread does not write this claim after this block
            self._claims.discard(claim)
            if not self._claims:
                self._ended.set()

    def _run(self, ended: Event) -> None:
        while not ended.wait(BEAT):
            with self._lock:
                for claim in self._claims:
                    with suppress(OSError):
                        claim.beat()


_REWRITER = _Rewriter()


def take(store: Store, kind: str, identity: Mapping[str, Any], what: str, progress: Progress) -> Claim | Holder:
    """Claim an artefact, and return the claim or, if a different process holds it, that process.

    An expired claim is taken over.
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
            continue  # the other process has just released it
        if holder.pid == os.getpid() and holder.machine == durable.machine():
            return holder
        if not (reason := _why_expired(path, holder)):
            return holder
        progress.warn(f"{holder.what}: {holder}, {reason}; this run takes over")
        with suppress(OSError):
            path.unlink()
    return Claim(None)


@contextmanager
def making(
    store: Store, kind: str, identity: Mapping[str, Any], what: str, progress: Progress
) -> Iterator[Artefact | None]:
    """Yield the artefact if it exists; otherwise claim it and yield None, so that the block computes it.

    If a different process is computing the artefact, wait for that process first.
    """
    artefact = store.find(kind, identity)
    if artefact is not None:
        yield artefact
        return
    with _wait_for_claim(store, kind, identity, what, progress):
        yield store.find(kind, identity)


def _wait_for_claim(store: Store, kind: str, identity: Mapping[str, Any], what: str, progress: Progress) -> Claim:
    """Wait until no other process holds the claim, then take and return it."""
    claim = take(store, kind, identity, what, progress)
    if isinstance(claim, Claim):
        return claim
    if claim.pid == os.getpid() and claim.is_here:
        return Claim(None)  # an outer block of this process is computing it
    if not claim.is_here:
        progress.say(f"[yellow]…[/] {escape(waiting(what, claim))}")
    with progress.doing(f"wait for {what}") as tell:
        while isinstance(claim, Holder):
            tell(f"{claim}{': ' * bool(claim.status)}{claim.status}")
            time.sleep(POLL)
            claim = take(store, kind, identity, what, progress)
    return claim


USE = "use"
"""Kind in the names of claims of models that a process reads; their keys are those of the models."""


@contextmanager
def using(store: Store, keys: Sequence[str], what: str, progress: Progress) -> Iterator[None]:
    """State within the block that this process reads these models, so that `bench clean` leaves them alone.

    Args:
        store: the store.
        keys: keys of the models.
        what: what this process does, for display.
        progress: display whose status the claims contain.
    """
    folder = store.home / "claims"
    for path in folder.glob(f"{USE}-*.json"):  # left by killed processes
        holder = _read(path)
        if holder is not None and _why_expired(path, holder):
            with suppress(OSError):
                path.unlink()
    with ExitStack() as claims:
        for key in keys:
            path = folder / f"{USE}-{key}-{token_hex(4)}.json"
            claim = Claim(path, what, progress)
            with suppress(OSError):
                durable.make_folder(folder)
                path.write_bytes(claim.text())
                claims.enter_context(claim)
        yield


def live(home: Path) -> dict[str, Holder]:
    """Return the processes that compute or read artefacts in the runs folder `home`, by kind and key: "model-<key>"."""
    holders = {}
    for path in sorted((home / "claims").glob("*.json")):
        holder = None if path.name.startswith(".") else _read(path)
        if holder is not None and not _why_expired(path, holder):
            kind_and_key = "-".join(path.stem.split("-")[:2]) if path.stem.startswith(f"{USE}-") else path.stem
            holders[kind_and_key] = holder
    return holders


def remove_finished(store: Store) -> None:
    """Remove the claims of processes that were killed just after they had saved their artefact."""
    for path in (store.home / "claims").glob("*.json"):
        kind, _, key = path.stem.rpartition("-")
        if path.name.startswith(".") or not (store.home / "artefacts" / kind / key).exists():
            continue
        holder = _read(path)
        if holder is not None and _is_dead(holder):
            with suppress(OSError):
                path.unlink()


def waiting(what: str, holder: Holder) -> str:
    """Return a message that names the process that this one waits for."""
    return f"{what}: another run ({holder}) is computing this; waiting for it"


def _why_expired(path: Path, holder: Holder) -> str:
    """Return why the claim has expired; empty if it has not."""
    if _is_dead(holder):
        return "was killed"
    with suppress(OSError):
        # Compare with the clock of the file system, because machines that share it can have different clocks.
        probe = path.with_name(durable.temporary_name())
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        silent = now - path.stat().st_mtime
        if silent > STALE:
            return f"has not responded for {silent:.0f} s"
    return ""


def _is_dead(holder: Holder) -> bool:
    return holder.machine == durable.machine() and not durable.alive(holder.pid)


def _read(path: Path) -> Holder | None:
    """Return the holder of the claim at `path`; None if the file cannot be read."""
    try:
        fields = json.loads(path.read_bytes())
        pid = int(fields.pop("pid"))
        return Holder(pid, **{name: without_controls(str(value)) for name, value in fields.items()})
    except OSError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        # From a different version, or cut off by a full disk: only its age can be used.
        return Holder(0, "another machine", "some time", path.stem, "", "", "", "")


def _group() -> str:
    """Return a name that all processes of one launcher share, or one for this process if there is no launcher."""
    if launcher.processes() == 1:
        return f"{durable.machine()}-{os.getpid()}"
    return ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"))
