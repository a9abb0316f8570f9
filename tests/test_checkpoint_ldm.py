"""Single-file checkpoints with the original names are converted without the Hub, and their other parts are compared."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ldm_names
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from tiny import SCHEDULER, same, tiny_unet
from torch import Tensor
from transformers import CLIPTextModel

from benchmark.errors import DataError
from benchmark.models.external_checkpoint import load, locate


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection fails the test, although the Hub may be asked."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def whole(pipeline: Path, text: str = "clip") -> dict[str, Tensor]:
    """A pipeline as a single file, as Stable Diffusion 1 (clip) or 2 (open_clip) is published."""
    encoder = CLIPTextModel.from_pretrained(pipeline / "text_encoder")
    states = encoder.state_dict()
    layers = encoder.config.num_hidden_layers
    unet = ldm_names.unet(UNet2DConditionModel.from_pretrained(pipeline / "unet"))
    scheduler: Any = DDIMScheduler.from_pretrained(pipeline / "scheduler")
    return {
        **unet,
        **ldm_names.averaged(unet),
        **(ldm_names.clip(states) if text == "clip" else ldm_names.open_clip(states, layers)),
        **ldm_names.vae(AutoencoderKL.from_pretrained(pipeline / "vae")),
        **ldm_names.buffers(scheduler.alphas_cumprod),
    }


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_single_file_gives_the_unet_that_it_was_written_from(layers: int, suffix: str, tmp_path: Path) -> None:
    theirs = tiny_unet(1, (16, 32, 32), layers=layers)
    weights, file = ldm_names.unet(theirs), tmp_path / f"model.{suffix}"
    weights |= ldm_names.averaged(weights)
    if suffix == "ckpt":
        torch.save({"state_dict": weights, "global_step": 7}, file)
    else:
        save_file(weights, file)
    located = locate(str(file))
    assert (located.form, located.details()) == ("ldm", [])
    assert located.facts() == {"ignored": [f"averaged weights ({len(theirs.state_dict()) + 1} tensors)"]}
    assert same(load(located, tiny_unet(0, (16, 32, 32), layers=layers), SCHEDULER), theirs)


def test_projections_of_stable_diffusion_1_are_convolutions(tmp_path: Path) -> None:
    config = {**tiny_unet(0).config, "use_linear_projection": False}
    theirs, base = (UNet2DConditionModel.from_config(config) for _ in range(2))
    save_file(ldm_names.unet(theirs), tmp_path / "model.safetensors")
    assert same(load(locate(str(tmp_path / "model.safetensors")), base, SCHEDULER), theirs)
    with pytest.raises(DataError, match="not the testbed's U-Net"):
        load(locate(str(tmp_path / "model.safetensors")), tiny_unet(0), SCHEDULER)


def test_the_conversion_is_that_of_diffusers_from_single_file(tiny: Path, tmp_path: Path) -> None:
    pipeline = tiny.parent / "model"
    file = tmp_path / "model.safetensors"
    save_file(whole(pipeline), file)
    base = UNet2DConditionModel.from_pretrained(pipeline / "unet")
    theirs = UNet2DConditionModel.from_single_file(
        str(file), config=str(pipeline), subfolder="unet", local_files_only=True
    )
    assert same(load(locate(str(file)), tiny_like(base), SCHEDULER), theirs)


def tiny_like(network: UNet2DConditionModel) -> UNet2DConditionModel:
    torch.manual_seed(5)
    return UNet2DConditionModel.from_config(network.config)


LAYER = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"


def renamed(weights: dict[str, Tensor], old: str, new: str) -> None:
    for name in [name for name in weights if old in name]:
        weights[name.replace(old, new)] = weights.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(LAYER), "does not have the layers of the testbed's .it lacks 'down_blocks.0.resnets.0.conv1."),
        (lambda w: w.update({LAYER + "_": w[LAYER].clone()}), "does not have the layers of the testbed's"),
        (lambda w: w.update({"model.diffusion_model.label_emb.0.0.weight": torch.ones(2, 3)}), "label_emb.0.0.weight"),
        (lambda w: w.update({"conditioner.embedders.0.x": torch.ones(2)}), "'conditioner.embedders.0.x', which is no"),
        (lambda w: w.update({"text_encoder.x": torch.ones(2)}), "'text_encoder.x', which is no part"),
        (lambda w: w.update({LAYER: w[LAYER] * torch.nan}), "are NaN or infinite"),
        (lambda w: w.update({LAYER: w[LAYER][:3].clone()}), "not the testbed's U-Net with smaller inner widths"),
        (lambda w: renamed(w, "input_blocks.1.0", "input_blocks.x.0"), "does not have the layers|cannot be converted"),
        (lambda w: renamed(w, "attn2", "attn3"), "does not have the layers of the testbed's"),
        (lambda w: [w.pop(name) for name in list(w) if "attn2" not in name], "must hold the whole U-Net"),
        (
            lambda w: w.update({"model.diffusion_model.input_blocks.0.0.weight": torch.rand(16, 9, 3, 3)}),
            "in_channels 9, the testbed's model 4",
        ),
    ],
)
def test_a_damaged_or_foreign_single_file_is_refused_in_one_sentence(
    change: Callable[[dict[str, Tensor]], Any], message: str, tmp_path: Path
) -> None:
    weights = ldm_names.unet(tiny_unet(1))
    change(weights)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=message) as caught:
        load(locate(str(tmp_path / "model.safetensors")), tiny_unet(0), SCHEDULER)
    assert "\n" not in str(caught.value)


def test_a_file_with_only_averaged_weights_is_refused(tmp_path: Path) -> None:
    save_file(ldm_names.averaged(ldm_names.unet(tiny_unet(1))), tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"it holds averaged \(EMA\) weights"):
        load(locate(str(tmp_path / "model.safetensors")), tiny_unet(0), SCHEDULER)
