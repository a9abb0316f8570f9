"""Experts of APTP: the result of a search, or the architecture vectors that the authors published."""

import json
import os
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
"""Largest allowed difference between an expert's share of MACs and the requested one, both rounded to 0.01."""


@dataclass(frozen=True)
class Experts:
    """Pruned architectures (experts) of one base U-Net. A search orders them from the smallest to the largest."""

    scores: Tensor
    """Scores (experts, length) of all elements for each expert; 0 or 1 for published experts."""
    shares: tuple[float, ...]
    """Share of the base's MACs that each expert keeps."""
    router: dict[str, Tensor]
    """Weights of the router; empty if there is no router."""

    @classmethod
    def learnt(cls, router: Router, costs: Costs, budgets: Tensor) -> "Experts":
        """Return the experts of a trained router, each cut to its MAC budget in `budgets` (experts,)."""
        scores = router.logits().detach()
        vectors = [costs.harden(row, float(budget)) for row, budget in zip(scores, budgets, strict=True)]
        return cls(scores, tuple(float(costs.share(vector)) for vector in vectors), dict(router.state_dict()))

    def expert(self, number: int) -> Tensor:
        """Return the scores (length,) of an expert. Raises UsageError if no expert has this number."""
        if not 0 <= number < len(self.shares):
            raise UsageError(f"Expert {number} does not exist: experts are numbered 0 to {len(self.shares) - 1}.")
        return self.scores[number]

    def nearest(self, macs: float) -> int:
        """Return the number of the expert whose share of MACs is nearest to `macs`.

        Raises:
            BudgetError: no expert is within `NEAR` of `macs`; the message lists all shares.
        """
        return nearest(self.shares, macs)

    def vector(self, number: int, macs: float, costs: Costs) -> Tensor:
        """Return the architecture vector (length,) of an expert, with values 0 and 1.

        The vector of a searched expert has MACs nearest to `macs`, because its scores rank all elements. A published
        expert keeps its own MACs.
        """
        scores = self.expert(number)
        if bool(((scores == 0) | (scores == 1)).all()):
            return hardened(costs.layout, scores)
        return costs.harden(scores, macs)

    def route(self, layout: Layout, embeddings: Tensor) -> Tensor:
        """Return the expert number (n,) for each sentence embedding (n, d). Raises UsageError without a router."""
        if not self.router:
            raise UsageError(
                "These experts have no router, so prompts cannot be assigned to them: choose an expert by its MACs."
            )
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
        """Read the files that `write` created. Raises DataError if they are missing or damaged."""
        try:
            tensors = load_file(folder / "experts.safetensors")
            shares = tuple(map(float, json.loads((folder / "experts.json").read_text())["shares"]))
            router = {n.removeprefix("router."): value for n, value in tensors.items() if n.startswith("router.")}
            return cls(tensors["scores"], shares, router)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise DataError(f"The experts in {folder} cannot be read ({error}): delete the folder.") from error


def nearest(shares: Sequence[float], macs: float) -> int:
    """Return the index of the share that is nearest to `macs`.

    Raises:
        BudgetError: no share is within `NEAR` of `macs`; the message lists all shares.
    """
    number = min(range(len(shares)), key=lambda k: abs(shares[k] - macs))
    # Rounded to 0.01, so that a request that the budgets allow before a search is also allowed after it.
    if abs(round(shares[number], 2) - round(macs, 2)) > NEAR + 1e-9:
        available = ", ".join(f"{share:.2f}" for share in sorted(shares))
        raise BudgetError(f"No expert has about {macs:.2f} of the base's MACs: request one of {available}.")
    return number


def published(path: Path, costs: Costs) -> Experts:
    """Return the experts in a file of published architecture vectors (see `read_gates`).

    Raises:
        DataError: the file cannot be read, or its vectors have a different length than those of the base.
    """
    vectors = hardened(costs.layout, read_gates(path))
    return Experts(vectors, tuple(float(costs.share(vector)) for vector in vectors), {})


def read_gates(path: Path) -> Tensor:
    """Read architecture vectors (experts, length) in 0..1 as APTP publishes them; 8 x 1,620 for SD 2.1.

    The file is the .safetensors file of APTP's quantizer; its tensor `embedding_gs` contains the gates. Elements with
    values of at least 0.5 are kept. The .pt file with the same vectors is not supported, because it is pickled.

    Raises:
        DataError: the file cannot be read, or contains no architecture vectors.
    """
    if not path.is_file():  # also rejects a named pipe, on which the library would block
        state = "is not a regular file" if os.path.lexists(path) else "does not exist"
        raise DataError(
            f"{path} contains no architecture vectors (it {state}): give the quantizer's .safetensors file."
        )
    try:
        tables = {name: value for name, value in load_file(path).items() if value.ndim in (1, 2)}
    except (OSError, ValueError, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise DataError(
            f"{path} contains no architecture vectors ({reason}): give the quantizer's .safetensors file."
        ) from error
    vectors = next((value for name, value in tables.items() if name.endswith("embedding_gs")), None)
    if vectors is None and len(tables) == 1:
        vectors = next(iter(tables.values()))
    if vectors is None or vectors.numel() == 0:
        raise DataError(f"{path} contains no architecture vectors: its tensor embedding_gs is missing or empty.")
    gates: Tensor = torch.atleast_2d(vectors.float())
    if not bool(((gates >= 0) & (gates <= 1)).all()):  # also true for NaN
        raise DataError(f"{path} contains values outside 0..1, so they are not the gates of architecture vectors.")
    return gates


def prune(
    unet: UNet2DConditionModel, macs: float, latent_size: int, text_length: int, experts: Experts
) -> tuple[UNet2DConditionModel, Architecture]:
    """APTP: uses the expert whose MACs are nearest to the requested ones.

    The expert's highest-scoring elements are kept until the MACs are met, with the weights of the base.

    Args:
        unet: the base.
        macs: fraction of the base's MACs to keep, above 0 and at most 1.
        latent_size: height and width of the latent.
        text_length: number of tokens of the text states.
        experts: experts from a search or from a published file.

    Returns:
        A smaller dense copy of `unet`, and its architecture.

    Raises:
        BudgetError: `macs` is not a fraction, or no expert is near to it; the message lists the experts' shares.
    """
    costs = Costs.of(unet, latent_size, text_length)
    architecture = to_architecture(unet, experts.vector(experts.nearest(macs), macs, costs))
    return architecture.apply(unet), architecture
