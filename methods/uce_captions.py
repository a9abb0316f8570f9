"""`uce-captions`: the distilled model's cross-attention edited in closed form on whole captions.

UCE (arXiv 2308.14761) moves the text states of a bare name. In a caption the style sits in every place after the name,
so here the states of captions that name a target become, place by place, those of the same captions without the name.
With W' = W M for every key and value matrix W of attn2, M minimises

    sum_a w_a sum_i |M c_i - g_i|^2 + s_p sum_j |M p_j - p_j|^2 + s_d sum_k |M d_k - d_k|^2 + lambda |M - I|^2

where c_i are states of captions of target a, g_i those without the name at the same places, p_j states of captions that
name kept artists, of captions that name nobody, and of the empty prompt, and d_k those of the targets' captions under
made-up names (decoys), which stand for artists whom nobody names. Only places where a caption's states depend on its
name take part, and never the start mark.

How far a name's states have moved is measured by what cross-attention reads of them:

    move(a)^2 = sum_i |W (M c_i - c_i)|^2 / sum_i |W (g_i - c_i)|^2, W all matrices, each divided by its Frobenius norm.

0 means untouched, 1 as far as the captions without the name lie. The weights w_a are set so that every target's move is
the one that is asked for, whatever the number of targets.
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
"""Norm by which two text states must differ for their place to depend on the name."""
TOLERANCE, ITERATIONS = 1e-3, 200
"""How near each target's move must come to the one that is asked for, and in how many solutions at most."""


class UceCaptionsConfig(BaseModel):
    """How far targets move, and the weights of what stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    move: float | None = identity(
        0.4, "Each target's move, 0 to 1 (see above); none: every state of a target's captions weighs 1.", gt=0, lt=1
    )
    keep_ratio: float = identity(10.0, "Mass of what is kept over mass of what is erased at weight 1.", gt=0)
    decoys: int = identity(
        64, "Number of made-up artists (prompts/decoys.py) that are kept too; for styles only.", ge=0, le=len(DECOYS)
    )
    decoy_ratio: float = identity(10.0, "Mass of the decoys over mass of what is erased at weight 1.", gt=0)
    lamb: float = identity(0.1, "lambda, the weight of staying near the old matrices.", gt=0)


class Rows(NamedTuple):
    """Text states (n, D), float64, of captions with a name and of the same captions without it, place by place."""

    named: Tensor
    bare: Tensor


class UceCaptions(Method):
    name: ClassVar[str] = "uce-captions"
    summary: ClassVar[str] = "distilled, then cross-attention edited in closed form on whole captions"
    start: ClassVar[Start] = "distilled"
    own_share = 0.0
    strength: ClassVar[str] = "move"
    recipe: ClassVar[int] = 1
    uses_concept_images = False
    presets: ClassVar[dict[str, Settings]] = {"default": {}}
    Config: ClassVar[type[BaseModel]] = UceCaptionsConfig
    config: UceCaptionsConfig

    def cycle(self, terms: costs.Terms) -> list[costs.Step]:
        """What `fit` spends: no pass of the U-Net."""
        return [costs.Step(self.name, Cost(forwards=0, backwards=0, flops=0), 1, 1, once=True)]

    def check(self, student: UNet2DConditionModel, concept: Concept) -> None:
        """UsageError for a U-Net without cross-attention."""
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
        """Edit in place; no U-Net pass is spent. `budget` and `seed` are not read.

        UsageError where the testbed has no captions of a target.
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
    """M (D, D) in float64, and the move of each target under it."""
    import torch

    metric = reading(list(edited_weights(student, UceCaptions.name).values()))
    targets = {target: rows_of(materials, target) for target in concept.targets}
    moved, guide = (torch.cat([rows[k] for rows in targets.values()]) for k in (0, 1))
    mass = float(moved.square().sum())
    kept = scaled(kept_states(materials, concept), config.keep_ratio * mass)
    if config.decoys and concept.kind == "style":
        decoys = decoy_states(materials, concept.targets, DECOYS[: config.decoys])
        kept = torch.cat([kept, scaled(decoys, config.decoy_ratio * mass)])
    kept = torch.linalg.qr(kept, mode="r").R  # the solution depends on the second moment alone
    weights = dict.fromkeys(targets, 1.0)
    for _ in range(ITERATIONS):
        scale = torch.cat([rows.named.new_full((len(rows.named), 1), weights[t] ** 0.5) for t, rows in targets.items()])
        matrix = edit(scale * moved, scale * guide, kept, 1.0, 1.0, config.lamb)
        moves = {target: move(matrix, rows, metric) for target, rows in targets.items()}
        if config.move is None or max(abs(value - config.move) for value in moves.values()) < TOLERANCE:
            break
        # One target alone moves by about w / (w + what holds it back).
        odds = config.move / (1 - config.move)
        for target, value in moves.items():
            value = min(max(value, 1e-6), 1 - 1e-6)
            weights[target] *= odds * (1 - value) / value
    return matrix, moves


def rows_of(materials: Materials, name: str) -> Rows:
    """The places of a name's captions that depend on the name. UsageError where there is no such caption."""
    pairs = materials.in_context.get(name, ())
    if not pairs:
        raise UsageError(
            f"The testbed has no captions of '{name}' with and without the name (Materials.in_context), which "
            "uce-captions edits: use uce."
        )
    return _differing(materials, pairs)


def _differing(materials: Materials, pairs: Sequence[tuple[str, str]]) -> Rows:
    """States of captions with and without a name, at the places where the two differ."""
    named, bare = (materials.encode([pair[k] for pair in pairs]).cpu().double() for k in (0, 1))
    differs = (named - bare).norm(dim=-1) > DIFFERENT
    differs[:, 0] = False
    return Rows(named[differs], bare[differs])


def kept_states(materials: Materials, concept: Concept) -> Tensor:
    """States (m, D) that stay: of kept names' captions, of captions without a name, of the empty prompt."""
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
    """The states (m, D) by one factor, such that their sum of squares is `mass`."""
    factor: float = (mass / float(states.square().sum())) ** 0.5
    return states * factor


def decoy_states(materials: Materials, targets: Sequence[str], decoys: Sequence[str]) -> Tensor:
    """States (m, D) of the targets' captions with made-up names in their place, full names and surnames.

    Each decoy takes the captions of one target, in turns. Only places that depend on the name take part.
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
    """G (D, D) with x' G x = |W x|^2, W all matrices one below the other, each divided by its Frobenius norm."""
    import torch

    matrices = [weight.detach().cpu().double() for weight in weights]
    return torch.stack([w.T @ w / w.square().sum() for w in matrices]).sum(0)


def move(matrix: Tensor, rows: Rows, metric: Tensor) -> float:
    """How far M moves a name's states, as a share of their distance to those without the name."""
    moved, whole = rows.named @ matrix.T - rows.named, rows.bare - rows.named
    return float((((moved @ metric) * moved).sum() / ((whole @ metric) * whole).sum()).sqrt())
