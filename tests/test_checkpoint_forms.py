"""Every form of checkpoint, right, damaged and of another model: the right one gives the expected weights, no other is
scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import ldm_names
import loras
import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typer.testing import CliRunner

from benchmark.api.request import RunRequest
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.export.find_model import weights_of
from benchmark.models.external_checkpoint import load, locate
from benchmark.pipeline.setup import workbench_for
from benchmark.records.record import Record, read_records

Write = Callable[[UNet2DConditionModel, Path], Path]
"""Writes a U-Net into a folder in one form, and returns the path to give to `bench eval`."""
PREDICTION = {"prediction_type": "v_prediction"}


def as_folder(variant: str | None, shards: bool, inside: str = "") -> Write:
    def write(unet: UNet2DConditionModel, folder: Path) -> Path:
        unet.half() if variant else unet
        unet.save_pretrained(folder / inside, variant=variant, max_shard_size="100KB" if shards else "1GB")
        assert (len(list((folder / inside).glob("*.safetensors"))) > 1) == shards
        return folder

    return write


def as_file(suffix: str, wrap: Callable[[dict[str, Tensor]], object] = lambda w: w, only: str = "") -> Write:
    def write(unet: UNet2DConditionModel, folder: Path) -> Path:
        folder.mkdir()
        weights = {name: tensor.clone() for name, tensor in unet.state_dict().items() if only in name}
        content, file = wrap(weights), folder / f"theirs.{suffix}"
        if suffix == "safetensors":
            assert isinstance(content, dict)
            save_file(content, file)
        else:
            torch.save(content, file)
        return file

    return write


def nested(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """By module, as ESD's code saves."""
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, {})[leaf] = tensor
    return modules


def keys_and_values(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What UCE and Concept Ablation change."""
    return {name: t for name, t in weights.items() if "attn2.to_k" in name or "attn2.to_v" in name}


def with_prefix(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"unet.{name}": tensor for name, tensor in weights.items()}


def delta(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    return {"unet": {name: nn.Parameter(tensor) for name, tensor in keys_and_values(weights).items()}}


def as_ldm(suffix: str) -> Write:
    def write(unet: UNet2DConditionModel, folder: Path) -> Path:
        folder.mkdir()
        weights, file = ldm_names.unet(unet), folder / f"theirs.{suffix}"
        weights |= ldm_names.averaged(weights)
        save_file(weights, file) if suffix == "safetensors" else torch.save({"state_dict": weights}, file)
        return file

    return write


def as_lora(form: str) -> Write:
    def write(unet: UNet2DConditionModel, folder: Path) -> Path:
        config = {"r": 3, "lora_alpha": 3} if form == "peft" else {}
        made = loras.factors(unet, loras.LAYERS)
        file = loras.write(folder / "lora", loras.named(made, form, 3.0), form, **config)
        return file.parent if form == "peft" else file

    return write


FORMS: dict[str, Write] = {
    "unet folder": as_folder(None, shards=False),
    "unet folder of a pipeline": as_folder(None, shards=False, inside="unet"),
    "fp16 variant": as_folder("fp16", shards=False),
    "shards": as_folder(None, shards=True),
    "shards of the fp16 variant": as_folder("fp16", shards=True),
    "safetensors": as_file("safetensors"),
    "bin": as_file("bin"),
    "state_dict": as_file("ckpt", lambda w: {"state_dict": w, "epoch": 1}),
    "model": as_file("pt", lambda w: {"model": with_prefix(w)}),
    "esd": as_file("safetensors", only="attn2"),
    "esd by module": as_file("pt", nested, only="attn2"),
    "uce": as_file("safetensors", keys_and_values),
    "uce with prefix": as_file("safetensors", lambda w: with_prefix(keys_and_values(w))),
    "concept ablation": as_file("bin", delta),
    "lora of diffusers": as_lora("diffusers"),
    "lora of processors": as_lora("processors"),
    "lora of peft": as_lora("peft"),
    "lora of kohya": as_lora("kohya"),
    "single file": as_ldm("safetensors"),
    "single ckpt": as_ldm("ckpt"),
}


def network(model: Path, seed: int, **fields: object) -> UNet2DConditionModel:
    """A U-Net like the testbed's, with its own weights."""
    torch.manual_seed(seed)
    config = json.loads((model / "unet" / "config.json").read_text())
    return UNet2DConditionModel.from_config({**config, **fields})


def expected(form: str, theirs: UNet2DConditionModel, base: UNet2DConditionModel) -> dict[str, Tensor]:
    own, new = dict(base.state_dict()), {k: v.float() for k, v in theirs.state_dict().items()}
    if form.startswith("lora"):
        for layer, (down, up) in loras.factors(theirs, loras.LAYERS).items():
            own[f"{layer}.weight"] = own[f"{layer}.weight"] + (up.flatten(1) @ down.flatten(1))
        return own
    if form.startswith("esd"):
        new = {name: tensor for name, tensor in new.items() if "attn2" in name}
    if form.startswith(("uce", "concept")):
        new = keys_and_values(new)
    return own | new


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_in_every_form_gives_the_expected_weights(form: str, tiny: Path, tmp_path: Path) -> None:
    model = tiny.parent / "model"
    theirs, base = network(model, 1), UNet2DConditionModel.from_pretrained(model / "unet")
    path = FORMS[form](theirs, tmp_path / "theirs")
    wanted = expected(form, theirs, base)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    ours = load(locate(str(path)), base, PREDICTION).state_dict()
    assert ours.keys() == wanted.keys()
    assert all(torch.allclose(ours[name], wanted[name], rtol=0, atol=1e-6) for name in ours)
    assert any(not torch.equal(ours[name], before[name]) for name in ours)


def weight_file(path: Path) -> Path:
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.suffix in (".safetensors", ".bin"))
    return files[0]


