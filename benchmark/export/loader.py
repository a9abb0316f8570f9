"""Loads the pruned Stable Diffusion pipeline in this folder. It needs torch, diffusers, transformers and safetensors.

    from loader import load_pipeline
    pipeline = load_pipeline("path/to/this/folder")
    image = pipeline("a lighthouse at dusk").images[0]

diffusers' config of a U-Net has one width per block, and here every module has its own. So the U-Net is built from the
config of the unpruned model without memory for its weights, reduced as unet/architecture.json says, and filled from
unet/diffusion_pytorch_model.safetensors.
"""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from torch import nn


class Dropped(nn.Module):
    """Takes the place of a removed resnet or transformer and returns the first `channels` channels of its input.

    In an up block these are the hidden states; the skip connection that follows them is ignored.
    """

    def __init__(self, channels: int, returns_tuple: bool) -> None:
        super().__init__()
        self.channels, self.returns_tuple = channels, returns_tuple

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        output = hidden_states[:, : self.channels]
        return (output,) if self.returns_tuple else output


def load_pipeline(folder: str | Path, dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
    """Return the whole pipeline on the CPU in `dtype`; move it with `.to("cuda")`."""
    return StableDiffusionPipeline.from_pretrained(
        folder, unet=load_unet(Path(folder) / "unet", dtype), torch_dtype=dtype
    )


def load_unet(folder: str | Path, dtype: torch.dtype = torch.float32) -> UNet2DConditionModel:
    """Return the pruned U-Net in `dtype` and evaluation mode."""
    folder = Path(folder)
    architecture = json.loads((folder / "architecture.json").read_text())
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(json.loads((folder / "config.json").read_text()))
    for name in architecture.get("dropped", ()):
        parent, _, leaf = name.rpartition(".")
        module = unet.get_submodule(name)
        setattr(unet.get_submodule(parent), leaf, Dropped(module.out_channels, ".attentions." in name))
    for name, groups in architecture["resnets"].items():
        unet.get_submodule(name).norm2.num_groups = len(groups)
    for name, heads in architecture["attentions"].items():
        attention = unet.get_submodule(name)
        attention.heads = attention.sliceable_head_dim = len(heads)
        attention.inner_dim = attention.inner_kv_dim = weights[f"{name}.to_q.weight"].shape[0]
    for name, module in unet.named_modules():
        for kind in ("weight", "bias"):
            if getattr(module, kind, None) is not None:
                setattr(module, kind, nn.Parameter(weights[f"{name}.{kind}"], requires_grad=False))
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.Conv2d):
            module.out_channels, module.in_channels = module.weight.shape[:2]
        elif isinstance(module, nn.GroupNorm):
            module.num_channels = module.weight.shape[0]
    unet.load_state_dict(weights, strict=True, assign=True)
    nn.Module.to(unet, dtype)  # diffusers' own `to` warns about modules to keep in float32, of which there are none
    return unet.eval()
