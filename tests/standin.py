"""A stand-in for mini's weights: the same folder, networks and code, untrained and tiny, made in a second or two."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from benchmark.testbeds.mini.build import contrastive, tokenizer, unet
from benchmark.testbeds.mini.build.corpus import draw_chunk
from benchmark.testbeds.mini.build.stages import halved, save_half
from benchmark.testbeds.mini.nets import Oracle, feature_network, style_encoder
from benchmark.testbeds.mini.testbed import Mini, write_manifest
from methods.sampling import Sampler
from prompts.concepts import Concept
from prompts.lists import Prompt


def write_weights(out: Path) -> Path:
    """Untrained weights of mini's form in `out`."""
    torch.manual_seed(0)
    pipeline = out / "pipeline"
    words = tokenizer.build(draw_chunk("train", 0, size=64).captions, pipeline / "tokenizer")
    model = open_clip.CLIP(**contrastive.config(len(words), patch=16))
    halved(contrastive.text_tower(model, len(words))).half().save_pretrained(pipeline / "text_encoder")
    save_half(model, out / "clip" / "open_clip_model.safetensors")
    (out / "clip" / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": contrastive.config(len(words), patch=16)})
    )
    AutoencoderKL(
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
    ).half().save_pretrained(pipeline / "vae")
    small = {**unet.ARCHITECTURE, "block_out_channels": (16, 16, 32), "attention_head_dim": 2, "norm_num_groups": 4}
    unet.save_pipeline(halved(UNet2DConditionModel(**small)), pipeline)
    save_half(style_encoder(), out / "style.safetensors")
    save_half(feature_network(), out / "features.safetensors")
    save_half(Oracle(), out / "oracle.safetensors")
    write_manifest(out)
    return out


class Standin(Mini):
    """mini on stand-in weights, with few prompts and steps."""

    default_flops = 6e10
    shipped = ()

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        super().__init__(weights, device)
        self.sampler = Sampler(steps=2, guidance=2.0)

    def prompts(self, suite: str, concept: Concept) -> list[Prompt]:
        return super().prompts(suite, concept)[:70]
