"""Reads a single-file checkpoint with the names of the original Stable Diffusion code (latent diffusion, LDM).

    model.diffusion_model.*     the U-Net
    cond_stage_model.*          the text encoder: CLIP in Stable Diffusion 1, OpenCLIP in Stable Diffusion 2
    first_stage_model.*         the VAE
    model_ema.*                 averaged weights of the U-Net, ignored
    betas, alphas_cumprod, ...  the noise schedule

diffusers converts the names. The configs are those of the testbed's pipeline on disk, so nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import DataError
from benchmark.models.checkpoint_forms.recognise import BUFFERS, LDM_UNET, part_of
from benchmark.models.pipeline_parts import compare_states, read_json, read_state
from metrics.networks.weights import read_weights

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

_CONVERSION_ERRORS = (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError)
"""Errors that diffusers' converters raise for names or shapes of a different model."""
_TEXT, _VAE, _AVERAGED = "cond_stage_model.", "first_stage_model.", "model_ema."
_OPEN_CLIP = "cond_stage_model.model."
_CLOSE = 1e-2
"""Relative difference of noise levels up to which two schedules are equal; half precision loses 1e-3."""


def convert_unet(path: Path, base: UNet2DConditionModel) -> dict[str, Tensor]:
    """Return the weights of the U-Net under diffusers' names. Their shapes are not checked.

    Args:
        path: the single-file checkpoint.
        base: the testbed's U-Net, whose config the converter needs.

    Raises:
        DataError: if the file holds an unknown part, or the layers of its U-Net are not those of the base.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    weights = read_weights(path)
    expected = (LDM_UNET, _TEXT, _VAE, _AVERAGED)
    if unknown := [name for name in weights if not name.startswith(expected) and part_of(name) != BUFFERS]:
        raise DataError(
            f"The single-file checkpoint {path} holds '{unknown[0]}', which is no part of Stable Diffusion 1 or 2: "
            "save its U-Net in diffusers' layout, and give its path."
        )
    unet = {name: tensor for name, tensor in weights.items() if name.startswith(LDM_UNET)}
    try:
        converted = convert_ldm_unet_checkpoint(dict(unet), base.config)
    except _CONVERSION_ERRORS as error:
        raise DataError(
            f"The U-Net of the single-file checkpoint {path} cannot be converted ({type(error).__name__}): choose the "
            "testbed of its base model, or save the U-Net in diffusers' layout."
        ) from error
    own = base.state_dict()
    used = {id(tensor) for tensor in converted.values()}
    unused = [name for name, tensor in unet.items() if id(tensor) not in used]
    foreign = [*unused, *(name for name in converted if name not in own)]
    missing = [name for name in own if converted.get(name) is None]
    if foreign or missing:
        what = f"it lacks '{missing[0]}'" if missing else f"it also has '{foreign[0]}'"
        raise DataError(
            f"The U-Net of the single-file checkpoint {path} does not have the layers of the testbed's ({what}): "
            "choose the testbed of its base model; a single file must hold the whole U-Net."
        )
    return converted


def differences(path: Path, pipeline: Path) -> list[str]:
    """List the parts of a single-file checkpoint, except for the U-Net, that differ from those of a pipeline.

    Args:
        path: the single-file checkpoint. Parts that it does not hold are not compared; it never holds a tokenizer.
        pipeline: folder of the testbed's pipeline.

    Returns:
        One text per part that differs, such as "vae (different weights in 3 of 248 tensors)".
    """
    weights = read_weights(path)
    compare: dict[str, tuple[str, Callable[[Mapping[str, Tensor], Path], str]]] = {
        "text_encoder": (_TEXT, _compare_text),
        "vae": (_VAE, _compare_vae),
        "scheduler": ("alphas_cumprod", _compare_schedule),
    }
    unlike = []
    for part, (start, compared) in compare.items():
        own = {name: tensor for name, tensor in weights.items() if name.startswith(start)}
        if own:
            try:
                what = compared(own, pipeline / part)
            except _CONVERSION_ERRORS as error:
                what = f"it cannot be converted, {type(error).__name__}"
            unlike += [f"{part} ({what})"] if what else []
    return unlike


def _compare_text(weights: Mapping[str, Tensor], folder: Path) -> str:
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint, convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    if any(name.startswith(_OPEN_CLIP) for name in weights):
        shape = _Config(CLIPTextConfig.from_pretrained(folder))
        # The converter reads the width of the text projection, which these encoders do not have.
        states = {name: tensor for name, tensor in weights.items() if not name.endswith("text_projection")}
        theirs = convert_open_clip_checkpoint(shape, states, prefix=_OPEN_CLIP)
    else:
        theirs = convert_ldm_clip_checkpoint(dict(weights))
    start = "text_model."
    theirs = {name.removeprefix(start): tensor for name, tensor in theirs.items()}
    ours = {name.removeprefix(start): tensor for name, tensor in read_state(CLIPTextModel, folder).items()}
    return _compare_layers(theirs, ours, spare=1 if any(name.startswith(_OPEN_CLIP) for name in weights) else 0)


def _compare_layers(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor], spare: int) -> str:
    """Compare the tensors of two text encoders.

    Args:
        theirs: tensors of the file. It may hold more tensors than the encoder needs, except for further layers.
        ours: tensors of the testbed's text encoder.
        spare: number of further layers that the file may hold. Stable Diffusion 2 uses the states before OpenCLIP's
            last layer, so its files hold a layer that diffusers leaves out.
    """
    counts = [1 + max((_layer(name) for name in names), default=-1) for names in (theirs, ours)]
    if not counts[1] <= counts[0] <= counts[1] + spare:
        return f"{counts[0]} layers, not {counts[1]}"
    return compare_states({name: theirs[name] for name in ours if name in theirs}, ours)


def _layer(name: str) -> int:
    parts = name.split(".")
    return int(parts[2]) if parts[:2] == ["encoder", "layers"] else -1


class _Config:
    """Stands for a text encoder where diffusers' converter reads only its config."""

    def __init__(self, config: Any) -> None:
        self.config = config


def _compare_vae(weights: Mapping[str, Tensor], folder: Path) -> str:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    ours = read_state(AutoencoderKL, folder)
    theirs = convert_ldm_vae_checkpoint(dict(weights), read_json(folder / "config.json"))
    return compare_states({name: theirs[name] for name in ours if name in theirs}, ours)


def _compare_schedule(weights: Mapping[str, Tensor], folder: Path) -> str:
    import torch
    from diffusers import DDPMScheduler

    theirs = weights.get("alphas_cumprod")
    ours = DDPMScheduler.from_config(read_json(folder / "scheduler_config.json")).alphas_cumprod
    if theirs is None or (theirs.shape == ours.shape and torch.allclose(theirs.float(), ours, rtol=_CLOSE, atol=1e-4)):
        return ""
    return "different noise levels (alphas_cumprod)"
