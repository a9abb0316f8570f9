"""Recognises the form of a file of weights from the names in it, and which parts besides the U-Net it holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark.errors import DataError
from metrics.networks.weights import check_is_itself, read_weights, unwrapped

if TYPE_CHECKING:
    from torch import Tensor

LDM_UNET = "model.diffusion_model."
"""Start of the names of the U-Net's weights in the original Stable Diffusion code (latent diffusion, LDM)."""
PEFT = "base_model.model."
"""Start of the names of weights that the library PEFT saves."""
PEFT_FILE = "adapter_model"
"""Name without suffix of the file that PEFT saves."""
PEFT_CONFIG = "adapter_config.json"
"""Name of the file in which PEFT saves the rank and the scale of a LoRA."""
AVERAGED = "averaged weights"
BUFFERS = "noise schedule"
UNET = "unet"
TEXT_ENCODER = "text_encoder"
_PARTS = {
    TEXT_ENCODER: (
        "text_encoder.", "lora_te_", "lora_te1_", "cond_stage_model.", f"{PEFT}text_model.", f"{PEFT}encoder.layers.",
    ),
    "text_encoder_2": ("text_encoder_2.", "lora_te2_"),
    "vae": ("vae.", "first_stage_model."),
    "embeddings of new words": ("modifier_token.",),
    AVERAGED: ("model_ema.",),
}  # fmt: skip
"""Parts of a file besides the U-Net, with the starts of the names of their weights."""
_BUFFERS = (
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
    "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance",
    "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2", "logvar", "lvlb_weights",
    "scale_factor",
)  # fmt: skip
"""Names of the tensors of the noise schedule that the original Stable Diffusion code stores with the weights."""
_LORA = re.compile(r"(?:^|[._])(?:lora[._]|lora_[AB]|hada_|lokr_|oft_|boft_|dora_scale|ia3)")

Form = Literal["weights", "lora", "ldm"]


@dataclass(frozen=True)
class FileForm:
    """The form of a file of weights.

    form "weights": all or some weights of a U-Net under diffusers' names.
    form "lora": low-rank changes of layers of a U-Net, a text encoder, or both.
    form "ldm": a whole model in a single file, under the names of the original Stable Diffusion code.
    """

    form: Form
    others: Mapping[str, int] = field(default_factory=dict)
    """The parts that the file holds besides the U-Net -> number of tensors."""
    ignored: tuple[str, ...] = ()
    """What the file holds and no model needs: averaged weights next to the plain ones."""
    peft: bool = False
    """Whether the library PEFT saved the file, which states the LoRA's scale in a separate adapter_config.json."""


def recognise(path: Path) -> FileForm:
    """Recognise the form of a file of weights. A file that cannot be read counts as weights; loading it says why."""
    try:
        names = names_in(path)
    except DataError:
        return FileForm("weights")
    parts = Counter(part_of(name) for name in names)
    if any(name.startswith(LDM_UNET) for name in names):
        form: Form = "ldm"
    else:
        form = "lora" if is_lora(names) else "weights"
        if form == "weights" and set(parts) <= {*_PARTS}:
            return FileForm(form)  # nothing of a U-Net: the names are refused when the file is loaded
    others = {part: parts[part] for part in _PARTS if parts[part] and part != AVERAGED}
    ignored = (f"{AVERAGED} ({parts[AVERAGED]} tensors)",) if parts[AVERAGED] else ()
    return FileForm(form, others, ignored, any(name.startswith(PEFT) for name in names) or path.stem == PEFT_FILE)


def names_in(path: Path) -> list[str]:
    """Return the names of the tensors in a file, as `read_weights` returns them.

    Raises:
        DataError: if the file cannot be read.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        check_is_itself(path)
        try:
            with safe_open(path, "pt") as opened:
                names = [unwrapped(name) for name in opened.keys()]  # noqa: SIM118 (it is not a dict)
        except (OSError, SafetensorError, ValueError):
            names = []
        if names:
            return names
    return list(read_weights(path))  # reports what is wrong with the file


def part_of(name: str) -> str:
    """Return the part of a pipeline that a tensor belongs to: "unet" unless the name is known to be of another part."""
    if name in _BUFFERS:
        return BUFFERS
    return next((part for part, starts in _PARTS.items() if name.startswith(starts)), UNET)


def without_other_parts(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights without those of a text encoder, a VAE or new words; all of them if nothing else is left."""
    kept = {name: tensor for name, tensor in weights.items() if part_of(name) in (UNET, BUFFERS, AVERAGED)}
    return kept or dict(weights)


def is_lora(names: Iterable[str]) -> bool:
    """Return whether any name is that of a factor of a LoRA or of a similar kind of change (LoHa, LoKr, OFT)."""
    return any(_LORA.search(name) for name in names)
