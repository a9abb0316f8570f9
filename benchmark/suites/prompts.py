"""Collects the prompts of a suite: the testbed's own prompts, or rows of a public list that the user has added.

A list of painters' titles replaces the testbed's own prompts for the targets that it contains. Neighbours, kept
painters and all other targets keep the testbed's prompts.

The seed of a row is always used. With `--as-published`, its guidance and size are used as well, and repeated rows are
sampled repeatedly. Without it, every row is sampled once, with the testbed's guidance and size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from benchmark.errors import DataError, UsageError
from benchmark.json_types import JsonObject
from benchmark.suites import prompt_lists
from prompts.lists import Prompt
from prompts.rows import is_by

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmark.api.suite import Suite
    from benchmark.api.testbed import Workbench
    from methods.sampling import Sampler
    from prompts.concepts import Concept
    from prompts.public import PublicList, Variant
    from prompts.rows import PublicPrompt


@dataclass(frozen=True)
class Published(Prompt):
    """A row of a public list with the guidance and size (pixels) of its picture; None if the row has no such value."""

    guidance: float | None = None
    width: int | None = None
    height: int | None = None

    @property
    def own(self) -> tuple[float | None, int | None, int | None]:
        return self.guidance, self.width, self.height

    def sampled(self, sampler: Sampler, pixels: int) -> tuple[Sampler, tuple[int, int, int]]:
        """Return the sampler with the row's guidance, and the shape (C, h, w) of the latent.

        `pixels` is the number of pixels per latent position, along one side.
        """
        default = sampler.latent_size * pixels
        height, width = (self.height or default) // pixels, (self.width or default) // pixels
        changed = {} if self.guidance is None else {"guidance": self.guidance}
        return sampler.model_copy(update=changed), (sampler.latent_channels, height, width)


def prompts_of(bench: Workbench, suite: Suite, concept: Concept) -> Sequence[Prompt]:
    """Return the suite's own prompts, or else those of `suite_prompts`, in sampling order.

    UsageError if the suite's own prompts are invalid, or if neither suite nor testbed has prompts.
    """
    own = suite.prompts(bench.testbed, concept)
    if own is None:
        return suite_prompts(bench, suite.name, concept)
    return first_of_groups(own, bench.limit)


def suite_prompts(bench: Workbench, suite: str, concept: Concept) -> Sequence[Prompt]:
    """Return the testbed's or public prompts in sampling order. DataError if a list was not added, or is invalid."""
    return first_of_groups(_all_prompts(bench, suite, concept), bench.limit)


def first_of_groups(prompts: Sequence[Prompt], limit: int | None) -> Sequence[Prompt]:
    """Return the first `limit` prompts of each pair of part and target, or all prompts if `limit` is None.

    Prompts are chosen by the sha256 of their ids, so that every run has the same ones and kinds of prompts are mixed.
    """
    if limit is None:
        return prompts
    groups: dict[tuple[str, str], list[Prompt]] = {}
    for prompt in sorted(prompts, key=lambda prompt: hashlib.sha256(prompt.id.encode()).hexdigest()):
        groups.setdefault((prompt.part, prompt.target), []).append(prompt)
    chosen = {prompt.id for group in groups.values() for prompt in group[:limit]}
    return [prompt for prompt in prompts if prompt.id in chosen]


def _all_prompts(bench: Workbench, suite: str, concept: Concept) -> Sequence[Prompt]:
    if names := lists(bench, suite):
        return _prompts(bench, added(bench, names).variant(_variant(bench)), "implicit", concept.targets[0])
    own = bench.testbed.prompts(suite, concept)
    there = titles(bench, suite)
    if not there:
        return own
    rows_by_target = by_target(there, concept, _variant(bench))
    if missing := [target for target in concept.targets if target not in rows_by_target]:
        where = ", ".join(title_list.source.name for title_list in there)
        bench.progress.say(f"titles    no row by {', '.join(missing)} in {where}: using the testbed's own prompts")
    groups: dict[str, list[Prompt]] = {}
    for prompt in own:
        groups.setdefault(prompt.target, []).append(prompt)
    groups |= {target: _prompts(bench, rows, "targets", target) for target, (_, rows) in rows_by_target.items()}
    return [prompt for turn in zip_longest(*groups.values()) for prompt in turn if prompt is not None]