def cut_short(path: Path) -> None:
    file = weight_file(path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def with_nan(path: Path) -> None:
    file = weight_file(path)
    if file.suffix == ".safetensors":
        weights = load_file(file)
        save_file({name: t.fill_(float("nan")) for name, t in weights.items()}, file, {"format": "pt"})
        return
    content = torch.load(file, weights_only=True)
    fill(content)
    torch.save(content, file)


def fill(content: object) -> None:
    if isinstance(content, Tensor):
        content.data.fill_(float("nan"))
    for value in content.values() if isinstance(content, dict) else ():
        fill(value)


DAMAGES = {"cut short": (cut_short, ("cannot be read", "cannot be loaded")), "NaN": (with_nan, ("NaN",))}


def refused(path: Path, tiny: Path, runs: Path) -> str:
    """The sentence of `bench eval`, which scores nothing."""
    words = ["eval", "--checkpoint", str(path), "--suite", "artists", "--alone", "--testbed", str(tiny), "--name",
             "wrong", "--reference", "base", "--device", "cpu", "--runs", str(runs)]  # fmt: skip
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, result.output + str(result.exception)
    assert "Traceback" not in result.output
    assert not list(runs.glob("artefacts/*"))
    assert not list(runs.glob("records/*"))
    sentence = " ".join(result.output.split()).partition("error: ")[2]
    assert ". " not in sentence, sentence
    return sentence


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_checkpoint_in_every_form_is_refused(form: str, damage: str, tiny: Path, tmp_path: Path) -> None:
    path = FORMS[form](network(tiny.parent / "model", 1), tmp_path / "theirs")
    change, messages = DAMAGES[damage]
    change(path)
    sentence = refused(path, tiny, tmp_path / "runs")
    assert any(message in sentence for message in messages), sentence


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_of_another_model_is_refused_in_every_form(form: str, tiny: Path, tmp_path: Path) -> None:
    theirs = network(tiny.parent / "model", 1, cross_attention_dim=48, block_out_channels=(24, 24, 48, 48))
    sentence = refused(FORMS[form](theirs, tmp_path / "theirs"), tiny, tmp_path / "runs")
    assert "choose the testbed of its base model" in sentence, sentence


class Harmful:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.file), "w"))


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "ckpt"])
def test_code_in_a_pickle_is_not_executed(suffix: str, tiny: Path, tmp_path: Path) -> None:
    proof, weights = tmp_path / "proof", network(tiny.parent / "model", 1).state_dict()
    torch.save({"state_dict": weights, "callbacks": Harmful(proof)}, tmp_path / f"theirs.{suffix}")
    sentence = refused(tmp_path / f"theirs.{suffix}", tiny, tmp_path / "runs")
    assert "contain other objects than tensors, which are not unpickled for security" in sentence
    assert not proof.exists()
    torch.load(tmp_path / f"theirs.{suffix}", weights_only=False)["callbacks"].close()
    assert proof.exists()  # it would have been executed


