"""Checks a pruning: its contract, the share of MACs that it keeps, determinism, and that the base is unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

import torch

from benchmark import registry
from benchmark.models.pruned import MACS_TOLERANCE
from benchmark.models.prunings import check_signature
from benchmark.plugin_checks import miniature
from benchmark.plugin_checks.checks import Check, Fault, Untried, process_seeded, same_weights, until_broken
from methods.pruning.architecture import Architecture, load_pruned
from methods.pruning.macs import count_macs

MACS = 0.8


class PruningChecks:
    """The checks of one pruning, given as a name or `path/to/file.py:function`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._small: Any = None
        self._tries = 0

    def lines(self) -> Iterator[Check]:
        return until_broken(
            ("contract", self.contract), ("prune", self.prune), ("MACs", self.macs), ("determinism", self.determinism)
        )

    def contract(self) -> str:
        check_signature(self.name)
        return "can be called as prunings are"

    def prune(self) -> str:
        base = miniature.unet()
        result = self._run_pruning(base)
        if not same_weights(base, miniature.unet()):
            raise Fault("changed the base model: prune a copy")
        small, architecture = result if isinstance(result, tuple) and len(result) == 2 else (None, None)
        if not (isinstance(small, torch.nn.Module) and isinstance(architecture, Architecture)):
            raise Fault(
                "must return a smaller copy of the U-Net and its Architecture (methods/pruning/architecture.py)"
            )
        load_pruned(dict(base.config), architecture, small.state_dict())
        latents = torch.zeros(1, 4, miniature.SIZE, miniature.SIZE)
        with torch.no_grad():
            answer = small(latents, 10, encoder_hidden_states=miniature.encode(["a boat"])).sample
        if answer.shape != latents.shape or not bool(answer.isfinite().all()):
            raise Fault("the pruned U-Net does not predict finite values of the shape of its input")
        self._small = small
        return "returns a smaller copy that can be saved and loaded"

    def macs(self) -> str:
        share = count_macs(self._small, miniature.SIZE, miniature.LENGTH) / count_macs(
            miniature.unet(), miniature.SIZE, miniature.LENGTH
        )
        if registry.load("prunings", self.name) is registry.load("prunings", "none"):
            return "keeps all MACs"
        # A small network has few channels, so the share of MACs changes in coarse steps.
        if abs(share - MACS) > max(MACS_TOLERANCE, 0.1):
            raise Fault(f"kept {share:.1%} of MACs instead of {MACS:.0%}")
        return f"kept {share:.1%} of MACs for a requested share of {MACS:.0%}"

    def determinism(self) -> str:
        if not same_weights(self._small, self._run_pruning(miniature.unet())[0]):
            raise Fault("pruned the same U-Net to different weights: derive all random numbers from a fixed seed")
        return "prunes the same U-Net to the same weights"

    def _run_pruning(self, base: Any) -> Any:
        prune = registry.load("prunings", self.name)
        parameters = signature(prune).parameters
        if "experts" in parameters:
            raise Untried("chooses among the experts of a search, which needs a testbed: check it with `bench prune`")
        more = {"pictures": miniature.pictures()} if "pictures" in parameters else {}
        self._tries += 1
        with process_seeded(self._tries):
            return prune(base, MACS, miniature.SIZE, miniature.LENGTH, **more)
