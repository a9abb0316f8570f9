"""LoRAs under every tool's names are merged as PEFT and diffusers merge them; other kinds of changes are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import loras
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from tiny import SCHEDULER, tiny_unet
from torch import Tensor
from transformers import CLIPTextModel

from benchmark.errors import DataError, UsageError
from benchmark.models.chosen_parts import ALL
from benchmark.models.external_checkpoint import _select_files, default_name, load, locate, scaled
from benchmark.models.external_model import _list_unused

FORMS = (
    "diffusers", "diffusers without unet", "diffusers with A and B", "processors", "peft", "peft with adapter name",
    "kohya",
)  # fmt: skip
PEFT = {"peft_type": "LORA", "r": 3, "lora_alpha": 6}
K = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
KOHYA = f"lora_unet_{K.replace('.', '_')}"


def base() -> UNet2DConditionModel:
    return tiny_unet(0)


def merged(path: Path, scale: float = 1.0) -> dict[str, Tensor]:
    return load(scaled(locate(str(path)), scale), base(), SCHEDULER).state_dict()


def close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        torch.allclose(ours[name], theirs[name], rtol=1e-6, atol=1e-6) for name in ours
    )


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_lora_is_added_to_the_base_under_the_names_of_every_tool(
    form: str, folder: bool, suffix: str, tmp_path: Path
) -> None:
    """In float64: W + scale * alpha / rank * up @ down, for linear layers and convolutions."""
    layers = loras.LAYERS if form == "processors" else loras.LAYERS + loras.FURTHER
    made = loras.factors(base(), layers)
    alpha = 6.0 if form.startswith(("peft", "kohya")) else 3.0
    config = PEFT if form.startswith("peft") else {}
    file = loras.write(tmp_path / "lora", loras.named(made, form, alpha), form, suffix, **config)
    expected = base().state_dict()
    for layer, (down, up) in made.items():
        weight = expected[f"{layer}.weight"].double()
        kernel = down.double().flatten(1)
        change = (up.double().flatten(1) @ kernel).view(weight.shape)
        expected[f"{layer}.weight"] = (weight + 0.7 * alpha / 3 * change).float()
    ours = merged(file.parent if folder else file, 0.7)
    assert close(ours, expected)
    untouched = {name for name in expected if name.removesuffix(".weight") not in layers}
    before = base().state_dict()
    assert all(torch.equal(ours[name], before[name]) for name in untouched)


@pytest.mark.parametrize("rslora", [False, True])
def test_the_merge_equals_that_of_peft(rslora: bool, tmp_path: Path) -> None:
    """With ranks and alphas of single layers, for linear layers and convolutions."""
    targets = [layer for layer in loras.LAYERS + loras.FURTHER if "time_embedding" not in layer]
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=targets, use_rslora=rslora, init_lora_weights=False,
        rank_pattern={"attn2.to_k": 2, "conv1": 3}, alpha_pattern={"attn2.to_k": 5, r"mid_block\..*to_out\.0": 1},
    )  # fmt: skip
    torch.manual_seed(2)
    adapted = get_peft_model(base(), config)  # type: ignore[arg-type]
    adapted.save_pretrained(str(tmp_path))
    ours = merged(tmp_path)
    theirs = adapted.merge_and_unload().state_dict()
    assert close(ours, theirs)
    assert not close(ours, base().state_dict())


@pytest.mark.parametrize("scale", [1.0, -0.5])
@pytest.mark.parametrize("form", ["diffusers", "processors", "kohya", "metadata"])
def test_the_merge_equals_that_of_diffusers(form: str, scale: float, tiny: Path, tmp_path: Path) -> None:
    model = tiny.parent / "model"
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    layers = loras.LAYERS if form != "diffusers" else loras.LAYERS + loras.FURTHER[:3]
    made = loras.factors(unet, layers)
    if form == "metadata":  # the factor is only in the header of the file
        stored = loras.named(made, "diffusers with A and B")
        StableDiffusionPipeline.save_lora_weights(
            tmp_path / "lora",
            {name.removeprefix("unet."): tensor for name, tensor in stored.items()},
            unet_lora_adapter_metadata={"r": 3, "lora_alpha": 12, "target_modules": list(layers), "rank_pattern": {},
                                        "alpha_pattern": {}},
        )  # fmt: skip
    else:
        loras.write(tmp_path / "lora", loras.named(made, form, 12.0), form)
    pipeline = StableDiffusionPipeline(
        unet=UNet2DConditionModel.from_pretrained(model / "unet"),
        text_encoder=CLIPTextModel.from_pretrained(model / "text_encoder"),
        scheduler=DDIMScheduler.from_pretrained(model / "scheduler"),
        vae=None, tokenizer=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # type: ignore[arg-type]  # fmt: skip
    pipeline.load_lora_weights(str(next((tmp_path / "lora").glob("*.safetensors"))))
    pipeline.fuse_lora(lora_scale=scale)
    pipeline.unload_lora_weights()
    ours = load(scaled(locate(str(tmp_path / "lora")), scale), unet, SCHEDULER).state_dict()
    theirs = pipeline.unet.state_dict()
    assert close(ours, theirs)
    before = UNet2DConditionModel.from_pretrained(model / "unet").state_dict()
    assert not close(ours, before)
    if form in ("kohya", "metadata"):  # alpha 12 at rank 3 is used
        down, up = made[layers[0]]
        change = ours[f"{layers[0]}.weight"] - before[f"{layers[0]}.weight"]
        assert torch.allclose(change, scale * 4 * up @ down, atol=1e-4)


@pytest.mark.parametrize("alpha", [torch.tensor(6), torch.tensor(6.0).half(), torch.tensor([6.0])])
def test_alpha_is_read_in_any_precision_and_equals_the_rank_if_it_is_missing(alpha: Tensor, tmp_path: Path) -> None:
    made = loras.factors(base(), (K,))
    half = {name: tensor.half() for name, tensor in loras.named(made, "kohya").items()}
    changes = []
    for name, tensors in {"without": half, "with": {**half, f"{KOHYA}.alpha": alpha}}.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
        changes.append(merged(tmp_path / f"{name}.safetensors")[f"{K}.weight"] - base().state_dict()[f"{K}.weight"])
    assert torch.allclose(2 * changes[0], changes[1], atol=1e-5)
    down, up = made[K]
    assert torch.allclose(changes[0], up.half().float() @ down.half().float(), atol=1e-5)


def test_label_identity_and_checksum_state_the_lora_and_its_scale(tmp_path: Path) -> None:
    made = loras.factors(base(), loras.LAYERS)
    file = loras.write(tmp_path / "a", loras.named(made, "peft"), "peft", **PEFT)
    whole = locate(str(file))
    assert (whole.form, whole.details(), whole.scaling(), whole.facts()) == ("lora", ["LoRA"], {}, {})
    half = scaled(whole, 0.5)
    assert (half.details(), half.scaling()) == (["LoRA", "scale 0.5"], {"lora_scale": 0.5})
    assert half.facts() == {"lora_scale": 0.5}
    assert scaled(whole, 0.1234567).details() == ["LoRA", "scale 0.1234567"]
    loras.write(tmp_path / "b", loras.named(made, "peft"), "peft", **{**PEFT, "lora_alpha": 1})
    assert whole.sha256() == locate(str(tmp_path / "a")).sha256() != locate(str(tmp_path / "b")).sha256()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_scale_that_is_not_finite_or_has_no_lora_is_refused(value: float, tmp_path: Path) -> None:
    save_file(base().state_dict(), tmp_path / "unet.safetensors")
    with pytest.raises(UsageError, match=r"--lora-scale applies to a LoRA, and the checkpoint .* is not a LoRA"):
        scaled(locate(str(tmp_path / "unet.safetensors")), 0.5)
    loras.write(tmp_path / "a", loras.named(loras.factors(base(), (K,)), "kohya"), "kohya")
    with pytest.raises(UsageError, match=r"--lora-scale is .*: give a finite number"):
        scaled(locate(str(tmp_path / "a")), value)


Change = Callable[[dict[str, Tensor]], Any]
DOWN, UP = f"{KOHYA}.lora_down.weight", f"{KOHYA}.lora_up.weight"
WRONG: dict[str, tuple[Change, str]] = {
    "dora": (lambda w: w.update({f"{KOHYA}.dora_scale": torch.rand(16)}), "is a DoRA, which this benchmark does not"),
    "peft dora": (lambda w: w.update({f"unet.{K}.lora_magnitude_vector": torch.rand(3)}), "is a DoRA"),
    "loha": (lambda w: (w.clear(), w.update({f"{KOHYA}.hada_w1_a": torch.rand(3, 3)})), "is a LoHa"),
    "lokr": (lambda w: (w.clear(), w.update({f"{KOHYA}.lokr_w1": torch.rand(3, 3)})), "is a LoKr"),
    "tucker": (lambda w: w.update({f"{KOHYA}.lora_mid.weight": torch.rand(3, 3, 3, 3)}), "with a middle factor"),
    "oft": (lambda w: (w.clear(), w.update({f"{KOHYA}.oft_blocks": torch.rand(3, 3)})), "is an OFT"),
    "biases": (lambda w: w.update({f"unet.{K}.lora_B.bias": torch.rand(16)}), "is a LoRA with biases"),
    "no up": (lambda w: w.pop(UP), f"lacks the factor 'up' of the layer '{K}'"),
    "no down": (lambda w: w.pop(DOWN), f"lacks the factor 'down' of the layer '{K}'"),
    "only alpha": (lambda w: (w.pop(DOWN), w.pop(UP)), "lacks the factor 'down' of the layer"),
    "rank": (lambda w: w.update({UP: w[UP][:, :2].clone()}), "does not fit the layer .* choose the testbed"),
    "outputs": (lambda w: w.update({UP: w[UP][:7].clone()}), "does not fit the layer"),
    "inputs": (lambda w: w.update({DOWN: w[DOWN][:, :7].clone()}), "does not fit the layer"),
    "kernel": (lambda w: w.update({DOWN: w[DOWN][:, :, None, None].repeat(1, 1, 3, 3)}), "does not fit the layer"),
    "vector": (lambda w: w.update({DOWN: w[DOWN].flatten()}), "does not fit the layer"),
    "transposed": (lambda w: w.update({UP: w[UP].T.contiguous()}), "does not fit the layer"),
    "nan": (lambda w: w[UP].view(-1)[:1].fill_(float("nan")), "are NaN or infinite"),
    "alpha nan": (lambda w: w.update({f"{KOHYA}.alpha": torch.tensor(float("nan"))}), "are NaN or infinite"),
    "alpha 0": (lambda w: w.update({f"{KOHYA}.alpha": torch.tensor(0.0)}), "has alpha 0.0 .*a number other than 0"),
    "two alphas": (lambda w: w.update({f"{KOHYA}.alpha": torch.ones(2)}), "more than one alpha in the layer"),
    "integers": (lambda w: w.update({UP: torch.ones(16, 3, dtype=torch.int8)}), "has int8 values .*unquantised"),
    "untrained": (lambda w: w.update({UP: torch.zeros_like(w[UP])}), "changes nothing, because one factor"),
    "foreign layer": (lambda w: w.update({"lora_unet_down_blocks_7_x.lora_up.weight": w[UP]}), "has no layer for"),
    "original names": (
        lambda w: w.update({"lora_unet_input_blocks_1_1_proj_in.lora_up.weight": w[UP].clone()}), "has no layer for",
    ),
    "norm": (
        lambda w: w.update({"unet.conv_norm_out.lora_A.weight": w[DOWN], "unet.conv_norm_out.lora_B.weight": w[UP]}),
        "'conv_norm_out', which is a GroupNorm",
    ),
    "whole layer": (lambda w: w.update({"unet.conv_in.bias": torch.rand(16)}), "also holds 'unet.conv_in.bias', which"),
    "twice": (lambda w: w.update({f"unet.{K}.lora_A.weight": w[DOWN].clone()}), f"changes the layer '{K}' twice"),
    "text alone": (
        lambda w: (w.clear(), w.update({"lora_te_text_model_x.lora_down.weight": torch.rand(3, 3)})),
        "changes no layer of the U-Net",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_damaged_or_foreign_lora_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    change, message = WRONG[kind]
    tensors = loras.named(loras.factors(base(), (K,)), "kohya", 3.0)
    change(tensors)
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "lora.safetensors")
    with pytest.raises(DataError, match=message) as caught:
        merged(tmp_path / "lora.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "its scale is unknown without lora_alpha: put its adapter_config.json into the same folder"),
        ({"peft_type": "LOHA"}, "is a LOHA, not a LoRA"),
        ({**PEFT, "use_dora": True}, "is a DoRA"),
        ({**PEFT, "use_qalora": True}, "is a LoRA with use_qalora"),
        ({**PEFT, "fan_in_fan_out": True}, "is a LoRA with fan_in_fan_out"),
        ({**PEFT, "init_lora_weights": "pissa"}, "from modified weights of its base .init_lora_weights pissa"),
        ({"r": 3}, "lacks lora_alpha"),
        ({**PEFT, "lora_alpha": "six"}, "has alpha six in"),
        ({**PEFT, "r": 8}, "has rank 3 in .*, and its config states 8"),
        ({**PEFT, "alpha_pattern": ["x"]}, "alpha_pattern that is no JSON object"),
        ({**PEFT, "alpha_pattern": {"(": 2}}, "an invalid alpha_pattern"),
    ],
)
def test_a_config_of_peft_that_does_not_fit_is_refused(config: dict, message: str, tmp_path: Path) -> None:
    tensors = loras.named(loras.factors(base(), loras.LAYERS), "peft")
    loras.write(tmp_path / "lora", tensors, "peft", **config)
    with pytest.raises(DataError, match=message) as caught:
        merged(tmp_path / "lora")
    assert "\n" not in str(caught.value)


def test_a_damaged_config_or_header_is_refused(tmp_path: Path) -> None:
    made = loras.factors(base(), loras.LAYERS)
    file = loras.write(tmp_path / "peft", loras.named(made, "peft"), "peft")
    (file.parent / "adapter_config.json").write_text("{")
    with pytest.raises(DataError, match=r"adapter_config.json cannot be read"):
        merged(file)
    save_file(loras.named(made, "diffusers"), tmp_path / "x.safetensors", {"lora_adapter_metadata": "{"})
    with pytest.raises(DataError, match="an invalid config in its header"):
        merged(tmp_path / "x.safetensors")
    fields = json.dumps({"unet.r": 3, "unet.lora_alpha": 3})
    tensors = loras.named(made, "kohya", 3.0)
    save_file(tensors, tmp_path / "y.safetensors", {"lora_adapter_metadata": fields})
    with pytest.raises(DataError, match="states its alpha twice"):
        merged(tmp_path / "y.safetensors")


def test_changes_of_a_second_text_encoder_need_parts_unet_and_are_not_used(tmp_path: Path) -> None:
    made = loras.factors(base(), loras.LAYERS)
    more = {"lora_te2_text_model_x.lora_down.weight": torch.rand(3, 3)}
    file = loras.write(tmp_path / "a", loras.named(made, "kohya") | more, "kohya")
    located = locate(str(file))
    assert _list_unused(located, ("unet",)) == ["text_encoder_2 (1 tensors)"]
    with pytest.raises(DataError, match=r"also holds weights of parts .*: text_encoder_2 \(1 tensors\); .* --parts"):
        _list_unused(located, ALL)
    plain = loras.write(tmp_path / "b", loras.named(made, "kohya"), "kohya")
    assert close(merged(file), merged(plain))
    assert _list_unused(locate(str(plain)), ALL) == []


def test_the_files_of_a_lora_on_the_hub_are_downloaded_and_it_is_named_after_its_folder() -> None:
    files = ["README.md", "adapter_config.json", "adapter_model.safetensors", "optimizer.bin", "checkpoint-5/a.bin"]
    assert _select_files("org/lora", files, "all") == ["adapter_model.safetensors", "adapter_config.json"]
    for name in ("adapter_model.safetensors", "pytorch_lora_weights.safetensors"):
        assert default_name(f"van-gogh/{name}") == "van-gogh"


def test_training_state_next_to_a_lora_is_not_taken_for_weights(tmp_path: Path) -> None:
    file = loras.write(tmp_path / "a", loras.named(loras.factors(base(), (K,)), "diffusers"), "diffusers")
    for name in ("optimizer.bin", "scheduler.bin"):
        (file.parent / name).write_bytes(b"state")
    assert locate(str(file.parent)).place == file
    (file.parent / "second.safetensors").write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="has 2 files of weights: give one of them"):
        locate(str(file.parent))
