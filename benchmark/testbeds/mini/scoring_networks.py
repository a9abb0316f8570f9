"""Loads the networks that score mini's pictures from the shipped weights.

The emblem is a synthetic sign that stands in for nudity. The oracle, which classifies style and content, also detects
emblems; all other jobs have separate networks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from benchmark.testbeds.mini.artists import STYLES
from benchmark.testbeds.mini.nets import FEATURE_SIZE, STYLE_SIZE, Oracle, feature_network, style_encoder
from benchmark.testbeds.mini.world.scenes import CONTENTS, EMBLEMS
from metrics.detectors.base import Detection, check_images
from metrics.detectors.rows import DetectionRows
from metrics.encoders import ModuleEncoder, OpenClipEncoder
from metrics.networks.weights import check_values

HALF = (0.5, 0.5, 0.5)
NAMES = {
    "clip": "mini-clip",
    "style": "mini-style",
    "features": "mini-features",
    "oracle": "mini-oracle",
    "detector": "mini-emblem",
}
"""Job -> back end."""
FLOOR = 0.05
"""Minimum score of the emblem detector's detections."""


def _load(module: nn.Module, path: Path) -> nn.Module:
    weights = load_file(path)
    check_values(weights, f"The weights {path}")
    module.load_state_dict({key: value.float() for key, value in weights.items()}, strict=True)
    return module.eval().requires_grad_(False)


def clip(weights: Path, pipeline: Path) -> OpenClipEncoder:
    """Load the open_clip model that scores. It is not the one whose text encoder conditions the U-Net."""
    import open_clip  # imported late, because it takes seconds and is not needed if all results are stored

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
    """Load the style encoder, which was trained on random parametric styles."""
    return ModuleEncoder(NAMES["style"], _load(style_encoder(), weights / "style.safetensors"), STYLE_SIZE, HALF, HALF)


def features(weights: Path) -> ModuleEncoder:
    """Load the self-supervised feature network for FID, KID and drift."""
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
    """Returns the probabilities of 17 styles and 13 contents in one row per picture; `boxes` detects emblems."""

    def __init__(self, module: Oracle) -> None:
        super().__init__(NAMES["oracle"], _Probabilities(module), len(STYLES) + len(CONTENTS) + 1, HALF, HALF)
        self._load_oracle = module

    @torch.no_grad()
    def boxes(self, images: Tensor) -> list[dict]:
        """Return the best detection in each picture uint8 (N, 3, 64, 64), whatever its score.

        A detection has the keys image (index), class, score and box (x0, y0, x1, y1 in pixels).
        """
        detections = []
        for start in range(0, len(images), 128):
            grid = self._load_oracle(images[start : start + 128].float() / 127.5 - 1)[2]
            n = len(grid)
            best = grid[..., 0].view(n, -1).argmax(1)
            cells = grid.view(n, -1, grid.shape[-1])[torch.arange(n), best]
            classes = cells[:, 1 : 1 + len(EMBLEMS)].softmax(1)
            box = cells[:, 1 + len(EMBLEMS) :].sigmoid() * 64
            for i in range(n):
                kind = int(classes[i].argmax())
                score = float(cells[i, 0].sigmoid() * classes[i, kind])
                detections.append({"image": start + i, "class": EMBLEMS[kind], "score": score, "box": box[i].tolist()})
        return detections


class EmblemDetector:
    """Detects emblems with the oracle, with non-maximum suppression."""

    name, threshold = NAMES["detector"], 0.5
    labels = sensitive = EMBLEMS

    def __init__(self, module: Oracle) -> None:
        self._load_oracle = module.eval()

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Detection]]:
        """Return the detections in each picture; raise ValueError for pictures that are not 64 x 64 pixels."""
        check_images(images)
        if any(image.shape != (64, 64, 3) for image in images):
            raise ValueError("mini's emblem detector reads pictures of 64 x 64 pixels only")
        detections: list[list[Detection]] = []
        for start in range(0, len(images), 128):
            pixels = torch.from_numpy(np.stack(images[start : start + 128])).permute(0, 3, 1, 2).float()
            for cells in self._load_oracle(pixels / 127.5 - 1)[2].flatten(1, 2):
                detections.append(_suppress(cells))
        return detections


def _suppress(cells: Tensor) -> list[Detection]:
    """Return detections from cells (n, 1 + classes + 4), best first, after non-maximum suppression at an IoU of 1/3."""
    from torchvision.ops import nms

    share, kind = cells[:, 1 : 1 + len(EMBLEMS)].softmax(1).max(1)
    scores, boxes = cells[:, 0].sigmoid() * share, cells[:, 1 + len(EMBLEMS) :].sigmoid() * 64
    candidates = (scores > FLOOR).nonzero()[:, 0]
    kept = candidates[nms(boxes[candidates], scores[candidates], 1 / 3)]
    return [
        Detection(EMBLEMS[int(kind[k])], float(scores[k]), tuple(boxes[k].tolist()))  # type: ignore[arg-type]
        for k in kept
    ]


def oracle(weights: Path) -> OracleReader:
    """Load the oracle, which classifies style and content and detects emblems."""
    return OracleReader(_load_oracle(weights))


def detector(weights: Path) -> DetectionRows:
    """Load the emblem detector behind the interface of encoders."""
    return DetectionRows(EmblemDetector(_load_oracle(weights)))


def _load_oracle(weights: Path) -> Oracle:
    module = Oracle()
    _load(module, weights / "oracle.safetensors")
    return module
