"""What a suite asks on a testbed: the testbed's own prompts, or the rows of a public list that its user has added.

A row's own seed is always honoured. Its own guidance and size are, and rows that repeat others are kept, only where the
run is `--as-published`; else rows are asked once each, and sampled as all of the testbed are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark import prompt_files
from benchmark.errors import DataError, UsageError
from prompts.lists import Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.workbench import Workbench
    from methods.sampling import Sampler
    from prompts.concepts import Concept
    from prompts.public import PublicList
    from prompts.rows import PublicPrompt


@dataclass(frozen=True)
class Published(Prompt):
    """A row of a public list with what it says of its picture; None where it says nothing."""

    guidance: float | None = None
    width: int | None = None
    height: int | None = None

    @property
    def own(self) -> tuple[float | None, int | None, int | None]:
        return self.guidance, self.width, self.height

    def sampled(self, sampler: Sampler, pixels: int) -> tuple[Sampler, tuple[int, int, int]]:
        """The sampler with its own guidance, and the shape (C, h, w) of its latent; `pixels` is a latent's side."""
        default = sampler.latent_size * pixels
        height, width = (self.height or default) // pixels, (self.width or default) // pixels
        changed = {} if self.guidance is None else {"guidance": self.guidance}
        return sampler.model_copy(update=changed), (sampler.latent_channels, height, width)


def asked(bench: Workbench, suite: str, concept: Concept) -> Sequence[Prompt]:
    """The suite's prompts in the order of their shards. DataError where a list was not added, or cannot be used."""
    names = lists(bench, suite)
    if not names:
        return bench.testbed.prompts(suite, concept)
    found = added(bench, names)
    if not bench.as_published:
        return [Prompt(row.id, row.text, row.seed, "implicit", concept.targets[0]) for row in found.variant("unique")]
    for row in found.rows:
        _check_size(bench, row)
    return [
        Published(row.id, row.text, row.seed, "implicit", concept.targets[0], "", row.guidance, row.width, row.height)
        for row in found.rows
    ]


def told(bench: Workbench, suite: str) -> dict[str, Any]:
    """What a record says of the list: its name, checksum, variant and rows; nothing for a testbed's own prompts."""
    names = lists(bench, suite)
    if not names:
        return {}
    found = added(bench, names)
    variant = "as-published" if bench.as_published else "unique"
    rows = len(found.rows if bench.as_published else found.variant("unique"))
    return {"list": {"name": found.source.name, "sha256": found.sha256, "variant": variant, "rows": rows}}


def lists(bench: Workbench, suite: str) -> Sequence[str]:
    """Public lists that the suite may ask here, best first; none where the testbed has prompts of its own."""
    return getattr(bench.testbed, "public", {}).get(suite, ())


def added(bench: Workbench, names: Sequence[str]) -> PublicList:
    """The first of these lists that was added. DataError, about the first, if none was."""
    home = bench.store.home
    there = [name for name in names if prompt_files.state(home, name) != "missing"]
    return prompt_files.find(home, (there or names)[0])


def check_as_published(bench: Workbench, suites: Sequence[str]) -> None:
    """UsageError where `--as-published` would change nothing: no suite of the run asks a public list."""
    if bench.as_published and not any(lists(bench, suite) for suite in suites):
        raise UsageError(
            f"--as-published is for public lists, and suite '{suites[0]}' asks none on testbed '{bench.testbed.name}': "
            "leave it out."
        )


def _check_size(bench: Workbench, row: PublicPrompt) -> None:
    pixels = getattr(bench.testbed, "pixels", 8)
    for side in (row.width, row.height):
        if side is not None and side % pixels:
            raise DataError(
                f"{row.id} asks for {row.width} x {row.height} pixels, and this model's pictures are multiples of "
                f"{pixels}: leave --as-published out."
            )
