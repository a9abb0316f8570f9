"""Writes one random LoRA under the names of every tool, for tests that merge it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

LAYERS = (
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
)
"""Layers that the attention processors of 2023 had."""
FURTHER = (
    "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "mid_block.attentions.0.proj_in",
    "down_blocks.0.resnets.0.conv1",
    "up_blocks.1.resnets.0.conv_shortcut",
    "time_embedding.linear_1",
)
"""A further linear layer of a block, a projection, convolutions of 3 x 3 and 1 x 1, and a layer outside blocks."""


def factors(unet: nn.Module, layers: tuple[str, ...], rank: int = 3) -> dict[str, tuple[Tensor, Tensor]]:
    """The factors (down, up) of each layer."""
    source = torch.Generator().manual_seed(3)
    made = {}
    for layer in layers:
        weight = unet.get_parameter(f"{layer}.weight")
        outputs, *inputs = weight.shape
        up = (outputs, rank, *([1] * (weight.ndim - 2)))
        made[layer] = (torch.randn(rank, *inputs, generator=source), torch.randn(up, generator=source))
    return made


def named(made: Mapping[str, tuple[Tensor, Tensor]], form: str, alpha: float | None = None) -> dict[str, Tensor]:
    """The tensors of a LoRA under the names of a tool, with an alpha for each layer if the tool stores alphas."""
    tensors = {}
    for layer, pair in made.items():
        for tensor, role, letter in zip(pair, ("down", "up"), "AB", strict=True):
            processor = layer.replace(".to_", ".processor.to_").removesuffix(".0")
            name = {
                "diffusers": f"unet.{layer}.lora.{role}.weight",
                "diffusers without unet": f"{layer}.lora.{role}.weight",
                "diffusers with A and B": f"unet.{layer}.lora_{letter}.weight",
                "processors": f"unet.{processor}_lora.{role}.weight",
                "peft": f"base_model.model.{layer}.lora_{letter}.weight",
                "peft with adapter name": f"base_model.model.{layer}.lora_{letter}.default.weight",
                "kohya": f"lora_unet_{layer.replace('.', '_')}.lora_{role}.weight",
            }[form]
            tensors[name] = tensor.clone()
        if form == "kohya" and alpha is not None:
            tensors[f"lora_unet_{layer.replace('.', '_')}.alpha"] = torch.tensor(alpha)
    return tensors


def write(
    folder: Path, tensors: Mapping[str, Tensor], form: str, suffix: str = "safetensors", **config: object
) -> Path:
    """Write a folder as the tool does; `config` is that of PEFT."""
    folder.mkdir(parents=True)
    stem = "adapter_model" if form.startswith("peft") else "pytorch_lora_weights"
    if form == "kohya":
        stem = "van_gogh"
    file = folder / f"{stem}.{suffix}"
    if suffix == "safetensors":
        save_file(dict(tensors), file)
    else:
        torch.save(dict(tensors), file)
    if config:
        (folder / "adapter_config.json").write_text(json.dumps(config))
    return file
