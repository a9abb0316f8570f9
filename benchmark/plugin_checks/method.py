"""Checks a method: its contract, a short fit, its budget, determinism, and resuming after an interruption."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from benchmark import registry
from benchmark.errors import UsageError
from benchmark.json_types import Settings
from benchmark.plugin_checks import miniature
from benchmark.plugin_checks.checks import Check, Fault, Untried, process_seeded, same_weights, until_broken
from methods.base import Method, configure
from methods.budget import Budget, Ledger
from methods.pruning.macs import forward_flops

SMALL = {"batch": 2, "lower_steps": 2, "checkpoint_every": 1, "warm_up": 0, "sampling_steps": 2}
"""Settings that make a fit short. Those that a method does not have are ignored."""
STEPS = 4
SEED = 0


class MethodChecks:
    """The checks of one method, given as a name or `path/to/file.py:Class`; `settings` override its config."""

    def __init__(self, name: str, settings: Settings | None = None) -> None:
        self.name, self._settings = name, settings or {}
        self._fits = 0
        self._whole: tuple[UNet2DConditionModel, Ledger, miniature.Memory] | None = None

    def lines(self) -> Iterator[Check]:
        return until_broken(
            ("contract", self.contract),
            ("fit", self.fit),
            ("budget", self.budget),
            ("determinism", self.determinism),
            ("resume", self.resume),
        )

    def contract(self) -> str:
        method = registry.load("methods", self.name)
        configure(method)
        for preset in method.presets:
            configure(method, preset)
        self._configure_method()
        return f"declares all that a method must; presets: {', '.join(method.presets)}"

    def fit(self) -> str:
        """Run a fit of a few steps, and check the U-Net and the ledger that it returns."""
        student = miniature.unet()
        shapes = {name: tuple(tensor.shape) for name, tensor in student.state_dict().items()}
        method, materials = self._configure_method(), miniature.materials()
        method.check(student, miniature.CONCEPT)
        teacher = {name: tensor.clone() for name, tensor in materials.teacher.state_dict().items()}
        self._whole = self._run_fit(Budget(iterations=STEPS), materials=materials)
        unet, ledger, _ = self._whole
        if not isinstance(unet, UNet2DConditionModel):
            raise Fault(f"fit returned {type(unet).__name__}: it must return the U-Net")
        if {name: tuple(tensor.shape) for name, tensor in unet.state_dict().items()} != shapes:
            raise Fault("fit added, removed or reshaped weights: it may only change their values")
        if broken := [name for name, weight in unet.named_parameters() if not bool(weight.isfinite().all())]:
            raise Fault(f"fit returned weights that are not finite ('{broken[0]}')")
        if unet.training:
            raise Fault("fit returned the U-Net in training mode: call .eval() on it")
        if any(not torch.equal(tensor, teacher[name]) for name, tensor in materials.teacher.state_dict().items()):
            raise Fault("fit changed the weights of materials.teacher, which all methods share")
        if not len(ledger):
            raise Fault("fit wrote nothing into context.ledger: append an Entry with its cost, even for 0 FLOPs")
        json.dumps(ledger.to_json())
        changed = not same_weights(unet, miniature.unet())
        return "returns a U-Net of the same form" + ("" if changed else ", but with unchanged weights")

    def budget(self) -> str:
        """Compare the ledger with budgets in iterations and FLOPs, and with the number of processed images."""
        _, ledger, _ = self._first_fit()
        total = ledger.total()
        if total.iterations > STEPS:
            raise Fault(f"took {total.iterations} iterations with a budget of {STEPS}")
        flops = 1.5 * total.flops or 100 * forward_flops(miniature.unet(), miniature.SIZE, miniature.LENGTH)
        seen = _Counter()
        _, spent_ledger, _ = self._run_fit(Budget(flops=flops), counter=seen)
        spent = spent_ledger.total()
        if spent.flops > flops:
            raise Fault(f"spent {spent.flops:.3g} FLOPs with a budget of {flops:.3g}")
        if seen.images > spent.unet_forwards:
            raise Fault(
                f"its U-Nets processed {seen.images} images, but the ledger has {spent.unet_forwards} forward passes: "
                "record all passes, including the teacher's"
            )
        return f"spent {spent.flops:.3g} of {flops:.3g} FLOPs, and the ledger covers all {seen.images} processed images"

    def determinism(self) -> str:
        first, _, _ = self._first_fit()
        second, _, _ = self._run_fit(Budget(iterations=STEPS))
        if not same_weights(first, second):
            raise Fault("two fits with the same seed gave different weights: derive all random numbers from `seed`")
        return "two fits with the same seed give the same weights"

    def resume(self) -> str:
        """Check that a fit that is interrupted after a checkpoint and resumed ends with the same weights and ledger."""
        whole, whole_ledger, memory = self._first_fit()
        if len(memory.states) < 2:
            if whole_ledger.total().iterations > 1:
                raise Untried(f"wrote no checkpoint within {STEPS} steps, so an interrupted run would restart")
            raise Untried("has no steps, so an interrupted run starts from the beginning")
        stopped = miniature.Memory(stop_after=max(1, len(memory.states) // 2))
        try:
            self._run_fit(Budget(iterations=STEPS), memory=stopped)
        except miniature.Stopped:
            pass
        else:
            raise Fault("caught the exception that should interrupt it: do not catch BaseException in `fit`")
        kept = miniature.Memory(states=stopped.states)
        again, ledger, _ = self._run_fit(Budget(iterations=STEPS), memory=kept)
        if not same_weights(whole, again):
            raise Fault("a resumed fit gave different weights: restore everything that changes from its checkpoint")
        if ledger.total().flops != whole_ledger.total().flops:
            raise Fault("a resumed fit has a different ledger: save the cost so far in the checkpoint")
        return "resumes from a checkpoint and ends with the same weights"

    def _configure_method(self) -> Method:
        """Return the method with its default preset and, if it accepts them, settings for a short fit."""
        method = registry.load("methods", self.name)
        settings = {key: value for key, value in SMALL.items() if key in method.Config.model_fields}
        try:
            return configure(method, **{**settings, **self._settings})
        except UsageError:
            return configure(method, **self._settings)

    def _first_fit(self) -> tuple[UNet2DConditionModel, Ledger, miniature.Memory]:
        assert self._whole is not None, "`fit` is checked first"
        return self._whole

    def _run_fit(
        self,
        budget: Budget,
        memory: miniature.Memory | None = None,
        materials: Any = None,
        counter: _Counter | None = None,
    ) -> tuple[UNet2DConditionModel, Ledger, miniature.Memory]:
        memory = memory or miniature.Memory()
        materials, student = materials or miniature.materials(), miniature.unet()
        context = miniature.context(memory)
        if counter:
            for network in (student, materials.teacher):
                network.register_forward_pre_hook(counter, with_kwargs=True)
        self._fits += 1
        with process_seeded(self._fits):
            unet = self._configure_method().fit(student, materials, miniature.CONCEPT, budget, context, SEED)
        return unet, context.ledger, memory


class _Counter:
    """Counts the images that U-Nets process. Passes on the meta device are not counted: they only estimate FLOPs."""

    images = 0

    def __call__(self, network: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        sample = arguments[0] if arguments else keywords["sample"]
        self.images += len(sample) if sample.device.type != "meta" else 0

    def __deepcopy__(self, memo: dict[int, Any]) -> _Counter:
        return self  # copies of a network share the counter
