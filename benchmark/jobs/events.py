"""Reads and writes the history of a job: a text file next to its script, with one line per event.

    2026-11-28T13:00:00Z submitted 4711
    2026-11-28T13:00:09Z started 4711 node17
    2026-11-28T15:28:10Z requeued 4711 the time limit is near
    2026-11-28T15:31:00Z started 4711 node03
    2026-11-28T16:02:44Z done 4711

The fields are the time (UTC), the event, the id of the job, and details. `bench campaign` writes `submitted` and
`cancelled`, and the script of the job writes all other events, so that no accounting of the cluster is needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmark.errors import without_controls
from benchmark.store import durable

ENDED = ("requeued", "stopped", "lost", "cancelled", "done", "failed")
"""Events that end an attempt. `stopped`: the job received SIGTERM, because it was cancelled or preempted. `lost`: it
was killed without a signal that it could see; written when the job starts again."""
_LINE = re.compile(rf"(\S+Z) (submitted|started|{'|'.join(ENDED)}) (\S+)(?: (.*))?")


@dataclass(frozen=True)
class Event:
    """One line of a history."""

    time: float
    """Seconds since 1970, UTC."""
    name: str
    job: str
    """Id of the Slurm job, or `local-<host>-<process id>`."""
    details: str = ""


def read(path: Path) -> list[Event]:
    """Return the events of a history in order; lines that are no events are skipped. Empty if there is no file."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    events = []
    for line in text.splitlines():
        if (match := _LINE.fullmatch(line.strip())) and (time := _seconds(match[1])) is not None:
            events.append(Event(time, match[2], without_controls(match[3]), without_controls(match[4] or "")))
    return events


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def add(path: Path, name: str, job: str, details: str = "") -> None:
    """Append an event that happens now."""
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {name} {job} {details}".rstrip()
    with durable.storing(path), open(path, "a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def hours(events: Sequence[Event], now: float) -> float:
    """Return the hours that all attempts took together.

    An attempt without an end counts until `now`, or as nothing if a later attempt exists.
    """
    seconds, start = 0.0, None
    for event in events:
        if event.name == "started":
            start = event.time
        elif event.name in ENDED and start is not None:
            seconds, start = seconds + max(0.0, event.time - start), None
    if start is not None:
        seconds += max(0.0, now - start)
    return seconds / 3600


def last_line(log: Path) -> str:
    """Return the last line of a log that is not blank; empty if there is none. Only its last 64 kB are read."""
    try:
        with open(log, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 65536))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return without_controls(next((line.strip() for line in reversed(text.splitlines()) if line.strip()), ""))
