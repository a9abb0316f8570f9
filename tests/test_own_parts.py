"""A pipeline is sampled with its own parts where they differ from the testbed's, as diffusers samples it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline
from test_checkpoint_parts import (
    INDEX,
    SAME,
    STEPS,
    TEXT,
    VAE,
    Change,
    called,
    edited,
    in_half_precision,
    padded_as_sd1,
    reweighted,
    with_a_token,
    without_its_text_encoder,
)
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from benchmark.api.testbed import Testbed, Workbench
from benchmark.errors import PalimpsestError, UsageError
from benchmark.generation.features import features
from benchmark.generation.shards import shard_identity
from benchmark.models.checkpoint_names import check_name_is_free
from benchmark.models.chosen_parts import ALL, parse_parts
from benchmark.models.external_checkpoint import locate
from benchmark.models.external_model import ExternalCheckpoint
from benchmark.models.own_parts import OwnParts, own_parts
from benchmark.models.part_source import FolderParts
from benchmark.records.record import read_records
from benchmark.store.artefacts import key_of
from benchmark.testbeds import resolve
from benchmark.testbeds.mini.testbed import Mini
from benchmark.testbeds.stable_diffusion.pipeline import Pipeline
from methods.sampling import initial_noise, sample

WIDTH = 32
PROMPTS = ["a boat by ann", "a red house"]
"""Prompts whose pictures are compared with those of diffusers."""
CLOSE = 2
"""Difference of a picture's values, of 255, that rounding can make."""


@pytest.fixture(scope="module")
def testbed(tiny: Path) -> Testbed:
    return resolve.load(str(tiny))(device="cpu")


def changed_copy(tiny: Path, folder: Path, change: Change) -> Path:
    shutil.copytree(tiny.parent / "model", folder)
    change(folder)
    return folder


def with_text_encoder(**fields: Any) -> Change:
    """Replaces the text encoder by a new one, with these fields of its config changed."""

    def change(folder: Path) -> None:
        torch.manual_seed(5)
        config = CLIPTextConfig.from_pretrained(folder / "text_encoder")
        shutil.rmtree(folder / "text_encoder")
        CLIPTextModel(CLIPTextConfig(**{**config.to_dict(), **fields})).save_pretrained(folder / "text_encoder")

    return change


def with_vae(**fields: Any) -> Change:
    """Replaces the VAE by a new one, with these fields of its config changed."""

    def change(folder: Path) -> None:
        torch.manual_seed(5)
        config = dict(AutoencoderKL.load_config(folder / "vae"))
        shutil.rmtree(folder / "vae")
        AutoencoderKL.from_config({**config, **fields}).save_pretrained(folder / "vae")

    return change


def with_a_token_and_its_embedding(folder: Path) -> None:
    with_a_token(folder)
    with_text_encoder(vocab_size=515)(folder)


def both(*changes: Change) -> Change:
    def change(folder: Path) -> None:
        for apply in changes:
            apply(folder)

    return change


USABLE: dict[str, tuple[Change, list[str]]] = {
    "text weights": (reweighted(TEXT, lambda w: w * 1.5), ["text_encoder"]),
    "clip skip": (edited("text_encoder/config.json", num_hidden_layers=1), ["text_encoder"]),
    "padding": (padded_as_sd1, ["tokenizer"]),
    "token": (with_a_token_and_its_embedding, ["text_encoder", "tokenizer"]),
    "vae weights": (reweighted(VAE, lambda w: w * 1.2), ["vae"]),
    "vae scale": (edited("vae/config.json", scaling_factor=0.5), ["vae"]),
    "epsilon": (edited(STEPS, prediction_type="epsilon"), ["scheduler"]),
    "betas": (edited(STEPS, beta_end=0.02, beta_schedule="linear"), ["scheduler"]),
    "all": (both(with_text_encoder(), padded_as_sd1, with_vae(), edited(STEPS, beta_end=0.02)), list(ALL[1:])),
}


