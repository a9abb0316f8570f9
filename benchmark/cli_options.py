"""Options that several commands share, and the check of a name before anything heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Testbed = Annotated[str, typer.Option(help="What the run stands on: see `bench list testbeds`; or a file, my.toml.")]
Runs = Annotated[
    Path | None,
    typer.Option(help="Folder of checkpoints, images and records.", show_default="$PALIMPSEST_HOME, else ./runs"),
]
Records = Annotated[
    list[Path] | None,
    typer.Option(help="Record files or folders to read instead of the usual ones; may be repeated."),
]


def known(group: str, name: str) -> str:
    """What records call it. UsageError with a suggestion unless `name` is installed; nothing of it is imported.

    A testbed may be a file as well; DataError for one that is wrong.
    """
    from benchmark import registry
    from benchmark.testbeds import choice

    if group == "testbeds" and choice.is_file(name):
        return choice.name_of(name)
    if name not in (installed := registry.names(group)):
        raise registry.unknown(registry.GROUPS[group], name, installed)
    return name
