"""Checks the disk space that a run needs before it starts. Results that are already stored need no more space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.store import disk

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.api.suite import Suite
    from benchmark.api.testbed import Workbench
    from benchmark.models.plan import Plan
    from prompts.lists import Prompt


def check(
    bench: Workbench,
    plans: Sequence[Plan],
    rows: Sequence[Model],
    suites: Sequence[Suite],
    prompts: Mapping[str, Sequence[Prompt]],
) -> None:
    """Check that the disks of the runs folder have room for all models, checkpoints and pictures still to be created.

    Args:
        bench: testbed and store.
        plans: models to train.
        rows: models to score.
        suites: suites to run.
        prompts: the prompts of each suite, by the suite's name.

    Raises:
        StoreError: if a disk is too full; the message names it.
    """
    needs = _training(bench, plans)
    for suite in suites:
        for row in rows:
            needs[bench.store.home / "artefacts"] += _pictures(bench, row, prompts[suite.name], suite)
    disk.check(needs, "This run")


def _training(bench: Workbench, plans: Sequence[Plan]) -> dict[Path, float]:
    """Return the bytes needed in each folder: for the weights of all missing models, and for the largest checkpoints
    among them. Checkpoints are deleted after each training."""
    from benchmark.models.plan import identity

    home = bench.store.home
    needs = {home / "artefacts": 0.0, home / "scratch": 0.0}
    by_scratch: dict[Path, Plan] = {}  # one entry per missing model, even if several plans start from it
    for stage in (stage for plan in plans for stage in (plan, plan.first) if stage is not None):
        if not bench.store.has("model", stage_identity := identity(bench, stage)):
            by_scratch[bench.store.scratch_path("model", stage_identity)] = stage
    if not by_scratch:
        return needs
    parameters = sum(parameter.numel() for parameter in bench.testbed.base().parameters())
    for scratch, plan in by_scratch.items():
        trained = parameters * plan.pruned.macs
        needs[home / "artefacts"] += disk.weights(trained, bench.testbed.half)
        left = disk.checkpoints(trained) - disk.taken(scratch)  # an interrupted run has left some of them
        needs[home / "scratch"] = max(needs[home / "scratch"], left)
    return needs


def _pictures(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> float:
    from benchmark.generation.features import features_identity
    from benchmark.generation.shards import kind_of, picture_bytes, shard_identity, shards

    if bench.store.has("features", features_identity(bench, model, prompts, suite)):
        return 0.0
    missing = [
        prompt
        for shard in shards(prompts)
        if not bench.store.has(kind_of(suite), shard_identity(bench, model, shard))
        for prompt in shard
    ]
    return sum(picture_bytes(bench, prompt) for prompt in missing)
