"""The further inputs of prunings beside the base: pictures to prune by, or experts from a search.

A pruning is a function `prune(unet, macs, latent_size, text_length)`. One that has a fifth parameter, `pictures` or
`experts`, is given what that names.
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


TAKES = ("unet", "macs", "latent_size", "text_length")
"""Parameters of every pruning, in their order."""
HANDED = ("pictures", "experts")
"""A fifth one, by name, is handed what it says."""


def pruner(bench: Workbench, name: str, macs: float) -> Callable[..., Any]:
    """The pruning of this name, with its further input already bound.

    BudgetError, before a search for experts, if none of them will be near to `macs`.
    """
    prune, wants = registry.load("prunings", name), check_signature(name).parameters
    if "experts" in wants:
        return partial(prune, experts=given(bench) or experts(bench, target_macs=macs))
    return partial(prune, pictures=bench.testbed.pictures(bench)) if "pictures" in wants else prune


def check_signature(name: str) -> inspect.Signature:
    """A pruning's signature; UsageError if it cannot be called as prunings are."""
    try:
        signature = inspect.signature(registry.load("prunings", name))
        signature.bind(*TAKES, **{more: None for more in HANDED if more in signature.parameters})
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"Pruning '{name}' cannot be called as prunings are ({error}): write prune({', '.join(TAKES)}), and for "
            f"a fifth parameter {' or '.join(HANDED)}."
        ) from error
    return signature


def spent(bench: Workbench, name: str) -> float | None:
    """U-Net FLOPs that choosing what to keep takes; 0 for prunings that use no pictures or published experts, and None
    if that is not known."""
    from methods.costs import CALIBRATION_IMAGES, choosing
    from methods.pruning.macs import forward_flops

    wants, testbed = check_signature(name).parameters, bench.testbed
    counted_name = "aptp" if "experts" in wants else name
    if counted_name not in CALIBRATION_IMAGES:
        return None if "pictures" in wants else 0.0
    if "experts" in wants and _published(bench):
        return 0.0
    return choosing(counted_name, forward_flops(testbed.base(), testbed.sampler.latent_size, testbed.text_length))


def further_identity(bench: Workbench, name: str) -> Identity:
    """What else decides a pruning's result: nothing for most, the search (or the file of published experts) for those
    that choose an expert, and the code of a pruning from a file, in place of the file's path."""
    code = registry.fingerprint(name)
    identity = {"pruning": name.rpartition(":")[2], "pruning_code": code} if code else {}
    wants = check_signature(name).parameters
    if "experts" not in wants:
        return identity | (bench.trained_on if "pictures" in wants else {})
    if file := _published(bench):
        return identity | {"experts": hashlib.sha256(file.read_bytes()).hexdigest()}
    return identity | {"experts": key_of("experts", search_identity(bench))}


def _published(bench: Workbench) -> Path | None:
    """A testbed's file of published experts, which replaces the search; None if it has none."""
    return bench.testbed.experts


def given(bench: Workbench) -> Experts | None:
    """The published experts of a testbed, counted on its base; None if they are to be searched for."""
    from methods.pruning.aptp.experts import published
    from methods.pruning.costs import Costs

    file, testbed = _published(bench), bench.testbed
    if file is None:
        return None
    return published(file, Costs.of(testbed.base(), testbed.sampler.latent_size, testbed.text_length))


def search_identity(bench: Workbench, config: Search | None = None) -> Identity:
    """Everything that decides the result of a search for experts."""
    from methods.config_fields import identity_of
    from methods.pruning.aptp import search

    return {
        **bench.testbed.identity(),
        "search": identity_of(config or search.Search()),
        "recipe": search.RECIPE,
        "sentences": _reader(bench.testbed.sentences),
        **bench.trained_on,
    }


def experts(bench: Workbench, config: Search | None = None, target_macs: float | None = None) -> Experts:
    """The experts of a search (the default one), from the store or searched for now, resuming a stopped search;
    `search.json` has its curve and the number of prompts for each expert.

    Before a search, BudgetError for budgets that cannot be met or that are all far from `target_macs`, and
    UsageError for a prompt encoder that cannot be loaded.
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

        def report(done: int, figures: dict[str, float]) -> None:
            stage.reach(done, loss=figures["loss"])
            curve.append({"step": done, **{name: float(f"{value:.5g}") for name, value in figures.items()}})

        expert_set = search(testbed.base(), calibration, embeddings, config, costs, report, checkpoint)
    assigned = expert_set.route(costs.layout, embeddings).tolist()
    report_of_search = {"curve": curve, "prompts": [assigned.count(k) for k in range(config.experts)]}
    with bench.store.make("experts", identity, provenance.collect()) as folder:
        expert_set.write(folder)
        (folder / "search.json").write_text(json.dumps(report_of_search))


def prompts_of(bench: Workbench, config: Search) -> list[int]:
    """How many of the search's captions each expert takes, by the nearest code."""
    artefact = bench.store.get("experts", search_identity(bench, config))
    return list(json.loads(artefact.path("search.json").read_text())["prompts"])


READ = ("json", "safetensors", "txt", "bin", "model")
"""Endings of a prompt encoder's files: configuration, weights, vocabulary."""


@cache
def _reader(name: str) -> str:
    """A prompt encoder's name in keys: for a folder, its name and a checksum of its files."""
    if not Path(name).is_absolute():
        return name
    digest = hashlib.sha256()
    for file in sorted(file for kind in READ for file in visible(Path(name), f"**/*.{kind}")):
        with open(file, "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return f"{Path(name).name}-{digest.hexdigest()[:12]}"


def embed(bench: Workbench) -> Embed:
    """The testbed's frozen prompt encoder; UsageError where it cannot be loaded."""
    from methods.pruning.aptp.sentences import sentence_transformer, text_tower

    name = bench.testbed.sentences
    return text_tower(bench.testbed.encode) if name == TEXT_TOWER else sentence_transformer(name)
