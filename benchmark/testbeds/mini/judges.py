"""The networks that score mini's pictures, loaded from the shipped weights. No two jobs share a network."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from benchmark.testbeds.mini.artists import STYLES
from benchmark.testbeds.mini.nets import FEATURE_SIZE, STYLE_SIZE, Oracle, feature_network, style_encoder
from benchmark.testbeds.mini.world.scenes import CONTENTS, EMBLEMS
from metrics.encoders import ModuleEncoder, OpenClipEncoder

HALF = (0.5, 0.5, 0.5)
NAMES = {"clip": "mini-clip", "style": "mini-style", "features": "mini-features", "oracle": "mini-oracle"}
"""Job -> back end."""


def _load(module: nn.Module, path: Path) -> nn.Module:
    module.load_state_dict({key: value.float() for key, value in load_file(path).items()}, strict=True)
    return module.eval().requires_grad_(False)


def clip(weights: Path, pipeline: Path) -> OpenClipEncoder:
    """The open_clip model that scores; the U-Net never saw it."""
    import open_clip  # seconds to import, and a run answered from the store never asks for it

    cfg = json.loads((weights / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    model = open_clip.CLIP(**cfg)
    _load(model, weights / "clip" / "open_clip_model.safetensors")
    model.visual.image_mean, model.visual.image_std = HALF, HALF
    words = CLIPTokenizer.from_pretrained(pipeline / "tokenizer")
    length = cfg["text_cfg"]["context_length"]

    def tokenizer(texts: list[str]) -> Tensor:
        return words(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids

    return OpenClipEncoder(NAMES["clip"], model, tokenizer, batch=128)


def style(weights: Path) -> ModuleEncoder:
    """Style features, trained on random parametric styles."""
    return ModuleEncoder(NAMES["style"], _load(style_encoder(), weights / "style.safetensors"), STYLE_SIZE, HALF, HALF)


def features(weights: Path) -> ModuleEncoder:
    """Self-supervised features for FID, KID and drift."""
    network = _load(feature_network(), weights / "features.safetensors")
    return ModuleEncoder(NAMES["features"], network, FEATURE_SIZE, HALF, HALF)


class _Probabilities(nn.Module):
    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self.oracle = oracle

    def forward(self, images: Tensor) -> Tensor:
        style_logits, content_logits, _ = self.oracle(images)
        return torch.cat([style_logits.softmax(1), content_logits.softmax(1)], 1)


class OracleReader(ModuleEncoder):
    """Probabilities of style (17) and content (13) side by side; `boxes` finds emblems."""

    def __init__(self, module: Oracle) -> None:
        super().__init__(NAMES["oracle"], _Probabilities(module), len(STYLES) + len(CONTENTS) + 1, HALF, HALF)
        self._oracle = module

    @torch.no_grad()
    def boxes(self, images: Tensor) -> list[dict]:
        """Raw finds in pictures uint8 (N, 3, 64, 64), one each: image, class, score, box (x0, y0, x1, y1)."""
        finds = []
        for start in range(0, len(images), 128):
            found = self._oracle(images[start : start + 128].float() / 127.5 - 1)[2]
            n = len(found)
            best = found[..., 0].view(n, -1).argmax(1)
            cells = found.view(n, -1, found.shape[-1])[torch.arange(n), best]
            classes = cells[:, 1 : 1 + len(EMBLEMS)].softmax(1)
            box = cells[:, 1 + len(EMBLEMS) :].sigmoid() * 64
            for i in range(n):
                kind = int(classes[i].argmax())
                score = float(cells[i, 0].sigmoid() * classes[i, kind])
                finds.append({"image": start + i, "class": EMBLEMS[kind], "score": score, "box": box[i].tolist()})
        return finds


def oracle(weights: Path) -> OracleReader:
    """Reads style, content and emblem."""
    module = Oracle()
    _load(module, weights / "oracle.safetensors")
    return OracleReader(module)
