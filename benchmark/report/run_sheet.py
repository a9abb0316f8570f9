"""The contact sheet of a run: base, reference and method side by side, same prompts and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.generate import pictures, shards
from benchmark.report.contact_sheet import contact_sheet, write_contact_sheet
from benchmark.report.gallery import name_of

if TYPE_CHECKING:
    from benchmark.models import Model
    from benchmark.suites import Suite
    from benchmark.workbench import Workbench
    from prompts.concepts import Concept
    from prompts.lists import Prompt

SHOWN = {"targets": 6, "neighbours": 3, "kept": 4, "implicit": 3}
"""Columns a part."""


def chosen(prompts: Sequence[Prompt]) -> list[int]:
    """Which prompts of a shard are shown: the first few of each part."""
    left = dict(SHOWN)
    rows = []
    for part in SHOWN:
        for k, prompt in enumerate(prompts):
            if prompt.part == part and left[part]:
                rows.append(k)
                left[part] -= 1
    return rows


def write_run_sheet(bench: Workbench, models: Sequence[Model], suite: Suite, concept: Concept, home: Path) -> Path:
    """Write runs/pictures/<model>.png from the suite's first shard, a cross-section of it; return the path."""
    first = shards(bench.testbed.prompts(suite.name, concept))[0]
    columns = chosen(first) or list(range(min(12, len(first))))
    rows = {}
    for model in models:
        images = pictures(bench, model, first, suite.name)
        rows[model.label] = [images[k].permute(1, 2, 0).numpy() for k in columns]
    sheet = contact_sheet(
        rows, [first[k].text for k in columns], title=f"{models[-1].label}: forgetting {', '.join(concept.targets)}"
    )
    return write_contact_sheet(home / "pictures" / f"{suite.name}-{name_of(models[-1])}.png", sheet)
