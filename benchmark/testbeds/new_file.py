"""Writes a testbed file from the configuration files of a diffusers pipeline, or for weights like mini's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmark.errors import DataError, UsageError
from benchmark.store import durable
from benchmark.testbeds.toml_files import check_name

STEPS, BATCH, KEPT = 20_000, 64, 0.8
"""Training steps, batch size and kept share of MACs in the paper, which determine the default budget."""
SCHEDULERS = {"PNDMScheduler": "pndm", "DDIMScheduler": "ddim"}
"""Supported schedulers. A pipeline with a different one is sampled with PNDM on its noise schedule."""


def write_new(source: Path, out: Path, captions: Path | None = None, name: str = "") -> str:
    """Write the testbed file `out` for the pipeline in `source`, and return its text.

    Args:
        source: folder of a Stable Diffusion pipeline, or of weights written by `bench testbed build mini`.
        out: the TOML file; it must not exist.
        captions: folder of captioned pictures; by default that of `sd21`.
        name: the testbed's name; by default the name of the file.

    Raises:
        UsageError: `out` exists or does not end in .toml, or `captions` has no effect.
        DataError: the folder is not such a pipeline, or an installed testbed has this name.
    """
    if out.suffix != ".toml":
        raise UsageError(f"{out} is not a name for a testbed file: choose one that ends in .toml.")
    if out.exists():
        raise UsageError(f"{out} already exists: choose a different name, or remove it.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"The folder {out.absolute().parent} for {out.name} does not exist: create it first.")
    if not source.is_dir():
        raise DataError(f"The folder {source} does not exist: name the folder of a pipeline in diffusers' layout.")
    name = name or out.stem
    check_name(out, name)
    if (source / "manifest.json").is_file() and (source / "pipeline").is_dir():
        if captions is not None:
            raise UsageError("--captions has no effect, because mini generates its own pictures: leave it out.")
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
        "# Further settings, with mini's values:",
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
            f"{source / 'unet' / 'config.json'} has no sample_size, which is needed for the size of pictures."
        )
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(unet_config)
    forward = forward_flops(unet, latent_size, length)
    # A step of Eq. 8: forward pass of the teacher, forward and backward pass of the student (1 + 2 forward passes).
    flops = STEPS * BATCH * forward * (1 + 3 * KEPT)
    class_name = str(schedule.get("_class_name", "PNDMScheduler"))
    sampler = SCHEDULERS.get(class_name, "pndm")
    note = "" if class_name in SCHEDULERS else f"   # or ddim; {class_name} of the pipeline is not supported"
    layout = "# A folder of captioned pictures: COCO's layout, or train/ and val/ with a metadata.csv."
    folder = '# captions = "coco2017"' if captions is None else f"captions = {_place(captions, out)}"
    return "\n".join([
        f"# The pipeline in {source.name}. Settings that are left out have the values of sd21.",
        "# Read from the pipeline in every run, and cannot be set:",
        f"#   prediction type  {schedule.get('prediction_type', 'epsilon')}",
        f"#   noise schedule   {schedule.get('beta_schedule', 'linear')}, "
        f"{schedule.get('num_train_timesteps', 1000)} timesteps",
        f"#   text             {length} tokens, {unet_config.get('cross_attention_dim')} wide",
        f"#   latents          {pipeline.latent_channels} channels, {pipeline.factor} times smaller than pictures",
        'like = "sd21"', f"name = {json.dumps(name)}", f"model = {_place(source, out)}", "",
        layout, folder, "",
        f"size = {latent_size * pipeline.factor}", f'scheduler = "{sampler}"{note}', "steps = 25", "guidance = 7.5",
        f"# {STEPS:,} steps of Eq. 8 at batch {BATCH}, {KEPT:.0%} of MACs.", f"flops = {flops:.2g}", "",
    ])  # fmt: skip


def text_length(pipeline: Path) -> int:
    """Return the number of tokens of a text from the tokenizer's configuration. DataError if it is missing there."""
    path = pipeline / "tokenizer" / "tokenizer_config.json"
    try:
        length = json.loads(path.read_text("utf-8-sig"))["model_max_length"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read, or has no model_max_length ({error}): download the model again."
        ) from error
    return int(length)


def _place(path: Path, out: Path) -> str:
    """Quote a path for a testbed file `out`: relative if it is below the file's folder, else absolute."""
    absolute, folder = path.resolve(), out.resolve().parent
    place = "./" + os.path.relpath(absolute, folder) if absolute.is_relative_to(folder) else str(absolute)
    return json.dumps(place, ensure_ascii=False)
