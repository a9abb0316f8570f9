"""Creates the contact sheet of a run: pictures of base, reference and method for the same prompts and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmark import registry
from benchmark.contact_sheet import contact_sheet, write_contact_sheet
from benchmark.generation.gallery import name_of
from benchmark.generation.images import each_picture
from benchmark.generation.shards import kind_of, shards
from benchmark.store.reveals import log_reveal

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.api.suite import Suite
    from benchmark.api.testbed import Workbench
    from prompts.concepts import Concept
    from prompts.lists import Prompt


SHOWN = {"targets": 6, "neighbours": 3, "kept": 4, "implicit": 3}
"""Maximum number of columns for each part of the suite."""


LARGEST = 256
"""Maximum side of a picture on the sheet in pixels. Smaller pictures are enlarged to twice their size."""


def _same_size(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the pictures unchanged if they are small and have one size; otherwise fit each into a square."""
    from PIL import Image, ImageOps

    side = max(max(picture.shape[:2]) for picture in pictures)
    if side < LARGEST and len({picture.shape for picture in pictures}) == 1:
        return list(pictures)
    square = (min(side, LARGEST), min(side, LARGEST))
    return [np.asarray(ImageOps.pad(Image.fromarray(picture), square, color="white")) for picture in pictures]


def chosen(prompts: Sequence[Prompt]) -> list[int]:
    """Return the indices of the prompts to show: the first few of each part."""
    columns_left = dict(SHOWN)
    rows = []
    for part in SHOWN:
        for k, prompt in enumerate(prompts):
            if prompt.part == part and columns_left[part]:
                rows.append(k)
                columns_left[part] -= 1
    return rows


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
    columns = chosen(first) or list(range(min(12, len(first))))
    rows = {}
    for model in models:
        images = each_picture(bench, model, first, suite)
        rows[_row_label(model, models)] = _same_size([images[k].permute(1, 2, 0).numpy() for k in columns])
    label = _row_label(models[-1], models)
    explicit = kind_of(suite) != "images"
    sheet = contact_sheet(
        rows,
        [first[k].id if explicit else first[k].text for k in columns],
        title=f"{label}: forgetting {', '.join(concept.targets)}",
        scale=2 if max(rows[label][0].shape) < LARGEST else 1,
        blurred=explicit and not reveal,
    )
    name = f"{suite.name}-{name_of(models[-1])}.png"
    if not (explicit and reveal):
        return write_contact_sheet(home / "pictures" / name, sheet)
    bench.progress.warn("--reveal: the contact sheet shows explicit pictures without blur")
    log_reveal(home, name)
    return write_contact_sheet(home / "artefacts" / kind_of(suite) / "revealed" / name, sheet)