def pictures_of(model: ExternalCheckpoint, testbed: Testbed, noise: Tensor) -> Tensor:
    parts = model.components(testbed)
    text = parts.encode(PROMPTS)
    return parts.decode(sample(parts.unet, parts.scheduler, text, parts.null, noise, testbed.sampler))


def pictures_of_diffusers(folder: Path, testbed: Testbed, noise: Tensor) -> Tensor:
    """Sample the whole folder with diffusers, with the testbed's solver, steps and guidance."""
    scheduler: Any = {"pndm": PNDMScheduler, "ddim": DDIMScheduler}[testbed.sampler.scheduler]
    config = json.loads((folder / STEPS).read_text())
    skip = {"skip_prk_steps": True} if testbed.sampler.scheduler == "pndm" else {"clip_sample": False}
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=Pipeline(folder, torch.device("cpu")).unet(),
        scheduler=scheduler.from_config(config, steps_offset=1, **skip),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        PROMPTS, latents=noise.clone(), num_inference_steps=testbed.sampler.steps,
        guidance_scale=testbed.sampler.guidance, output_type="pt",
    ).images  # fmt: skip
    return (images * 255).round().to(torch.uint8)


@pytest.fixture
def bench(testbed: Testbed, tmp_path: Path) -> Workbench:
    from benchmark.console import Progress
    from benchmark.store.artefacts import Store

    return Workbench(testbed, Store(tmp_path / "runs"), Progress(), torch.device("cpu"))


@pytest.mark.parametrize("name", USABLE)
def test_own_parts_give_the_pictures_of_diffusers_and_new_store_keys(
    name: str, tiny: Path, bench: Workbench, tmp_path: Path
) -> None:
    change, parts = USABLE[name]
    folder, testbed = changed_copy(tiny, tmp_path / "theirs", change), bench.testbed
    model, equal = (ExternalCheckpoint(bench, locate(str(place)), "x") for place in (folder, tiny.parent / "model"))
    assert sorted(model.own_checksums) == sorted(parts)
    noise = initial_noise([3, 4], (4, 8, 8))
    here = pictures_of(model, testbed, noise)
    assert (here.int() - pictures_of_diffusers(folder, testbed, noise).int()).abs().max() <= CLOSE
    assert not torch.equal(here, pictures_of(equal, testbed, noise))
    prompts = testbed.prompts("artists", testbed.concept(()))
    assert shard_identity(bench, model, prompts) != shard_identity(bench, equal, prompts)


@pytest.mark.parametrize("form", SAME)
def test_equal_parts_leave_identity_label_and_record_as_they_were(
    form: str, tiny: Path, bench: Workbench, tmp_path: Path
) -> None:
    folder = changed_copy(tiny, tmp_path / "theirs", SAME[form])
    checkpoint = locate(str(folder))
    model = ExternalCheckpoint(bench, checkpoint, "x")
    assert model.identity == {**bench.testbed.identity(), "model": "brought", "checkpoint": checkpoint.sha256()}
    assert model.label == "x"
    assert model.counted().keys() == {"share", "counter", "latent_size", "text_length", "checkpoint", "form"}
    components = model.components(bench.testbed)
    assert components.scheduler is bench.testbed.scheduler
    assert components.encode == bench.testbed.encode


