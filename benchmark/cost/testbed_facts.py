"""Collects the properties of a testbed that an estimate needs: sizes and numbers of prompts. No model is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmark.api.testbed import Testbed
from benchmark.cost.network_costs import Sizes, sizes
from benchmark.errors import DataError, UsageError
from benchmark.suites import load
from benchmark.suites.prompts import first_of_groups
from benchmark.suites.toml_suite import ListSuite
from benchmark.tables.columns import BUILT_IN
from benchmark.testbeds import resolve
from benchmark.testbeds.mini.definition import Definition as MiniDefinition
from benchmark.testbeds.mini.definition import prompts_for
from benchmark.testbeds.stable_diffusion.definition import PRUNING
from methods.base import Precision
from prompts.lists import read_prompts

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest
    from benchmark.testbeds.stable_diffusion.definition import Definition
    from prompts.concepts import Concept
    from prompts.lists import Prompt


COCO = {"train": 118_287, "val": 5_000}
"""Numbers of pictures in COCO 2017, used if the folder does not exist."""


@dataclass(frozen=True, kw_only=True)
class TestbedFacts:
    """The properties of a testbed that determine the cost of a run."""

    name: str
    sizes: Sizes
    size: int
    """Height of a latent."""
    steps: int
    calls: int
    guidance: float
    flops: float
    """Default budget."""
    half: bool
    precision: Precision
    concept: Concept
    prompt_counts: dict[str, int]
    """Numbers of prompts by suite."""
    erasing: int
    contrast: int
    encoded: int
    """Training pictures (with their crops) that are encoded before training; 0 if training steps encode them."""
    shown: int
    """Pictures that are encoded for pruning."""
    real: int
    """Real pictures that FID compares with."""
    pixels: int
    """Bytes of a picture without compression."""
    parameters: float
    """Number of parameters in the files of the U-Net."""
    assumed: list[str] = field(default_factory=list)
    preset: str = "default"
    """Default preset of methods."""
    experts: bool = False
    """Whether the experts of aptp are read from a file instead of searched for."""


def read_facts(request: RunRequest) -> TestbedFacts:
    """Return the properties of a request's testbed. UsageError for a testbed in Python, except `mini`."""
    definition = resolve.definition_of(request.testbed)
    if definition is not None:
        return _read_stable_diffusion_facts(request, definition)
    if request.testbed == "mini":
        return _read_mini_facts(request, MiniDefinition(name="mini"))
    if (mini_definition := resolve.mini_definition(request.testbed)) is not None:
        return _read_mini_facts(request, mini_definition)
    raise UsageError(
        f"Testbed '{request.testbed}' cannot be estimated, because it is written in Python and the sizes of its "
        "networks are unknown: start `bench run` without an estimate, or use a TOML file that is like mini or sd21."
    )


def can_estimate(testbed: str) -> bool:
    """Return whether the sizes of a testbed's networks are known, as those of a testbed in Python are not."""
    is_mini = testbed == "mini" or resolve.mini_definition(testbed) is not None
    return is_mini or resolve.definition_of(testbed) is not None


def precision_of(request: RunRequest) -> Precision:
    """Return the request's precision, or else the testbed's default."""
    definition = resolve.definition_of(request.testbed)
    precision: Any = request.precision or (definition.precision if definition else "fp32")
    return precision  # checked by the request, or by the definition


def suites(request: RunRequest) -> list[str]:
    """Return the requested suite and those that it also runs."""
    first = load.load(request.suite)
    return [first.name, *(name for name in first.brings if not request.alone)]


def _kind(request: RunRequest) -> str:
    return load.load(request.suite).forgets


def _brought(request: RunRequest) -> Concept | None:
    """Return the concept that the request's suite brings; None if it brings none.

    The prompts of a suite in Python are not known here, so its concept gets a placeholder for them.
    """
    suite = load.load(request.suite)
    if suite.concept is None or suite.concept.is_brought:
        return suite.concept
    return replace(suite.concept, held_out=frozenset(("prompts of the suite",)))


def _read_mini_facts(request: RunRequest, definition: MiniDefinition) -> TestbedFacts:
    """Return the properties of mini, or of a testbed like mini, whose networks have the same sizes."""
    from benchmark.testbeds.mini import explicit, prompts, user_concept

    is_explicit = _kind(request) == "explicit"
    concept, captions = _brought(request), cast(Any, user_concept)
    if concept is None:
        targets = request.targets or tuple(definition.targets)
        concept = explicit.CONCEPT if is_explicit else prompts.style_concept(targets)
        captions = explicit if is_explicit else prompts
    assumed: list[str] = []
    prompt_counts = {
        name: len(first_of_groups(_prompts_of_mini(name, concept, definition.prompts), request.limit))
        if name in BUILT_IN
        else _count_own_prompts(request, name, assumed)
        for name in suites(request)
    }
    return TestbedFacts(
        name=definition.name, sizes=sizes("mini"), size=16, steps=definition.steps, calls=definition.steps + 1,
        guidance=definition.guidance, flops=definition.flops, half=True,
        precision=precision_of(request), concept=concept, prompt_counts=prompt_counts,
        erasing=len(captions.erasing(concept)), contrast=2 * sum(map(len, captions.contrast(concept).values())),
        encoded=2048, shown=512, real=2000, pixels=64 * 64 * 3, parameters=sizes("mini").parameters["unet"],
        assumed=assumed,
    )  # fmt: skip


