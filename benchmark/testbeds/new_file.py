"""Writes a testbed file from a folder's own configurations: a pipeline in diffusers' layout, or weights like mini's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmark.errors import DataError, UsageError
from benchmark.store import durable
from benchmark.testbeds.toml_files import check_name

STEPS, BATCH, KEPT = 20_000, 64, 0.8
"""Training steps, batch and share of MACs of the paper, by which the default budget is counted."""
SCHEDULERS = {"PNDMScheduler": "pndm", "DDIMScheduler": "ddim"}
"""Schedulers of pipelines that are sampled with here; of others the noise schedule is read, and PNDM samples."""


def write_new(source: Path, out: Path, captions: Path | None = None, name: str = "") -> str:
    """Write `out`, the definition of a testbed on the pipeline in `source`, and return its text.

    Args:
        source: folder of a pipeline of the Stable Diffusion family, or of weights as `bench testbed build mini` makes.
        out: the TOML file; it must not exist.
        captions: folder of captioned pictures; that of `sd21` if not given.
        name: the testbed's name; that of the file if not given.

    Raises:
        UsageError: `out` exists or is no TOML file, or `captions` would not be read.
        DataError: the folder is not such a pipeline, or the name is that of an installed testbed.
    """
    if out.suffix != ".toml":
        raise UsageError(f"{out} is no name of a testbed file: it ends in .toml.")
    if out.exists():
        raise UsageError(f"{out} is there already: give another name, or remove it.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {out.absolute().parent} to write {out.name} in: make it first.")
    if not source.is_dir():
        raise DataError(f"There is no folder {source}: name that of a pipeline in diffusers' layout.")
    name = name or out.stem
    check_name(out, name)
    if (source / "manifest.json").is_file() and (source / "pipeline").is_dir():
        if captions is not None:
            raise UsageError("--captions would not be read: mini's world draws its own pictures; leave it out.")
        text = _like_mini(source, out, name)
    else:
        text = _like_sd21(source, out, name, captions)
    durable.write_bytes(out, text.encode())
    return text


def _like_mini(source: Path, out: Path, name: str) -> str:
    from benchmark.testbeds.mini.testbed import check_manifest

    check_manifest(source)
    return "\n".join([
        f"# mini on the weights in {source.name}.", 'like = "mini"', f"name = {json.dumps(name)}",
        f"weights = {_place(source, out)}", "",
        "# What else can be set, with mini's values:",
        '# targets = ["Vincent van Gogh", "Claude Monet", "Pablo Picasso"]',
        '# prompts = "prompts.csv"   # id, text, seed, part, target: the prompts of suite artists',
        "# steps = 20", "# guidance = 2.5", "# flops = 2.2e13", "",
    ])  # fmt: skip


def _like_sd21(source: Path, out: Path, name: str, captions: Path | None) -> str:
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.testbeds.stable_diffusion.pipeline import Pipeline
    from methods.pruning.macs import forward_flops

    pipeline = Pipeline(source, torch.device("cpu"))
    unet_config, schedule = pipeline.unet_config, pipeline.scheduler
    length = text_length(source)
    latent_size = unet_config.get("sample_size")
    if not isinstance(latent_size, int):
        raise DataError(
            f"{source / 'unet' / 'config.json'} has no sample_size, from which the size of pictures follows."
        )
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(unet_config)
    forward = forward_flops(unet, latent_size, length)
    # A step of Eq. 8: the teacher forward, the student forward and backward, which counts as two forward passes.
    flops = STEPS * BATCH * forward * (1 + 3 * KEPT)
    class_name = str(schedule.get("_class_name", "PNDMScheduler"))
    sampler = SCHEDULERS.get(class_name, "pndm")
    note = "" if class_name in SCHEDULERS else f"   # or ddim; the pipeline's own, {class_name}, is not to be had here"
    layout = "# A folder of captioned pictures: COCO's layout, or train/ and val/ with a metadata.csv."
    folder = '# captions = "coco2017"' if captions is None else f"captions = {_place(captions, out)}"
    return "\n".join([
        f"# The pipeline in {source.name}. What is left out is that of sd21.",
        "# Read from the pipeline itself in each run, and not to be set:",
        f"#   prediction type  {schedule.get('prediction_type', 'epsilon')}",
        f"#   noise schedule   {schedule.get('beta_schedule', 'linear')}, "
        f"{schedule.get('num_train_timesteps', 1000)} timesteps",
        f"#   text             {length} tokens, {unet_config.get('cross_attention_dim')} wide",
        f"#   latents          {pipeline.latent_channels} channels, a place for {pipeline.factor} pixels",
        'like = "sd21"', f"name = {json.dumps(name)}", f"model = {_place(source, out)}", "",
        layout, folder, "",
        f"size = {latent_size * pipeline.factor}", f'scheduler = "{sampler}"{note}', "steps = 25", "guidance = 7.5",
        f"# {STEPS:,} steps of Eq. 8 at batch {BATCH}, {KEPT:.0%} of MACs.", f"flops = {flops:.2g}", "",
    ])  # fmt: skip


def text_length(pipeline: Path) -> int:
    """Tokens of a text, from the tokenizer's configuration. DataError where it does not say so."""
    path = pipeline / "tokenizer" / "tokenizer_config.json"
    try:
        length = json.loads(path.read_text("utf-8-sig"))["model_max_length"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read, or has no model_max_length ({error}): download the model again."
        ) from error
    return int(length)


def _place(path: Path, out: Path) -> str:
    """A path as a testbed file in `out` names it: relative to it where it lies below, else absolute."""
    absolute, folder = path.resolve(), out.resolve().parent
    place = "./" + os.path.relpath(absolute, folder) if absolute.is_relative_to(folder) else str(absolute)
    return json.dumps(place, ensure_ascii=False)