REFUSED: dict[str, tuple[Change, str]] = {
    "hidden size": (with_text_encoder(hidden_size=64), "hidden_size 64, and the U-Net needs 32"),
    "another class": (edited("text_encoder/config.json", model_type="t5"), "model_type t5"),
    "projection": (edited(INDEX, text_encoder=["transformers", "CLIPTextModelWithProjection"]), "WithProjection"),
    "positions": (with_text_encoder(max_position_embeddings=64), "texts of 77 tokens, and the text encoder has 64"),
    "length": (edited("tokenizer/tokenizer_config.json", model_max_length=64), "texts of 64 tokens"),
    "vocabulary": (with_a_token, "token ids up to 514, and the text encoder embeds only 514"),
    "tokenizer class": (edited("tokenizer/tokenizer_config.json", tokenizer_class="T5Tokenizer"), "T5Tokenizer"),
    "channels": (with_vae(latent_channels=8), "has 8 latent channels, the testbed's 4"),
    "factor": (
        with_vae(block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3,
                 up_block_types=("UpDecoderBlock2D",) * 3),
        "downscales by a factor of 4, the testbed's by 8",
    ),
    "shift": (edited("vae/config.json", shift_factor=0.1), "shifts latents (shift_factor)"),
    "scale": (edited("vae/config.json", scaling_factor=0), "VAE"),
    "tiny vae": (edited("vae/config.json", _class_name="AutoencoderTiny"), "_class_name AutoencoderTiny"),
    "nan text": (reweighted(TEXT, lambda w: w * torch.nan), "are NaN or infinite"),
    "nan vae": (reweighted(VAE, lambda w: w * torch.nan), "are NaN or infinite"),
    "cut": (lambda folder: (folder / TEXT).write_bytes(b"cut"), "cannot be loaded"),
    "keys": (edited("text_encoder/config.json", num_hidden_layers=3), "they lack 'encoder.layers.2"),
    "flow": (
        edited(STEPS, _class_name="FlowMatchEulerDiscreteScheduler", beta_start=None, beta_end=None), "flow matching"
    ),
    "flow sigmas": (edited(STEPS, use_flow_sigmas=True), "flow matching"),
    "prediction": (edited(STEPS, prediction_type="flow_prediction"), "prediction_type flow_prediction"),
    "x0 with pndm": (edited(STEPS, prediction_type="sample"), "prediction_type is 'sample'"),
    "zero snr with pndm": (edited(STEPS, rescale_betas_zero_snr=True), "zero terminal SNR"),
    "thresholding": (edited(STEPS, thresholding=True), "thresholding"),
    "schedule": (edited(STEPS, beta_schedule="exp"), "cannot be sampled by the testbed's solver"),
    "nan betas": (edited(STEPS, beta_end=float("nan")), "betas that are not between 0 and 1"),
    "lost": (without_its_text_encoder, "its folder does not exist"),
    "second encoder": (edited(INDEX, text_encoder_2=["transformers", "CLIPTextModel"]), "text_encoder_2 (the testbed"),
    "controlnet": (edited(INDEX, controlnet=["diffusers", "ControlNetModel"]), "controlnet (the testbed has none"),
    "pipeline": (edited(INDEX, _class_name="LatentConsistencyModelPipeline"), "class (LatentConsistencyModelPipeline)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_part_that_cannot_be_used_is_refused_in_one_sentence(
    name: str, tiny: Path, testbed: Testbed, tmp_path: Path
) -> None:
    change, message = REFUSED[name]
    folder = changed_copy(tiny, tmp_path / "theirs", change)
    with pytest.raises(PalimpsestError) as caught:
        own_parts(FolderParts(folder), testbed, WIDTH)
    assert message in str(caught.value)
    assert ("download them again" if name.startswith("nan ") and "betas" not in name else "--parts unet") in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    assert own_parts(FolderParts(folder), testbed, WIDTH, ("unet",)).unused
    if name == "projection":  # choosing the part does not make it usable
        with pytest.raises(PalimpsestError, match="WithProjection"):
            own_parts(FolderParts(folder), testbed, WIDTH, ("unet", "text_encoder"))


@pytest.mark.parametrize("fields", [{"prediction_type": "sample"}, {"rescale_betas_zero_snr": True}])
def test_schedule_that_only_ddim_supports_is_used_by_a_testbed_with_ddim(
    fields: dict[str, Any], tiny: Path, tmp_path: Path
) -> None:
    testbed = resolve.load(str(tiny))(device="cpu")
    testbed.sampler = testbed.sampler.model_copy(update={"scheduler": "ddim"})
    own = own_parts(FolderParts(changed_copy(tiny, tmp_path / "theirs", edited(STEPS, **fields))), testbed, WIDTH)
    assert own.scheduler is not None
    assert fields.items() <= own.scheduler.items()
    assert {**own.scheduler, **testbed.scheduler} | fields == own.scheduler


def test_parts_are_parsed_in_their_order_and_wrong_ones_are_named() -> None:
    assert parse_parts("all") == ALL == parse_parts("scheduler,vae,tokenizer, text_encoder,unet")
    assert parse_parts("text_encoder,unet") == ("unet", "text_encoder")
    wrong = {"unet,clip": "no 'clip'", "  ": "--parts is empty", " , ": "an empty name", "all,unet": "no 'all'"}
    for text, message in wrong.items():
        with pytest.raises(UsageError, match=message):
            parse_parts(text)


def test_parts_that_are_not_chosen_are_the_testbeds_and_are_listed(
    tiny: Path, bench: Workbench, tmp_path: Path
) -> None:
    change = both(with_text_encoder(), with_vae(), edited(STEPS, beta_end=0.02))
    checkpoint = locate(str(changed_copy(tiny, tmp_path / "theirs", change)))
    chosen = {text: ExternalCheckpoint(bench, checkpoint, "x", parse_parts(text))
              for text in ("all", "unet", "unet,text_encoder", "text_encoder,vae")}  # fmt: skip
    assert [model.label for model in chosen.values()] == [
        "x (own text encoder, VAE and noise schedule)", "x (U-Net alone)", "x (U-Net and text encoder alone)",
        "x (text encoder and VAE alone)",
    ]  # fmt: skip
    assert [sorted(model.own_checksums) for model in chosen.values()] == [
        ["scheduler", "text_encoder", "vae"], [], ["text_encoder"], ["text_encoder", "vae"],
    ]  # fmt: skip
    assert len({key_of("model", model.identity) for model in chosen.values()}) == 4
    partly = chosen["unet,text_encoder"]
    assert partly.counted()["parts"] == "unet,text_encoder"
    assert [str(what).partition(" ")[0] for what in partly.counted()["not used"]] == ["vae", "scheduler"]
    components = partly.components(bench.testbed)
    assert components.decode == bench.testbed.decode
    assert components.scheduler is bench.testbed.scheduler
    assert "checkpoint" not in chosen["text_encoder,vae"].identity
    with pytest.raises(UsageError, match="nothing would be scored but the base"):
        ExternalCheckpoint(bench, checkpoint, "x", ("tokenizer",))
    with pytest.raises(UsageError, match="add unet to --parts"):
        ExternalCheckpoint(bench, replace(checkpoint, architecture=tmp_path / "a.json"), "x", ("text_encoder",))
    weights = locate(str(checkpoint.place / "diffusion_pytorch_model.safetensors"))
    with pytest.raises(PalimpsestError, match="is a U-Net and has no other parts"):
        ExternalCheckpoint(bench, weights, "x", ("unet", "vae"))


def test_damaged_part_that_is_not_chosen_does_not_stop_the_others(tiny: Path, testbed: Testbed, tmp_path: Path) -> None:
    folder = changed_copy(tiny, tmp_path / "theirs", reweighted(VAE, lambda w: w * torch.nan))
    own = own_parts(FolderParts(folder), testbed, WIDTH, ("unet", "text_encoder"))
    assert "NaN" in own.unused[0]
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(PalimpsestError, match=r"has no text encoder .* leave text_encoder out of --parts"):
        own_parts(FolderParts(folder), testbed, WIDTH, ("unet", "text_encoder"))


def test_text_features_are_those_of_the_testbeds_scoring_network(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts of CLIP scores are encoded by the scoring network, never by the checkpoint's text encoder."""
    seen: dict[str, Tensor] = {}

    def watched(bench: Workbench, model: Any, *how: Any) -> dict[str, Tensor]:
        rows = features(bench, model, *how)
        seen[model.label] = rows["text"]
        return rows

    monkeypatch.setattr("benchmark.generation.features.features", watched)
    folder = changed_copy(tiny, tmp_path / "theirs", with_text_encoder())
    table = called("eval", "--checkpoint", str(folder), "--suite", "artists", "--alone", "--reference", "base",
                   "--testbed", str(tiny), "--device", "cpu", "--runs", str(tmp_path / "runs"))  # fmt: skip
    assert "own text encoder" in " ".join(table.split())
    assert torch.equal(seen["base"], seen["theirs (own text encoder)"])
    (record,) = (r for r in read_records([tmp_path / "runs" / "records"]) if r.method == "theirs")
    assert record.label == "theirs (own text encoder)"
    assert record.counted["own parts"].keys() == {"text_encoder"}
    assert record.counted["differences"][0].startswith("text_encoder (different weights in ")
    records = tmp_path / "runs" / "records"
    with pytest.raises(UsageError, match=r"different checkpoint .*its text encoder's sha256.*give a different --name"):
        check_name_is_free(records, "tiny", "theirs", record.counted["checkpoint"], parts={"text_encoder": "0" * 64})
    check_name_is_free(records, "tiny", "theirs", record.counted["checkpoint"], parts={"vae": "0" * 64})


def test_record_states_the_commit_of_a_download(tiny: Path, bench: Workbench, tmp_path: Path) -> None:
    folder = tmp_path / "models--org--model" / "snapshots" / ("ab" * 20)
    shutil.copytree(tiny.parent / "model", folder)
    assert ExternalCheckpoint(bench, locate(str(folder)), "x").counted()["hub"] == f"org/model@{'ab' * 20}"


def test_part_with_other_metadata_keeps_its_identity(tiny: Path, testbed: Testbed, tmp_path: Path) -> None:
    first = changed_copy(tiny, tmp_path / "a", with_text_encoder())
    shutil.copytree(first, tmp_path / "b")
    edited("text_encoder/config.json", _name_or_path="elsewhere", transformers_version="9")(tmp_path / "b")
    one, other = (own_parts(FolderParts(tmp_path / name), testbed, WIDTH).checksums for name in "ab")
    assert one == other
    in_half_precision(tmp_path / "b")
    assert own_parts(FolderParts(tmp_path / "b"), testbed, WIDTH).checksums != one


class Overriding(Mini):
    """As a plug-in may: encodes differently, and does not say how with another text encoder."""

    @property
    def encode(self) -> Callable[..., Tensor]:  # type: ignore[override]
        return lambda texts: torch.zeros(len(texts), 32, 128)


def test_testbed_that_supports_no_other_text_encoder_refuses(standin: Path) -> None:
    with pytest.raises(UsageError, match=r"overrides `encode` but not `encoder_of`.*--parts unet"):
        OwnParts(text_encoder=torch.nn.Module()).components(torch.nn.Module(), Overriding(standin))  # type: ignore[arg-type]
    plain = Testbed()
    plain.name = "boats"
    with pytest.raises(UsageError, match=r"'boats' samples only with its own text encoder.*--parts unet"):
        plain.encoder_of(None, None)
    with pytest.raises(UsageError, match=r"'boats' has no pipeline folder .*--parts unet"):
        own_parts(FolderParts(standin / "pipeline"), plain, WIDTH)
    assert own_parts(FolderParts(standin / "pipeline"), plain, WIDTH, ("unet",)).unused
    with pytest.raises(UsageError, match=r"'boats' samples only with its own VAE.*--parts unet"):
        plain.decoder_of(None)


def test_mini_decodes_and_encodes_with_its_own_parts_as_before(standin: Path) -> None:
    from benchmark.models import part_files

    testbed = Mini(standin)
    folder = testbed.pipeline
    encode = testbed.encoder_of(
        part_files.load_text_encoder(folder / "text_encoder"), part_files.load_tokenizer(folder / "tokenizer")
    )
    assert torch.equal(encode(PROMPTS), testbed.encode(PROMPTS))
    latents = initial_noise([1], (4, 16, 16))
    assert torch.equal(testbed.decoder_of(part_files.load_vae(folder / "vae"))(latents), testbed.decode(latents))
