"""`uce-captions`: edits the distilled model's cross-attention in closed form, using whole captions.

UCE (arXiv 2308.14761) computes its edit from the text states of names without context. In a caption, however, every
token position after the name carries the style. This method therefore maps the states of captions with the name of a
target to the states of the same captions without the name, position by position. With W' = W M for every key and value
matrix W of attn2, M minimises

    sum_a w_a sum_i |M c_i - g_i|^2 + s_p sum_j |M p_j - p_j|^2 + s_d sum_k |M d_k - d_k|^2 + lambda |M - I|^2

where

- c_i are the states of captions of target a, and g_i those of the same captions without the name,
- p_j are states to keep: of captions with names of kept artists, of captions without a name, and of the empty prompt,
- d_k are the states of the targets' captions with made-up names (decoys) instead of the target, which represent artists
  that are not listed by name.

For captions with a name, only token positions whose states depend on the name are used. The start token is never used.

The move of a target measures how far its states have moved, as seen by cross-attention:

    move(a)^2 = sum_i |W (M c_i - c_i)|^2 / sum_i |W (g_i - c_i)|^2

Here W stacks all matrices, each divided by its Frobenius norm. A move of 0 means that the states have not changed, and
1 that they have moved as far as the distance to the captions without the name. The weights w_a are set so that every
target has the requested move, for any number of targets.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from benchmark.errors import UsageError
from benchmark.json_types import Settings
from methods import costs
from methods.base import Method, Start
from methods.budget import Cost
from methods.config_fields import identity
from methods.uce import edit, edited_weights, multiply, preserved, without_passes
from prompts.decoys import DECOYS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

    from methods.base import Context, Materials
    from methods.budget import Budget
    from prompts.concepts import Concept

DIFFERENT = 1e-4
"""A token position depends on the name if the text states with and without it differ by more than this norm."""
TOLERANCE, ITERATIONS = 1e-3, 200
"""Tolerance for the move of each target, and largest number of iterations to reach it."""


class UceCaptionsConfig(BaseModel):
    """The move of the targets, and the weights of the states to keep."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    move: float | None = identity(
        0.4, "Move of each target, 0 to 1; if none, every state of the targets' captions has weight 1.", gt=0, lt=1
    )
    keep_ratio: float = identity(
        10.0, "Weight of kept states: their weighted sum of squares is this many times that of the erased states.", gt=0
    )
    decoys: int = identity(
        64,
        "Number of made-up artists (prompts/decoys.py) that are kept as well; only for styles.",
        ge=0,
        le=len(DECOYS),
    )
    decoy_ratio: float = identity(
        10.0,
        "Weight of decoy states: their weighted sum of squares is this many times that of the erased states.",
        gt=0,
    )
    lamb: float = identity(0.1, "lambda, the weight of the distance to the original matrices.", gt=0)


class Rows(NamedTuple):
    """Text states (n, D), float64, of captions with a name and, row by row, of the same captions without it."""

    named: Tensor
    bare: Tensor


class UceCaptions(Method):
    name: ClassVar[str] = "uce-captions"
    summary: ClassVar[str] = "edits the cross-attention of the distilled model in closed form, using whole captions"
    start: ClassVar[Start] = "distilled"
    own_share = 0.0
    strength: ClassVar[str] = "move"
    recipe: ClassVar[int] = 1
    uses_concept_images = False
    presets: ClassVar[dict[str, Settings]] = {"default": {}}
    Config: ClassVar[type[BaseModel]] = UceCaptionsConfig
    config: UceCaptionsConfig

    def cycle(self, terms: costs.Terms) -> list[costs.Step]:
        """Return the single step of `fit`, which takes no U-Net pass."""
        return [costs.Step(self.name, Cost(forwards=0, backwards=0, flops=0), 1, 1, once=True)]

    def check(self, student: UNet2DConditionModel, concept: Concept) -> None:
        """Raise `UsageError` if the U-Net has no cross-attention."""
        edited_weights(student, self.name)

    def fit(
        self,
        student: UNet2DConditionModel,
        materials: Materials,
        concept: Concept,
        budget: Budget,
        context: Context,
        seed: int,
    ) -> UNet2DConditionModel:
        """Edit the matrices in place, without training or U-Net passes. `budget` and `seed` are not used.

        Raises:
            UsageError: the testbed has no captions for a target.
        """
        began = time.perf_counter()
        matrix, moves = solve(student, materials, concept, self.config)
        edited = multiply(student, matrix)
        context.progress(self.name, edited, edited, {"move": sum(moves.values()) / len(moves)})
        context.ledger.append(without_passes(self.name, time.perf_counter() - began))
        return student.eval()


