"""Training plans: everything that determines the weights of a trained model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark import registry
from benchmark.api.request import RunRequest, parse_budget
from benchmark.errors import UsageError
from benchmark.json_types import Identity, JsonObject, Settings
from benchmark.records.plugin_code import plugins_named
from benchmark.store.artefacts import key_of

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench
    from benchmark.models.pruned import Pruned
    from benchmark.records.record import Plugin
    from methods.base import Method
    from prompts.concepts import Concept


FIRST_DATA_VERSION = 1
"""The value of `data` in a testbed's identity that keys of trained models omit: the first data version of `mini`."""


@dataclass(frozen=True)
class Plan:
    """Everything that determines the result of a fit."""

    method: Method
    name: str  # as in the request: an installed method's name or path/to/file.py:Class
    preset: str
    overrides: Settings
    pruned: Pruned
    concept: Concept
    data: str
    kept_names: str
    """The choice of `--kept-names`; "none" for a method that reads no names."""
    flops: float | None
    iterations: int | None
    default_budget: bool
    seed: int
    first: Plan | None = None
    """The distillation that the method starts from; None if it starts from the pruned weights."""
    whole: float | None = None
    """If this plan is a first stage, the FLOPs of both stages together."""
    along: tuple[Plan, ...] = ()
    """The same plan with shorter budgets, whose models are stored when the training passes these budgets."""

    @property
    def budget(self) -> dict[str, float | int | None]:
        """The budget in FLOPs, or in iterations if it is given in iterations."""
        return {"flops": self.flops} if self.flops else {"iterations": self.iterations}

    @property
    def own_flops(self) -> float | None:
        """FLOPs that the method itself may spend after its first stage; None if the budget is given in iterations."""
        share = self.method.own_share if self.first else 1.0
        return None if self.flops is None else self.flops * share

    @property
    def own_iterations(self) -> int | None:
        """Iterations of the method itself after its first stage; None if the budget is given in FLOPs."""
        if self.iterations is None:
            return None
        return self.iterations - (self.first.iterations or 0 if self.first else 0)


def first_stage(plan: Plan) -> Plan:
    """Return the plan of the distillation that a second stage starts from; only its method and budget differ."""
    from methods.base import configure

    share = 1 - plan.method.own_share
    distilled = registry.load("methods", "distilled")
    preset = plan.preset if plan.preset in distilled.presets else "default"
    return replace(
        plan,
        method=configure(distilled, preset),
        name="distilled",
        preset=preset,
        overrides={},
        kept_names="none",
        flops=None if plan.flops is None else plan.flops * share,
        whole=plan.flops,
        iterations=None if plan.iterations is None else max(1, round(plan.iterations * share)),
        default_budget=plan.default_budget and share == 1,
    )


def identity(bench: Workbench, plan: Plan) -> Identity:
    """Return everything that determines the weights, for the store's keys."""
    from methods.config_fields import identity_of

    method, code = plan.method, registry.fingerprint(plan.name)
    parts = {
        **plan.pruned.identity(bench),
        "method": method.name if code else plan.name,  # a file is identified by its code, not its path
        "code": code,
        "recipe": method.recipe,
        "config": registry.resolved(identity_of(method.config)),
        "concept": _concept(plan),
        "data": plan.data,
        **({"kept_names": plan.kept_names} if chooses_names(plan) else {}),
        "budget": plan.budget,
        "seed": plan.seed,
        **bench.precision_entry,
        **bench.trained_on,
    }
    if (data := bench.testbed.identity().get("data")) not in (None, FIRST_DATA_VERSION):
        parts["testbed_data"] = data  # the key "data" already has the choice of fine-tuning data
    if plan.first:
        parts["start"] = key_of("model", identity(bench, plan.first))
    return parts


def config_of(plan: Plan) -> JsonObject:
    """Return all settings of a training for its record, also those that do not change results, as JSON."""
    return {
        "method": plan.name,
        "preset": plan.preset,
        "settings": plan.method.config.model_dump(mode="json"),
        "recipe": plan.method.recipe,
        "pruning": plan.pruned.pruning,
        "macs": plan.pruned.macs,
        "data": plan.data,
        "kept_names": plan.kept_names,
        "budget": {**plan.budget, "default": plan.default_budget},
        "seed": plan.seed,
        **({"starts_from": config_of(plan.first)} if plan.first else {}),
    }


