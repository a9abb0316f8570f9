"""Stores the public prompt lists that a user has added, in <runs>/prompts, each with a JSON file of metadata.

No public list is shipped. The stored copy is identical to the added file, so it has the publisher's checksum.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Literal

from benchmark.errors import DataError
from benchmark.store import durable, paths
from benchmark.store.listing import refuse_unreadable
from prompts.public import PublicList, accepted, examine, read_bytes
from prompts.sources import Source, source

State = Literal["present", "missing", "damaged"]


def folder(home: Path) -> Path:
    """Return the folder of added lists in the runs folder `home`."""
    return home / "prompts"


def add(home: Path, name: str, file: Path, data: bytes | None = None) -> PublicList:
    """Check a file and store a copy of it as list `name`, replacing an earlier copy.

    Args:
        home: the runs folder.
        name: name of the public list.
        file: the user's file.
        data: content of the file if it has been read already, because a pipe can be read only once.

    Raises:
        UsageError: if the name is unknown.
        DataError: if the file is not this list.
        StoreError: if the copy cannot be written.
    """
    data = read_bytes(file) if data is None else data
    prompt_list = accepted(examine(data, source(name), file))
    copy = folder(home) / f"{name}.{prompt_list.kind}"
    metadata = {
        "source": name,
        "file": copy.name,
        "original": Path(file).name,  # without folders, which can contain a user name
        "sha256": prompt_list.sha256,
        "rows": len(prompt_list.rows),
        "unique": len(prompt_list.variant("unique")),
    }
    with durable.alone(folder(home)):  # two processes at once could mix the list of one with the metadata of the other
        durable.sweep(folder(home))
        # The metadata are written last: after an interruption between the two files, the list is reported as damaged.
        durable.write_bytes(copy, data)
        durable.write_bytes(_metadata_file(home, name), (json.dumps(metadata, indent=1) + "\n").encode())
        for kind in ("csv", "txt", "parquet"):
            if kind != prompt_list.kind:
                with suppress(OSError):
                    (folder(home) / f"{name}.{kind}").unlink(missing_ok=True)
    return prompt_list


def find(home: Path, name: str) -> PublicList:
    """Return a list that was added.

    Raises:
        UsageError: if the name is unknown.
        DataError: if the list has not been added (the message says where to get it), or its copy is damaged.
    """
    wanted = source(name)
    if not _metadata_file(home, name).exists():
        raise DataError(_missing_message(home, wanted))
    copy, data = _read_copy(home, name)
    return accepted(examine(data, wanted, copy))


def state(home: Path, name: str) -> State:
    """Return whether list `name` has been added and is unchanged."""
    if not _metadata_file(home, name).exists():
        return "missing"
    try:
        _read_copy(home, name)
    except DataError:
        return "damaged"
    return "present"


def _metadata_file(home: Path, name: str) -> Path:
    return folder(home) / f"{name}.json"


def _read_copy(home: Path, name: str) -> tuple[Path, bytes]:
    """Return path and content of a list's copy; raise DataError if they do not match its metadata."""
    try:
        refuse_unreadable(_metadata_file(home, name))
        metadata = json.loads(_metadata_file(home, name).read_bytes())
        copy = folder(home) / Path(metadata["file"]).name
        refuse_unreadable(copy)
        data = copy.read_bytes()
        if hashlib.sha256(data).hexdigest() == metadata["sha256"]:
            return copy, data
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the error below has the same remedy for all causes
    raise DataError(
        f"The copy of {name} in {folder(home)} is damaged: add the list again with `{_add_command(home, name)}`."
    )


def _missing_message(home: Path, wanted: Source) -> str:
    file = wanted.file or "its file"
    access = f" (access must be requested: {wanted.ask})" if wanted.gated else ""
    return (
        f"The prompt list {wanted.name} is not shipped: get {file} from {wanted.where}{access}, "
        f"then run `{_add_command(home, wanted.name)}`."
    )


def _add_command(home: Path, name: str) -> str:
    runs = "" if home == paths.home() else f" --runs {shlex.quote(str(home))}"
    return f"bench prompts add {name} FILE --testbed sd21{runs}"