def solve(
    student: UNet2DConditionModel, materials: Materials, concept: Concept, config: UceCaptionsConfig
) -> tuple[Tensor, dict[str, float]]:
    """Return the matrix M (D, D), float64, and the move that it gives each target."""
    import torch

    metric = reading(list(edited_weights(student, UceCaptions.name).values()))
    targets = {target: rows_of(materials, target) for target in concept.targets}
    moved, guide = (torch.cat([rows[k] for rows in targets.values()]) for k in (0, 1))
    mass = float(moved.square().sum())
    kept = scaled(kept_states(materials, concept), config.keep_ratio * mass)
    if config.decoys and concept.kind == "style":
        decoys = decoy_states(materials, concept.targets, DECOYS[: config.decoys])
        kept = torch.cat([kept, scaled(decoys, config.decoy_ratio * mass)])
    kept = torch.linalg.qr(kept, mode="r").R  # the solution depends only on kept.T @ kept, so a smaller factor suffices
    weights = dict.fromkeys(targets, 1.0)
    for _ in range(ITERATIONS):
        scale = torch.cat([rows.named.new_full((len(rows.named), 1), weights[t] ** 0.5) for t, rows in targets.items()])
        matrix = edit(scale * moved, scale * guide, kept, 1.0, 1.0, config.lamb)
        moves = {target: move(matrix, rows, metric) for target, rows in targets.items()}
        if config.move is None or max(abs(value - config.move) for value in moves.values()) < TOLERANCE:
            break
        # A single target of weight w moves by about w / (w + r), where r depends on the other terms.
        odds = config.move / (1 - config.move)
        for target, value in moves.items():
            value = min(max(value, 1e-6), 1 - 1e-6)
            weights[target] *= odds * (1 - value) / value
    return matrix, moves


def rows_of(materials: Materials, name: str) -> Rows:
    """Return the states of a name's captions, with and without the name, at positions that depend on the name.

    Raises:
        UsageError: the testbed has no captions for this name.
    """
    pairs = materials.in_context.get(name, ())
    if not pairs:
        raise UsageError(
            f"The testbed has no captions with and without '{name}' (Materials.in_context), which uce-captions needs: "
            "use method uce."
        )
    return _differing(materials, pairs)


def _differing(materials: Materials, pairs: Sequence[tuple[str, str]]) -> Rows:
    """Return the states of captions with and without a name, at the positions where the two differ."""
    named, bare = (materials.encode([pair[k] for pair in pairs]).cpu().double() for k in (0, 1))
    differs = (named - bare).norm(dim=-1) > DIFFERENT
    differs[:, 0] = False
    return Rows(named[differs], bare[differs])


def kept_states(materials: Materials, concept: Concept) -> Tensor:
    """Return the states (m, D) to keep: of captions with kept names, captions without a name, and the empty prompt."""
    import torch

    names = preserved([name for name in materials.preserve if materials.in_context.get(name)], concept)
    used = (*concept.targets, *names)
    scenes = list(dict.fromkeys(["", *(bare for name in used for _, bare in materials.in_context.get(name, ()))]))
    return torch.cat(
        [
            *(rows_of(materials, name).named for name in names),
            materials.encode(scenes).cpu().double()[:, 1:].flatten(0, 1),
        ]
    )


def scaled(states: Tensor, mass: float) -> Tensor:
    """Return the states (m, D), multiplied by a factor that makes their sum of squares `mass`."""
    factor: float = (mass / float(states.square().sum())) ** 0.5
    return states * factor


def decoy_states(materials: Materials, targets: Sequence[str], decoys: Sequence[str]) -> Tensor:
    """Return the states (m, D) of the targets' captions with decoys instead of the targets, at positions that depend on
    the name.

    Each decoy replaces a single target, in rotation, once by its full name and once by its surname.
    """
    import torch

    states = []
    for number, decoy in enumerate(decoys):
        target = targets[number % len(targets)]
        pairs = [(named, bare) for named, bare in materials.in_context[target] if target in named]
        names = (decoy, decoy.split()[-1])
        states.append(_differing(materials, [(named.replace(target, n), bare) for named, bare in pairs for n in names]))
    return torch.cat([rows.named for rows in states])


def reading(weights: Sequence[Tensor]) -> Tensor:
    """Return G (D, D) with x' G x = |W x|^2, where W stacks all matrices, each divided by its Frobenius norm."""
    import torch

    matrices = [weight.detach().cpu().double() for weight in weights]
    return torch.stack([w.T @ w / w.square().sum() for w in matrices]).sum(0)


def move(matrix: Tensor, rows: Rows, metric: Tensor) -> float:
    """Return how far M moves the states of a name, as a share of their distance to the states without the name."""
    moved, whole = rows.named @ matrix.T - rows.named, rows.bare - rows.named
    return float((((moved @ metric) * moved).sum() / ((whole @ metric) * whole).sum()).sqrt())
