"""External checkpoints are read in every published form, every key is matched, and they get rows in tables."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from tiny import SCHEDULER, same, tiny_unet
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import DataError
from benchmark.models.external_checkpoint import Checkpoint, load, locate
from benchmark.records.record import read_records
from methods.pruning.architecture import Architecture, gates, width, write_pruned
from methods.pruning.depth import Dropped, depth_gates
from methods.pruning.vector import Layout, to_architecture


@pytest.fixture
def base() -> UNet2DConditionModel:
    return tiny_unet(0)


def cut(unet: UNet2DConditionModel) -> tuple[UNet2DConditionModel, Architecture]:
    """A U-Net with half of every inner width, the upper half."""
    kept = {name: range(width(gate) // 2, width(gate)) for name, gate in gates(unet).items()}
    architecture = Architecture.of(unet, kept)
    return architecture.apply(unet), architecture


def read(path: Path, base: UNet2DConditionModel) -> UNet2DConditionModel:
    return load(locate(str(path)), base, SCHEDULER)


def answer(unet: UNet2DConditionModel) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    x, text = torch.randn(1, 4, 8, 8, generator=source), torch.randn(1, 6, 16, generator=source)
    with torch.no_grad():
        return unet(x, 500, encoder_hidden_states=text, return_dict=False)[0]


@pytest.mark.parametrize("form", ["unet", "pipeline", "pruned", "safetensors", "bin", "pt"])
def test_unet_is_read_in_every_published_form(form, base, tmp_path):
    theirs, path = tiny_unet(1), tmp_path / "model"
    if form in ("unet", "pipeline"):
        theirs.save_pretrained(path / "unet" if form == "pipeline" else path)
        if form == "pipeline":
            (path / "scheduler").mkdir()
            (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    elif form == "pruned":
        path.mkdir()
        theirs, architecture = cut(theirs)
        write_pruned(path, theirs, architecture)
    elif form == "safetensors":
        path = tmp_path / "model.safetensors"
        save_file(theirs.state_dict(), path)
    else:  # in a pipeline's wrapper, half precision, as ESD's authors save
        path = tmp_path / f"model.{form}"
        torch.save({f"unet.{name}": tensor.half() for name, tensor in theirs.state_dict().items()}, path)
        theirs = theirs.half().float()
    found = read(path, base)
    assert same(found, theirs)
    assert not found.training
    assert torch.allclose(answer(found), answer(theirs.eval()), atol=1e-5)


@pytest.mark.parametrize("form", ["safetensors", "ckpt", "pth", "folder"])
@pytest.mark.parametrize(
    "wrapped",
    [
        "_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}", "module.{}", "model.{}", "unet._orig_mod.{}",
        "_fsdp_wrapped_module.{}", "mid_block",
    ],
)  # fmt: skip
def test_weights_of_a_compiled_or_wrapped_model_are_read(form, wrapped, base, tmp_path):
    """Compiled whole, or block by block: then the wrapper's name stands in the middle."""
    theirs, path = tiny_unet(1), tmp_path / f"model.{form}"
    if wrapped == "mid_block":
        weights = {name.replace("mid_block.", "mid_block._orig_mod."): v for name, v in theirs.state_dict().items()}
    else:
        weights = {wrapped.format(name): tensor for name, tensor in theirs.state_dict().items()}
    if form == "folder" and "unet" not in wrapped and "model." not in wrapped:
        theirs.save_config(path)
        save_file(weights, path / "diffusion_pytorch_model.safetensors")
    elif form == "safetensors":
        save_file(weights, path)
    else:
        path = path.with_suffix(".ckpt")
        torch.save({"state_dict": weights, "epoch": 3}, path)
    assert same(read(path, base), theirs)


def test_tensors_both_wrapped_and_unwrapped_are_refused(base, tmp_path):
    weights = base.state_dict()
    save_file({**weights, **{f"_orig_mod.{k}": v + 1 for k, v in weights.items()}}, tmp_path / "two.safetensors")
    with pytest.raises(DataError, match="contain some tensors twice, wrapped and unwrapped"):
        read(tmp_path / "two.safetensors", base)


