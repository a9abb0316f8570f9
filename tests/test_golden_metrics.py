"""All metrics, from images to scores, equal stored values, so that every change is deliberate.

Images and weights come from NumPy's `RandomState`, whose streams never change. After a deliberate change:

    python tests/test_golden_metrics.py
"""

import json
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch import nn

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from metrics.clip import CLIPSimilarity
from metrics.cp import CPScore
from metrics.csd import StyleSimilarity
from metrics.drift import Drift
from metrics.encoders import ModuleEncoder, OpenClipEncoder
from metrics.fid import FrechetDistance
from metrics.kid import KernelDistance
from metrics.oracle import ClassProbability

GOLDEN = Path(__file__).parent / "golden" / "metrics.json"
COUNT, SIDE, CLASSES = 24, 32, 4
TEXTS = [f"{thing} {number}" for number in range(6) for thing in ("boat", "face", "fish", "tree")]


def pictures(shift):
    """Coloured waves, each its own; `shift` moves phases and colours of all but every fourth."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    images = np.empty((COUNT, 3, SIDE, SIDE), dtype=np.uint8)
    for i in range(COUNT):
        random = np.random.RandomState(i)
        angle, frequency, phase = random.uniform((0, 1, 0), (np.pi, 6, 6))
        moved = shift * (i % 4 - 1)
        wave = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) + phase + moved)
        for channel in range(3):
            images[i, channel] = np.clip(128 + 100 * random.uniform(-1, 1) * wave + 25 * moved * channel, 0, 255)
    return torch.from_numpy(images)


def seeded(module, seed):
    """The module with weights of a fixed size drawn in the order of their names."""
    random = np.random.RandomState(seed)
    with torch.no_grad():
        for _, weight in sorted(module.named_parameters()):
            values = random.standard_normal(weight.shape) / max(np.prod(weight.shape[1:]), 4) ** 0.5
            weight.copy_(torch.as_tensor(values))
    return module


def tokens(texts):
    """One id a letter; the highest id ends the text, as CLIP expects."""
    rows = [[ord(letter) % 127 for letter in text] + [127] for text in texts]
    return torch.tensor([row + [0] * (8 - len(row)) for row in rows], dtype=torch.int64)


def features_network(seed, width):
    layers = nn.Conv2d(3, 8, 5, stride=2), nn.Tanh(), nn.Conv2d(8, 12, 5, stride=2), nn.Tanh()
    return seeded(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, width)), seed)


def clip_network():
    vision = {"layers": 2, "width": 64, "patch_size": 8, "image_size": SIDE, "head_width": 32}
    text = {"context_length": 8, "vocab_size": 128, "width": 32, "heads": 2, "layers": 2}
    return seeded(open_clip.CLIP(16, vision, text), seed=3)


def measure():
    """Every figure of every metric."""
    half = (0.5, 0.5, 0.5)
    clip = OpenClipEncoder("tiny", clip_network(), tokens, batch=10)
    style = ModuleEncoder("tiny", features_network(1, 8), 8, half, half)
    network = ModuleEncoder("tiny", features_network(2, 8), 8, half, half, batch=7)
    oracle = ModuleEncoder("tiny", nn.Sequential(features_network(4, CLASSES), nn.Softmax(1)), CLASSES, half, half)
    method, reference, real = pictures(0.4), pictures(0.0), pictures(-0.8)
    texts = clip.text(TEXTS)

    score, cp, csd, drift = CLIPSimilarity("tiny"), CPScore("tiny"), StyleSimilarity("tiny"), Drift("tiny")
    fid, kid, probability = FrechetDistance("tiny", 8), KernelDistance("tiny", 8), ClassProbability("tiny", CLASSES)
    score.update(clip(method), texts)
    cp.update(clip(method), clip(reference), texts)
    csd.update(style(method), style(reference))
    drift.update(network(method), network(reference))
    probability.update(oracle(method), torch.arange(COUNT) % CLASSES)
    for metric in (fid, kid):
        metric.update(network(method), real=False)
        metric.update(network(real), real=True)

    figures = {metric.full_name: metric.compute().item() for metric in (score, cp, csd, fid, kid, drift, probability)}
    for metric in (score, csd, drift, probability):
        figures[f"{metric.full_name} of picture 5"] = metric.per_image()[5].item()
    figures |= {"ties": cp.ties, "kid error": kid.standard_error().item(), "accuracy": probability.accuracy()}
    for index, value in enumerate(probability.destinations().probability.tolist()):
        figures[f"destination {index}"] = value
    return {name: round(value, 7) for name, value in figures.items()}


def test_metrics_equal_their_stored_values():
    measured, golden = measure(), json.loads(GOLDEN.read_text())
    assert measured.keys() == golden.keys()
    for name, value in golden.items():
        assert measured[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(measure(), indent=2) + "\n")
