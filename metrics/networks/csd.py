"""CSD network: a CLIP image tower with a projection trained on styles (Somepalli et al. 2024, arXiv:2404.01292).

A checkpoint of CSD contains OpenAI's image tower under the prefix `backbone.`, without CLIP's projection, and two new
projections: `last_layer_style`, which is used here, and `last_layer_content`, which is not.
"""

from collections.abc import Mapping
from functools import partial
from math import isqrt
from pathlib import Path

from torch import Tensor, nn

from benchmark.errors import DataError
from metrics.encoders import PillowEncoder
from metrics.networks.weights import fill, read_weights

TOWER, STYLE, CONTENT = "backbone.", "last_layer_style", "last_layer_content"
HEAD_WIDTH = 64
"""Width of an attention head, the same for all CLIP image towers."""


def style_tower(weights: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Return the network that maps images (N, 3, s, s), normalised as for CLIP, to style features (N, d).

    The features are not normalised. Width and depth are inferred from the weights (CSD-ViT-L: 24 layers of width 1024,
    d = 768). `path` is used only in error messages.

    Raises DataError if the weights are not those of CSD.
    """
    from open_clip.transformer import LayerNorm, QuickGELU, VisionTransformer

    tower = {name.removeprefix(TOWER): value for name, value in weights.items() if name.startswith(TOWER)}
    needed = [f"{TOWER}{name}" for name in ("conv1.weight", "positional_embedding")] + [STYLE]
    if missing := [name for name in needed if name not in weights]:
        raise DataError(f"The weights {path} are not those of CSD: they lack '{missing[0]}'.")
    foreign = [name for name in weights if not name.startswith((TOWER, CONTENT)) and name != STYLE]
    if foreign:
        raise DataError(f"The weights {path} are not those of CSD: they have an unexpected '{foreign[0]}'.")
    width, _, patch, _ = tower["conv1.weight"].shape
    network = VisionTransformer(
        image_size=patch * isqrt(len(tower["positional_embedding"]) - 1),
        patch_size=patch,
        width=width,
        layers=len({name.split(".")[2] for name in tower if name.startswith("transformer.resblocks.")}),
        heads=width // HEAD_WIDTH,
        mlp_ratio=4.0,
        output_dim=weights[STYLE].shape[1],
        act_layer=QuickGELU,
        norm_layer=partial(LayerNorm, eps=1e-5),
    )
    # The style projection replaces the projection of CLIP.
    fill(
        network, {**{name: value.float() for name, value in tower.items()}, "proj": weights[STYLE].float()}, path, "CSD"
    )
    frozen: nn.Module = network.eval().requires_grad_(False)
    return frozen


def csd(path: Path, name: str, device: str = "cpu") -> PillowEncoder:
    """Return the style encoder with the weights in `path`."""
    return encoder(style_tower(read_weights(path), path), name, device)


def encoder(network: nn.Module, name: str, device: str = "cpu") -> PillowEncoder:
    """Return an encoder from a style tower, with the preprocessing of CSD's authors."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
    from open_clip.transform import PreprocessCfg, image_transform_v2

    side: int = network.image_size[0]  # type: ignore[index, assignment]
    preprocess = PreprocessCfg(size=side, mean=OPENAI_DATASET_MEAN, std=OPENAI_DATASET_STD, interpolation="bicubic")
    size: int = network.output_dim  # type: ignore[assignment]
    return PillowEncoder(name, network.to(device), size, image_transform_v2(preprocess, is_train=False))
