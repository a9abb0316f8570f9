"""Ambiguous, untrained or otherwise unsuitable weights are refused with one sentence."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import SCHEDULER, tiny_unet

from benchmark.errors import DataError
from benchmark.models.chosen_parts import ALL
from benchmark.models.external_checkpoint import Checkpoint, _select_files, load, locate
from benchmark.models.external_model import _list_unused
from benchmark.models.pipeline_parts import differences
from benchmark.testbeds.stable_diffusion import find, scoring_networks
from benchmark.testbeds.stable_diffusion.pipeline import Pipeline
from metrics.networks.weights import check_values, read_weights, stored

WHOLE = "diffusion_pytorch_model.safetensors"


def shard(number: int, count: int) -> str:
    return f"diffusion_pytorch_model-{number:05d}-of-{count:05d}.safetensors"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([WHOLE, shard(1, 2), shard(2, 2), f"{WHOLE}.index.json"], "contains its weights in 2 shards and whole"),
        ([shard(1, 2), shard(2, 2), shard(1, 3), shard(2, 3), shard(3, 3)], "in 2 shards and in 3 shards"),
    ],
)
def test_weights_of_two_saves_in_one_folder_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=f"unet .*{message}: remove the files of the earlier save"):
        stored(names, "unet")
    assert stored([shard(1, 2), shard(2, 2)], "unet") == (None, [shard(1, 2), shard(2, 2)])


def test_whole_file_next_to_shards_is_refused_in_checkpoint_and_testbed(tiny: Path, tmp_path: Path) -> None:
    tiny_unet(1).save_pretrained(tmp_path / "theirs", max_shard_size="30KB")
    save_file(dict(tiny_unet(0).state_dict()), tmp_path / "theirs" / WHOLE)
    with pytest.raises(DataError, match="shards and whole"):
        load(locate(str(tmp_path / "theirs")), tiny_unet(0), SCHEDULER)
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    for number in (1, 2):
        shutil.copy(tmp_path / "model" / "unet" / WHOLE, tmp_path / "model" / "unet" / shard(number, 2))
    with pytest.raises(DataError, match="unet contains its weights in 2 shards and whole"):
        find.model([str(tmp_path / "model")])


def test_scoring_network_folder_with_several_weight_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"has several files of weights \(a.pth, b.pth\), give the path of one of them"):
        find.network(str(tmp_path), "features")
    assert find.network(str(tmp_path / "b.pth"), "features") == tmp_path / "b.pth"


@pytest.mark.parametrize(
    ("first", "second"),
    [("state_dict", "ema_state_dict"), ("unet", "unet_ema"), ("model", "model_ema"), ("student", "teacher")],
)
def test_file_with_two_models_is_refused_under_any_names(first: str, second: str, tmp_path: Path) -> None:
    weights = {f"module.{name}": tensor for name, tensor in tiny_unet(1).state_dict().items()}
    torch.save({first: weights, second: dict(weights), "step": 5}, tmp_path / "both.pt")
    with pytest.raises(DataError, match=f"contain several models \\('{first}' and '{second}'\\): save only the one"):
        read_weights(tmp_path / "both.pt")
    torch.save({first: weights, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}, tmp_path / "one.pt")
    if first in ("state_dict", "model"):
        assert len(read_weights(tmp_path / "one.pt")) == len(weights)


def test_file_with_plain_and_listed_ema_weights_is_refused(tmp_path: Path) -> None:
    weights = dict(tiny_unet(1).state_dict())
    torch.save(
        {"state_dict": weights, "ema": {"decay": 0.9, "shadow_params": list(weights.values())}}, tmp_path / "a.pt"
    )
    with pytest.raises(DataError, match="several models"):
        read_weights(tmp_path / "a.pt")


def test_weights_nested_by_module_are_read_as_one_model(tmp_path: Path) -> None:
    nested: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tiny_unet(1).state_dict().items():
        module, _, part = name.rpartition(".")
        nested.setdefault(module, {})[part] = tensor
    torch.save(nested, tmp_path / "esd.pt")
    assert read_weights(tmp_path / "esd.pt").keys() == tiny_unet(1).state_dict().keys()


def test_folder_with_plain_and_ema_unets_is_refused_with_both_paths(tmp_path: Path) -> None:
    for name in ("unet", "unet_ema"):
        tiny_unet(1).save_pretrained(tmp_path / name)
    with pytest.raises(DataError, match=f"two U-Nets, unet and unet_ema: give .* {tmp_path}/unet or .*unet_ema"):
        locate(str(tmp_path))
    for name in ("unet", "unet_ema"):
        assert locate(str(tmp_path / name)).place == tmp_path / name
    with pytest.raises(DataError, match="org/model holds two U-Nets, unet and unet_ema: download it"):
        _select_files("org/model", ["unet/config.json", f"unet/{WHOLE}", "unet_ema/config.json"], "all")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ema.conv_in.weight", "it holds averaged \\(EMA\\) weights; save one model, averaged or not"),
        ("unet_ema.conv_in.weight", "it holds averaged"),
        ("<van-gogh>", "embeddings of new words \\(textual inversion\\)"),
        ("emb_params", "textual inversion"),
    ],
)
def test_ema_or_textual_inversion_file_is_refused_by_its_kind(name: str, message: str, tmp_path: Path) -> None:
    beside = tiny_unet(0).state_dict() if "ema" in name else {}
    save_file({**beside, name: torch.randn(1, 4)}, tmp_path / "theirs.safetensors")
    with pytest.raises(DataError, match=message):
        load(locate(str(tmp_path / "theirs.safetensors")), tiny_unet(0), SCHEDULER)


def test_inpainting_unet_in_a_file_is_refused_by_its_channels(tmp_path: Path) -> None:
    weights = dict(tiny_unet(0).state_dict())
    kernel = weights["conv_in.weight"]
    weights["conv_in.weight"] = torch.cat([kernel, torch.zeros_like(kernel), kernel[:, :1]], 1)
    save_file(weights, tmp_path / "theirs.safetensors")
    with pytest.raises(DataError, match="has in_channels 9, the testbed's model 4"):
        load(locate(str(tmp_path / "theirs.safetensors")), tiny_unet(0), SCHEDULER)


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "bin"])
def test_lfs_pointer_or_web_page_instead_of_weights_is_refused(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"theirs.{suffix}"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 123\n")
    with pytest.raises(DataError, match="is a Git LFS pointer, not the weights: run `git lfs pull`"):
        read_weights(file)
    file.write_text("\n<html>404</html>")
    with pytest.raises(DataError, match="is a web page, not weights"):
        read_weights(file)


def test_lfs_pointer_instead_of_testbed_weights_is_refused(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    shutil.copytree(tiny.parent / "networks" / "clip", tmp_path / "clip")
    for file in (*tmp_path.glob("model/*/*.safetensors"), *tmp_path.glob("clip/*.safetensors")):
        file.write_text("version https://git-lfs.github.com/spec/v1\n")
    pipeline = Pipeline(tmp_path / "model", torch.device("cpu"))
    for use in (pipeline.unet, lambda: pipeline.vae, lambda: scoring_networks.clip(tmp_path / "clip", "clip", "cpu")):
        with pytest.raises(DataError, match="is a Git LFS pointer"):
            use()
    with pytest.raises(DataError, match="is a Git LFS pointer"):
        differences(tmp_path / "model", tiny.parent / "model")


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_unet_with_constant_weights_is_refused(value: float, tmp_path: Path) -> None:
    weights = {name: torch.full_like(tensor, value) for name, tensor in tiny_unet(0).state_dict().items()}
    save_file(weights, tmp_path / "blank.safetensors")
    with pytest.raises(DataError, match=f"are blank, .* are constant .* is {value:g} everywhere"):
        load(locate(str(tmp_path / "blank.safetensors")), tiny_unet(1), SCHEDULER)
    tiny_unet(0).save_pretrained(tmp_path / "blank")
    save_file(weights, tmp_path / "blank" / WHOLE)
    with pytest.raises(DataError, match="are blank"):
        load(locate(str(tmp_path / "blank")), tiny_unet(1), SCHEDULER)


def test_single_matrices_of_zeros_are_accepted() -> None:
    check_values({"a.weight": torch.randn(2, 2), "b.weight": torch.zeros(2, 2), "b.bias": torch.zeros(2)}, "They")
    check_values({"norm.weight": torch.ones(4), "scale": torch.zeros(1, 1)}, "They")


@pytest.mark.parametrize("place", ["", "unet"])
def test_unused_lora_next_to_a_unet_is_refused(place: str, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    save_file(
        {"unet.x.lora.down.weight": torch.randn(4, 4)}, tmp_path / "model" / place / "pytorch_lora_weights.safetensors"
    )
    theirs = locate(str(tmp_path / "model"))
    with pytest.raises(
        DataError, match=r"contains a LoRA \(pytorch_lora_weights.safetensors\), which would not be used"
    ):
        _list_unused(theirs, ALL)
    assert _list_unused(theirs, ("unet",)) == ["pytorch_lora_weights.safetensors"]
    with pytest.raises(DataError, match="contains a LoRA"):
        _list_unused(Checkpoint("diffusers", tmp_path / "model" / place), ALL)
    files = ["unet/config.json", f"unet/{WHOLE}", "pytorch_lora_weights.safetensors"]
    assert "pytorch_lora_weights.safetensors" in _select_files("org/model", files, "unet")


def test_tokenizer_whose_merges_are_not_in_its_vocabulary_is_refused(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    with open(tmp_path / "model" / "tokenizer" / "merges.txt", "a") as merges:
        merges.write("a b\n")
    with pytest.raises(DataError, match=r"tokenizer cannot be read .*out of vocabulary.*--parts unet"):
        differences(tmp_path / "model", tiny.parent / "model")
    with pytest.raises(DataError, match=r"tokenizer cannot be read .*: download the model again"):
        _ = Pipeline(tmp_path / "model", torch.device("cpu")).text_length
