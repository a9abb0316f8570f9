"""Implements `bench grid`: pictures of several models for the same prompts and the same noise, on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.contact_sheet import FORGOTTEN_COLOUR, KEPT_COLOUR, Block, Heading, Sheet, arrange, blur
from benchmark.errors import UsageError
from benchmark.generation.grid_pictures import GridPicture, grid_pictures, resampled
from benchmark.generation.run_sheet import LARGEST
from benchmark.generation.sheet_columns import heading
from benchmark.pipeline.grid_models import check_stored, external, trained
from benchmark.pipeline.grid_request import GridRequest, columns_of
from benchmark.store.artefacts import key_of
from benchmark.suites.feature_metrics import FORGOTTEN

if TYPE_CHECKING:
    from pathlib import Path

    from benchmark.api.testbed import Testbed
    from benchmark.console import Progress
    from prompts.concepts import Concept
    from prompts.lists import Prompt


COLUMNS = 10
"""Maximum number of pictures of one model side by side; more prompts continue below."""


@dataclass(frozen=True)
class Grid:
    """A finished sheet."""

    sheet: Sheet
    name: str
    """Stem of a file name, which is different for different models, prompts or settings."""
    blurred: int
    """Number of pictures that are blurred, because they are or may be explicit."""
    revealed: bool
    """Whether explicit pictures are shown without blur."""


def make_grid(request: GridRequest, home: Path, progress: Progress) -> Grid:
    """Sample the pictures of a grid, and arrange them. Nothing is trained.

    Raises:
        DataError: a model is not in the runs folder (the message has the command that trains it), or a checkpoint does
            not fit the testbed.
        UsageError: a method, prompt or setting cannot be used, or two rows have the same label.
    """
    from benchmark.pipeline.setup import workbench_for
    from benchmark.suites.load import in_run

    run = request.run
    suite = in_run(run.suite)
    bench = workbench_for(run.runtime, home, progress)
    concept = suite.concept_on(bench.testbed, run.targets)
    prompts, has_parts = columns_of(request, bench.testbed, concept)
    sampling_bench = resampled(bench, request.steps, request.size)
    models = trained(request, bench, concept)
    check_stored(models, sampling_bench, prompts, suite.explicit, request)
    models += external(request, bench)
    labels = [model.label for model in models]
    if repeated := [label for label in labels if labels.count(label) > 1]:
        raise UsageError(f"Two rows of the grid are called '{repeated[0]}': name a checkpoint with --model NAME=PATH.")
    rows = {
        model.label: grid_pictures(sampling_bench, model, prompts, bench.testbed, suite.explicit) for model in models
    }
    sampler = sampling_bench.testbed.sampler
    identity = {
        "models": [key_of("model", model.identity) for model in models],
        "prompts": [[prompt.text, prompt.seed] for prompt in prompts],
        "sampler": sampler.model_dump(mode="json"),
    }
    stem = request.prompts if isinstance(request.prompts, str) else "grid"
    any_explicit = any(picture.explicit for pictures in rows.values() for picture in pictures)
    blurred = sum(picture.explicit for pictures in rows.values() for picture in pictures) if not run.reveal else 0
    sheet = _arrange(request, bench.testbed, concept, prompts, has_parts, rows, suite.explicit)
    return Grid(sheet, f"{stem}-{key_of('sheet', identity)[:8]}", blurred, run.reveal and any_explicit)


def _arrange(
    request: GridRequest,
    testbed: Testbed,
    concept: Concept,
    prompts: Sequence[Prompt],
    has_parts: bool,
    rows: dict[str, list[GridPicture]],
    private: bool,
) -> Sheet:
    """Arrange the pictures in blocks of at most `COLUMNS` columns of nearly equal number."""
    count = -(-len(prompts) // COLUMNS)
    width = -(-len(prompts) // count)
    hidden = not request.run.reveal
    blocks = []
    for start in range(0, len(prompts), width):
        part = slice(start, start + width)
        shown = {
            label: [blur(picture.pixels) if picture.explicit and hidden else picture.pixels for picture in pictures]
            for label, pictures in ((label, row[part]) for label, row in rows.items())
        }
        captions = [prompt.id if private else prompt.text for prompt in prompts[part]]
        blocks.append(Block(shown, captions, [] if private else _headings(prompts, prompts[part], has_parts)))
    side = max(next(iter(rows.values()))[0].pixels.shape[:2])
    cell = 2 * side if 2 * side <= LARGEST else min(side, LARGEST)
    details = [
        *([f"forgetting {', '.join(concept.targets)}"] if set(request.methods) - {"base", "distilled"} else []),
        *([f"{request.steps} steps"] if request.steps is not None else []),
        *([f"{request.size} x {request.size} pixels"] if request.size is not None else []),
    ]
    return arrange(blocks, (cell, cell), ": ".join(filter(None, (testbed.name, ", ".join(details)))))


def _headings(prompts: Sequence[Prompt], shown: Sequence[Prompt], has_parts: bool) -> list[Heading]:
    """Return headings that tell the two kinds of prompts apart; none if all prompts of the grid are of one kind."""
    kinds = [prompt.part in FORGOTTEN for prompt in shown]
    if len({prompt.part in FORGOTTEN for prompt in prompts}) < 2:
        return []
    counts = {kind: kinds.count(kind) for kind in (True, False) if kind in kinds}
    if has_parts:
        return [heading(kind, columns) for kind, columns in counts.items()]
    texts = {True: ("Names a target", FORGOTTEN_COLOUR), False: ("Names no target", KEPT_COLOUR)}
    return [Heading(texts[kind][0], columns, texts[kind][1]) for kind, columns in counts.items()]