def plugins_of(plan: Plan) -> list[Plugin]:
    """Return the plug-ins of a training: its method, its pruning, and the code that its settings name."""
    objective = plan.method.config.model_dump().get("objective")
    named = [("methods", plan.name), ("prunings", plan.pruned.pruning)]
    settings = [value for value in plan.overrides.values() if isinstance(value, str) and registry.is_file(value)]
    named += [("objectives", value) for value in dict.fromkeys([*settings, objective]) if isinstance(value, str)]
    return plugins_named(named)


def _concept(plan: Plan) -> Identity | None:
    """Return what the weights depend on of the concept: all of it, nothing, or what D_f leaves out."""
    if plan.method.erases or plan.data != "plain":
        return plan.concept.identity()
    if plan.concept.is_brought:
        return {key: value for key, value in plan.concept.identity().items() if key in ("targets", "held_out")}
    return None


def chooses_names(plan: Plan) -> bool:
    """Return whether the plan's method reads kept names and `kept_names` is not "all"."""
    return plan.method.reads_kept_names and plan.kept_names != "all"


def unseeded(plan: Plan) -> Plan:
    """Return the same plan with training seed 0, also in its first stage."""
    return replace(plan, seed=0, first=replace(plan.first, seed=0) if plan.first else None)


def plan_of(bench: Workbench, request: RunRequest, concept: Concept) -> Plan:
    """Return the plan of a request on this workbench."""
    from benchmark.models.throughput import flops_in

    def measured_flops(pruned: Pruned, seconds: float) -> float:
        return flops_in(bench, pruned, concept, request.data, seconds)

    testbed = bench.testbed
    return planned(request, concept, testbed.default_flops, measured_flops, testbed.preset)


def _check_preset(preset: str) -> None:
    """Raise UsageError if no installed method has the testbed's preset: all would silently use their default."""
    presets = {name for method in registry.names("methods") for name in registry.load("methods", method).presets}
    if preset not in presets:
        raise registry.unknown("testbed preset", preset, sorted(presets))


def planned(
    request: RunRequest,
    concept: Concept,
    default_flops: float,
    flops_in: Callable[[Pruned, float], float],
    usual: str = "default",
) -> Plan:
    """Return the plan of a request.

    Args:
        request: method, pruning, budget and other options.
        concept: the concept to erase.
        default_flops: the testbed's default budget in U-Net FLOPs.
        flops_in: function that converts seconds of training of a pruned U-Net to FLOPs.
        usual: the testbed's preset, for methods that have it.

    Raises:
        UsageError: the method is incomplete, a preset or setting is unknown, or the method cannot start from a pruned
            U-Net.
    """
    from benchmark.models.pruned import Pruned
    from methods.base import check_method, configure

    adapter = registry.load("methods", request.method)
    check_method(adapter)
    if not request.preset and usual not in adapter.presets:
        _check_preset(usual)
    preset = request.preset or (usual if usual in adapter.presets else "default")
    method = configure(adapter, preset, **request.overrides)
    if method.start == "base" and request.pruning != "none":
        raise UsageError(f"Method '{request.method}' starts from the unpruned base: add --pruning none.")
    budget_figure = parse_budget(request.budget)
    flops: float | None = default_flops
    iterations: int | None = None
    pruned = Pruned(request.pruning, 1.0 if request.pruning == "none" else request.macs)
    if budget_figure is not None and budget_figure.unit == "iterations":
        flops, iterations = None, int(budget_figure.amount)
    elif budget_figure is not None:
        amount = budget_figure.amount
        flops = flops_in(pruned, amount) if budget_figure.unit == "seconds" else amount
    # Other methods spend a share of each budget on distillation, so a single training does not pass shorter budgets.
    shorter_budgets = request.along if request.method == "distilled" else ()
    plan = Plan(
        method=method,
        name=request.method,
        preset=preset,
        overrides=request.overrides,
        pruned=pruned,
        concept=concept,
        data=request.data,
        kept_names=request.kept_names if method.reads_kept_names else "none",
        flops=flops,
        iterations=iterations,
        default_budget=flops == default_flops,
        seed=request.seed,
        along=tuple(
            planned(replace(request, budget=budget, along=()), concept, default_flops, flops_in, usual)
            for budget in shorter_budgets
        ),
    )
    if method.start != "distilled" or request.pruning == "none":
        return plan
    # A method without the testbed's preset must still start from the same distillation as all other methods.
    return replace(plan, first=first_stage(replace(plan, preset=request.preset or usual)))
