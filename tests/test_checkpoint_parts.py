"""Parts of a checkpoint that differ from the testbed's are named; tests/test_own_parts.py samples with them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tiny import SCHEDULER, tiny_unet
from transformers import CLIPTextModel, CLIPTokenizer
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import DataError, UsageError
from benchmark.models.external_checkpoint import load, locate
from benchmark.models.pipeline_parts import differences
from benchmark.records.record import read_records
from benchmark.testbeds.stable_diffusion.pipeline import Pipeline
from methods.sampling import Sampler, make_scheduler

Change = Callable[[Path], Any]


def edited(file: str, **fields: Any) -> Change:
    """Sets fields of a JSON file."""

    def change(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def reweighted(file: str, alter: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Alters all floating-point weights of a file."""

    def change(folder: Path) -> None:
        weights = {k: alter(v) if v.is_floating_point() else v for k, v in load_file(folder / file).items()}
        save_file(weights, folder / file, metadata={"format": "pt"})

    return change


def in_half_precision(folder: Path) -> None:
    AutoencoderKL.from_pretrained(folder / "vae").half().save_pretrained(folder / "vae")
    CLIPTextModel.from_pretrained(folder / "text_encoder").half().save_pretrained(folder / "text_encoder")


def in_bf16_shards(folder: Path) -> None:
    vae, text = AutoencoderKL.from_pretrained(folder / "vae"), CLIPTextModel.from_pretrained(folder / "text_encoder")
    for part in ("vae", "text_encoder"):
        shutil.rmtree(folder / part)
    vae.bfloat16().save_pretrained(folder / "vae", max_shard_size="20KB")
    text.bfloat16().save_pretrained(folder / "text_encoder", max_shard_size="20KB")
    assert list(folder.glob("vae/*.index.json"))


def in_fp16_variants(folder: Path) -> None:
    in_half_precision(folder)
    for file in ("vae/diffusion_pytorch_model", "text_encoder/model"):
        (folder / f"{file}.safetensors").rename(folder / f"{file}.fp16.safetensors")


def with_another_tokenizer_file(folder: Path) -> None:
    words = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    shutil.rmtree(folder / "tokenizer")
    words.save_pretrained(folder / "tokenizer")
    assert not (folder / "tokenizer" / "merges.txt").exists()


def without_its_text_encoder(folder: Path) -> None:
    """As an older download lies in the Hub's cache."""
    shutil.rmtree(folder / "text_encoder")
    edited(INDEX, text_encoder=["transformers", "CLIPTextModel"])(folder)


def padded_as_sd1(folder: Path) -> None:
    for file in ("tokenizer_config", "special_tokens_map"):
        edited(f"tokenizer/{file}.json", pad_token="<|endoftext|>")(folder)


def with_a_token(folder: Path) -> None:
    words = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    words.add_tokens(["<my-style>"])
    words.save_pretrained(folder / "tokenizer")


INDEX, VAE, TEXT = "model_index.json", "vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
STEPS = "scheduler/scheduler_config.json"
SAME: dict[str, Change] = {
    "copy": lambda folder: None,
    "fp16": in_half_precision,
    "bf16 in shards": in_bf16_shards,
    "fp16 variants": in_fp16_variants,
    "tokenizer.json": with_another_tokenizer_file,
    "another solver": edited(STEPS, _class_name="DPMSolverMultistepScheduler", timestep_spacing="linspace",
                             _diffusers_version="0.1", solver_order=2, clip_sample=True),
    "cosmetic": edited("vae/config.json", sample_size=7, force_upcast=False, _diffusers_version="0.1"),
    "safety checker": edited(INDEX, safety_checker=["x", "Checker"], image_encoder=["x", "Encoder"], two=[None, None]),
}  # fmt: skip


