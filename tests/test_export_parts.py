"""`bench export` of a pipeline that was scored with its own parts writes these parts."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from test_checkpoint_parts import STEPS, called, edited
from test_cli import bench
from test_own_parts import both, with_text_encoder, with_vae
from transformers import CLIPTextModel


def score(folder: Path, home: Path, *more: str) -> list[str]:
    """Score the folder, and return the options for its export."""
    common = ["--runs", str(home), "--checkpoint", str(folder)]
    called("eval", *common, "--suite", "artists", "--alone", "--reference", "base", "--device", "cpu", "--name", "x",
           *more)  # fmt: skip
    return common


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict())


def test_exported_folder_has_the_own_parts_and_loads_with_diffusers(standin: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(standin / "pipeline", theirs)
    both(with_text_encoder(), with_vae(scaling_factor=0.5), edited(STEPS, prediction_type="epsilon"))(theirs)
    options = score(theirs, tmp_path / "runs")
    out = tmp_path / "exported"
    exported = bench("export", "x (own text encoder, VAE and noise schedule)", str(out), *options)
    assert exported.exit_code == 0, exported.output + str(exported.exception)
    pipeline = StableDiffusionPipeline.from_pretrained(out)
    assert pipeline.scheduler.config.prediction_type == "epsilon"
    assert pipeline.vae.config.scaling_factor == 0.5
    assert all(torch.equal(tensor, weights_of(theirs)[name]) for name, tensor in weights_of(out).items())
    alone = bench("export", "x (own text encoder, VAE and noise schedule)", str(tmp_path / "u"),
                  *options[:-1], str(theirs / "unet" / "diffusion_pytorch_model.safetensors"))  # fmt: skip
    assert "name the folder of the pipeline with --checkpoint" in alone.stderr
    with_text_encoder(layer_norm_eps=1e-3)(theirs)
    changed = bench("export", "x (own text encoder, VAE and noise schedule)", str(tmp_path / "c"), *options)
    assert changed.exit_code == 2
    assert "error: The text encoder of" in changed.stderr
    assert "is not the one that" in changed.stderr
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("parts", ["unet", "text_encoder"])
def test_export_of_chosen_parts_takes_all_others_from_the_testbed(parts: str, standin: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(standin / "pipeline", theirs)
    both(with_text_encoder(), with_vae())(theirs)
    options = score(theirs, tmp_path / "runs", "--parts", parts)
    label = {"unet": "x (U-Net alone)", "text_encoder": "x (text encoder alone)"}[parts]
    exported = bench("export", label, str(tmp_path / "out"), *options)
    assert exported.exit_code == 0, exported.output + str(exported.exception)
    source = theirs if parts == "text_encoder" else standin / "pipeline"
    assert all(torch.equal(tensor, weights_of(source)[name]) for name, tensor in weights_of(tmp_path / "out").items())
