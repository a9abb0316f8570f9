"""Trains two small open_clip models: one for the U-Net's text encoder, and one with a different seed for scoring."""

from __future__ import annotations

import open_clip
import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from benchmark.testbeds.mini.build.loop import Job, pixels, train
from benchmark.testbeds.mini.build.tokenizer import CONTEXT

WIDTH, LAYERS, HEADS = 128, 4, 4
BATCH = 128


def config(vocabulary: int, patch: int) -> dict:
    """Return the open_clip configuration, in the form of its model_configs/*.json."""
    return {
        "embed_dim": WIDTH,
        "vision_cfg": {"image_size": 64, "layers": LAYERS, "width": WIDTH, "patch_size": patch, "head_width": 32},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": vocabulary,
            "width": WIDTH,
            "heads": HEADS,
            "layers": LAYERS,
        },
    }


def build(
    name: str,
    model_cfg: dict,
    images: Tensor,
    tokens: Tensor,
    job: Job,
) -> open_clip.CLIP:
    """Train a model contrastively on pictures (N, 3, 64, 64) uint8 and token ids (N, CONTEXT), and return it."""
    torch.manual_seed(job.seed)
    model = open_clip.CLIP(**model_cfg)
    loss_of = open_clip.ClipLoss()

    def loss(step: int, g: Generator) -> Tensor:
        index = torch.randint(len(images), (BATCH,), generator=g)
        picture = pixels(images[index])
        shift = torch.randint(-3, 4, (2,), generator=g).tolist()
        picture = torch.roll(F.pad(picture, (3, 3, 3, 3), "replicate"), shift, (2, 3))[:, :, 3:-3, 3:-3]
        image, text, scale = model(picture.to(job.device), tokens[index].to(job.device))
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6052)
        return loss_of(image.float(), text.float(), scale)

    train(name, model, loss, job, rate=1e-3, decay=0.05)
    return model


def text_tower(model: open_clip.CLIP, vocabulary: int) -> CLIPTextModel:
    """Convert the text tower to a CLIPTextModel of transformers with identical hidden states."""
    tower = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            max_position_embeddings=CONTEXT,
            hidden_act="gelu",
            projection_dim=WIDTH,
            pad_token_id=0,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
        )
    )
    clip_weights = model.state_dict()
    tower_weights = {
        "embeddings.token_embedding.weight": clip_weights["token_embedding.weight"],
        "embeddings.position_embedding.weight": clip_weights["positional_embedding"],
        "final_layer_norm.weight": clip_weights["ln_final.weight"],
        "final_layer_norm.bias": clip_weights["ln_final.bias"],
    }
    for k in range(LAYERS):
        source, goal = f"transformer.resblocks.{k}.", f"encoder.layers.{k}."
        for kind in ("weight", "bias"):
            joint = clip_weights[f"{source}attn.in_proj_{kind}"].chunk(3)
            for name, part in zip("qkv", joint, strict=True):
                tower_weights[f"{goal}self_attn.{name}_proj.{kind}"] = part
            tower_weights[f"{goal}self_attn.out_proj.{kind}"] = clip_weights[f"{source}attn.out_proj.{kind}"]
            tower_weights[f"{goal}layer_norm1.{kind}"] = clip_weights[f"{source}ln_1.{kind}"]
            tower_weights[f"{goal}layer_norm2.{kind}"] = clip_weights[f"{source}ln_2.{kind}"]
            tower_weights[f"{goal}mlp.fc1.{kind}"] = clip_weights[f"{source}mlp.c_fc.{kind}"]
            tower_weights[f"{goal}mlp.fc2.{kind}"] = clip_weights[f"{source}mlp.c_proj.{kind}"]
    prefix = "text_model." if any(key.startswith("text_model.") for key in tower.state_dict()) else ""
    tower.load_state_dict({prefix + key: value.clone() for key, value in tower_weights.items()}, strict=True)
    return tower.eval()
