"""Where public prompt lists lie once their user has added them: <runs>/prompts, each with its papers beside it.

None is shipped. What lies there is byte for byte the file that was added, so its checksum is the publisher's.
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
    """Where the added lists lie under the runs folder `home`."""
    return home / "prompts"


def add(home: Path, name: str, file: Path, data: bytes | None = None) -> PublicList:
    """Check the user's `file` as list `name` and keep a copy, in place of an earlier one.

    `data` are its bytes where they were read before: a pipe gives them only once.
    Raises UsageError for an unknown name, DataError for what is wrong with the file, StoreError if it cannot be kept.
    """
    data = read_bytes(file) if data is None else data
    prompt_list = accepted(examine(data, source(name), file))
    kept = folder(home) / f"{name}.{prompt_list.kind}"
    papers = {
        "source": name,
        "file": kept.name,
        "original": Path(file).name,  # without folders: they say whose machine it was
        "sha256": prompt_list.sha256,
        "rows": len(prompt_list.rows),
        "unique": len(prompt_list.variant("unique")),
    }
    with durable.alone(folder(home)):  # two at once would leave the list of one with the papers of the other
        durable.sweep(folder(home))
        # The papers go last: stopped between the two, the list is reported as damaged and never taken for the earlier.
        durable.write_bytes(kept, data)
        durable.write_bytes(_papers(home, name), (json.dumps(papers, indent=1) + "\n").encode())
        for kind in ("csv", "txt", "parquet"):
            if kind != prompt_list.kind:
                with suppress(OSError):
                    (folder(home) / f"{name}.{kind}").unlink(missing_ok=True)
    return prompt_list


def find(home: Path, name: str) -> PublicList:
    """The list `name` that was added.

    Raises UsageError for an unknown name, and DataError for a list that was not added (saying where to get it) or whose
    copy is damaged (saying how to add it again).
    """
    wanted = source(name)
    if not _papers(home, name).exists():
        raise DataError(_missing(home, wanted))
    kept, data = _kept(home, name)
    return accepted(examine(data, wanted, kept))


def state(home: Path, name: str) -> State:
    """Whether list `name` was added and is as it was."""
    if not _papers(home, name).exists():
        return "missing"
    try:
        _kept(home, name)
    except DataError:
        return "damaged"
    return "present"


def _papers(home: Path, name: str) -> Path:
    return folder(home) / f"{name}.json"


def _kept(home: Path, name: str) -> tuple[Path, bytes]:
    """The copy's path and bytes, which are those that its papers name. Raises DataError if not."""
    try:
        refuse_unreadable(_papers(home, name))
        papers = json.loads(_papers(home, name).read_bytes())
        kept = folder(home) / Path(papers["file"]).name
        refuse_unreadable(kept)
        data = kept.read_bytes()
        if hashlib.sha256(data).hexdigest() == papers["sha256"]:
            return kept, data
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the error below names the same remedy for all of them
    raise DataError(
        f"The copy of {name} in {folder(home)} is damaged: add the list again with `{_command(home, name)}`."
    )


def _missing(home: Path, wanted: Source) -> str:
    file = wanted.file or "its file"
    ask = f" (access must be asked for: {wanted.ask})" if wanted.gated else ""
    return (
        f"The prompt list {wanted.name} is not shipped: get {file} from {wanted.where}{ask}, "
        f"then `{_command(home, wanted.name)}`."
    )


def _command(home: Path, name: str) -> str:
    runs = "" if home == paths.home() else f" --runs {shlex.quote(str(home))}"
    return f"bench prompts add {name} FILE --testbed sd21{runs}"
