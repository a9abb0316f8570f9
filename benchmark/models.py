"""Models by what made them: base, pruned, fitted. Weights are loaded, or made, only when something asks for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmark import provenance, registry
from benchmark.errors import BudgetError, DataError, UsageError
from benchmark.store import key_of
from benchmark.workbench import Workbench

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.store import Artefact
    from methods.base import Method
    from methods.pruning.architecture import Architecture
    from prompts.concepts import Concept

MACS_TOLERANCE, FAR = 0.01, 0.1
"""How far the share of MACs may be from what is asked for: beyond the first it is told, beyond the second refused."""
OWN_SHARE = 0.2
"""Part of the budget that is a second stage's own, unless its method says otherwise."""


@dataclass(frozen=True)
class Model:
    """A U-Net known by its identity, with the facts that its records will state."""

    label: str
    identity: dict[str, Any]
    facts: dict[str, Any]  # record fields: method, preset, variant, solver, data, budget, seed, recipe, pruning, macs
    load: Callable[[], UNet2DConditionModel]
    ledger: Callable[[], list[dict[str, Any]]]
    """What its training cost, phase by phase. Trains it where that is not known; then called by all processes."""
    curve: Callable[[], list[dict[str, Any]]]
    """Mean losses along its training, thinned; none where none were kept."""
    counted: Callable[[], dict[str, Any]]
    """Share of the base's MACs, how they were counted, and what choosing them cost."""


@dataclass(frozen=True)
class Pruned:
    """How the base is made smaller; `macs` is the share of its MACs that is kept."""

    pruning: str
    macs: float

    def identity(self, bench: Workbench) -> dict[str, Any]:
        from benchmark.pruners import further_identity
        from methods.pruning.architecture import RECIPE

        told = {**bench.testbed.identity(), "pruning": self.pruning, "macs": self.macs, "cut": RECIPE}
        return told | further_identity(bench, self.pruning)

    def _artefact(self, bench: Workbench) -> Artefact:
        """The pruned U-Net's folder, made once, with `counted.json` beside the weights."""
        from benchmark.pruners import pruner
        from methods.pruning.architecture import config_of, write_pruned
        from methods.pruning.macs import PUBLISHED_SIZE, count_macs, published_macs

        identity = self.identity(bench)
        artefact = bench.store.find("pruned", identity)
        if artefact is not None:
            return artefact
        testbed = bench.testbed
        size, length = testbed.sampler.latent_size, testbed.text_length
        prune = pruner(bench, self.pruning, self.macs)
        with bench.progress.stage(f"prune to {self.macs:.0%} MACs", 1, "U-Net") as stage:
            whole = testbed.base()
            macs, as_published = count_macs(whole, size, length), published_macs(whole)
            small, architecture = self._checked(prune(whole, self.macs, size, length), config_of(whole))
            share = count_macs(small, size, length) / macs
            if abs(share - self.macs) > FAR:
                raise BudgetError(f"Pruning '{self.pruning}' kept {share:.1%} of MACs, {self.macs:.1%} were asked for.")
            counted = {
                "share": share,
                "counter": "torch flop_counter",
                "latent_size": size,
                "text_length": length,
                # Beside it, what the papers that prune so would call it: see methods/pruning/macs.py.
                "published": {"share": published_macs(small) / as_published, "latent_size": PUBLISHED_SIZE},
            }
            with bench.store.make("pruned", identity, provenance.collect()) as folder:
                write_pruned(folder, small, architecture)
                (folder / "counted.json").write_text(json.dumps(counted))
            stage.advance()
        if abs(share - self.macs) > MACS_TOLERANCE:
            bench.progress.warn(f"pruning kept {share:.1%} of MACs where {self.macs:.1%} were asked for")
        artefact = bench.store.find("pruned", identity)
        assert artefact is not None, "an artefact that was just made is there"
        return artefact

    def _checked(self, made: Any, config: dict[str, Any]) -> tuple[UNet2DConditionModel, Architecture]:
        """What a pruning gave; UsageError where that is no U-Net with the architecture that it has."""
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        from methods.pruning.architecture import Architecture, load_pruned

        small, architecture = made if isinstance(made, tuple) and len(made) == 2 else (None, None)
        if not (isinstance(small, UNet2DConditionModel) and isinstance(architecture, Architecture)):
            raise UsageError(f"Pruning '{self.pruning}' must return a smaller copy of the U-Net and its Architecture.")
        try:
            load_pruned(config, architecture, small.state_dict())
        except DataError as error:
            raise UsageError(f"Pruning '{self.pruning}': the Architecture is not that of the U-Net: {error}") from error
        return small, architecture

    def load(self, bench: Workbench) -> tuple[UNet2DConditionModel, Architecture]:
        """The pruned U-Net."""
        from methods.pruning.architecture import read_pruned

        return read_pruned(self._artefact(bench).folder)

    def counted(self, bench: Workbench) -> dict[str, Any]:
        """Share of MACs that was kept, how it was counted, and the FLOPs `spent` on choosing them, where known."""
        from benchmark.pruners import spent

        told, cost = json.loads(self._artefact(bench).path("counted.json").read_text()), spent(bench, self.pruning)
        return dict(told) if cost is None else {**told, "spent": cost}