def _count_own_prompts(request: RunRequest, name: str, assumed: list[str]) -> int:
    """Return the number of prompts of a plug-in's suite; 0 if only its code with a loaded testbed can tell."""
    suite = load.load(request.suite if name == load.name_of(request.suite) else name)
    if isinstance(suite, ListSuite):
        return len(first_of_groups(suite.rows, request.limit))
    assumed.append(f"the prompts of suite {name}, which its own code defines, are not counted")
    return 0


def _prompts_of_mini(suite: str, concept: Concept, own_list: Path | None) -> Sequence[Prompt]:
    from benchmark.testbeds.mini import explicit, prompts

    if suite == "artists" and own_list is not None:
        return prompts_for(read_prompts(own_list), concept, str(own_list))
    if suite == "artists":
        return prompts.artists(concept)
    if suite == "coco":
        return prompts.retention()
    return explicit.i2p() if suite == "i2p" else explicit.attacked(suite)


def _read_stable_diffusion_facts(request: RunRequest, definition: Definition) -> TestbedFacts:
    from benchmark.testbeds.stable_diffusion import prompts

    _check_model(definition)
    assumed, latent = [], definition.size // Testbed.pixels
    if request.as_published:
        assumed.append("rows of public lists have the testbed's own guidance and size")
    if definition.name != "sd21":
        assumed.append("the model is as large as Stable Diffusion 2.1")
    is_explicit = _kind(request) == "explicit"
    own_concept = prompts.EXPLICIT if is_explicit else prompts.style_concept(definition.artists, request.targets)
    concept = _brought(request) or own_concept
    pictures = {side: _pictures(definition, side, assumed) for side in COCO}
    prompt_counts = {
        name: _count_prompts(request, definition, concept, name, pictures["val"], assumed)
        if name in BUILT_IN
        else _count_own_prompts(request, name, assumed)
        for name in suites(request)
    }
    return TestbedFacts(
        name=definition.name,
        sizes=sizes("sd21").scaled(latent),
        size=latent,
        steps=definition.steps,
        calls=definition.steps + (definition.scheduler == "pndm"),
        guidance=definition.guidance,
        flops=definition.flops,
        preset=definition.preset,
        experts=definition.experts is not None,
        half=definition.half,
        precision=precision_of(request),
        concept=concept,
        prompt_counts=prompt_counts,
        erasing=len(prompts.erasing(concept)),
        contrast=2 * sum(map(len, prompts.contrast(concept).values())),
        encoded=pictures["train"] * definition.crops,
        shown=min(PRUNING, pictures["train"]) * min(definition.crops, 1),
        real=pictures["val"],
        pixels=definition.size**2 * 3,
        parameters=_parameters(definition) or sizes("sd21").parameters["unet"],
        assumed=assumed,
    )


def _count_prompts(
    request: RunRequest, definition: Definition, concept: Concept, suite: str, val_pictures: int, assumed: list[str]
) -> int:
    """Return the number of a suite's prompts, from public lists if they were added.

    In lists of painting titles, `--limit` applies to the rows of each artist; in an explicit list, to all rows.
    """
    from benchmark.suites.prompts import added_lists, by_target
    from benchmark.testbeds.stable_diffusion import prompts
    from prompts.sources import source

    if suite == "coco":
        return _at_most(val_pictures, request.limit)
    variant: Any = "as-published" if request.as_published else "unique"
    if suite == "artists":
        title_lists = added_lists(request.runs, prompts.TITLES[suite])
        rows = {
            target: _at_most(len(titles), request.limit)
            for target, (_, titles) in by_target(title_lists, concept, variant).items()
        }
        own = [prompt for prompt in prompts.titles_asked(definition.artists, concept) if prompt.target not in rows]
        return len(first_of_groups(own, request.limit)) + sum(rows.values())
    names = prompts.PUBLIC.get(suite, (suite,))
    if added := added_lists(request.runs, names):
        return _at_most(len(added[0].variant(variant)), request.limit)
    public = source(names[0])
    count = _at_most(public.rows, request.limit)
    rows_asked = f"all {count:,}" if count == public.rows else f"{count:,} of the"
    assumed.append(f"suite {suite} uses {rows_asked} rows of the list {public.name}, which was not added yet")
    return count


def _at_most(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)


def _check_model(definition: Definition) -> None:
    """Raise DataError for settings that the model does not allow; not checked if the model is not available locally."""
    from benchmark.testbeds.stable_diffusion import find, model_settings

    try:
        folder = find.model(definition.model, ask=False)
    except DataError:
        return
    model_settings.check(definition, folder)


def _parameters(definition: Definition) -> int | None:
    """Return the number of parameters from the headers of the U-Net's files; None if they cannot be read."""
    import json

    from benchmark.testbeds.stable_diffusion import find

    try:
        counts: dict[str, int] = {}  # by variant: an .fp16 file contains the same parameters again
        for file in sorted((find.model(definition.model, ask=False) / "unet").glob("*.safetensors")):
            with open(file, "rb") as opened:
                header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
            variant = file.name.removesuffix(".safetensors").partition(".")[2]
            counts.setdefault(variant, 0)
            counts[variant] += sum(
                math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"
            )
        return max(counts.values(), default=0) or None
    except (DataError, OSError, ValueError, KeyError, TypeError):
        return None  # loading the model reports what is wrong with it


def _pictures(definition: Definition, side: str, assumed: list[str]) -> int:
    """Return the number of pictures of a split (train or val); that of COCO 2017 if the folder is missing."""
    from benchmark.testbeds.stable_diffusion.captions import annotation_file, count_pictures

    try:
        annotations = annotation_file(definition.captions, side)  # type: ignore[arg-type]
    except DataError:
        assumed.append(f"{COCO[side]:,} {side} pictures, as COCO 2017 has")
        return COCO[side]
    return count_pictures(annotations)
