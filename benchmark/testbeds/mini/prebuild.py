"""What spares a first run on mini its base and reference: their features, costs and one shard of pictures, shipped.

`bench testbed prebuild mini` makes them by the very runs that a user would make (`distilled`, seeds 0 and 1), in a runs
folder of its own, and copies what is small. The store then finds them by key, as if they had been made on the spot.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.request import RunRequest
from benchmark.testbeds.mini.testbed import PREBUILT, Mini

if TYPE_CHECKING:
    from benchmark.console import Progress

SEEDS = (0, 1)
SUITES = ("artists", "coco")


def prebuild(home: Path, progress: Progress, out: Path = PREBUILT) -> None:
    """Run the distilled models in `home` and replace `out` by what ships; records go beside as `home`/records."""
    from benchmark.run import run

    home = home / Mini().identity()["weights"][:8]  # what older weights left behind must not ship
    shutil.rmtree(out, ignore_errors=True)  # what is shipped now must not be found in place of what is to be made
    for seed in SEEDS:
        run(RunRequest("distilled", "artists", seed=seed, runs=home), progress)
    shown = _first_shards(home, progress)
    for manifest in sorted((home / "artefacts").glob("*/*/artefact.json")):
        kind, key = manifest.parent.parent.name, manifest.parent.name
        told = json.loads(manifest.read_text())["identity"]
        ships = (
            kind in ("features", "cost")
            or (kind == "latents" and told["set"] == "concept images")
            or (kind == "images" and key in shown)
        )
        if ships:
            shutil.copytree(manifest.parent, out / kind / key)
    progress.say(f"prebuilt   {out}\nrecords    {home / 'records'}")


def _first_shards(home: Path, progress: Progress) -> set[str]:
    """Keys of the pictures that a run's contact sheet shows: base and reference, first shard of each suite."""
    from benchmark import models
    from benchmark.generate import shard_identity, shards
    from benchmark.run import plan_of, workbench_for
    from benchmark.store import key_of

    request = RunRequest("distilled", "artists", runs=home)
    bench = workbench_for(request, home, progress)
    concept = bench.testbed.concept(())
    reference = models.fitted(bench, plan_of(bench, request, concept))
    keys = set()
    for model in (models.base(bench), reference):
        for suite in SUITES:
            first = shards(bench.testbed.prompts(suite, concept))[0]
            keys.add(key_of("images", shard_identity(bench, model, first)))
    return keys
