"""Rebuild every weight of mini from nothing: `bench testbed build mini`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import durable
from benchmark.errors import UsageError

if TYPE_CHECKING:
    from benchmark.console import Progress


def build(out: Path, progress: Progress, only: tuple[str, ...] = (), device: str = "cpu") -> None:
    """Build into `out`, a weights folder when all stages are done; pictures and training states go to `out`.work.

    UsageError for a stage that does not exist. Interrupted, it goes on where it stopped; complete, it does nothing.
    """
    import torch

    from benchmark.testbeds.mini.build.stages import STAGES, Build
    from benchmark.testbeds.mini.testbed import check_manifest, write_manifest

    for name in only:
        if name not in STAGES:
            raise UsageError(f"mini has no build stage '{name}'. Stages, in order: {', '.join(STAGES)}.")
    if not only and (out / "manifest.json").exists():
        check_manifest(out)
        progress.reuse(f"{out}: all weights are there; remove the folder to build them anew")
        return
    with durable.storing(out):
        out.mkdir(parents=True, exist_ok=True)
    work = Build(out, out.with_name(out.name + ".work"), progress.report, torch.device(device))
    work.run(only)
    if not only:
        write_manifest(out)
        work.clear()
        progress.say(f"weights   {out}")
