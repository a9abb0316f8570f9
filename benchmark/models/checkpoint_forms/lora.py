"""Adds a LoRA to the testbed's networks: W + scale * alpha / rank * up @ down, for linear layers and convolutions.

Accepted names of the two factors of the layer `down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k`:

    diffusers           unet.<layer>.lora.down.weight, unet.<layer>.lora_A.weight, with or without `unet.`
    diffusers, 2023     unet.<...>.attn2.processor.to_k_lora.down.weight
    PEFT                base_model.model.<layer>.lora_A.weight, with adapter_config.json in the same folder
    kohya, LyCORIS      lora_unet_<layer with underscores>.lora_down.weight, and .alpha

and of the layer `text_model.encoder.layers.0.self_attn.q_proj` of the text encoder:

    diffusers           text_encoder.<layer>.lora_A.weight, text_encoder.<layer>.lora_linear_layer.down.weight
    diffusers, 2023     text_encoder.<...>.self_attn.to_q_lora.down.weight
    PEFT                base_model.model.<layer>.lora_A.weight, in a file of its own
    kohya, LyCORIS      lora_te_<layer with underscores>.lora_down.weight, and .alpha

A linear layer has the factors down (rank, inputs) and up (outputs, rank). A convolution has the factors
down (rank, inputs, height, width) and up (outputs, rank, 1, 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import DataError
from benchmark.models.checkpoint_forms.lora_scaling import Scaling, read_config
from benchmark.models.checkpoint_forms.recognise import PEFT, PEFT_FILE, TEXT_ENCODER, UNET, part_of
from metrics.networks.weights import read_weights

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from torch import Tensor, nn

KINDS = {
    r"lora_magnitude_vector|dora_scale": "a DoRA",
    r"(^|[._])hada_": "a LoHa",
    r"(^|[._])lokr_": "a LoKr",
    r"lora_mid": "a LoRA with a middle factor (lora_mid, CP or Tucker decomposition)",
    r"(^|[._])b?oft_": "an OFT",
    r"(^|[._])ia3": "an IA3",
    r"lora[._](B|up)[\w.]*\.bias$": "a LoRA with biases",
}
"""Kinds of changes that are not a product of two factors, with the pattern of their names."""
_FACTOR = re.compile(
    r"(?P<layer>.+?)[._]lora(?:_linear_layer)?(?:[._](?P<role>down|up)|_(?P<letter>[AB])(?:\.[^.]+)?)\.weight"
)
_ALPHA = re.compile(r"(?P<layer>.+?)(?:[._]lora)?\.alpha")


@dataclass(frozen=True)
class Change:
    """The factors of the change of a layer, in float32."""

    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    def product(self, weight: Tensor) -> Tensor:
        """Return up @ down in the shape of the layer's weight."""
        return (self.up.flatten(1) @ self.down.flatten(1)).reshape(weight.shape)


@dataclass(frozen=True)
class Half:
    """The part of a LoRA that changes one network: how the network and its layers are called."""

    part: str
    """As in `recognise.part_of` and in the config in the header of a file."""
    title: str
    """As in messages."""
    kohya: tuple[str, ...]
    """Starts of kohya's names, which join the parts of a layer's name with underscores."""
    prefix: str = ""
    """Start of the names of layers that tools write, and that some versions of transformers leave out."""

    def kohya_names(self, layers: Iterable[str]) -> dict[str, str]:
        """Return the names of layers by kohya's names for them."""
        return {f"{start}{self.prefix}{name}".replace(".", "_"): name for start in self.kohya for name in layers}

    def layer_name(self, written: str, layers: Mapping[str, nn.Module]) -> str:
        """Return the name of a layer, from the name that diffusers or PEFT wrote."""
        name = written.removeprefix(PEFT).removeprefix(f"{self.part}.").removeprefix(self.prefix)
        name = name.replace(".processor.", ".")
        if self.part == TEXT_ENCODER:  # LoRAs of diffusers from 2023 name the projections as in the U-Net
            return re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", name)
        return f"{name}.0" if name.endswith(".to_out") and f"{name}.0" in layers else name

    def layers(self, network: nn.Module) -> dict[str, nn.Module]:
        """Return the modules of the network by their names without the prefix."""
        return {name.removeprefix(self.prefix): module for name, module in network.named_modules() if name}


OF_UNET = Half(UNET, "U-Net", ("lora_unet_",))
OF_TEXT_ENCODER = Half(TEXT_ENCODER, "text encoder", ("lora_te_", "lora_te1_"), "text_model.")


def merge(
    path: Path, config: Path | None, base: UNet2DConditionModel, scale: float, optional: bool = False
) -> UNet2DConditionModel:
    """Add a LoRA of the U-Net to the base.

    Args:
        path: file of the LoRA. Its changes of the text encoder are not added; see `add`.
        config: the adapter_config.json of a LoRA that PEFT saved; None for other LoRAs.
        base: the testbed's base U-Net; it is modified and returned.
        scale: factor of the whole change, in addition to alpha / rank.
        optional: whether the LoRA may leave the U-Net unchanged.

    Raises:
        DataError: if the file is not a LoRA of this U-Net, or of a kind that is not a product of two factors.
    """
    weights = read_half(path, OF_UNET)
    if not weights and not optional:
        raise DataError(f"The LoRA {path} changes no layer of the U-Net, so there is nothing to score.")
    changed = add(path, config, weights, base, OF_UNET, scale) if weights else 0
    if not changed and not optional:
        raise DataError(f"The LoRA {path} changes nothing, because one factor of every layer is 0: train it first.")
    return base


