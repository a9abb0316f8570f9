"""Provides the inputs that prunings need in addition to the base: captioned pictures, or experts from a search.

A pruning is a function `prune(unet, macs, latent_size, text_length)`. It can have a fifth parameter named `pictures` or
`experts`, which it then also receives.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.api.testbed import TEXT_TOWER, Workbench
from benchmark.errors import UsageError
from benchmark.json_types import Identity
from benchmark.records import provenance
from benchmark.store.artefacts import key_of
from benchmark.store.claims import making
from benchmark.store.listing import visible

if TYPE_CHECKING:
    from methods.pruning.aptp.experts import Experts
    from methods.pruning.aptp.search import Search
    from methods.pruning.aptp.sentences import Embed


REQUIRED_PARAMETERS = ("unet", "macs", "latent_size", "text_length")
"""Parameters of every pruning, in this order."""
OPTIONAL_PARAMETERS = ("pictures", "experts")
"""Possible names of a fifth parameter."""


def pruner(bench: Workbench, name: str, macs: float) -> Callable[..., Any]:
    """Return the pruning function of this name, with its fifth parameter already bound.

    Raises:
        BudgetError: no expert would have a share of MACs near `macs`; raised before the search for experts.
    """
    prune, parameters = registry.load("prunings", name), check_signature(name).parameters
    if "experts" in parameters:
        return partial(prune, experts=given(bench) or experts(bench, target_macs=macs))
    return partial(prune, pictures=bench.testbed.pictures(bench)) if "pictures" in parameters else prune


def check_signature(name: str) -> inspect.Signature:
    """Return the signature of a pruning, or raise UsageError if its parameters are not those of prunings."""
    try:
        signature = inspect.signature(registry.load("prunings", name))
        signature.bind(
            *REQUIRED_PARAMETERS, **{more: None for more in OPTIONAL_PARAMETERS if more in signature.parameters}
        )
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"Pruning '{name}' does not have the parameters of prunings ({error}): declare it as "
            f"prune({', '.join(REQUIRED_PARAMETERS)}), optionally with a fifth parameter "
            f"{' or '.join(OPTIONAL_PARAMETERS)}."
        ) from error
    return signature


def spent(bench: Workbench, name: str) -> float | None:
    """Return the U-Net FLOPs spent on choosing which weights to prune.

    They are 0 for prunings that use no pictures, or published experts, and None if they are not known.
    """
    from methods.costs import CALIBRATION_IMAGES, pruning_flops
    from methods.pruning.macs import forward_flops

    parameters, testbed = check_signature(name).parameters, bench.testbed
    counted_name = "aptp" if "experts" in parameters else name
    if counted_name not in CALIBRATION_IMAGES:
        return None if "pictures" in parameters else 0.0
    if "experts" in parameters and _published_file(bench):
        return 0.0
    return pruning_flops(counted_name, forward_flops(testbed.base(), testbed.sampler.latent_size, testbed.text_length))


def further_identity(bench: Workbench, name: str) -> Identity:
    """Return everything else that determines a pruning's result; empty for most prunings.

    Prunings that choose an expert add the search, or the file of published experts. Prunings that use pictures add the
    checksum of the pictures. A pruning from a file adds its code in place of its path.
    """
    code = registry.fingerprint(name)
    identity = {"pruning": name.rpartition(":")[2], "pruning_code": code} if code else {}
    parameters = check_signature(name).parameters
    if "experts" not in parameters:
        return identity | (bench.trained_on if "pictures" in parameters else {})
    if file := _published_file(bench):
        return identity | {"experts": hashlib.sha256(file.read_bytes()).hexdigest()}
    return identity | {"experts": key_of("experts", search_identity(bench))}


def _published_file(bench: Workbench) -> Path | None:
    """Return the testbed's file of published experts, which replaces the search; None if it has none."""
    return bench.testbed.experts


def given(bench: Workbench) -> Experts | None:
    """Return the published experts of a testbed, with MACs counted on its base; None if a search is needed."""
    from methods.pruning.aptp.experts import published
    from methods.pruning.costs import Costs

    file, testbed = _published_file(bench), bench.testbed
    if file is None:
        return None
    return published(file, Costs.of(testbed.base(), testbed.sampler.latent_size, testbed.text_length))


