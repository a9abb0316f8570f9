"""A testbed in real formats, end to end: it loads, samples as diffusers does, runs, or names what is missing."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from miniature import TESTBED, write_model
from transformers import CLIPTextModel, CLIPTokenizer
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import DataError, UsageError
from benchmark.records.record import read_records, read_scores
from benchmark.testbeds import resolve
from benchmark.testbeds.stable_diffusion import find
from benchmark.testbeds.stable_diffusion.definition import PAINTERS, read
from benchmark.testbeds.stable_diffusion.prompts import THINGS, erasing, naming, style_concept, titles_asked
from benchmark.testbeds.stable_diffusion.testbed import StableDiffusion
from methods.pruning.macs import forward_flops
from methods.sampling import initial_noise, sample
from prompts.concepts import Concept

RUN = ["run", "--method", "bilevel", "--suite", "artists", "--budget", "4it", "--set", "batch=2", "--device", "cpu"]


@pytest.fixture(scope="module")
def testbed(tiny: Path) -> StableDiffusion:
    return resolve.load(str(tiny))(device="cpu")


def called(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


# the pipeline


def test_pictures_are_those_of_diffusers(testbed, tiny):
    """The same noise and prompts through diffusers' own pipeline, its parts loaded by the libraries themselves."""
    folder = tiny.parent / "model"
    theirs = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=PNDMScheduler.from_config(testbed.scheduler, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    theirs.set_progress_bar_config(disable=True)
    texts, noise = ["a boat at sea", "a tree"], initial_noise([3, 4], (4, 8, 8))
    images = theirs(texts, latents=noise, num_inference_steps=2, guidance_scale=7.5, output_type="np").images
    null = testbed.encode([""])[0]
    latents = sample(testbed.base(), testbed.scheduler, testbed.encode(texts), null, noise, testbed.sampler)
    ours = testbed.decode(latents).permute(0, 2, 3, 1).numpy()
    assert np.abs(ours - images * 255).max() <= 1
    assert ours.std() > 1


def test_epsilon_base_needs_only_a_testbed_file(tiny, tmp_path):
    write_model(tmp_path / "sd15", prediction="epsilon")
    path = tiny.parent / "epsilon.toml"
    path.write_text(f'like = "tiny.toml"\nmodel = "{tmp_path / "sd15"}"\n')
    found = StableDiffusion(read(path))
    assert found.scheduler["prediction_type"] == "epsilon"
    assert found.identity()["weights"] != StableDiffusion(read(tiny)).identity()["weights"]
    assert found.name == "epsilon"


# end to end


def test_a_run_on_a_testbed_file_writes_records_and_a_table(tiny, tmp_path):
    told = called(*RUN, "--testbed", str(tiny), "--alone", "--runs", str(tmp_path))
    assert "Table 1 on tiny" in told
    assert "latents of 12 training pictures take 12.3 kB" in told
    found = {one.label: one for one in read_records([tmp_path / "records"])}
    assert {one.partition(" ")[0] for one in found} == {"base", "distilled", "bilevel"}
    (record,) = (one for label, one in found.items() if label.startswith("bilevel"))
    assert record.testbed == "tiny"
    assert record.concept["targets"] == ["Ann van Oak"]
    assert record.concept["neighbours"] == ["Cy Cedar"]
    assert "csd_real" not in record.cells
    assert {name: (cell.n, cell.of) for name, cell in record.cells.items()} == {
        "clip": (2, 2), "cp": (2, 2), "ties": (2, 2), "csd": (2, 2), "drift": (2, 2),
    }  # fmt: skip
    assert str(tiny.parent) not in record.model_dump_json(
        exclude={"command", "config", "plugins"}
    )  # which state paths as they were typed
    assert "bilevel" in called("table", "--testbed", str(tiny), "--runs", str(tmp_path), "--all")
    again = called(*RUN, "--testbed", str(tiny), "--alone", "--runs", str(tmp_path))
    assert "train" not in again
    assert "encode training pictures" not in again


def test_fid_is_scored_on_the_val_captions(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("metrics.fid.frechet_distance", lambda mean, cov, real, real_cov: (mean - real).square().sum())
    called("run", "--method", "distilled", "--suite", "coco", "--testbed", str(tiny), "--budget", "1it",
           "--set", "batch=2", "--runs", str(tmp_path))  # fmt: skip
    (record, *_) = read_records([tmp_path / "records"])
    assert (record.cells["fid"].n, record.cells["fid"].back_end.rpartition("-")[0]) == (4, "inception")
    ids = read_scores(record).column("id").to_pylist()
    assert ids == [f"coco-{number:012d}" for number in (100, 107, 114, 121)]


def test_artists_are_those_of_the_testbed_file(tiny, tmp_path):
    assert called("list", "artists", "--testbed", str(tiny)).split("\n")[0].split() == ["Ann", "van", "Oak", "target"]
    told = called(*RUN, "--testbed", str(tiny), "--targets", "Monet", "--runs", str(tmp_path), code=2)
    assert "Unknown artist 'Monet'" in told


# what is missing


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("model", ["No model: the folder", "model does not exist", 'like = "sd21", model = ']),
        ("model/vae/diffusion_pytorch_model.safetensors", ["lacks vae/*.safetensors"]),
        ("model/tokenizer", ["lacks tokenizer/*.json"]),
        ("model/scheduler", ["lacks scheduler/scheduler_config.json"]),
        ("coco", ["with captioned pictures does not exist", "COCO 2017"]),
        ("coco/val2017", ["4 of the 4 pictures", "000000000100.jpg"]),
        ("networks/csd.pth", ["No network for 'style'", 'like = "sd21", [networks] style']),
        ("networks/clip/open_clip_model.safetensors", ["No network for 'clip'", "open_clip_model.safetensors"]),
        ("networks/inception.pth", ["No network for 'features'"]),
        ("titles.csv", ["titles.csv cannot be read"]),
    ],
)
def test_missing_part_is_refused_before_any_work(gone, told, tiny, tmp_path):
    copy = tmp_path / "tiny"
    shutil.copytree(tiny.parent, copy)
    path = copy / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = called(*RUN, "--testbed", str(copy / "tiny.toml"), "--runs", str(tmp_path / "runs"), code=2)
    (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert all(word in sentence for word in told), sentence
    assert not list((tmp_path / "runs").glob("artefacts/*/*"))


def test_sd21_without_its_data_gives_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = called("run", "--method", "bilevel", "--suite", "artists", "--testbed", "sd21", "--runs", "r", code=2)
    (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert f"The folder {tmp_path / 'data' / 'coco2017'} with captioned pictures does not exist" in sentence


def _unreachable(name: str) -> list[str]:
    raise OSError("no route")


@pytest.mark.parametrize("offline", [True, False])
def test_unavailable_mirrors_are_named_with_the_reason(offline, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    tried: list[str] = []

    def download(name, **how):
        tried.append(name)
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", _unreachable)
    with pytest.raises(DataError) as caught:
        find.model(["one/model", "two/model"])
    assert tried == ["one/model", "two/model"]
    why = "it has not been downloaded, and HF_HUB_OFFLINE is set" if offline else "the Hub cannot be reached"
    assert str(caught.value).count(why) == 2
    assert "one/model" in str(caught.value)


def test_second_mirror_is_used_if_the_first_fails(tiny, monkeypatch):
    def download(name, **how):
        if name == "gone/model":
            raise OSError("404")
        return str(tiny.parent / "model")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", _unreachable)
    assert find.model(["gone/model", "there/model"]) == tiny.parent / "model"


def test_file_with_a_wrong_sha256_is_refused(tiny):
    folder = tiny.parent / "model"
    name = "unet/diffusion_pytorch_model.safetensors"
    right = find.sha256(folder / name)
    assert find.checksums(folder, {name: right})[name] == right
    with pytest.raises(DataError, match=f"its sha256 is {right}, not 00"):
        find.checksums(folder, {name: "00"})


def test_fingerprint_ignores_unused_files_and_follows_used_ones(tiny, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny.parent / "model", folder)

    def seen(part: str = "") -> str:
        return find.fingerprint(find.checksums(folder, {}), part)

    before, unet = seen(), seen("unet/")
    shutil.copy(folder / "vae" / "config.json", folder / "README.md")
    shutil.copy(folder / "unet" / "diffusion_pytorch_model.safetensors", folder / "unet" / "model.fp16.safetensors")
    assert seen() == before
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps({**config, "scaling_factor": 0.2}))
    assert seen() != before
    assert seen("unet/") == unet  # latents that another model's VAE has made serve this one, too


def test_unet_that_lacks_weights_is_refused(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(tiny.parent / "model", folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights.pop("conv_in.bias")
    save_file(weights, path)
    mine = tiny.parent / "damaged.toml"
    mine.write_text(f'like = "tiny.toml"\nmodel = "{folder}"\n')
    with pytest.raises(DataError, match=r"unet.*conv_in\.bias"):
        StableDiffusion(read(mine)).base()


# prompts


def test_targets_are_chosen_among_painters_and_some_painters_stay(testbed):
    assert testbed.concept(()) == Concept("style", ("Ann van Oak",), "art", ("Cy Cedar",))
    assert testbed.concept(("cedar",)).targets == ("Cy Cedar",)
    assert [one.part for one in testbed.prompts("artists", testbed.concept(("Bo Birch",)))] == [
        "kept", "targets", "neighbours", "kept",
    ]  # fmt: skip
    for wrong, message in (
        (("Monet",), "has no titles by 'Monet'"),
        (("Birch", "Bo Birch"), "twice"),
        (("Birch", "Cedar", "van Oak"), "at least one must be kept"),
    ):
        with pytest.raises(UsageError, match=message):
            testbed.concept(wrong)
    assert testbed.concept((), "explicit") == Concept("explicit", ("nudity",), "person")
    with pytest.raises(UsageError, match="--targets names artists"):
        testbed.concept(("Birch",), "explicit")


def test_erasing_prompts_share_none_with_the_suites():
    concept = style_concept(PAINTERS, ())
    asked = titles_asked(PAINTERS, concept)
    assert {part: [one.part for one in asked].count(part) for part in ("targets", "neighbours", "kept")} == {
        "targets": 150, "neighbours": 30, "kept": 90,
    }  # fmt: skip
    texts = {one.text.casefold() for one in asked}
    assert not texts & {text.casefold() for text in (*erasing(concept), *naming(concept))}
    assert not [title for title in texts for thing in THINGS if title.partition(" by ")[0] == thing]
    assert len(erasing(concept)) == len(set(erasing(concept))) == len(naming(concept)) == 180
    first = asked[:15]
    assert len({one.target for one in first}) == 15  # a cross-section


def test_concept_images_are_charged_for_their_unet_passes(testbed):
    cost = testbed.erase_cost(testbed.concept(()))
    assert cost.images == 60
    assert cost.unet_forwards == 60 * 2 * 3
    assert cost.flops == cost.unet_forwards * forward_flops(testbed.base(), 8, 77)


def test_size_that_the_unet_cannot_halve_is_refused(tiny):
    path = tiny.parent / "odd.toml"
    path.write_text(TESTBED.replace("size = 64", "size = 72").replace("tiny", "odd"))
    with pytest.raises(DataError, match="needs a multiple of 64 pixels"):
        StableDiffusion(read(path))


def test_networks_are_on_the_requested_device(tiny):
    on_meta = resolve.load(str(tiny))(device="meta")  # every machine has it, and it is not the default
    for network in (on_meta.base(), on_meta._parts.vae, on_meta._parts._tower):
        assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


def test_the_checksum_of_a_large_file_is_computed_once_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, calls, digest = tmp_path / "weights", [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: calls.append(1) or digest(*given))
    file.write_bytes(b"first")
    before = file.stat()
    for _ in range(2):  # it has just been written, and could change within the resolution of its times
        assert find.sha256(file) == hashlib.sha256(b"first").hexdigest()
    assert len(calls) == 2
    monkeypatch.setattr(find.time, "time_ns", lambda: before.st_mtime_ns + 10 * find.SETTLED)
    for _ in range(2):
        assert find.sha256(file) == hashlib.sha256(b"first").hexdigest()
    assert len(calls) == 3
    time.sleep(0.05)
    file.write_bytes(b"other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert find.sha256(file) == hashlib.sha256(b"other").hexdigest()