def base(bench: Workbench) -> Model:
    """The base model, trained by nobody here."""
    facts = {
        "method": "base", "preset": "default", "variant": "default", "solver": None, "data": "plain",
        "budget": {"default": True}, "seed": 0, "recipe": 1, "pruning": "none", "macs": 1.0,
    }  # fmt: skip
    identity = {**bench.testbed.identity(), "model": "base"}
    return Model("base", identity, facts, bench.testbed.base, list, list, lambda: {"share": 1.0})


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a fit gives."""

    method: Method
    name: str  # as asked for: a built-in's name or path/to/file.py:Class
    preset: str
    overrides: dict[str, Any]
    pruned: Pruned
    concept: Concept
    data: str
    flops: float | None
    iterations: int | None
    default_budget: bool
    seed: int
    first: Plan | None = None
    """The distillation that a second stage starts from; None where the method starts from the pruned weights."""
    whole: float | None = None
    """Of such a distillation: the FLOPs of both stages."""
    along: tuple[Plan, ...] = ()
    """The same with shorter budgets, to be kept as the training passes them."""

    @property
    def budget(self) -> dict[str, Any]:
        """FLOPs, or iterations where the budget is told so."""
        return {"flops": self.flops} if self.flops else {"iterations": self.iterations}

    @property
    def own_flops(self) -> float | None:
        """What the method itself may spend, after its first stage."""
        share = getattr(self.method, "own_share", OWN_SHARE) if self.first else 1.0
        return None if self.flops is None else self.flops * share

    @property
    def own_iterations(self) -> int | None:
        """The same in iterations, where the budget is told so."""
        if self.iterations is None:
            return None
        return self.iterations - (self.first.iterations or 0 if self.first else 0)


def first_stage(plan: Plan) -> Plan:
    """The distillation that a second stage starts from: the same in all but method and budget."""
    from methods.base import configure

    share = 1 - getattr(plan.method, "own_share", OWN_SHARE)
    distilled = registry.load("methods", "distilled")
    preset = plan.preset if plan.preset in distilled.presets else "default"
    return replace(
        plan,
        method=configure(distilled, preset),
        name="distilled",
        preset=preset,
        overrides={},
        flops=None if plan.flops is None else plan.flops * share,
        whole=plan.flops,
        iterations=None if plan.iterations is None else max(1, round(plan.iterations * share)),
        default_budget=plan.default_budget and share == 1,
    )


def identity(bench: Workbench, plan: Plan) -> dict[str, Any]:
    """All that decides the weights, as the store's keys have it."""
    from methods.fields import identity_of

    method, code = plan.method, registry.fingerprint(plan.name)
    told = {
        **plan.pruned.identity(bench),
        "method": method.name if code else plan.name,  # a file is known by what it says, not by where it lies
        "code": code,
        "recipe": method.recipe,
        "config": registry.resolved(identity_of(method.config)),
        "concept": plan.concept.identity() if method.erases or plan.data != "plain" else None,
        "data": plan.data,
        "budget": plan.budget,
        "seed": plan.seed,
        **bench.stated,
    }
    if plan.first:
        told["start"] = key_of("model", identity(bench, plan.first))
    return told


def fitted(bench: Workbench, plan: Plan) -> Model:
    """The model that `plan` trains; found in the store by its identity, or trained (and resumed) when asked for."""
    from benchmark.fitting import concept_images, fit
    from methods.base import configure
    from methods.fields import identity_of

    method = plan.method
    concept_images(bench, plan)  # a budget that cannot be met is refused before any work
    known = identity(bench, plan)
    first = fitted(bench, plan.first) if plan.first else None
    settings, usual = identity_of(method.config), identity_of(configure(type(method), plan.preset).config)
    changed = {key: value for key, value in settings.items() if value != usual[key]}
    variant = ",".join(f"{key}={value}" for key, value in sorted(changed.items())) or "default"
    facts = {
        "method": plan.name,
        "preset": plan.preset,
        "variant": variant,
        "solver": getattr(method.config, "solver", None),
        "data": plan.data,
        "budget": {**plan.budget, "default": plan.default_budget},
        "seed": plan.seed,
        "recipe": method.recipe,
        "pruning": plan.pruned.pruning,
        "macs": plan.pruned.macs,
    }
    said = [plan.preset if plan.preset != "default" else "", variant if changed else ""]
    said.append(f"seed {plan.seed}" if plan.seed else "")
    details = ", ".join(word for word in said if word)
    label = f"{plan.name} ({details})" if details else plan.name

    def load() -> UNet2DConditionModel:
        from methods.pruning.architecture import read_pruned

        artefact = bench.store.find("model", known)
        if artefact is None:
            fit(bench, plan, known, first)
            artefact = bench.store.find("model", known)
            assert artefact is not None, "an artefact that was just made is there"
        return read_pruned(artefact.folder)[0].float().to(bench.device)

    def cost() -> Artefact:
        kept = bench.store.find("cost", known)
        if kept is None:
            load()
            kept = bench.store.find("cost", known)
            assert kept is not None, "a model's cost is kept with it"
        return kept

    def ledger() -> list[dict[str, Any]]:
        return list(json.loads(cost().path("ledger.json").read_text()))

    def curve() -> list[dict[str, Any]]:
        kept = cost()
        return list(json.loads(kept.path("curve.json").read_text())) if "curve.json" in kept.files else []

    return Model(label, known, facts, load, ledger, curve, lambda: plan.pruned.counted(bench))
