"""`bench testbed build mini`: trains all networks of mini from scratch."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import StoreError, UsageError
from benchmark.json_types import JsonObject
from benchmark.store import durable, paths
from benchmark.store.listing import visible

if TYPE_CHECKING:
    from benchmark.console import Progress

NEEDED = 2_300_000_000
"""Bytes of pictures, latents and training states that are kept beside the weights during the build."""


def build(out: Path, progress: Progress, only: tuple[str, ...] = (), device: str = "cpu") -> None:
    """Build the weights folder `out`; pictures and training states are kept in `out`.work until all stages are done.

    A build that was interrupted is resumed. If the weights are complete, nothing is done.

    Args:
        out: the weights folder.
        progress: shows messages.
        only: names of the stages to build, with the stages that they need; all by default.
        device: device for training.

    Raises:
        UsageError: a stage or the device does not exist, or the folder holds something else.
        StoreError: the disk is full, the folder cannot be written, or another process builds into it.
    """
    from rich.markup import escape

    from benchmark.console import quiet_libraries
    from benchmark.hardware import usable
    from benchmark.testbeds.mini.build.stages import STAGES, Build, recipe
    from benchmark.testbeds.mini.testbed import check_manifest, write_manifest

    for name in only:
        if name not in STAGES:
            raise UsageError(f"mini has no build stage '{name}'. Stages, in order: {', '.join(STAGES)}.")
    where = usable(device)
    out = Path(os.path.abspath(out))  # "." has no name to put .work behind
    scratch = out.with_name(out.name + ".work")
    if not (scratch.exists() or (out / "manifest.json").exists()) and visible(out, "*"):
        raise UsageError(f"{out} has other things in it, and no build was begun there: give the build a new folder.")
    quiet_libraries()
    with durable.alone(out, wait=False):
        if (out / "manifest.json").exists():
            check_manifest(out)
            shutil.rmtree(scratch, ignore_errors=True)  # left by a kill after the last stage
            progress.reuse(f"{out}: all weights are there; remove the folder to build them again")
            return
        if not scratch.exists():
            paths.prepare(out.parent, NEEDED)
        with durable.storing(scratch):
            durable.make_folder(scratch)
            _check_recipe(scratch / "recipe.json", recipe())
        progress.say(
            f"build     takes just under three hours on two CPU cores (sum of the stages) and {paths.size(NEEDED)} in "
            f"{escape(str(scratch))}; run the command again to resume it after an interruption"
        )
        work = Build(out, scratch, progress.report, where)
        with durable.filling(out.parent, out):
            work.run(only)
            if only:
                progress.say(f"done      {', '.join(only)}; without --only, all that is still missing is built")
                return
            write_manifest(out)
        work.clear()
        progress.say(f"weights   {escape(str(out))}")


def _check_recipe(path: Path, recipe: JsonObject) -> None:
    """Raise `StoreError` if a build was begun with other pictures, seeds or steps; write the recipe of a new build."""
    text = json.dumps(recipe, sort_keys=True)
    if not path.exists():
        durable.write_bytes(path, text.encode())
    elif path.read_text("utf-8") != text:
        raise StoreError(
            f"{path.parent} was begun with other pictures, seeds or steps than this version's: remove it and the "
            "unfinished folder beside it, or build into another one."
        )
