"""What a suite asks on a testbed: the testbed's own prompts, or the rows of a public list that its user has added.

Lists of painters' titles take the place of the testbed's own for the targets that are in them; neighbours, painters who
are kept, and other targets are asked as they are without a list.

A row's own seed is always honoured. Its own guidance and size are, and rows that repeat others are kept, only where the
run is `--as-published`; else rows are asked once each, and sampled as all of the testbed are.
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


def prompts_of(bench: Workbench, suite: Suite, concept: Concept) -> Sequence[Prompt]:
    """What the suite asks: its own prompts, or else those of `suite_prompts`, in the order of their shards.

    UsageError for own prompts that cannot be asked, and for a suite without prompts on this testbed.
    """
    own = suite.prompts(bench.testbed, concept)
    if own is None:
        return suite_prompts(bench, suite.name, concept)
    return first_of_groups(own, bench.limit)


def suite_prompts(bench: Workbench, suite: str, concept: Concept) -> Sequence[Prompt]:
    """The suite's prompts in the order of their shards. DataError where a list was not added, or cannot be used."""
    return first_of_groups(_all_prompts(bench, suite, concept), bench.limit)


def first_of_groups(prompts: Sequence[Prompt], limit: int | None) -> Sequence[Prompt]:
    """Return `limit` prompts of each part and target, or all, in their order.

    The choice follows the sha256 of the prompts' ids: it is the same for every run, and mixes kinds of prompts.
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
        bench.progress.say(f"titles    no row by {', '.join(missing)} in {where}: the testbed's own are asked")
    groups: dict[str, list[Prompt]] = {}
    for prompt in own:
        groups.setdefault(prompt.target, []).append(prompt)
    groups |= {target: _prompts(bench, rows, "targets", target) for target, (_, rows) in rows_by_target.items()}
    return [prompt for turn in zip_longest(*groups.values()) for prompt in turn if prompt is not None]


def list_facts(bench: Workbench, suite: str, concept: Concept) -> JsonObject:
    """What a record says of the lists: names, checksums, variant and rows; nothing for a testbed's own prompts."""

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
    """Public lists that the suite may ask here, best first; none where the testbed has prompts of its own."""
    return bench.testbed.public.get(suite, ())


def titles(bench: Workbench, suite: str) -> list[PublicList]:
    """Lists of painters' titles that were added, best first. DataError for one that is damaged."""
    return added_lists(bench.store.home, bench.testbed.titles.get(suite, ()))


def added_lists(home: Path, names: Sequence[str]) -> list[PublicList]:
    """Those of the lists that were added under the runs folder `home`. DataError for one that is damaged."""
    return [prompt_lists.find(home, name) for name in names if prompt_lists.state(home, name) != "missing"]


def added(bench: Workbench, names: Sequence[str]) -> PublicList:
    """The first of these lists that was added. DataError, about the first, if none was."""
    home = bench.store.home
    there = [name for name in names if prompt_lists.state(home, name) != "missing"]
    return prompt_lists.find(home, (there or names)[0])


def check_as_published(bench: Workbench, suites: Sequence[str]) -> None:
    """UsageError where `--as-published` would change nothing: no suite of the run asks a public list."""
    if bench.as_published and not any(lists(bench, suite) or titles(bench, suite) for suite in suites):
        raise UsageError(
            f"--as-published is for public lists, and suite '{suites[0]}' asks none on testbed '{bench.testbed.name}': "
            "leave it out."
        )


def by_target(
    there: Sequence[PublicList], concept: Concept, variant: Variant
) -> dict[str, tuple[PublicList, Sequence[PublicPrompt]]]:
    """For each target that is in some list, the first such list and its rows of this painter."""
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
    """Rows of a list as prompts; with their own guidance and size if they are asked as published."""
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
                f"{row.id} asks for {row.width} x {row.height} pixels, and this model's pictures are multiples of "
                f"{pixels}: leave --as-published out."
            )
