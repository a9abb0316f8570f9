"""The request of a `bench grid`, and the prompts of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import UsageError
from benchmark.suites.feature_metrics import FORGOTTEN
from benchmark.testbeds.resolve import artists_of
from prompts.concepts import mentions
from prompts.lists import Prompt
from prompts.texts import GivenPrompt

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest
    from benchmark.api.testbed import Testbed
    from prompts.concepts import Concept


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


def columns_of(request: GridRequest, testbed: Testbed, concept: Concept) -> tuple[list[Prompt], bool]:
    """Return the prompts of the columns, those that should be forgotten first, and whether a file states their parts.

    Without parts, "targets" stands for prompts that name a target, and "kept" for all others.
    """
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
