"""Keeps a log of when explicit pictures were shown without blur."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from benchmark.store import durable


def log_reveal(home: Path, name: str) -> None:
    """Append the time and the name of a file with unblurred explicit pictures to `revealed.txt` in the runs folder.

    Raises:
        StoreError: the log cannot be written.
    """
    log = home / "revealed.txt"
    earlier_lines = log.read_text("utf-8") if log.exists() else ""
    durable.write_bytes(log, f"{earlier_lines}{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ} {name}\n".encode())
