"""What an estimate needs to know of a testbed: its sizes and its numbers of prompts. No model is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api.testbed import Testbed
from benchmark.cost.network_costs import Sizes, sizes
from benchmark.errors import DataError, UsageError
from benchmark.suites import load
from benchmark.suites.prompts import first_of_groups
from benchmark.suites.toml_suite import TomlSuite
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
"""Pictures of COCO 2017, where the folder is not there to be counted."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A testbed in figures."""

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
    """Pictures to prune by that are encoded before pruning."""
    real: int
    """Real pictures that FID compares with."""
    pixels: int
    """Bytes of a picture without compression."""
    parameters: float
    """Of the U-Net as it lies on the disk."""
    assumed: list[str] = field(default_factory=list)
    preset: str = "default"
    """The preset of methods unless the request has another."""
    experts: bool = False
    """Whether aptp's experts are given, not searched for."""


def ground(request: RunRequest) -> Ground:
    """The testbed of a request. UsageError for a testbed written in Python, but for `mini`."""
    definition = resolve.definition_of(request.testbed)
    if definition is not None:
        return _of_definition(request, definition)
    if request.testbed == "mini":
        return _of_mini(request, MiniDefinition(name="mini"))
    if (mini_definition := resolve.mini_definition(request.testbed)) is not None:
        return _of_mini(request, mini_definition)
    raise UsageError(
        f"Testbed '{request.testbed}' cannot be estimated: it is written in Python, and only running it would say how "
        "large its networks are. `bench run` begins without an estimate; one of a TOML file that is like mini or sd21 "
        "can be had."
    )


def precision_of(request: RunRequest) -> Precision:
    """The request's precision, or else the testbed's own."""
    definition = resolve.definition_of(request.testbed)
    precision: Any = request.precision or (definition.precision if definition else "fp32")
    return precision  # checked by the request, or by the definition


def suites(request: RunRequest) -> list[str]:
    """The suite asked for, and those that it brings."""
    first = load.load(request.suite)
    return [first.name, *(name for name in first.brings if not request.alone)]


def _kind(request: RunRequest) -> str:
    return load.load(request.suite).forgets


def _of_mini(request: RunRequest, definition: MiniDefinition) -> Ground:
    """mini, or a testbed in its world: networks of the same sizes, with the file's targets, prompts and sampling."""
    from benchmark.testbeds.mini import explicit, prompts

    is_explicit = _kind(request) == "explicit"
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
    return Ground(
        name=definition.name, sizes=sizes("mini"), size=16, steps=definition.steps, calls=definition.steps + 1,
        guidance=definition.guidance, flops=definition.flops, half=True,
        precision=precision_of(request), concept=concept, prompt_counts=prompt_counts,
        erasing=len(captions.erasing(concept)), contrast=2 * sum(map(len, captions.contrast(concept).values())),
        encoded=2048, shown=512, real=2000, pixels=64 * 64 * 3, parameters=sizes("mini").parameters["unet"],
        assumed=assumed,
    )  # fmt: skip


def _count_own_prompts(request: RunRequest, name: str, assumed: list[str]) -> int:
    """The number of prompts of a plug-in's suite; 0 where only its code says it, which needs the testbed itself."""
    suite = load.load(request.suite if name == load.name_of(request.suite) else name)
    if isinstance(suite, TomlSuite):
        return len(first_of_groups(suite.rows, request.limit))
    assumed.append(f"the prompts of suite {name}, which brings its own, are not counted")
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


def _of_definition(request: RunRequest, definition: Definition) -> Ground:
    from benchmark.testbeds.stable_diffusion import prompts

    _check_model(definition)
    assumed, latent = [], definition.size // Testbed.pixels
    if request.as_published:
        assumed.append("rows of public lists have the testbed's own guidance and size")
    if definition.name != "sd21":
        assumed.append("the model is as large as Stable Diffusion 2.1")
    is_explicit = _kind(request) == "explicit"
    concept = prompts.EXPLICIT if is_explicit else prompts.style_concept(definition.artists, request.targets)
    pictures = {side: _pictures(definition, side, assumed) for side in COCO}
    prompt_counts = {
        name: _count_prompts(request, definition, concept, name, pictures["val"], assumed)
        if name in BUILT_IN
        else _count_own_prompts(request, name, assumed)
        for name in suites(request)
    }
    return Ground(
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
    """The number of a suite's prompts, from public lists as far as they were added. Each list's rows by a painter, and
    all rows of an explicit list, are a group of which `--limit` takes the first."""
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
    assumed.append(f"suite {suite} asks {rows_asked} rows of the list {public.name}, which was not added yet")
    return count


def _at_most(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)


def _check_model(definition: Definition) -> None:
    """DataError for settings that the model does not allow; what the model says is not known where it is not here."""
    from benchmark.testbeds.stable_diffusion import find, model_settings

    try:
        folder = find.model(definition.model, ask=False)
    except DataError:
        return
    model_settings.check(definition, folder)


def _parameters(definition: Definition) -> int | None:
    """Parameters of the model's U-Net, from the headers of its files; None if there are none, or in another form."""
    import json

    from benchmark.testbeds.stable_diffusion import find

    try:
        counts: dict[str, int] = {}  # by variant: an .fp16 file repeats what the other one holds
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
    """The number of pictures on one side of the captions' folder; COCO's if the folder is missing."""
    from benchmark.testbeds.stable_diffusion.captions import annotation_file, count_pictures

    try:
        annotations = annotation_file(definition.captions, side)  # type: ignore[arg-type]
    except DataError:
        assumed.append(f"{COCO[side]:,} {side} pictures, as COCO 2017 has")
        return COCO[side]
    return count_pictures(annotations)
