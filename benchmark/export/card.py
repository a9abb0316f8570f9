"""The model card of an exported pipeline: what it is, its scores, where it comes from, how to load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.records.record import Cell, Record

ARROWS = {True: "↑", False: "↓", None: ""}
PLAIN = """from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained("{folder}")
"""
PRUNED = """import sys; sys.path.insert(0, "{folder}")
from loader import load_pipeline
pipeline = load_pipeline("{folder}")
"""


def model_card(
    records: Sequence[Record], license_name: str, sampler: Mapping[str, Any], pruned: bool, half: bool, folder: Path
) -> str:
    """Return the text of README.md in Markdown.

    Args:
        records: the model's records, one per suite; the first one describes the model.
        license_name: licence of the base model, for the front matter.
        sampler: settings with which the scores were measured: scheduler, steps, guidance.
        pruned: whether the folder needs its own loader.
        half: whether weights are stored in float16.
        folder: the folder's name in the commands.
    """
    record = records[0]
    targets = [str(target) for target in _list(record.concept.get("targets"))]
    erased = "no concept" if record.method in ("base", "distilled") else ", ".join(targets) or record.concept["kind"]
    load = (PRUNED if pruned else PLAIN).format(folder=folder)
    steps, guidance = sampler["steps"], sampler["guidance"]
    lines = [
        "---", f"license: {license_name}", "library_name: diffusers", "pipeline_tag: text-to-image", "---", "",
        f"# {record.label}", "",
        f"A Stable Diffusion pipeline for testbed `{record.testbed}`. Its U-Net keeps {record.macs:.0%} of the base "
        f"model's MACs (pruning: {record.pruning}). Method: `{record.method}`; erased: {erased}.", "",
        "## Load", "", "```python", load + f'image = pipeline("a prompt", num_inference_steps={steps}, '
        f"guidance_scale={guidance:g}).images[0]", "```", "",
    ]  # fmt: skip
    if pruned:
        lines += [
            "`loader.py` needs torch, diffusers, transformers and safetensors. diffusers alone cannot load this "
            "folder: its U-Net has widths that a diffusers config does not describe.", "",
        ]  # fmt: skip
    if half:
        lines += ["Weights are stored in float16; the scores below were measured before the conversion.", ""]
    lines += ["## Scores", "", "| suite | score | value | 95 % interval | n | unit |", "|---|---|---:|---|---:|---|"]
    lines += [
        _row(each_record.suite, name, cell) for each_record in records for name, cell in each_record.cells.items()
    ]
    lines += [
        "", "Intervals are over prompts of this one model. ↑ higher is better, ↓ lower is better. " + _relative(record),
        "", "## Provenance", "",
        *(f"- {name}: {value}" for name, value in _provenance(record).items()),
        "", "## Intended use and limits", "",
        "For research on concept erasure and compression. Erasure is not a safety guarantee: the scores above show how "
        "much of the concept remains under the prompts of these suites, and stronger attacks may recover more. Other "
        "concepts can be affected as well. The licence of the base model applies, with its restrictions of use.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _row(suite: str, name: str, cell: Cell) -> str:
    interval = f"{cell.ci[0]:.4g} to {cell.ci[1]:.4g}" if cell.ci else ""
    value = "" if cell.value is None else f"{cell.value:.4g}"
    return f"| {suite} | {name} {ARROWS[cell.higher_is_better]} | {value} | {interval} | {cell.n} | {cell.unit} |"


def _relative(record: Record) -> str:
    return f"CP, CSD and resilience compare with the {record.reference} model."


def _provenance(record: Record) -> dict[str, Any]:
    facts = {
        "training seed": record.seed,
        "preset": record.preset,
        "settings beyond the preset": record.variant,
        "data": record.data,
        "budget": ", ".join(f"{key} {value}" for key, value in record.budget.items()),
        "store key of the model": record.model_key,
        **record.made,
    }
    return {name: value for name, value in facts.items() if value not in ("", None, {})}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