def search_identity(bench: Workbench, config: Search | None = None) -> Identity:
    """Return everything that determines the result of a search for experts."""
    from methods.config_fields import identity_of
    from methods.pruning.aptp import search

    return {
        **bench.testbed.identity(),
        "search": identity_of(config or search.Search()),
        "recipe": search.RECIPE,
        "sentences": _encoder_key(bench.testbed.sentences),
        **bench.trained_on,
    }


def experts(bench: Workbench, config: Search | None = None, target_macs: float | None = None) -> Experts:
    """Return the experts of a search from the store, or run the search, which resumes if it was interrupted.

    The stored `search.json` has its loss curve and the number of prompts of each expert.

    Args:
        bench: testbed and store.
        config: settings of the search; by default those of APTP in this package.
        target_macs: share of MACs that one of the experts must be near to; None for no such check.

    Raises:
        BudgetError: budgets of experts cannot be met, or all are far from `target_macs`; raised before the search.
        UsageError: the prompt encoder cannot be loaded; raised before the search.
    """
    from methods.pruning.aptp.experts import Experts
    from methods.pruning.aptp.search import Search

    config, identity = config or Search(), search_identity(bench, config)
    with making(bench.store, "experts", identity, "search for experts", bench.progress) as artefact:
        if artefact is None:
            _search(bench, config, identity, target_macs)
    return Experts.read(bench.store.get("experts", identity).folder)


def _search(bench: Workbench, config: Search, identity: Identity, target_macs: float | None) -> None:
    from benchmark.store.checkpoints import Checkpointer
    from methods.pruning.aptp.experts import nearest
    from methods.pruning.aptp.resuming import steps_of
    from methods.pruning.aptp.search import budgets, search
    from methods.pruning.costs import Costs

    testbed = bench.testbed
    costs = Costs.of(testbed.base(), testbed.sampler.latent_size, testbed.text_length)
    shares = budgets(config, costs.least())
    if target_macs is not None:
        nearest(shares.tolist(), target_macs)
    encode = embed(bench)
    calibration, curve = bench.testbed.pictures(bench), list[dict[str, float]]()
    embeddings = encode(calibration.captions)
    checkpoint = Checkpointer(bench.store.scratch("experts", identity))
    steps_done = steps_of(checkpoint.load())
    with bench.progress.stage("search for experts", config.steps, "steps", steps_done) as stage:

        def report(done: int, means: dict[str, float]) -> None:
            stage.reach(done, loss=means["loss"])
            curve.append({"step": done, **{name: float(f"{value:.5g}") for name, value in means.items()}})

        expert_set = search(testbed.base(), calibration, embeddings, config, costs, report, checkpoint)
    assigned = expert_set.route(costs.layout, embeddings).tolist()
    summary = {"curve": curve, "prompts": [assigned.count(k) for k in range(config.experts)]}
    with bench.store.make("experts", identity, provenance.collect()) as folder:
        expert_set.write(folder)
        (folder / "search.json").write_text(json.dumps(summary))


def prompts_of(bench: Workbench, config: Search) -> list[int]:
    """Return the number of the search's captions that are routed to each expert, by the nearest code."""
    artefact = bench.store.get("experts", search_identity(bench, config))
    return list(json.loads(artefact.path("search.json").read_text())["prompts"])


READ = ("json", "safetensors", "txt", "bin", "model")
"""File name extensions of a prompt encoder: configuration, weights, vocabulary."""


@cache
def _encoder_key(name: str) -> str:
    """Return the name of a prompt encoder for store keys; for a folder, its name and a checksum of its files."""
    if not Path(name).is_absolute():
        return name
    digest = hashlib.sha256()
    for file in sorted(file for kind in READ for file in visible(Path(name), f"**/*.{kind}")):
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return f"{Path(name).name}-{digest.hexdigest()[:12]}"


def embed(bench: Workbench) -> Embed:
    """Return the testbed's frozen prompt encoder. Raises UsageError if it cannot be loaded."""
    from methods.pruning.aptp.sentences import sentence_transformer, text_tower

    name = bench.testbed.sentences
    return text_tower(bench.testbed.encode) if name == TEXT_TOWER else sentence_transformer(name)
