"""Implements `bench grid`: pictures of several models for the same prompts and the same noise, on one sheet."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark.contact_sheet import FORGOTTEN_COLOUR, KEPT_COLOUR, Block, Heading, Sheet, arrange, blur
from benchmark.errors import DataError, UsageError
from benchmark.generation.grid_pictures import GridPicture, grid_pictures, has_pictures, resampled
from benchmark.generation.run_sheet import LARGEST, heading
from benchmark.store.artefacts import key_of
from benchmark.suites.feature_metrics import FORGOTTEN
from benchmark.testbeds.resolve import artists_of
from prompts.concepts import mentions
from prompts.lists import Prompt

if TYPE_CHECKING:
    from pathlib import Path

    from benchmark.api.model import Model
    from benchmark.api.request import RunRequest
    from benchmark.api.testbed import Testbed, Workbench
    from benchmark.console import Progress
    from prompts.concepts import Concept
    from prompts.texts import GivenPrompt


COLUMNS = 10
"""Maximum number of pictures of one model side by side; more prompts continue below."""
MOST = 100
"""Maximum number of prompts of a grid."""


@dataclass(frozen=True)
class GridRequest:
    """What `bench grid` shows."""

    run: RunRequest
    """The options of `bench run` that name the trained models; its method is ignored."""
    methods: Sequence[str]
    """`base`, and methods as `bench run` takes them; one row each."""
    checkpoints: Sequence[tuple[str, str]]
    """(label, path or Hub id) of external checkpoints, one row each below the methods."""
    prompts: Sequence[GivenPrompt] | str
    """The prompts, or a figure of the paper, whose prompts depend on the testbed."""
    noise_seed: int = 0
    """Seed of the first column's noise. Each following column has the next seed, unless a file states its seeds."""
    steps: int | None = None
    size: int | None = None


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
    prompts, has_parts = _prompts(request, bench.testbed, concept)
    sampling_bench = resampled(bench, request.steps, request.size)
    models = _trained(request, bench, concept)
    _check_stored(models, sampling_bench, prompts, suite.explicit, request)
    models += _external(request, bench)
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


def _prompts(request: GridRequest, testbed: Testbed, concept: Concept) -> tuple[list[Prompt], bool]:
    """Return the prompts of the columns, those that should be forgotten first, and whether a file states their parts.

    Without parts, "targets" stands for prompts that name a target, and "kept" for all others.
    """
    from prompts.texts import GivenPrompt

    given = request.prompts
    if isinstance(given, str):
        if given not in testbed.figure_prompts:
            raise UsageError(f"Testbed '{testbed.name}' has no prompts for {given}: give your own with --prompts.")
        given = [GivenPrompt(text) for text in testbed.figure_prompts[given]]
    if len(given) > MOST:
        raise UsageError(f"--prompts has {len(given):,} prompts, and a grid shows at most {MOST}: give fewer.")
    surnames = [artist.surname for artist in artists_of(request.run.testbed) if artist.name in concept.targets]
    names = [*concept.targets, *surnames]
    has_parts = all(prompt.part for prompt in given)
    prompts = []
    for k, prompt in enumerate(given):
        part = "targets" if mentions(prompt.text, names) else "kept"
        seed = request.noise_seed + k if prompt.seed is None else prompt.seed
        prompts.append(Prompt(f"grid-{k:02d}", prompt.text, seed, prompt.part if has_parts else part))
    return sorted(prompts, key=lambda prompt: prompt.part not in FORGOTTEN), has_parts


def _trained(request: GridRequest, bench: Workbench, concept: Concept) -> list[Model]:
    from benchmark.models.fitted import Base, Fitted
    from benchmark.models.plan import plan_of

    return [
        Base(bench) if name == "base" else Fitted(bench, plan_of(bench, _run_of(request, name), concept))
        for name in request.methods
    ]


def _run_of(request: GridRequest, method: str) -> RunRequest:
    """Return the request that trains a method. Next to other methods, `distilled` is their reference, whose training
    seed is fixed."""
    from benchmark.records.record import REFERENCE_SEED

    is_reference = method == "distilled" and bool(set(request.methods) - {"base", "distilled"})
    return replace(request.run, method=method, seed=REFERENCE_SEED if is_reference else request.run.seed)


def _external(request: GridRequest, bench: Workbench) -> list[Model]:
    from benchmark.models.external_checkpoint import locate
    from benchmark.models.fitted import Brought

    return [Brought(bench, locate(place), label) for label, place in request.checkpoints]


def _check_stored(
    models: Sequence[Model], bench: Workbench, prompts: Sequence[Prompt], private: bool, request: GridRequest
) -> None:
    """Raise DataError, with the commands that train them, if models are not in the store and their pictures neither."""
    from benchmark.models.fitted import Fitted

    missing = [
        model
        for model in models
        if isinstance(model, Fitted)
        and not bench.store.has("model", model.identity)
        and not has_pictures(bench, model, prompts, private)
    ]
    if not missing:
        return
    methods = [model.facts.method for model in missing]
    needed = [name for name in methods if name != "distilled"] or methods  # each run also trains its reference
    commands = " and ".join(f"`{train_command(_run_of(request, name), name)}`" for name in needed)
    raise DataError(
        f"{bench.store.home} has no model {' and no model '.join(model.label for model in missing)} with these "
        f"settings: train with {commands} first."
    )


def train_command(run: RunRequest, method: str) -> str:
    """Return the `bench run` command that trains a method with the settings of a request."""
    options = {
        "--suite": run.suite,
        "--testbed": run.testbed,
        "--pruning": run.pruning,
        "--macs": "" if run.pruning == "none" else f"{run.macs:g}",
        "--targets": ",".join(run.targets),
        "--seed": str(run.seed),
        "--budget": run.budget,
        "--precision": run.precision,
        "--runs": str(run.runs),
    }
    usual = {
        "--testbed": "mini", "--pruning": "magnitude", "--macs": "0.8", "--targets": "", "--seed": "0",
        "--budget": "default", "--precision": "", "--runs": "runs",
    }  # fmt: skip
    words = ["bench", "run", "--method", method]
    for option, value in options.items():
        if value and value != usual.get(option):
            words += [option, value]
    return shlex.join(words)


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
