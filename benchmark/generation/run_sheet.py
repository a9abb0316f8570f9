"""Creates the contact sheet of a run: pictures of base, reference and method for the same prompts and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark import registry
from benchmark.contact_sheet import Block, arrange, blur, draw, write_contact_sheet
from benchmark.generation.gallery import name_of
from benchmark.generation.images import each_picture
from benchmark.generation.shards import kind_of, shards
from benchmark.generation.sheet_columns import chosen, heading
from benchmark.store.reveals import log_reveal

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.api.suite import Suite
    from benchmark.api.testbed import Workbench
    from prompts.concepts import Concept
    from prompts.lists import Prompt


LARGEST = 256
"""Maximum side of a picture on the sheet in pixels. Smaller pictures are enlarged to twice their size."""


def same_size(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the pictures unchanged if they are small and have one size; otherwise fit each into a square."""
    from PIL import Image, ImageOps

    side = max(max(picture.shape[:2]) for picture in pictures)
    if side < LARGEST and len({picture.shape for picture in pictures}) == 1:
        return list(pictures)
    square = (min(side, LARGEST), min(side, LARGEST))
    return [np.asarray(ImageOps.pad(Image.fromarray(picture), square, color="white")) for picture in pictures]


def _row_label(model: Model, models: Sequence[Model]) -> str:
    """Return the model's label, with the file of its class if a different model has the same label."""
    if [m.label for m in models].count(model.label) == 1 or not registry.is_file(model.facts.method):
        return model.label
    return f"{model.label} ({Path(model.facts.method.rpartition(':')[0]).name})"


def write_run_sheet(
    bench: Workbench,
    models: Sequence[Model],
    suite: Suite,
    prompts: Sequence[Prompt],
    concept: Concept,
    home: Path,
    *,
    reveal: bool = False,
) -> Path:
    """Write the contact sheet runs/pictures/<suite>-<model>.png from the suite's first shard; return its path.

    It has one grid of prompts for what should be forgotten, and below it one of prompts for what should be preserved.

    Pictures of an explicit suite are blurred beyond recognition, and its prompts are represented by their ids. With
    `reveal` they are not blurred; the sheet is then written to the private pictures, and runs/revealed.txt records the
    time.

    Args:
        bench: testbed and store.
        models: the models to compare, one row each; the title names the last.
        suite: the suite.
        prompts: its prompts, of which a few of each part are shown.
        concept: the erased concept, for the title.
        home: the runs folder.
        reveal: whether to show explicit pictures without blur.
    """
    first = shards(prompts)[0]
    columns = chosen(first)
    shown = [k for side in columns.values() for k in side]
    rows = {}
    for model in models:
        images = each_picture(bench, model, first, suite)
        arrays = [images[k].permute(1, 2, 0).numpy() for k in shown]
        rows[_row_label(model, models)] = dict(zip(shown, same_size(arrays), strict=True))
    label = _row_label(models[-1], models)
    explicit = kind_of(suite) != "images"
    if explicit and not reveal:
        rows = {row: {k: blur(pixels) for k, pixels in pictures.items()} for row, pictures in rows.items()}
    blocks = [
        Block(
            {row: [pictures[k] for k in side] for row, pictures in rows.items()},
            [first[k].id if explicit else first[k].text for k in side],
            [heading(forgotten, len(side))],
        )
        for forgotten, side in columns.items()
    ]
    height, width = next(iter(rows[label].values())).shape[:2]
    scale = 2 if max(height, width) < LARGEST else 1
    title = f"{label}: forgetting {', '.join(concept.targets)}"
    sheet = draw(arrange(blocks, (width * scale, height * scale), title))
    name = f"{suite.name}-{name_of(models[-1])}.png"
    if not (explicit and reveal):
        return write_contact_sheet(home / "pictures" / name, sheet)
    bench.progress.warn("--reveal: the contact sheet shows explicit pictures without blur")
    log_reveal(home, name)
    return write_contact_sheet(home / "artefacts" / kind_of(suite) / "revealed" / name, sheet)