def test_weights_of_other_parts_in_a_delta_need_parts_unet(tiny: Path, tmp_path: Path) -> None:
    weights = network(tiny.parent / "model", 1).state_dict()
    content = {**delta(weights), "text_encoder": {"x": torch.rand(3)}, "modifier_token": {"<new1>": torch.rand(32)}}
    torch.save(content, tmp_path / "delta.bin")
    sentence = refused(tmp_path / "delta.bin", tiny, tmp_path / "runs")
    assert "text_encoder (1 tensors), embeddings of new words (1 tensors); score only its U-Net" in sentence


def check_export(record: Record, path: Path, tiny: Path, runs: Path) -> None:
    """`bench export` writes the U-Net with the LoRA at the scale of the record."""
    request = RunRequest("distilled", "artists", testbed=str(tiny), runs=runs, device="cpu")
    with Progress() as progress:
        unet, _ = weights_of(record, workbench_for(request.runtime, runs, progress), str(path))
    base = UNet2DConditionModel.from_pretrained(tiny.parent / "model" / "unet")
    layer, (down, up) = next(iter(loras.factors(base, loras.LAYERS).items()))
    change = unet.get_parameter(f"{layer}.weight") - base.get_parameter(f"{layer}.weight")
    assert torch.allclose(change, 0.5 * up @ down, atol=1e-5)


@pytest.mark.parametrize("form", ["lora of kohya", "single file"])
def test_a_row_states_a_lora_and_its_scale_and_unused_parts(form: str, tiny: Path, tmp_path: Path) -> None:
    path = FORMS[form](network(tiny.parent / "model", 1), tmp_path / "theirs")
    weights = load_file(path)
    name = "lora_te_text_model_x.lora_up.weight" if "lora" in form else "first_stage_model.decoder.conv_in.bias"
    save_file({**weights, name: torch.rand(8)}, path)
    words = ["eval", "--checkpoint", str(path), "--suite", "artists", "--alone", "--testbed", str(tiny), "--name", "x",
             "--reference", "base", "--device", "cpu", "--runs", str(tmp_path / "runs"), "--parts", "unet"]  # fmt: skip
    scale = ["--lora-scale", "0.5"] if "lora" in form else []
    result = CliRunner().invoke(app, [*words, *scale])
    assert result.exit_code == 0, result.output + str(result.exception)
    (record,) = (item for item in read_records([tmp_path / "runs" / "records"]) if item.method == "x")
    assert record.counted["parts"] == "unet"
    assert record.counted["share"] == 1
    if "lora" in form:
        assert record.label == "x (U-Net alone, LoRA, scale 0.5)"
        assert record.variant == "lora_scale=0.5"
        assert (record.counted["form"], record.counted["lora_scale"]) == ("lora", 0.5)
        assert "is not one of the testbed's text encoder" in str(record.counted["not used"])
        whole = CliRunner().invoke(app, words)  # another scale is another model, under the same name
        assert whole.exit_code == 0, whole.output
        models = {item.label: item.model_key for item in read_records([tmp_path / "runs" / "records"])}
        assert models["x (U-Net alone, LoRA)"] != models["x (U-Net alone, LoRA, scale 0.5)"]
        check_export(record, path, tiny, tmp_path / "runs")
        return
    assert record.label == "x (U-Net alone)"
    assert record.counted["form"] == "ldm"
    assert "The VAE of the single-file checkpoint" in str(record.counted["not used"])
    assert str(record.counted["ignored"]).startswith("['averaged weights (")
