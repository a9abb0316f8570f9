"""`uce`: edits the distilled model's cross-attention in closed form (Gandikota et al. 2024, arXiv 2308.14761).

Every key and value matrix W of cross-attention (attn2) is replaced by the matrix W' that minimises

    s_e sum_i |W' c_i - W g_i|^2 + s_p sum_j |W' p_j - W p_j|^2 + lambda |W' - W|^2

where c_i are text states of the target, g_i those of the anchor (the text that the target is mapped to), and p_j those
of texts to keep. States of target and anchor are paired by their position relative to the last token of the name. The
solution is W' = W M with the same M for all matrices,

    M = (lambda I + s_e sum g c' + s_p sum p p') (lambda I + s_e sum c c' + s_p sum p p')^-1,

so texts are encoded once and one linear system is solved. For lambda -> 0 and without texts to keep, W' c_i = W g_i
holds exactly if the c_i are linearly independent; otherwise W' is a least-squares fit.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.errors import UsageError
from benchmark.json_types import Settings
from methods import costs
from methods.base import Method, Start
from methods.budget import Cost
from methods.config_fields import identity
from prompts.concepts import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

    from methods.base import Context, Materials
    from methods.budget import Budget, Entry
    from prompts.concepts import Concept

EDITED = ("attn2.to_k", "attn2.to_v")


class UceConfig(BaseModel):
    """Weights of the three terms of the objective, and choice of the tokens to edit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    erase: float = identity(1.0, "s_e, the weight of each edited token.", gt=0)
    keep_ratio: float = identity(1.0, "Ratio (s_p sum |p|^2) / (s_e sum |c|^2), from which s_p is computed.", ge=0)
    keep_scale: float | Literal["by-count"] | None = identity(
        None, "s_p, if set directly instead of by keep_ratio; by-count: max(0.1, 1 / number of kept texts).", added=True
    )
    kept_tokens: Literal["all", "last"] = identity(
        "all", "States of a kept text that are kept: all, or that of its last subject token.", added=True
    )
    keep_empty: bool = identity(True, "Whether the empty prompt is one of the kept texts.", added=True)
    lamb: float = identity(0.5, "lambda, the weight of the distance to the original matrices.", gt=0)
    tokens: Literal["tail", "last"] = identity(
        "last", "Edited tokens of a target: from its last subject token to the end of the text, or only that token."
    )


class Uce(Method):
    name: ClassVar[str] = "uce"
    summary: ClassVar[str] = "edits the cross-attention keys and values of the distilled model in closed form"
    start: ClassVar[Start] = "distilled"
    own_share = 0.0
    strength: ClassVar[str] = "keep_ratio"
    recipe: ClassVar[int] = 1
    uses_concept_images = False
    presets: ClassVar[dict[str, Settings]] = {
        "default": {},
        "released": {"keep_scale": "by-count", "tokens": "tail"},
        "uce-2025": {"keep_scale": 1.0, "kept_tokens": "last", "keep_empty": False},
    }
    """`released` has the settings of the UCE script of Shirkavand et al.; `uce-2025` those of the current UCE code."""
    Config: ClassVar[type[BaseModel]] = UceConfig
    config: UceConfig

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
        """Edit the matrices in place, without training or U-Net passes. `budget` and `seed` are not used."""
        began, config = time.perf_counter(), self.config
        moved, guide = pairs(materials, concept, config.tokens)
        texts = ([""] if config.keep_empty else []) + preserved(materials.preserve, concept)
        kept = kept_states(materials, texts, config.kept_tokens, moved)
        matrix = edit(moved, guide, kept, config.erase, _scale(moved, kept, len(texts), config), config.lamb)
        self.check(student, concept)
        edited = multiply(student, matrix)
        context.progress(self.name, edited, edited, {"loss": 0.0})
        context.ledger.append(without_passes(self.name, time.perf_counter() - began))
        return student.eval()


def edited_weights(student: UNet2DConditionModel, method: str) -> dict[str, Tensor]:
    """Return the key and value matrices (out, D) of cross-attention, by module name.

    Raises:
        UsageError: the U-Net has no cross-attention; the message names `method`.
    """
    modules = {name: module for name, module in student.named_modules() if name.endswith(EDITED)}
    if not modules:
        raise UsageError(f"This U-Net has no layer {' or '.join(EDITED)}, so {method} has no weights to edit.")
    return {name: module.weight for name, module in modules.items()}