def list_facts(bench: Workbench, suite: str, concept: Concept) -> JsonObject:
    """Return a record's entry on public lists: name, checksum, variant and number of rows; empty if none is used."""

    def facts(prompt_list: PublicList, rows: int) -> JsonObject:
        return {
            "name": prompt_list.source.name,
            "sha256": prompt_list.sha256,
            "variant": _variant(bench),
            "rows": rows,
        }

    if names := lists(bench, suite):
        prompt_list = added(bench, names)
        return {"list": facts(prompt_list, len(prompt_list.variant(_variant(bench))))}
    rows_by_target = by_target(titles(bench, suite), concept, _variant(bench))
    if not rows_by_target:
        return {}
    return {"lists": {target: facts(title_list, len(rows)) for target, (title_list, rows) in rows_by_target.items()}}


def lists(bench: Workbench, suite: str) -> Sequence[str]:
    """Return the names of public lists that the suite can use on this testbed, in order of preference."""
    return bench.testbed.public.get(suite, ())


def titles(bench: Workbench, suite: str) -> list[PublicList]:
    """Return the added lists of painters' titles, in order of preference. DataError if one is damaged."""
    return added_lists(bench.store.home, bench.testbed.titles.get(suite, ()))


def added_lists(home: Path, names: Sequence[str]) -> list[PublicList]:
    """Return those of the lists that were added to the runs folder `home`. DataError if one is damaged."""
    return [prompt_lists.find(home, name) for name in names if prompt_lists.state(home, name) != "missing"]


def added(bench: Workbench, names: Sequence[str]) -> PublicList:
    """Return the first of these lists that was added. DataError, which names the first list, if none was added."""
    home = bench.store.home
    there = [name for name in names if prompt_lists.state(home, name) != "missing"]
    return prompt_lists.find(home, (there or names)[0])


def check_as_published(bench: Workbench, suites: Sequence[str]) -> None:
    """Raise UsageError if `--as-published` has no effect, because no suite of the run uses a public list."""
    if bench.as_published and not any(lists(bench, suite) or titles(bench, suite) for suite in suites):
        raise UsageError(
            f"--as-published is for public lists, but suite '{suites[0]}' uses none on testbed '{bench.testbed.name}': "
            "leave it out."
        )


def by_target(
    there: Sequence[PublicList], concept: Concept, variant: Variant
) -> dict[str, tuple[PublicList, Sequence[PublicPrompt]]]:
    """Return, for each target that is in a list, the first such list and its rows by this painter."""
    rows_by_target: dict[str, tuple[PublicList, Sequence[PublicPrompt]]] = {}
    for target in concept.targets:
        for title_list in there:
            if rows := [row for row in title_list.variant(variant) if is_by(row.artist, target)]:
                rows_by_target[target] = title_list, rows
                break
    return rows_by_target


def _variant(bench: Workbench) -> Variant:
    return "as-published" if bench.as_published else "unique"


def _prompts(bench: Workbench, rows: Sequence[PublicPrompt], part: str, target: str) -> list[Prompt]:
    """Convert rows of a list to prompts, with their guidance and size if the run is `--as-published`."""
    if not bench.as_published:
        return [Prompt(row.id, row.text, row.seed, part, target) for row in rows]
    for row in rows:
        _check_size(bench, row)
    return [
        Published(row.id, row.text, row.seed, part, target, guidance=row.guidance, width=row.width, height=row.height)
        for row in rows
    ]


def _check_size(bench: Workbench, row: PublicPrompt) -> None:
    pixels = bench.testbed.pixels
    for side in (row.width, row.height):
        if side is not None and side % pixels:
            raise DataError(
                f"{row.id} has a size of {row.width} x {row.height} pixels, but this model needs multiples of "
                f"{pixels}: leave --as-published out."
            )
