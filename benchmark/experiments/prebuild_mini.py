"""Computes the artefacts of mini's base and reference models that ship with the code: features, costs, some images.

They shorten the first run on mini. `bench testbed prebuild mini` computes them by the same runs that a user would start
(`distilled`, seeds 0 and 1), in a separate runs folder, and copies the small ones. The store finds them by key, like
artefacts that were computed locally.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.api.request import RunRequest, Runtime
from benchmark.models.fitted import Base, Fitted
from benchmark.testbeds.mini.testbed import PREBUILT

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.api.testbed import Workbench
    from benchmark.console import Progress
    from prompts.concepts import Concept


SEEDS = (0, 1)
SUITES = ("artists", "coco")
NEEDED = 20_000_000
"""Bytes of the shipped artefacts."""


def prebuild(home: Path, progress: Progress, out: Path = PREBUILT) -> None:
    """Run the distilled models, and replace the folder `out` by the artefacts to ship.

    The runs use a folder in `home` that is named after the hash of the models, so that artefacts of other runs are not
    shipped.
    """
    from benchmark.models.plan import plan_of
    from benchmark.pipeline.run import DISK_NEEDED, run
    from benchmark.pipeline.setup import workbench_for
    from benchmark.store.artefacts import key_of
    from benchmark.store.paths import prepare

    prepare(home, DISK_NEEDED)
    prepare(out.parent, NEEDED)  # fail now, not after ten minutes of computation
    bench = workbench_for(Runtime(), home, progress)
    concept = bench.testbed.concept(())
    plans = [plan_of(bench, RunRequest("distilled", "artists", seed=seed), concept) for seed in SEEDS]
    models = [Base(bench), *(Fitted(bench, plan) for plan in plans)]
    home = home / key_of("prebuilt", {"models": [model.identity for model in models]})[:8]
    shutil.rmtree(out, ignore_errors=True)  # so that the runs compute all artefacts and do not read the old ones
    for seed in SEEDS:
        run(RunRequest("distilled", "artists", seed=seed, runs=home), progress)
    costs = {key_of("cost", model.identity) for model in models}
    sheet_images = {_first_shard(bench, model, suite, concept) for model in models[:2] for suite in SUITES}
    for manifest in sorted((home / "artefacts").glob("*/*/artefact.json")):
        kind, key = manifest.parent.parent.name, manifest.parent.name
        identity = json.loads(manifest.read_text())["identity"]
        ships = (
            kind == "features"
            or (kind == "cost" and key in costs)
            or (kind == "latents" and identity["set"] == "concept images")
            or (kind == "images" and key in sheet_images)
        )
        if ships:
            shutil.copytree(manifest.parent, out / kind / key, ignore=shutil.ignore_patterns(".*"))
    progress.say(f"prebuilt   {out}\nrecords    {home / 'records'}")


def _first_shard(bench: Workbench, model: Model, suite: str, concept: Concept) -> str:
    """Return the key of the first shard of a suite's images, which the contact sheet of a run shows."""
    from benchmark.generation.shards import shard_identity, shards
    from benchmark.store.artefacts import key_of

    return key_of("images", shard_identity(bench, model, shards(bench.testbed.prompts(suite, concept))[0]))
