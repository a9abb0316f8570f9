"""Reads a single-file checkpoint with the names of the original Stable Diffusion code (latent diffusion, LDM).

    model.diffusion_model.*     the U-Net
    cond_stage_model.*          the text encoder: CLIP in Stable Diffusion 1, OpenCLIP in Stable Diffusion 2
    first_stage_model.*         the VAE
    model_ema.*                 averaged weights of the U-Net, ignored
    betas, alphas_cumprod, ...  the noise schedule

diffusers converts the names. The configs are those of the testbed's pipeline on disk, so nothing is downloaded.
`ldm_parts` reads the text encoder and the VAE.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import DataError
from benchmark.models.checkpoint_forms.recognise import BUFFERS, LDM_UNET, part_of
from metrics.networks.weights import read_weights

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor

CONVERSION_ERRORS = (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError)
"""Errors that diffusers' converters raise for names or shapes of a different model."""
TEXT, VAE, _AVERAGED = "cond_stage_model.", "first_stage_model.", "model_ema."


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
    expected = (LDM_UNET, TEXT, VAE, _AVERAGED)
    if unknown := [name for name in weights if not name.startswith(expected) and part_of(name) != BUFFERS]:
        raise DataError(
            f"The single-file checkpoint {path} holds '{unknown[0]}', which is no part of Stable Diffusion 1 or 2: "
            "save its U-Net in diffusers' layout, and give its path."
        )
    unet = {name: tensor for name, tensor in weights.items() if name.startswith(LDM_UNET)}
    try:
        converted = convert_ldm_unet_checkpoint(dict(unet), base.config)
    except CONVERSION_ERRORS as error:
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
