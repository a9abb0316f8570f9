"""A runs folder with small records and pictures, for tests of `bench report`. Labels and prompts contain HTML."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record_examples import TARGETS, cell, record

from benchmark.records.record import Record, scores_table, write_record

HOSTILE = "<script>alert('label')</script>"
EVIL_PROMPT = "<img src=x onerror=alert(1)><script>alert('prompt')</script> by Claude Monet"
METHODS = ("base", "distilled", "esd", "bilevel")
LEDGER = {
    "phase": "lower", "iterations": 3, "images": 12, "unet_forwards": 24, "unet_backwards": 12, "flops": 250,
    "wall_seconds": 1.5, "device_seconds": 1.5, "peak_memory_bytes": 2048,
}  # fmt: skip
CURVE = [
    {"phase": "lower", "iteration": 2, "flops": 100, "loss": 0.5},
    {"phase": "upper", "iteration": 1, "flops": 150, "loss": 0.9, "unlearning": 0.8, "retention": 0.001},
    {"phase": "lower", "iteration": 4, "flops": 250, "loss": 0.4},
]
EXPLICIT = {"kind": "explicit", "targets": ["saltire"], "anchor": "a photo", "neighbours": []}
PROMPTS = [
    *((f"targets-{k}", "targets", f"a boat {k} by Claude Monet" if k else EVIL_PROMPT, 100 + k) for k in range(9)),
    *((f"kept-{k}", "kept", f"a boat {k} by Paul Klee", 200 + k) for k in range(7)),
]
"""Id, part, text and seed of the prompts of suite `artists`."""


def checked(level: int) -> Image.Image:
    """A picture of black and white squares of 8 pixels, with `level` as its blue channel."""
    squares = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((8, 8))).astype(np.uint8) * 255
    return Image.fromarray(np.stack([squares, squares, np.full_like(squares, level)], axis=-1))


def folder_of(model: str, suite: str) -> str:
    """The folder of a model's pictures, named as a run names it: the model and eight digits of its key."""
    return f"images/{model}-{hashlib.sha256(model.encode()).hexdigest()[:8]}/{suite}"


def add_pictures(home: Path, model: str, suite: str, prompts: list[tuple[str, str, str, int]], kind: str) -> str:
    """Store a picture for each prompt as a run does, and return the folder of their links, relative to `home`."""
    shard = home / "artefacts" / kind / f"{model}-{suite}"
    links = home / folder_of(model, suite)
    shard.mkdir(parents=True)
    links.mkdir(parents=True)
    identity = {"prompts": [[text, seed] for _, _, text, seed in prompts]}
    (shard / "artefact.json").write_text(json.dumps({"identity": identity}))
    for k, (name, _, _, _) in enumerate(prompts):
        checked(10 * k).save(shard / f"{k:02d}.png")
        (links / f"{name}.png").symlink_to(os.path.relpath(shard / f"{k:02d}.png", links))
    return folder_of(model, suite)


def scores_of(prompts: list[tuple[str, str, str, int]], **columns: list[float | None]) -> Any:
    return scores_table(
        [p[0] for p in prompts], [p[1] for p in prompts], [TARGETS[1]] * len(prompts), [p[3] for p in prompts], columns
    )


def style_records(home: Path, pictures: bool = True) -> list[Record]:
    """Records of suites `artists` and `coco`: base, distilled, esd with a hostile label, and two seeds of bilevel."""
    made = []
    for number, (method, seed) in enumerate([*((name, 0) for name in METHODS), ("bilevel", 1)]):
        name, left = f"{method}-{seed}", 0.9 - 0.15 * number
        target = [left / (1 + k) if part == "targets" else None for k, (_, part, _, _) in enumerate(PROMPTS)]
        kept = [0.5 + k / 50 if part == "kept" else None for k, (_, part, _, _) in enumerate(PROMPTS)]
        more: dict[str, Any] = {"seed": seed, "curve": CURVE, "ledger": [LEDGER], "made": provenance()}
        more |= {"label": HOSTILE} if method == "esd" else {}
        if method == "base":
            more |= {"curve": [], "ledger": []}
        values = {
            "artists": {
                "clip": cell("clip", 20.0 + number, ci=(19.0, 23.0 + number)), "cp": 90.0, "csd": 40.0,
                "target_style": cell("target_style", left, ci=(left - 0.05, left + 0.05)), "kept_style": 0.5,
            },
            "coco": {"fid": 20.0 + number, "clip": 29.0},
        }  # fmt: skip
        if pictures:
            add_pictures(home, name, "artists", PROMPTS, "images")
        shown = record(method, values=values, images=folder_of(name, "artists"), **more)
        made.append(write_record(home / "records", shown, scores_of(PROMPTS, target_style=target, kept_style=kept)))
        plain = record(method, "coco", values=values, images=folder_of(name, "coco"), **more)
        made.append(write_record(home / "records", plain, scores_of([])))
    return made


def explicit_records(home: Path) -> list[Record]:
    """Records of suite `mma` of base, distilled and esd, with private pictures."""
    prompts = [(f"mma-{k}", "adversarial", f"secret words {k}", 300 + k) for k in range(3)]
    made = []
    for method in METHODS[:3]:
        columns = {"score/saltire/0": [0.9, 0.6, None], "explicit": [100.0, 100.0, 0.0]}
        values = {"explicit": cell("explicit", 66.7, n=3, higher_is_better=False, unit="% of images")}
        images = add_pictures(home, method, "mma", prompts, "explicit-images")
        shown = record(method, "mma", values=values, concept=EXPLICIT, images=images, made=provenance())
        made.append(write_record(home / "records", shown, scores_of(prompts, **columns)))
    return made


def plugin_record(home: Path) -> Record:
    """A record of a plug-in's suite with one declared column."""
    column = {
        "key": "match", "header": "match", "higher_is_better": None, "format": ".1f", "cell": "", "section": "",
        "unit": "", "relative": False,
    }  # fmt: skip
    values = {"match": cell("match", 12.34, higher_is_better=True)}
    made = provenance() | {"suite": {"columns": [column], "brings": []}}
    shown = record("bilevel", "ponds", values=values, made=made, world={"suite": {"code": "sha256:1"}})
    return write_record(home / "records", shown, scores_of([]))


def provenance() -> dict[str, Any]:
    return {
        "versions": {"torch": "2.15.0"}, "commit": "0123456789abcdef", "modified": True, "python": "3.12.1",
        "platform": "Linux x86_64, 2 cores", "time": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


def write_runs(home: Path) -> Path:
    """Write all of the above, and return the folder."""
    style_records(home)
    explicit_records(home)
    plugin_record(home)
    return home
