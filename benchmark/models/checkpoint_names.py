"""Checks the names of external checkpoints: they fit tables and file names, and each belongs to one checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark import registry
from benchmark.errors import RecordError, UsageError
from benchmark.models.chosen_parts import PARTS
from benchmark.records.record import BROUGHT, SUFFIX, read_record
from benchmark.store.listing import visible

LONGEST_NAME = 120
"""Maximum length of a name in bytes. It becomes part of file names, which most file systems limit to 255 bytes."""
_OWN_SEED = re.compile(r" \(seed \d+\)$")


def check_name(name: str) -> None:
    """Check the name of an external checkpoint.

    Raises:
        UsageError: if the table reserves the name, or a row or a file cannot have it.
    """
    if not name.strip():
        raise UsageError("The model has no name for its row in the table: give it one with --name.")
    if _OWN_SEED.sub("", name) in (*registry.names("methods"), "base"):
        raise UsageError(f"--name {name!r} is reserved for a row of the benchmark: choose a different name.")
    if not name.isprintable() or name != name.strip():
        raise UsageError(
            f"--name {name[:LONGEST_NAME]!r} has a line break, a control character, or a space at its start or end: "
            "give a name of one line without them."
        )
    if len(name.encode()) > LONGEST_NAME:
        raise UsageError(
            f"--name '{name[:20]}...' is {len(name.encode())} bytes long, too long for a file name: give one of at "
            f"most {LONGEST_NAME} bytes."
        )


def check_name_is_free(
    folder: Path,
    testbed: str,
    name: str,
    checksum: str,
    form: str = "checkpoint",
    parts: Mapping[str, str] | None = None,
) -> None:
    """Check that no record in `folder` uses this name for a different checkpoint, or for different pictures.

    A function that generates pictures may change under its name, like a method from a file: tables show its newest
    version.

    The same U-Net with other parts of a pipeline, such as a text encoder of its own, is a different checkpoint. One
    pipeline may be scored with several choices of its parts, which the labels state.

    Args:
        folder: folder of records.
        testbed: name of the testbed.
        name: name of the checkpoint.
        checksum: its sha256.
        form: "checkpoint", "function" or "pictures".
        parts: sha256 of its own parts by name, where they are already known.

    Raises:
        UsageError: if a record has the same testbed and name and a different checksum.
    """
    checksums = {"": checksum, **(parts or {})}
    for path in visible(folder, "*" + SUFFIX):
        with suppress(RecordError, OSError):
            record = read_record(path)
            if (record.testbed, record.pruning, record.method) != (testbed, BROUGHT, name):
                continue
            recorded_form = record.counted.get("form")
            if form == recorded_form == "function":
                continue  # a newer version of the function
            own: Any = record.counted.get("own parts") or {}
            words: Any = record.counted.get("embeddings") or {}
            recorded = {"": record.counted.get("checkpoint"), **own, **words}
            kinds = {"function": "function", "pictures": "set of pictures"}
            kind = kinds.get(str(recorded_form), "checkpoint")
            for part in checksums.keys() & recorded.keys():
                if recorded[part] != checksums[part]:
                    whose = f"its {PARTS.get(part, part)}'s sha256" if part else "its sha256"
                    raise UsageError(
                        f"'{name}' is the name of a different {kind} in {folder} "
                        f"({whose} begins with {str(recorded[part])[:12]}, this one's with "
                        f"{checksums[part][:12]}): give a different --name."
                    )