def read_half(path: Path, half: Half) -> dict[str, Tensor]:
    """Return the tensors of the part of a LoRA that changes one network.

    Raises:
        DataError: if the file cannot be read, or is of a kind that is not a product of two factors.
    """
    weights = read_weights(path)
    _check_kind(path, weights)
    return {name: tensor for name, tensor in weights.items() if part_of(name) == half.part}


def add(
    path: Path, config: Path | None, weights: Mapping[str, Tensor], network: nn.Module, half: Half, scale: float
) -> int:
    """Add the part of a LoRA that changes one network, and return the number of layers with a change other than 0.

    Args:
        path: file of the LoRA.
        config: the adapter_config.json of a LoRA that PEFT saved; None for other LoRAs.
        weights: result of `read_half`.
        network: the testbed's network; it is modified.
        half: names of the network and its layers.
        scale: factor of the whole change, in addition to alpha / rank.

    Raises:
        DataError: if the LoRA does not fit the network.
    """
    if config is None and (path.stem == PEFT_FILE or any(name.startswith(PEFT) for name in weights)):
        raise DataError(
            f"The LoRA {path} was saved by PEFT, and its scale is unknown without lora_alpha: put its "
            "adapter_config.json into the same folder."
        )
    changes, alphas = _read_changes(path, weights, half, half.layers(network))
    scaling = Scaling(path, alphas, read_config(path, config, half.part))
    own = network.state_dict()
    keys = {name.removeprefix(half.prefix): name for name in own}
    for layer, change in changes.items():
        key = keys[f"{layer}.weight"]
        factor = scale * scaling.of(layer, change.rank)
        own[key] = own[key] + factor * change.product(own[key]).to(own[key])
    network.load_state_dict(own, strict=True)
    return sum(bool(change.up.any() and change.down.any()) for change in changes.values())


def _check_kind(path: Path, names: Iterable[str]) -> None:
    """Raise DataError if the names are those of a kind of change that is not merged."""
    for pattern, kind in KINDS.items():
        if any(re.search(pattern, name) for name in names):
            raise DataError(
                f"The adapter {path} is {kind}, which this benchmark does not merge: merge it into its model with the "
                "tool that trained it, save the U-Net, and give its path."
            )


def _read_changes(
    path: Path, weights: Mapping[str, Tensor], half: Half, layers: Mapping[str, nn.Module]
) -> tuple[dict[str, Change], dict[str, float]]:
    """Return the change of each layer, and the alphas in the file, by the names of the network's layers."""
    factors: dict[str, dict[str, Tensor]] = {}
    kohya_names = half.kohya_names(layers)
    for name, tensor in weights.items():
        match = _FACTOR.fullmatch(name) or _ALPHA.fullmatch(name)
        if match is None:
            raise DataError(
                f"The LoRA {path} also holds '{name}', which is no factor of a LoRA: merge it into its model, save the "
                "U-Net, and give its path."
            )
        layer = kohya_names.get(match["layer"]) or half.layer_name(match["layer"], layers)
        if layer not in layers:
            raise DataError(
                f"The LoRA {path} is not one of the testbed's {half.title}, which has no layer for '{name}': choose "
                "the testbed of its base model."
            )
        groups = match.groupdict()
        role = {"A": "down", "B": "up"}.get(groups.get("letter") or "") or groups.get("role") or "alpha"
        if role in factors.setdefault(layer, {}):
            raise DataError(f"The LoRA {path} changes the layer '{layer}' twice: save only one LoRA.")
        factors[layer][role] = tensor
    changes = {layer: _check_change(path, half, layer, tensors, layers[layer]) for layer, tensors in factors.items()}
    return changes, {layer: float(t["alpha"]) for layer, t in factors.items() if "alpha" in t}


def _check_change(path: Path, half: Half, layer: str, tensors: Mapping[str, Tensor], module: nn.Module) -> Change:
    """Return the factors of a layer. Raises DataError if one is missing, or their shapes do not fit the layer."""
    from torch import nn

    if missing := [role for role in ("down", "up") if role not in tensors]:
        raise DataError(f"The LoRA {path} lacks the factor '{missing[0]}' of the layer '{layer}': save it again.")
    if not isinstance(module, nn.Linear | nn.Conv2d) or (isinstance(module, nn.Conv2d) and module.groups > 1):
        raise DataError(
            f"The LoRA {path} changes '{layer}', which is a {type(module).__name__} in the testbed's {half.title} and "
            "not a linear layer or convolution: choose the testbed of its base model."
        )
    down, up = tensors["down"], tensors["up"]
    for tensor in (down, up):
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise DataError(f"The LoRA {path} has {kind} values in '{layer}', not floating point: save it unquantised.")
    rank, expected = down.shape[0] if down.ndim else 0, module.weight.shape
    if rank == 0 or _plain(down) != (rank, *_plain(module.weight)[1:]) or _plain(up) != (expected[0], rank):
        raise DataError(
            f"The LoRA {path} does not fit the layer '{layer}' of the testbed's {half.title}: its factors have the "
            f"shapes {tuple(up.shape)} and {tuple(down.shape)}, the weight {tuple(expected)}; choose the testbed of "
            "its base model."
        )
    if "alpha" in tensors and tensors["alpha"].numel() != 1:
        raise DataError(f"The LoRA {path} has more than one alpha in the layer '{layer}': save it again.")
    return Change(down.float(), up.float())


def _plain(tensor: Tensor) -> tuple[int, ...]:
    """Return a shape in which a convolution with a kernel of 1 x 1 looks like a linear layer."""
    shape = tuple(tensor.shape)
    return shape[:2] if shape[2:] == (1, 1) else shape
