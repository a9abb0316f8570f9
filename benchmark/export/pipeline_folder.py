"""A model as a diffusers pipeline folder: the testbed's pipeline with the model's U-Net and the testbed's sampler."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.store import durable

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Testbed
    from benchmark.models.own_parts import OwnParts
    from methods.pruning.architecture import Architecture

LOADER = "loader.py"
"""The module that loads a pruned pipeline; it is copied into the folder and imports nothing of this project."""
PLACES = frozenset({"_name_or_path", "name_or_path"})
"""Fields of configs with the place that a part was loaded from."""
WEIGHTS = "diffusion_pytorch_model.safetensors"


def write_pipeline(
    folder: Path,
    testbed: Testbed,
    unet: UNet2DConditionModel,
    architecture: Architecture | None,
    card: str,
    half: bool = False,
    own: OwnParts | None = None,
) -> None:
    """Write the pipeline into `folder`, which must not exist. A failure leaves nothing behind.

    Args:
        folder: the folder to create.
        testbed: its text encoder, tokenizer, VAE and scheduler become those of the pipeline.
        unet: the model's U-Net; it is moved to the CPU.
        architecture: how `unet` was pruned; None for a U-Net with the base's shapes. A pruned one cannot be described
            by diffusers' config, so `loader.py` and `unet/architecture.json` are written too.
        card: text of README.md.
        half: write weights in float16.
        own: parts that replace the testbed's; None for none.

    Raises:
        StoreError: the folder cannot be written, or its disk is full.
    """
    with durable.storing(folder):
        durable.make_folder(folder.absolute().parent)
        durable.sweep(folder.absolute().parent)  # a killed export has left its folder there
        temporary = durable.temporary_folder(folder.absolute().parent, 0o777)
        try:
            _write(temporary, testbed, unet, architecture, half, own)
            _make_portable(temporary)
            (temporary / "README.md").write_text(card, encoding="utf-8")
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _make_portable(folder: Path) -> None:
    """Remove paths of this machine from the configs, and give all files the permissions of newly created ones.

    Hugging Face's libraries write into configs where a part was loaded from, and make weights readable only for their
    owner.
    """
    for config in folder.glob("**/*.json"):
        settings = json.loads(config.read_bytes())
        if isinstance(settings, dict) and not PLACES.isdisjoint(settings):
            kept = {key: value for key, value in settings.items() if key not in PLACES}
            config.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    mode = folder.stat().st_mode & 0o666  # the folder was created with the umask of this process
    for file in folder.glob("**/*"):
        if file.is_file():
            file.chmod(mode)


def _write(
    folder: Path,
    testbed: Testbed,
    unet: UNet2DConditionModel,
    architecture: Architecture | None,
    half: bool,
    own: OwnParts | None,
) -> None:
    import torch
    from safetensors.torch import save_file
    from torch import nn

    from methods.pruning.architecture import config_of
    from methods.sampling import make_scheduler

    dtype = torch.float16 if half else torch.float32
    pipeline = testbed.assembled()
    scheduler = testbed.scheduler if own is None or own.scheduler is None else own.scheduler
    pipeline.scheduler = make_scheduler(scheduler, testbed.sampler)
    if own is not None:
        pipeline.text_encoder = own.text_encoder or pipeline.text_encoder
        pipeline.tokenizer = pipeline.tokenizer if own.tokenizer is None else own.tokenizer
        pipeline.vae = own.vae or pipeline.vae
    network = unet.cpu()
    for module in (pipeline.text_encoder, pipeline.vae, network):
        nn.Module.to(module, dtype)  # diffusers' own `to` prints a warning that does not apply here
    if architecture is None:
        pipeline.unet = network
        pipeline.save_pretrained(folder)
        return
    pipeline.save_pretrained(folder)
    shutil.rmtree(folder / "unet")
    (folder / "unet").mkdir()
    (folder / "unet" / "config.json").write_text(json.dumps(config_of(unet), indent=1, sort_keys=True))
    (folder / "unet" / "architecture.json").write_text(json.dumps(architecture.to_json(), separators=(",", ":")))
    save_file({n: t.detach().contiguous() for n, t in network.state_dict().items()}, folder / "unet" / WEIGHTS)
    shutil.copyfile(Path(__file__).with_name(LOADER), folder / LOADER)
