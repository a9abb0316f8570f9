"""Miniatures in real formats: a model as the Hub has SD 2.1, COCO's folder, networks that score, a testbed file.

All weights are random; names, layouts and oddities are those of the published files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from benchmark.testbeds.mini.build.tokenizer import bytes_to_symbols
from metrics.networks.inception import FidInception

# One thread: the same sums in every process, and no threads that spin for each other.
torch.set_num_threads(1)

START, END = "<|startoftext|>", "<|endoftext|>"
SIZE, WIDTH = 64, 32
"""Side of pictures, and width of the text states."""
LONG = "a boat " * 150
"""300 words."""


def write_model(folder: Path, prediction: str = "v_prediction", seed: int = 0) -> Path:
    """SD 2.1's layout and kinds of networks: four levels, head widths by level, linear projections."""
    torch.manual_seed(seed)
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 16, 32, 32),
        layers_per_block=1,
        attention_head_dim=(2, 2, 4, 4),
        cross_attention_dim=WIDTH,
        use_linear_projection=True,
        norm_num_groups=8,
    ).save_pretrained(folder / "unet")
    _write_vae(folder / "vae")
    _write_text(folder / "text_encoder")
    _write_tokenizer(folder / "tokenizer")
    scheduler = {
        "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
        "prediction_type": prediction, "trained_betas": None,
    }  # fmt: skip
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    return folder


def _write_vae(folder: Path) -> None:
    vae = AutoencoderKL(
        sample_size=SIZE,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
    )
    vae.save_pretrained(folder)
    # The published files are of 2022 and call the parts of their attention otherwise.
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = vae.state_dict()
    for new, name in old.items():
        weights = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in weights.items()}
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")


def _write_text(folder: Path) -> None:
    config = CLIPTextConfig(
        vocab_size=514, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, hidden_act="gelu", projection_dim=WIDTH, bos_token_id=0, eos_token_id=2,
        pad_token_id=1,
    )  # fmt: skip
    tower = CLIPTextModel(config)
    tower.save_pretrained(folder)
    # As transformers 4 wrote them, positions included.
    weights = {f"text_model.{key.removeprefix('text_model.')}": tensor for key, tensor in tower.state_dict().items()}
    weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _write_tokenizer(folder: Path) -> None:
    """vocab.json and merges.txt, as SD's repositories have them; every letter is a token."""
    folder.mkdir()
    letters = sorted(bytes_to_symbols().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    (folder / "vocab.json").write_text(json.dumps({token: k for k, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    marks = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": "!"}
    config = {**marks, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(marks))


def write_coco(folder: Path, train: int = 6, val: int = 4) -> Path:
    """COCO 2017's folder, with what is odd in it: grey, narrow and CMYK pictures, line ends, and a long caption."""
    (folder / "annotations").mkdir(parents=True)
    for side, count in (("train", train), ("val", val)):
        pictures = folder / f"{side}2017"
        pictures.mkdir()
        told: dict[str, Any] = {"images": [], "annotations": []}
        for k in range(count):
            number = 100 + 7 * k
            name = f"{number:012d}.jpg"
            size = [(80, 64), (33, 97), (640, 64), (64, 64)][k % 4]
            source = torch.Generator().manual_seed(number)
            pixels = torch.randint(256, (size[1], size[0], 3), dtype=torch.uint8, generator=source)
            picture = Image.frombytes("RGB", size, bytes(pixels.flatten().tolist()))
            picture.convert(("RGB", "L", "CMYK")[k % 3]).save(pictures / name)
            told["images"].append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
            for n in range(2):
                caption = f"{side} picture {k}, caption {n}.\n"
                told["annotations"].append({"id": 1000 - 10 * k - n, "image_id": number, "caption": caption})
        told["annotations"][-1]["caption"] = LONG
        (folder / "annotations" / f"captions_{side}2017.json").write_text(json.dumps(told))
    return folder


def csd_weights(width: int = 64, layers: int = 2, patch: int = 8, grid: int = 4, size: int = 24) -> dict[str, Tensor]:
    """Random weights under the names of CSD's checkpoint."""
    torch.manual_seed(0)
    tower = {
        "class_embedding": (width,), "positional_embedding": (grid**2 + 1, width),
        "conv1.weight": (width, 3, patch, patch),
        **{f"{norm}.{part}": (width,) for norm in ("ln_pre", "ln_post") for part in ("weight", "bias")},
    }  # fmt: skip
    for k in range(layers):
        at = f"transformer.resblocks.{k}"
        tower |= {f"{at}.{norm}.{part}": (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
        tower |= {f"{at}.attn.in_proj_weight": (3 * width, width), f"{at}.attn.in_proj_bias": (3 * width,)}
        tower |= {f"{at}.attn.out_proj.weight": (width, width), f"{at}.attn.out_proj.bias": (width,)}
        tower |= {f"{at}.mlp.c_fc.weight": (4 * width, width), f"{at}.mlp.c_fc.bias": (4 * width,)}
        tower |= {f"{at}.mlp.c_proj.weight": (width, 4 * width), f"{at}.mlp.c_proj.bias": (width,)}
    weights = {f"backbone.{name}": torch.randn(shape) * 0.2 for name, shape in tower.items()}
    return weights | {"last_layer_style": torch.randn(width, size), "last_layer_content": torch.randn(width, size)}


def write_networks(folder: Path) -> Path:
    """CLIP in open_clip's layout, CSD and Inception as files."""
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 12, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    (folder / "clip").mkdir(parents=True)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "clip" / "open_clip_model.safetensors")
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in csd_weights().items()}}, folder / "csd.pth")
    torch.save(FidInception().state_dict(), folder / "inception.pth")
    return folder


TITLES = """id,text,seed,part,target
a1,The Red Mill by Ann van Oak,1,targets,Ann van Oak
a2,Two Ships by Ann van Oak,2,targets,Ann van Oak
b1,A Quiet Hill by Bo Birch,3,kept,Bo Birch
c1,The Empty Room by Cy Cedar,4,neighbours,Cy Cedar
"""
TESTBED = """like = "sd21"
name = "tiny"
model = "model"
captions = "coco"
artists = "titles.csv"
size = 64
steps = 2
crops = 2
preset = "default"
[networks]
clip = "networks/clip"
style = "networks/csd.pth"
features = "networks/inception.pth"
"""


def write_testbed(folder: Path, prediction: str = "v_prediction", text: str = TESTBED) -> Path:
    """`tiny.toml`, with all that it names beside it."""
    write_model(folder / "model", prediction)
    write_coco(folder / "coco")
    write_networks(folder / "networks")
    (folder / "titles.csv").write_text(TITLES)
    (folder / "tiny.toml").write_text(text)
    return folder / "tiny.toml"