@pytest.mark.parametrize("form", SAME)
def test_same_parts_in_other_files_or_precision_do_not_differ(form: str, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    SAME[form](tmp_path / "model")
    assert differences(tmp_path / "model", tiny.parent / "model") == []


OTHER: dict[str, tuple[Change, str]] = {
    "text weights": (reweighted(TEXT, lambda w: w * 1.001), "text_encoder (different weights in "),
    "clip skip": (edited("text_encoder/config.json", num_hidden_layers=1),
                  "text_encoder (num_hidden_layers 1, not 2)"),
    "activation": (edited("text_encoder/config.json", hidden_act="quick_gelu"), "text_encoder (hidden_act quick_gelu"),
    "t5": (edited("text_encoder/config.json", model_type="t5"), "text_encoder (model_type t5, not clip_text_model"),
    "vae weights": (reweighted(VAE, lambda w: w + 1e-3), "vae (different weights in "),
    "vae scale": (edited("vae/config.json", scaling_factor=0.13025), "vae (scaling_factor 0.13025, not 0.18215)"),
    "vae kind": (edited("vae/config.json", _class_name="AutoencoderTiny"), "vae (_class_name AutoencoderTiny"),
    "token": (with_a_token, "tokenizer (different added tokens"),
    "padding": (padded_as_sd1, "tokenizer (different padding token"),
    "length": (edited("tokenizer/tokenizer_config.json", model_max_length=64), "tokenizer (different length)"),
    "betas": (edited(STEPS, beta_end=0.02, beta_schedule="linear"),
              "scheduler (beta_end 0.02, not 0.012; beta_schedule linear, not scaled_linear)"),
    "zero snr": (edited(STEPS, rescale_betas_zero_snr=True), "scheduler (rescale_betas_zero_snr True, not False)"),
    "trailing": (edited(STEPS, timestep_spacing="trailing"), "scheduler (timestep_spacing trailing, not leading)"),
    "flow": (edited(STEPS, _class_name="FlowMatchEulerDiscreteScheduler", beta_start=None, beta_end=None),
             "scheduler ("),
    "pipeline": (edited(INDEX, _class_name="StableDiffusionPipelineSafe"), "class (StableDiffusionPipelineSafe)"),
    "lost part": (without_its_text_encoder, "text_encoder (its folder does not exist)"),
    "further part": (edited(INDEX, text_encoder_2=["transformers", "CLIPTextModel"]), "text_encoder_2 (the testbed"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_part_that_differs_is_named_with_what_differs(name: str, tiny: Path, tmp_path: Path) -> None:
    change, message = OTHER[name]
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    change(tmp_path / "model")
    (difference,) = differences(tmp_path / "model", tiny.parent / "model")
    assert message in difference


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / VAE).rename(folder / "vae" / "vae.bin"), "has no weights in safetensors"),
        (lambda folder: (folder / TEXT).write_bytes(b"cut"), "cannot be loaded"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), "config.json cannot be read"),
        (reweighted(TEXT, lambda w: w * torch.nan), "text_encoder are broken, because .* are NaN or infinite"),
    ],
)
def test_part_that_cannot_be_compared_is_refused(change: Change, message: str, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(DataError, match=message) as caught:
        differences(tmp_path / "model", tiny.parent / "model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 16},
            "class_embed_type projection",
        ),
        ({"num_class_embeds": 10}, "num_class_embeds 10"),
        ({"time_cond_proj_dim": 8}, "time_cond_proj_dim 8, the testbed's model None"),
        ({"encoder_hid_dim": 8, "encoder_hid_dim_type": "text_proj"}, "encoder_hid_dim 8"),
        ({"addition_embed_type": "text"}, "addition_embed_type text"),
        ({"attention_type": "gated"}, "attention_type gated"),
        ({"out_channels": 8}, "out_channels 8, the testbed's model 4"),
        ({"in_channels": 9}, "in_channels 9"),
        ({"_class_name": "UNetMotionModel"}, "is a UNetMotionModel, not a U-Net of the Stable Diffusion family"),
        ({"field_of_tomorrow": 3}, "a field 'field_of_tomorrow' that the installed diffusers does not know"),
    ],
)
def test_unet_with_other_inputs_or_outputs_is_refused(fields: dict, message: str, tmp_path: Path) -> None:
    base = tiny_unet(0)
    config = {**base.config, **fields}
    base.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=message):
        load(locate(str(tmp_path)), base, SCHEDULER)


def test_unet_with_layers_of_its_own_is_read_as_its_config_says(tmp_path: Path) -> None:
    """As distilled ones have them (BK-SDM): every field that differs is used."""
    base = tiny_unet(0)
    more = {"layers_per_block": 2, "sample_size": 96, "dropout": 0.1, "mid_block_type": None}
    torch.manual_seed(1)
    theirs = UNet2DConditionModel.from_config({**base.config, **more})
    theirs.save_pretrained(tmp_path)
    unet = load(locate(str(tmp_path)), base, SCHEDULER)
    assert {name: tensor.sum() for name, tensor in unet.state_dict().items()} == {
        name: tensor.sum() for name, tensor in theirs.state_dict().items()
    }


def test_unet_folder_inside_a_pipeline_locates_the_pipeline(tiny: Path) -> None:
    model = tiny.parent / "model"
    assert locate(str(model / "unet")).pipeline == locate(str(model)).pipeline == model


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time_cond_proj_dim": 8}, "its U-Net has time_cond_proj_dim 8"),
        ({"class_embed_type": "projection"}, "its U-Net has class_embed_type projection"),
        ({"out_channels": 8}, "its U-Net has out_channels 8; 4 is needed"),
        ({"cross_attention_dim": 64}, "its U-Net has cross_attention_dim 64; 32 is needed"),
    ],
)
def test_testbed_model_with_unsupported_inputs_or_outputs_is_refused(
    fields: dict, message: str, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    edited("unet/config.json", **fields)(tmp_path / "model")
    with pytest.raises(DataError, match=message):
        Pipeline(tmp_path / "model", torch.device("cpu"))


def test_pndm_refuses_zero_snr_rescaling_and_ddim_applies_it() -> None:
    config = {**SCHEDULER, "rescale_betas_zero_snr": True}
    with pytest.raises(UsageError, match="choose scheduler 'ddim'"):
        make_scheduler(config, Sampler(scheduler="pndm"))
    assert make_scheduler(config, Sampler(scheduler="ddim")).alphas_cumprod[-1] < 1e-6


def called(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


def test_unet_of_another_pipeline_is_scored_with_parts_unet_alone_and_labelled_so(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.generation.images.is_single_colour", lambda picture: True)
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    edited(STEPS, beta_end=0.02)(tmp_path / "model")
    evaluate = ["eval", "--checkpoint", str(tmp_path / "model"), "--suite", "artists", "--alone", "--name", "theirs",
                "--testbed", str(tiny), "--reference", "base", "--device", "cpu", "--runs", str(tmp_path)]  # fmt: skip
    table = " ".join(called(*evaluate, "--parts", "unet").split())
    assert "theirs (U-Net alone)" in table
    assert "images of a single colour: broken weights?" in table
    (record,) = (record for record in read_records([tmp_path / "records"]) if record.method == "theirs")
    assert record.label == "theirs (U-Net alone)"
    assert record.counted["parts"] == "unet"
    assert record.counted["one colour"] == record.scores.rows == 4
    assert record.counted["not used"] == ["scheduler (beta_end 0.02, not 0.012)"]
