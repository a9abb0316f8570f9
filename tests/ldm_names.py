"""Renames the networks of a pipeline to the names of the original Stable Diffusion code, for tests of the way back."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

_RESNET = {
    "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "norm2.": "out_layers.0.", "conv2.": "out_layers.3.",
    "time_emb_proj.": "emb_layers.1.", "conv_shortcut.": "skip_connection.",
}  # fmt: skip
_OUTSIDE = {
    "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
    "conv_in.": "input_blocks.0.0.", "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
}  # fmt: skip


def _replaced(name: str, table: Mapping[str, str]) -> str:
    return next((new + name.removeprefix(old) for old, new in table.items() if name.startswith(old)), name)


def unet(network: UNet2DConditionModel) -> dict[str, Tensor]:
    """The weights of a U-Net as model.diffusion_model.*"""
    layers, names = network.config["layers_per_block"], list(network.state_dict())
    renamed = {}
    for name, tensor in network.state_dict().items():
        kind, _, rest = name.partition(".")
        if kind == "mid_block":
            part, number, rest = rest.split(".", 2)
            place = 1 if part == "attentions" else 2 * int(number)
            new = f"middle_block.{place}.{rest if part == 'attentions' else _replaced(rest, _RESNET)}"
        elif kind in ("down_blocks", "up_blocks"):
            block, part, number, rest = rest.split(".", 3)
            start = int(block) * (layers + 1)
            has_attention = any(other.startswith(f"{kind}.{block}.attentions.") for other in names)
            if kind == "down_blocks":
                place = f"input_blocks.{1 + start + (layers if part == 'downsamplers' else int(number))}"
            else:
                place = f"output_blocks.{start + (layers if part == 'upsamplers' else int(number))}"
            new = {
                "resnets": f"{place}.0.{_replaced(rest, _RESNET)}",
                "attentions": f"{place}.1.{rest}",
                "downsamplers": f"{place}.0.{rest.replace('conv.', 'op.')}",
                "upsamplers": f"{place}.{2 if has_attention else 1}.{rest}",
            }[part]
        else:
            new = _replaced(name, _OUTSIDE)
        renamed[f"model.diffusion_model.{new}"] = tensor.clone()
    return renamed


def vae(network: AutoencoderKL) -> dict[str, Tensor]:
    """The weights of a VAE as first_stage_model.*, with attention as convolutions."""
    levels = len(network.config["block_out_channels"])
    renamed = {}
    for name, tensor in network.state_dict().items():
        new = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        new = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", new)
        new = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", new)
        new = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", new)
        new = re.sub(r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", new)
        for old, theirs in {
            "mid_block.attentions.0": "mid.attn_1", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v",
            "to_out.0": "proj_out", "conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut",
        }.items():  # fmt: skip
            new = new.replace(old, theirs)
        is_matrix = "mid.attn_1" in new and tensor.ndim == 2
        renamed[f"first_stage_model.{new}"] = (tensor[:, :, None, None] if is_matrix else tensor).clone()
    return renamed


def clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a text encoder as in Stable Diffusion 1."""
    start = "cond_stage_model.transformer.text_model."
    return {start + name.removeprefix("text_model."): tensor.clone() for name, tensor in weights.items()}


def open_clip(weights: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The weights of a text encoder as in Stable Diffusion 2, with one further layer that the model does not use."""
    own = {name.removeprefix("text_model."): tensor for name, tensor in weights.items()}
    last = f"encoder.layers.{layers - 1}."
    further = {name.replace(last, f"encoder.layers.{layers}."): t + 1 for name, t in own.items() if last in name}
    own |= further
    renamed = {
        "token_embedding.weight": own["embeddings.token_embedding.weight"],
        "positional_embedding": own["embeddings.position_embedding.weight"],
        "ln_final.weight": own["final_layer_norm.weight"],
        "ln_final.bias": own["final_layer_norm.bias"],
        "text_projection": torch.eye(len(own["final_layer_norm.bias"])),
        "logit_scale": torch.tensor(4.6),
    }
    for number in range(layers + 1):
        old, new = f"encoder.layers.{number}.", f"transformer.resblocks.{number}."
        for kind in ("weight", "bias"):
            parts = [own[f"{old}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            renamed[f"{new}attn.in_proj_{kind}"] = torch.cat(parts)
            renamed[f"{new}attn.out_proj.{kind}"] = own[f"{old}self_attn.out_proj.{kind}"]
            renamed |= {f"{new}ln_{k}.{kind}": own[f"{old}layer_norm{k}.{kind}"] for k in (1, 2)}
            renamed[f"{new}mlp.c_fc.{kind}"] = own[f"{old}mlp.fc1.{kind}"]
            renamed[f"{new}mlp.c_proj.{kind}"] = own[f"{old}mlp.fc2.{kind}"]
    return {f"cond_stage_model.model.{name}": tensor.clone() for name, tensor in renamed.items()}


def buffers(alphas_cumprod: Tensor) -> dict[str, Tensor]:
    """Some of the tensors of the noise schedule."""
    return {"alphas_cumprod": alphas_cumprod.clone(), "sqrt_alphas_cumprod": alphas_cumprod.sqrt()}


def averaged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Averaged weights of a U-Net, whose names have no dots."""
    names = {name: "model_ema." + name.removeprefix("model.").replace(".", "") for name in weights}
    return {new: weights[name] + 1 for name, new in names.items()} | {"model_ema.decay": torch.tensor(0.9999)}
