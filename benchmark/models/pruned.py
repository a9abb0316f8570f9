"""The pruned base: a pruning's result, checked and counted once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.api.testbed import Workbench
from benchmark.errors import BudgetError, DataError, UsageError
from benchmark.json_types import Counted, Identity, NetworkConfig
from benchmark.records import provenance
from benchmark.store.claims import making

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.store.artefacts import Artefact
    from methods.pruning.architecture import Architecture


MACS_TOLERANCE, FAR = 0.01, 0.1
"""How far the share of MACs may be from the requested one: beyond the first a warning, beyond the second an error."""


@dataclass(frozen=True)
class Pruned:
    """How the base is made smaller; `macs` is the share of its MACs that is kept."""

    pruning: str
    macs: float

    def identity(self, bench: Workbench) -> Identity:
        from benchmark.models.prunings import further_identity
        from methods.pruning.architecture import RECIPE

        own = {"pruning": self.pruning, "macs": self.macs, "cut": RECIPE}
        return bench.testbed.identity() | own | further_identity(bench, self.pruning)

    def _artefact(self, bench: Workbench) -> Artefact:
        """The pruned U-Net's folder, made once, with `counted.json` beside the weights."""
        identity = self.identity(bench)
        artefact = bench.store.find("pruned", identity)
        if artefact is not None:
            return artefact
        with making(bench.store, "pruned", identity, f"prune to {self.macs:.0%} MACs", bench.progress) as made:
            if made is None:
                self._make(bench, identity)
        return bench.store.get("pruned", identity)

    def _make(self, bench: Workbench, identity: Identity) -> None:
        from benchmark.models.prunings import pruner
        from methods.pruning.architecture import config_of, write_pruned
        from methods.pruning.macs import PUBLISHED_SIZE, count_macs, published_macs

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
                # Also the share as papers on pruning count it: see methods/pruning/macs.py.
                "published": {"share": published_macs(small) / as_published, "latent_size": PUBLISHED_SIZE},
            }
            with bench.store.make("pruned", identity, provenance.collect()) as folder:
                write_pruned(folder, small, architecture)
                (folder / "counted.json").write_text(json.dumps(counted))
            stage.advance()
        if abs(share - self.macs) > MACS_TOLERANCE:
            bench.progress.warn(f"pruning kept {share:.1%} of MACs where {self.macs:.1%} were asked for")

    def _checked(self, result: Any, config: NetworkConfig) -> tuple[UNet2DConditionModel, Architecture]:
        """A pruning's result; UsageError unless it is a U-Net with its architecture."""
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        from methods.pruning.architecture import Architecture, load_pruned

        small, architecture = result if isinstance(result, tuple) and len(result) == 2 else (None, None)
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

    def counted(self, bench: Workbench) -> Counted:
        """The share of MACs that was kept, how it was counted, and the FLOPs `spent` on the choice, if known."""
        from benchmark.models.prunings import spent

        counted = dict(json.loads(self._artefact(bench).path("counted.json").read_text()))
        cost = spent(bench, self.pruning)
        return counted if cost is None else {**counted, "spent": cost}