def multiply(student: UNet2DConditionModel, matrix: Tensor) -> int:
    """Replace every key and value matrix W of cross-attention by W @ `matrix` in place.

    Args:
        student: the U-Net.
        matrix: matrix M (D, D).

    Returns:
        The number of matrices.
    """
    import torch

    weights = edited_weights(student, "uce")
    with torch.no_grad():
        for weight in weights.values():
            weight.copy_(weight.double().cpu() @ matrix)
    return len(weights)


def without_passes(phase: str, seconds: float) -> Entry:
    """Return a ledger entry for a phase without U-Net passes that took `seconds`."""
    from methods.budget import Entry

    none = dict.fromkeys(("images", "unet_forwards", "unet_backwards", "flops", "peak_memory_bytes"), 0)
    return Entry(phase=phase, iterations=1, wall_seconds=seconds, device_seconds=seconds, **none)


def edit(moved: Tensor, guide: Tensor, kept: Tensor, erase: float, keep: float, lamb: float) -> Tensor:
    """Return the matrix M (D, D), float64, of the solution W' = W M.

    Args:
        moved: text states c (n, D) of the targets.
        guide: text states g (n, D) that the rows of `moved` are mapped to.
        kept: text states p (m, D) to keep.
        erase: s_e.
        keep: s_p.
        lamb: lambda.
    """
    import torch

    regular = lamb * torch.eye(moved.shape[1], dtype=torch.float64) + keep * kept.T @ kept
    matrix: Tensor = torch.linalg.solve(
        regular + erase * moved.T @ moved, regular + erase * guide.T @ moved, left=False
    )
    return matrix


def pairs(materials: Materials, concept: Concept, tokens: Literal["tail", "last"]) -> tuple[Tensor, Tensor]:
    """Return the text states (n, D) of all targets, and the states (n, D) of the anchor that they are mapped to.

    Both are float64. The last subject token of a text is its last token before the end token. With `tokens` "tail", the
    states from this token on are used, cut to the same length in target and anchor; with "last", only this token is
    used.
    """
    import torch

    texts = [*concept.targets, concept.anchor]
    states = materials.encode(texts).cpu().double()
    lasts = materials.token_counts(texts)  # the start token is at 0, so the last of k tokens is at k
    moved, guide = [], []
    for k in range(len(concept.targets)):
        length = states.shape[1] - max(lasts[k], lasts[-1]) if tokens == "tail" else 1
        moved.append(states[k, lasts[k] : lasts[k] + length])
        guide.append(states[-1, lasts[-1] : lasts[-1] + length])
    return torch.cat(moved), torch.cat(guide)


def kept_states(materials: Materials, texts: Sequence[str], tokens: Literal["all", "last"], like: Tensor) -> Tensor:
    """Return the states (m, D) of the kept texts, at all positions or only at the last subject token.

    Without texts, the result is an empty tensor (0, D) with the width and dtype of `like` (n, D).
    """
    if not texts:
        return like[:0]
    states = materials.encode(texts).cpu().double()
    if tokens == "all":
        return states.flatten(0, 1)
    return states[range(len(texts)), materials.token_counts(texts)]


def preserved(names: Sequence[str], concept: Concept) -> list[str]:
    """Return the names, except those that refer to a target, such as "Picasso" if "Pablo Picasso" is a target."""
    targets = [set(words(target)) for target in concept.targets]
    words_by_name = {name: set(words(name)) for name in names}
    return [name for name in names if not any(words_by_name[name] <= t or t <= words_by_name[name] for t in targets)]


def _scale(moved: Tensor, kept: Tensor, texts: int, config: UceConfig) -> float:
    """Return s_p, computed from `keep_scale` if it is set, otherwise from `keep_ratio`.

    With `keep_ratio`, the weighted sum of squares of kept states is `keep_ratio` times that of erased states.
    """
    if not texts:
        return 0.0
    if config.keep_scale == "by-count":
        return max(0.1, 1 / texts)
    if config.keep_scale is not None:
        return config.keep_scale
    return config.keep_ratio * config.erase * float(moved.square().sum()) / float(kept.square().sum())
