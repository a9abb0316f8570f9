"""`bench eval`: a model that somebody else made, on a suite, beside the base and the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark import checkpoint_forms, paths, registry
from benchmark.console import Progress
from benchmark.errors import UsageError
from benchmark.records import BROUGHT
from benchmark.request import Outcome, RunRequest
from benchmark.run import DISK_NEEDED, REFERENCE_SEED, plan_of, workbench_for

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.models import Model
    from benchmark.suites import Suite
    from benchmark.workbench import Workbench

Reference = Literal["distilled", "base"]


def evaluate(
    request: RunRequest,
    checkpoint: str,
    name: str,
    reference: Reference,
    progress: Progress,
    architecture: Path | None = None,
) -> Outcome:
    """The records of the checkpoint called `name`, with those of the base and the reference.

    `architecture`, if given, cuts weights of full size. Of the request, whose method is `distilled`, budget and pruning
    are the reference's alone. The checkpoint is read and matched before anything is trained or sampled.
    """
    check_name(name)
    home = paths.prepare(request.runs, DISK_NEEDED)
    found = replace(checkpoint_forms.locate(checkpoint), architecture=architecture)

    from benchmark import asking, models
    from benchmark.measure import measure

    bench = workbench_for(request, home, progress)
    first: Suite = registry.load("suites", request.suite)()
    suites = [first, *(registry.load("suites", each)() for each in first.brings if not request.alone)]
    asking.check_as_published(bench, [suite.name for suite in suites])
    concept = bench.testbed.concept(request.targets, getattr(first, "forgets", "style"))
    asked = {suite.name: asking.asked(bench, suite.name, concept) for suite in suites}
    mine = brought(bench, found, name)
    rows = [models.base(bench), mine]
    if reference == "distilled":
        rows.insert(1, models.fitted(bench, plan_of(bench, replace(request, seed=REFERENCE_SEED), concept)))
    for row in rows:
        row.ledger()
    return measure(bench, rows, rows[-2], suites, asked, concept, request.reveal)


def check_name(name: str) -> None:
    """UsageError for a name that rows of the table have already."""
    if not name.strip() or name in (*registry.names("methods"), "base"):
        raise UsageError(f"--name '{name}' is what the table calls a row of its own: choose another.")


def brought(bench: Workbench, checkpoint: checkpoint_forms.Checkpoint, name: str) -> Model:
    """The checkpoint as a model: known by its checksum, trained by nobody here."""
    from benchmark.models import Model
    from methods.pruning.macs import count_macs

    testbed = bench.testbed
    base = testbed.base()
    size, length = testbed.sampler.latent_size, testbed.text_length
    whole = count_macs(base, size, length)
    unet = checkpoint_forms.load(checkpoint, base, testbed.scheduler)
    share, checksum = count_macs(unet, size, length) / whole, checkpoint.sha256()
    counted = {"share": share, "counter": "torch flop_counter", "latent_size": size, "text_length": length}

    def load() -> UNet2DConditionModel:
        return unet.to(bench.device)  # type: ignore[arg-type]

    facts: dict[str, Any] = {
        "method": name, "preset": "default", "variant": "default", "solver": None, "data": BROUGHT, "budget": {},
        "seed": 0, "recipe": 1, "pruning": BROUGHT, "macs": min(1.0, round(share, 4)),
    }  # fmt: skip
    identity = {**testbed.identity(), "model": BROUGHT, "checkpoint": checksum}
    told = {**counted, "checkpoint": checksum, "form": checkpoint.form}
    return Model(name, identity, facts, load, list, list, lambda: told)
