"""The model card of an exported pipeline: what it is, its scores, where it comes from, how to load it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.api.suite import DESTINATION
from benchmark.records.record import BROUGHT, Cell, Record
from benchmark.tables.markdown_text import without_html

ARROWS = {True: "↑", False: "↓", None: ""}
PLAIN = """from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained({folder})
"""
PRUNED = """import sys; sys.path.insert(0, {folder})
from loader import load_pipeline
pipeline = load_pipeline({folder})
"""


def model_card(
    records: Sequence[Record],
    license_name: str,
    sampler: Mapping[str, Any],
    pruned: bool,
    half: bool,
    folder: Path,
    files: Mapping[str, str] | None = None,
) -> str:
    """Return the text of README.md in Markdown.

    Args:
        records: the model's records, one per suite; the first one describes the model.
        license_name: licence of the base model, for the front matter.
        sampler: settings with which the scores were measured: scheduler, steps, guidance, shape of latents.
        pruned: whether the folder needs its own loader.
        half: whether weights are stored in float16.
        folder: the folder's name in the commands.
        files: sha256 of the files of an external checkpoint, by name; None for a model that was trained here.
    """
    record = records[0]
    targets = [str(target) for target in _list(record.concept.get("targets"))]
    load = (PRUNED if pruned else PLAIN).format(folder=json.dumps(str(folder), ensure_ascii=False))
    steps, guidance = sampler["steps"], sampler["guidance"]
    lines = [
        "---", f"license: {license_name}", "library_name: diffusers", "pipeline_tag: text-to-image", "---", "",
        f"# {record.label}", "",
        f"A Stable Diffusion pipeline for testbed `{record.testbed}`. Its U-Net has {record.macs:.0%} of the base "
        f"model's MACs. {_origin(record, ', '.join(targets) or str(record.concept['kind']), files or {})}", "",
        "## Load", "", "```python", load + f'image = pipeline("a prompt", num_inference_steps={steps}, '
        f"guidance_scale={guidance:g}).images[0]", "```", "",
        *_same_pictures(sampler),
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
        _row(each_record.suite, name, cell)
        for each_record in records
        for name, cell in each_record.cells.items()
        if not name.startswith(DESTINATION)
    ]
    lines += [
        "", "Intervals are over prompts of this one model. ↑ higher is better, ↓ lower is better. " + _relative(record),
        "", "## Provenance", "",
        *(f"- {name}: {value}" for name, value in _provenance(record, files or {}).items()),
        "", "## Intended use and limits", "",
        "For research on concept erasure and compression. Erasure is not a safety guarantee: the scores above show how "
        "much of the concept remains under the prompts of these suites, and stronger attacks may recover more. Other "
        "concepts can be affected as well. The licence of the base model applies, with its restrictions of use.", "",
    ]  # fmt: skip
    return without_html("\n".join(lines))


def _row(suite: str, name: str, cell: Cell) -> str:
    interval = f"{cell.ci[0]:.4g} to {cell.ci[1]:.4g}" if cell.ci else ""
    value = "" if cell.value is None else f"{cell.value:.4g}"
    return f"| {suite} | {name} {ARROWS[cell.higher_is_better]} | {value} | {interval} | {cell.n} | {cell.unit} |"


def _relative(record: Record) -> str:
    return f"CP, CSD and resilience compare with the {record.reference} model."


def _origin(record: Record, targets: str, files: Mapping[str, str]) -> str:
    """Return the sentences on where the model comes from: the base, training here, or an external checkpoint."""
    if record.method == "base":
        return "It is the testbed's base model: nothing was pruned or erased."
    if record.pruning == BROUGHT:
        names = " and ".join(f"`{name}`" for name in files)
        return f"Its weights are from an external checkpoint ({names}). Scores ask whether it forgot: {targets}."
    erased = "no concept" if record.method == "distilled" else targets
    return f"Pruning: {record.pruning}. Method: `{record.method}`; erased: {erased}."


def _same_pictures(sampler: Mapping[str, Any]) -> list[str]:
    """Return the lines on how to sample a scored picture again from its seed."""
    channels, size = sampler["latent_channels"], sampler["latent_size"]
    solver = {"pndm": "PNDM without Runge-Kutta steps", "ddim": "DDIM with eta 0"}[sampler["scheduler"]]
    return [
        "The pictures that were scored were sampled from these initial latents, one generator on the CPU per picture, "
        "with the prompt and the seed of the suite's list:", "",
        "```python", "import torch",
        f"latents = torch.randn((1, {channels}, {size}, {size}), generator=torch.Generator().manual_seed(seed))",
        f"image = pipeline(prompt, latents=latents, num_inference_steps={sampler['steps']}, "
        f"guidance_scale={sampler['guidance']:g}).images[0]", "```", "",
        f"The sampler is {solver}, with {sampler['steps']} steps and guidance {sampler['guidance']:g}; it is part of "
        "this folder.", "",
    ]  # fmt: skip


def _provenance(record: Record, files: Mapping[str, str]) -> dict[str, Any]:
    """Return facts by name. Settings of a training are left out for models that were not trained here."""
    facts: dict[str, Any] = {f"file `{name}`": f"sha256 {checksum}" for name, checksum in files.items()}
    facts |= {"Hub": record.counted.get("hub", ""), "scale of the LoRA": record.counted.get("lora_scale", "")}
    if record.pruning != BROUGHT and record.method != "base":
        facts |= {
            "training seed": record.seed,
            "preset": record.preset,
            "settings beyond the preset": "" if record.variant == "default" else record.variant,
            "data": record.data,
            "budget": ", ".join(f"{key} {value}" for key, value in record.budget.items() if key != "default"),
        }
    made = {key: value for key, value in record.made.items() if key not in ("suite", "versions")}
    versions = record.made.get("versions")
    facts |= {"suite": _suite(record), "store key of the model": record.model_key, **made}
    if isinstance(versions, dict):
        facts["versions"] = ", ".join(f"{name} {number}" for name, number in versions.items())
    return {name: value for name, value in facts.items() if value not in ("", None, {})}


def _suite(record: Record) -> str:
    """Return the name of the record's suite, with its file if it is not built in."""
    files = [entry.file for entry in record.plugins if entry.group == "suites"]
    return f"{record.suite} ({Path(files[0]).name})" if files else record.suite


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
