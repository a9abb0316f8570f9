"""Experts: what a search leaves, or what the authors published."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.errors import BudgetError, DataError, UsageError
from methods.pruning.aptp.router import Router
from methods.pruning.architecture import Architecture
from methods.pruning.costs import Costs
from methods.pruning.vector import Layout, hardened, to_architecture

NEAR = 0.05
"""How far an expert's share may be from the MACs that are asked for, both to a whole per cent."""


@dataclass(frozen=True)
class Experts:
    """Architectures of one base, from the smallest to the largest as a search orders them."""

    scores: Tensor
    """How dearly each expert holds each element (experts, length); of published ones, 0 or 1."""
    shares: tuple[float, ...]
    """Share of the base's MACs that each keeps."""
    router: dict[str, Tensor]
    """Weights of the router; empty where none is known."""

    @classmethod
    def learnt(cls, router: Router, costs: Costs, budgets: Tensor) -> "Experts":
        """Take the experts out of a trained router, each at its budget."""
        scores = router.logits().detach()
        vectors = [costs.harden(row, float(budget)) for row, budget in zip(scores, budgets, strict=True)]
        return cls(scores, tuple(float(costs.share(vector)) for vector in vectors), dict(router.state_dict()))

    def expert(self, number: int) -> Tensor:
        """Return the scores (length,) of one; `UsageError` for a number that is not among them."""
        if not 0 <= number < len(self.shares):
            raise UsageError(f"There is no expert {number}: they are numbered 0 to {len(self.shares) - 1}.")
        return self.scores[number]

    def nearest(self, macs: float) -> int:
        """Return the expert whose share is nearest to `macs`; `BudgetError`, naming all, where none is near."""
        return nearest(self.shares, macs)

    def vector(self, number: int, macs: float, costs: Costs) -> Tensor:
        """Return one expert's vector (length,) of 0 and 1, at exactly `macs` where its scores rank all elements."""
        scores = self.expert(number)
        if bool(((scores == 0) | (scores == 1)).all()):
            return hardened(costs.layout, scores)
        return costs.harden(scores, macs)

    def route(self, layout: Layout, embeddings: Tensor) -> Tensor:
        """Return the expert (n,) for each prompt's sentence embedding (n, d); `UsageError` without a router."""
        if not self.router:
            raise UsageError("These experts came without a router: they can be chosen by MACs, not by prompt.")
        mean = self.router["mean"]
        router = Router(layout, len(self.shares), len(mean), mean, torch.Generator())
        router.load_state_dict(self.router)
        return router.route(embeddings)

    def write(self, folder: Path) -> None:
        """Write `experts.safetensors` and `experts.json` into an existing folder."""
        tensors = {"scores": self.scores, **{f"router.{name}": value for name, value in self.router.items()}}
        save_file(
            {name: value.detach().contiguous() for name, value in tensors.items()}, folder / "experts.safetensors"
        )
        (folder / "experts.json").write_text(json.dumps({"shares": self.shares}))

    @classmethod
    def read(cls, folder: Path) -> "Experts":
        """Read what `write` wrote; `DataError` for what is damaged."""
        try:
            tensors = load_file(folder / "experts.safetensors")
            shares = tuple(map(float, json.loads((folder / "experts.json").read_text())["shares"]))
            router = {n.removeprefix("router."): value for n, value in tensors.items() if n.startswith("router.")}
            return cls(tensors["scores"], shares, router)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise DataError(f"The experts in {folder} cannot be read ({error}): remove the folder.") from error


def nearest(shares: Sequence[float], macs: float) -> int:
    """Return which of the experts' shares is nearest to `macs`; `BudgetError`, naming all, where none is near."""
    number = min(range(len(shares)), key=lambda k: abs(shares[k] - macs))
    # To a whole per cent: what a budget allows before a search, the share that comes out of it must allow as well.
    if abs(round(shares[number], 2) - round(macs, 2)) > NEAR + 1e-9:
        have = ", ".join(f"{share:.2f}" for share in sorted(shares))
        raise BudgetError(f"No expert has about {macs:.2f} of the base's MACs: they have {have}.")
    return number


def published(path: Path, costs: Costs) -> Experts:
    """Return the experts of a file that `read_gates` reads; `DataError` where its vectors are of another length."""
    vectors = hardened(costs.layout, read_gates(path))
    return Experts(vectors, tuple(float(costs.share(vector)) for vector in vectors), {})


def read_gates(path: Path) -> Tensor:
    """Read architecture vectors as APTP publishes them: (experts, length) of 0..1, 8 x 1,620 for SD 2.1.

    The file is the quantizer's .safetensors; of its tensors `embedding_gs`, the gates, is taken. Values from 0.5 on
    stay. The same vectors as .pt are pickled, and nothing is unpickled here.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    try:
        tables = {name: value for name, value in load_file(path).items() if value.ndim in (1, 2)}
    except (OSError, ValueError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise DataError(
            f"{path} holds no architecture vectors ({reason}): give the quantizer's .safetensors."
        ) from error
    told = next((value for name, value in tables.items() if name.endswith("embedding_gs")), None)
    if told is None and len(tables) == 1:
        told = next(iter(tables.values()))
    if told is None or told.numel() == 0:
        raise DataError(f"{path} holds no architecture vectors (no tensor with numbers is called embedding_gs).")
    gates = torch.atleast_2d(told.float())
    if not bool(((gates >= 0) & (gates <= 1)).all()):  # a NaN is neither
        raise DataError(f"{path} holds numbers outside 0..1: these are not gates but what gates are made of.")
    return gates


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int, experts: Experts
) -> tuple[UNet2DConditionModel, Architecture]:
    """APTP: the expert whose budget is nearest to the MACs asked for, out of those that were searched together.

    Its best gates are kept until the MACs are met; weights are the base's.

    Raises:
        BudgetError: `macs` is not a fraction, or far from every expert's budget (they are named).
    """
    costs = Costs.of(unet, latent_size, text_length)
    architecture = to_architecture(unet, experts.vector(experts.nearest(macs), macs, costs))
    return architecture.apply(unet), architecture