@pytest.mark.parametrize("shards", [False, True])
@pytest.mark.parametrize("variant", ["fp16", "non_ema", None])
def test_folder_with_one_variant_of_its_weights_is_read(variant, shards, base, tmp_path):
    theirs = tiny_unet(1).half()
    theirs.save_pretrained(tmp_path / "u", variant=variant, max_shard_size="30KB" if shards else "1GB")
    assert (len(list((tmp_path / "u").glob("*.safetensors"))) > 1) == shards
    assert same(read(tmp_path / "u", base), theirs.float())
    theirs.bfloat16().save_pretrained(tmp_path / "u", variant="bf16")
    if variant is None:  # the usual ones go before variants
        assert read(tmp_path / "u", base)
    else:
        with pytest.raises(DataError, match=f"only as variants bf16 and {variant}: keep one of them"):
            read(tmp_path / "u", base)


def test_folder_that_lacks_a_shard_is_refused(base, tmp_path):
    base.save_pretrained(tmp_path / "u", max_shard_size="30KB")
    files = sorted((tmp_path / "u").glob("*.safetensors"))
    files[0].unlink()
    with pytest.raises(DataError, match=f"contains only {len(files) - 1} of the {len(files)} files of its weights"):
        read(tmp_path / "u", base)


def test_checkpoint_dot_is_named_after_its_folder_and_an_empty_one_is_refused(base, tmp_path, monkeypatch):
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path / "my-model")
    (tmp_path / "my-model" / "config.json").write_text("{")
    seen = []
    monkeypatch.setattr("benchmark.models.checkpoint_names.check_name", seen.append)
    evaluate = ["eval", "--suite", "artists", "--device", "cpu", "--runs", str(tmp_path), "--checkpoint"]
    CliRunner().invoke(app, [*evaluate, "."])
    assert seen[0] == "my-model"
    refused = called(*evaluate, "", code=2)
    assert "--checkpoint is empty" in refused
    assert "--name" not in refused


def test_partial_weights_replace_only_their_own_tensors(base, tmp_path):
    """ESD: the cross-attention alone, by name or nested by module."""
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    theirs = {name: tensor + 1 for name, tensor in tiny_unet(1).state_dict().items() if "attn2" in name}
    save_file(theirs, tmp_path / "esd.safetensors")
    nested: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in theirs.items():
        module, _, leaf = name.rpartition(".")
        nested.setdefault(f"unet.{module}", {})[leaf] = tensor
    torch.save(nested, tmp_path / "esd.pt")
    for file in ("esd.safetensors", "esd.pt"):
        found = read(tmp_path / file, tiny_unet(0)).state_dict()
        assert all(torch.equal(found[name], theirs.get(name, before[name])) for name in before)
        assert 0 < len(theirs) < len(before)


def test_pruned_unet_is_rebuilt_from_the_shapes_of_its_weights(base, tmp_path):
    """Shapes alone say what was cut, unevenly too."""
    kept = {name: range(1 + k % width(gate)) for k, (name, gate) in enumerate(gates(base).items())}
    theirs = Architecture.of(base, kept).apply(tiny_unet(1))
    save_file(theirs.state_dict(), tmp_path / "pruned.safetensors")
    found = read(tmp_path / "pruned.safetensors", base)
    assert same(found, theirs)
    assert torch.allclose(answer(found), answer(theirs.eval()), atol=1e-5)


