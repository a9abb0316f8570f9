"""The models that this package makes: the base, and a model trained from a plan."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

from rich.markup import escape

from benchmark import registry
from benchmark.api.model import Model, TrainingFacts
from benchmark.json_types import Counted, CurveRow, JsonObject
from benchmark.models.plan import Plan, chooses_names, config_of, identity, plugins_of, unseeded

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Workbench
    from benchmark.records.record import Plugin
    from benchmark.store.artefacts import Artefact
    from methods.budget import LedgerRow


class Base(Model):
    """The testbed's base model, without pruning or training."""

    def __init__(self, bench: Workbench) -> None:
        identity = {**bench.testbed.identity(), "model": "base"}
        super().__init__("base", identity, TrainingFacts("base", budget={"default": True}))
        self._testbed = bench.testbed

    def load(self) -> UNet2DConditionModel:
        return self._testbed.base()


class Fitted(Model):
    """A model trained from a plan. It is read from the store, or trained when it is first needed.

    An interrupted training is resumed from its last checkpoint.

    Args:
        bench: testbed and store.
        plan: everything that determines the weights.
        starts: label of the model that this one is the first stage of; empty if it is none.
    """

    notice: str = ""
    """A line to show before training starts."""

    def __init__(self, bench: Workbench, plan: Plan, starts: str = "") -> None:
        from benchmark.models.fit import concept_images

        concept_images(bench, plan)  # called for its check: it raises an error if the budget is too small
        label, facts = _describe(plan)
        super().__init__(label, identity(bench, plan), facts, identity(bench, unseeded(plan)))
        self._bench, self._plan, self._plugins = bench, plan, plugins_of(plan)
        self._series = f"{label} (start of {starts})" if starts else label
        self._first = Fitted(bench, plan.first, label) if plan.first else None

    def train(self) -> None:
        from benchmark.parallel import agreed

        [missing] = agreed([self._bench.store.find("cost", self.identity) is None])
        if missing:
            self._train()

    def load(self) -> UNet2DConditionModel:
        from methods.pruning.architecture import read_pruned

        store = self._bench.store
        if (artefact := store.find("model", self.identity)) is None:
            self._train()
            artefact = store.get("model", self.identity)
        return read_pruned(artefact.folder)[0].float().to(self._bench.device)

    def ledger(self) -> list[LedgerRow]:
        return list(json.loads(self._cost().path("ledger.json").read_text()))

    def curve(self) -> list[CurveRow]:
        artefact = self._cost()
        return list(json.loads(artefact.path("curve.json").read_text())) if "curve.json" in artefact.files else []

    def config(self) -> JsonObject:
        return config_of(self._plan)

    def plugins(self) -> list[Plugin]:
        return self._plugins

    def counted(self) -> Counted:
        return self._plan.pruned.counted(self._bench)

    def _cost(self) -> Artefact:
        """Return the stored ledger and loss curve; train the model if the store lacks them."""
        store = self._bench.store
        if (artefact := store.find("cost", self.identity)) is None:
            self._train()
            artefact = store.get("cost", self.identity)
        return artefact

    def _train(self) -> None:
        from accelerate import PartialState

        from benchmark.models.fit import fit
        from benchmark.parallel import agreed
        from benchmark.store.claims import making

        store, progress = self._bench.store, self._bench.progress
        if self.notice:
            progress.say(escape(self.notice))
        # Only the main process checks the store and decides for all processes, because another run may finish this
        # training between the checks of two processes.
        is_main = PartialState().is_main_process
        stage = f"train {self.label}"
        claim = making(store, "model", self.identity, stage, progress) if is_main else nullcontext()
        with claim as artefact:
            [missing] = agreed([artefact is None or store.find("cost", self.identity) is None])
            if missing:
                fit(self._bench, self._plan, self.identity, self._first, self._series)


def _describe(plan: Plan) -> tuple[str, TrainingFacts]:
    """Return the label and the facts of the model that a plan trains. Labels have no paths, only names of classes."""
    from methods.base import configure
    from methods.config_fields import settings_of

    method = plan.method
    settings, preset_settings = settings_of(method.config), settings_of(configure(type(method), plan.preset).config)
    changed = {key: value for key, value in settings.items() if value != preset_settings[key]}
    if chooses_names(plan):
        changed["kept_names"] = plan.kept_names
    variant = ",".join(f"{key}={value}" for key, value in sorted(changed.items())) or "default"
    shown = {key: registry.short_name(value) if isinstance(value, str) else value for key, value in changed.items()}
    settings_text = ",".join(f"{key}={value}" for key, value in sorted(shown.items()))
    facts = TrainingFacts(
        method=plan.name,
        preset=plan.preset,
        variant=variant,
        solver=method.solver,
        data=plan.data,
        budget={**plan.budget, "default": plan.default_budget},
        seed=plan.seed,
        recipe=method.recipe,
        pruning=plan.pruned.pruning,
        macs=plan.pruned.macs,
    )
    preset = plan.preset if plan.preset != "default" else ""
    seed = f"seed {plan.seed}" if plan.seed else ""
    name = registry.short_name(plan.name)
    details = ", ".join(detail for detail in (preset, settings_text, seed) if detail)
    return (f"{name} ({details})" if details else name), facts