def test_unet_with_dropped_modules_is_rebuilt_from_its_weights(base, tmp_path):
    """As BK-SDM and APTP drop them; widths are cut beside."""
    theirs, name = tiny_unet(1), depth_gates(base)[-1]
    kept = {gate: range(1 + width(module) // 2) for gate, module in gates(base).items()}
    theirs = Architecture.of(theirs, kept, [name]).apply(theirs)
    save_file(theirs.state_dict(), tmp_path / "pruned.safetensors")
    found = read(tmp_path / "pruned.safetensors", base)
    assert isinstance(found.get_submodule(name), Dropped)
    assert same(found, theirs)
    assert torch.allclose(answer(found), answer(theirs.eval()), atol=1e-5)


@pytest.mark.parametrize("form", ["json", "pt"])
def test_full_weights_are_cut_by_a_separate_architecture_file(form, base, tmp_path):
    theirs = tiny_unet(1)
    vector = (torch.rand(Layout.of(base).length, generator=torch.Generator().manual_seed(0)) > 0.4).float()
    architecture = to_architecture(base, vector)
    if form == "json":
        (tmp_path / "a.json").write_text(json.dumps(architecture.to_json()))
    else:
        torch.save(vector[None], tmp_path / "a.pt")
    save_file(theirs.state_dict(), tmp_path / "full.safetensors")
    whole = locate(str(tmp_path / "full.safetensors"))
    cut_by = replace(whole, architecture=tmp_path / f"a.{form}")
    assert same(load(cut_by, base, SCHEDULER), architecture.apply(theirs))
    assert cut_by.sha256() != whole.sha256()


def test_wrong_architecture_file_is_refused(base, tmp_path):
    save_file(base.state_dict(), tmp_path / "full.safetensors")
    whole = locate(str(tmp_path / "full.safetensors"))
    torch.save(torch.ones(7), tmp_path / "short.pt")
    torch.save({"a": torch.ones(7)}, tmp_path / "table.pt")
    torch.save(torch.full((Layout.of(base).length,), torch.nan), tmp_path / "nan.pt")
    (tmp_path / "torn.json").write_text("{")
    for name, told in (
        ("short.pt", "values, not 7"),
        ("table.pt", "neither"),
        ("nan.pt", "outside 0..1, or NaN"),
        ("torn.json", "cannot be read"),
    ):
        with pytest.raises(DataError, match=told):
            load(replace(whole, architecture=tmp_path / name), tiny_unet(0), SCHEDULER)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "foreign",
            "1 of 1 names do not exist in it, the first is 'down.0.out.weight'; they must be named as diffusers",
        ),
        ("single file", "does not have the layers of the testbed's"),
        ("lora", "not one of the testbed's U-Net, which has no layer for 'unet.mid_block.attentions.0.to_q.lora_A"),
        ("custom diffusion", "it holds attention processors"),
        ("two parts", "it holds other parts next to the U-Net; save only the U-Net"),
        ("lcm", "its U-Net needs a guidance embedding"),
        ("shape of some", "a partial file must have the base's shapes"),
        ("shape of all", "not the testbed's U-Net with smaller inner widths"),
        ("wide", "smaller inner widths"),
        ("text", "is a web page, not weights"),
        ("width", "cross_attention_dim 8, the testbed's model 16: choose the testbed"),
        ("prediction", "predicts epsilon, the testbed's model v_prediction: choose the testbed"),
        ("torn", "does not fit its config.json|cannot be loaded"),
        ("many", "has 2 files of weights: give one of them"),
        ("empty", "has neither a U-Net, a pipeline nor weights"),
        ("suffix", "is not a file of weights"),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused_in_one_sentence(change, told, base, tmp_path):
    path, weights = tmp_path / "model.safetensors", dict(base.state_dict())
    if name := {"foreign": "down.0.out.weight", "single file": "model.diffusion_model.out.weight",
                "lora": "unet.mid_block.attentions.0.to_q.lora_A.weight",
                "custom diffusion": "mid_block.attn2.processor.to_k_custom_diffusion.weight",
                "two parts": "text_encoder.embeddings.weight",
                "lcm": "unet.time_embedding.cond_proj.weight"}.get(change):  # fmt: skip
        save_file({name: torch.ones(2)}, path)
    elif change == "shape of some":
        name = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
        save_file({name: weights[name][:4].clone()}, path)
    elif change in ("shape of all", "wide"):
        weights["conv_in.bias"] = torch.ones(3)
        if change == "wide":
            weights = {k: v.repeat(2, *[1] * (v.ndim - 1)) if "ff.net.0" in k else v for k, v in weights.items()}
        save_file(weights, path)
    elif change == "text":
        path = tmp_path / "model.pt"
        path.write_text("<!DOCTYPE html>")
    elif change in ("width", "prediction", "torn"):
        path = tmp_path / "model"
        small = UNet2DConditionModel.from_config({**base.config, "cross_attention_dim": 8 if change == "width" else 16})
        small.save_pretrained(path / "unet")
        if change == "prediction":
            (path / "scheduler").mkdir()
            (path / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "epsilon"}')
        if change == "torn":
            save_file({"conv_in.bias": torch.ones(16)}, path / "unet" / "diffusion_pytorch_model.safetensors")
    else:
        path = tmp_path / "folder"
        path.mkdir()
        if change == "many":
            for name in ("a.safetensors", "b.pt"):
                (path / name).write_bytes(b"")
        if change == "suffix":
            path = tmp_path / "model.onnx"
            path.write_bytes(b"")
    with pytest.raises(DataError, match=told) as caught:
        read(path, base)
    assert "\n" not in str(caught.value)


def test_name_that_is_neither_path_nor_repository_is_refused(monkeypatch):
    def download(name, **how):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", download)
    with pytest.raises(DataError, match="somebody/model is not an existing path, and the Hub does not provide it"):
        locate("somebody/model")


def test_checksum_depends_on_the_weights_and_not_on_the_folder(base, tmp_path):
    for name in ("a", "b"):
        base.save_pretrained(tmp_path / name)
    one, other = (Checkpoint("diffusers", tmp_path / name).sha256() for name in ("a", "b"))
    assert one == other
    tiny_unet(1).save_pretrained(tmp_path / "b")
    assert Checkpoint("diffusers", tmp_path / "b").sha256() != one


def called(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


def test_external_checkpoint_gets_a_row_in_the_table(tiny, tmp_path):
    runs = str(tmp_path / "runs")
    unet = UNet2DConditionModel.from_pretrained(tiny.parent / "model" / "unet")
    names = [name for name in unet.state_dict() if ".attn2." in name]
    save_file({name: unet.state_dict()[name] + 0.5 for name in names}, tmp_path / "esd.safetensors")
    evaluate = ["eval", "--checkpoint", str(tmp_path / "esd.safetensors"), "--suite", "artists", "--alone",
                "--testbed", str(tiny), "--reference", "base", "--device", "cpu", "--runs", runs]  # fmt: skip
    told = called(*evaluate, "--name", "theirs")
    assert "train" not in told
    assert "theirs" in told
    table = called("table", "--testbed", str(tiny), "--runs", runs)
    assert "theirs" in table
    assert "CP and CSD are relative to: base" in table
    (record,) = (one for one in read_records([tmp_path / "runs" / "records"]) if one.method == "theirs")
    assert (record.reference, record.pruning, record.macs, record.counted["share"]) == ("base", "brought", 1.0, 1.0)
    assert record.cells["csd"].n == record.cells["csd"].of == 2
    assert str(tmp_path) not in record.model_dump_json(
        exclude={"command", "config", "plugins"}
    )  # which state paths as they were typed
    assert record.model_key[:8] == record.images.rpartition("/")[0][-8:]
    assert record.setting_key == record.model_key
    again = called(*evaluate, "--name", "theirs")
    assert "sample" not in again
    assert "--name 'esd' is reserved for a row of the benchmark" in called(*evaluate, code=2)


def test_wrong_checkpoint_is_refused_before_the_reference_is_trained(tiny, tmp_path):
    save_file({"x": torch.ones(1)}, tmp_path / "mine.safetensors")
    told = called("eval", "--checkpoint", str(tmp_path / "mine.safetensors"), "--suite", "artists", "--testbed",
                  str(tiny), "--runs", str(tmp_path / "runs"), "--device", "cpu", code=2)  # fmt: skip
    assert "1 of 1 names do not exist in it" in told
    assert "train" not in told
    missing = called("eval", "--checkpoint", str(tmp_path / "none.pt"), "--suite", "artists", code=2)
    assert "none.pt is not an existing path" in missing
