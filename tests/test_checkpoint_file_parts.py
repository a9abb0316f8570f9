"""The text encoder and the VAE of a single file, and the text encoder's part of a LoRA, are used where they differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from test_checkpoint_ldm import no_network, whole
from test_cli import bench
from test_own_parts import testbed
from torch import Tensor, nn
from transformers import CLIPTextModel

from benchmark.api.request import RunRequest
from benchmark.api.testbed import Testbed
from benchmark.console import Progress
from benchmark.errors import DataError
from benchmark.export.find_model import own_parts_of, weights_of
from benchmark.models.chosen_parts import ALL
from benchmark.models.external_checkpoint import load, locate, scaled
from benchmark.models.own_parts import OwnParts, own_parts
from benchmark.models.part_sources import part_source
from benchmark.pipeline.setup import workbench_for
from benchmark.records.record import read_records

__all__ = ["no_network", "testbed"]
WIDTH = 32


def parts_of(file: Path, testbed: Testbed, chosen: tuple[str, ...] = ALL, scale: float = 1.0) -> OwnParts:
    source = part_source(scaled(locate(str(file)), scale))
    assert source is not None
    return own_parts(source, testbed, WIDTH, chosen)


def equal(network: nn.Module, other: nn.Module) -> bool:
    ours, theirs = network.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def edited_pipeline(model: Path, *parts: str) -> dict[str, nn.Module]:
    """The parts of the testbed's pipeline, of which these have other weights."""
    networks = {
        "text_encoder": CLIPTextModel.from_pretrained(model / "text_encoder"),
        "vae": AutoencoderKL.from_pretrained(model / "vae"),
    }
    for part in parts:
        with torch.no_grad():
            for weight in networks[part].parameters():
                weight.mul_(1.25)
    return networks


def single_file(model: Path, folder: Path, text: str, networks: dict[str, nn.Module]) -> Path:
    """The testbed's pipeline with these networks, as one file."""
    theirs = folder / "pipeline"
    UNet2DConditionModel.from_pretrained(model / "unet").save_pretrained(theirs / "unet")
    DDIMScheduler.from_pretrained(model / "scheduler").save_pretrained(theirs / "scheduler")
    for part, network in networks.items():
        network.save_pretrained(theirs / part)  # type: ignore[operator]
    save_file(whole(theirs, text), folder / "theirs.safetensors")
    return folder / "theirs.safetensors"


@pytest.mark.parametrize("text", ["clip", "open_clip"])
@pytest.mark.parametrize("half", [False, True])
def test_a_single_file_whose_parts_equal_the_testbeds_has_none_of_its_own(
    text: str, half: bool, tiny: Path, testbed: Testbed, tmp_path: Path
) -> None:
    pipeline, file = tiny.parent / "model", tmp_path / "model.safetensors"
    save_file({name: t.half() if half else t for name, t in whole(pipeline, text).items()}, file)
    own = parts_of(file, testbed)
    assert (own.checksums, own.used, own.unused, own.details) == ({}, (), (), [])


@pytest.mark.parametrize("text", ["clip", "open_clip"])
@pytest.mark.parametrize("parts", [("text_encoder",), ("vae",), ("text_encoder", "vae")])
def test_the_text_encoder_and_vae_of_a_single_file_are_used_where_they_differ(
    parts: tuple[str, ...], text: str, tiny: Path, testbed: Testbed, tmp_path: Path
) -> None:
    networks = edited_pipeline(tiny.parent / "model", *parts)
    file = single_file(tiny.parent / "model", tmp_path, text, networks)
    own = parts_of(file, testbed)
    assert set(own.checksums) == set(parts)
    assert all("different weights in" in what for what in own.used)
    loaded = {"text_encoder": own.text_encoder, "vae": own.vae}
    assert all(equal(loaded[part], networks[part]) for part in parts)
    assert all(loaded[part] is None for part in loaded.keys() - {*parts})
    narrowed = parts_of(file, testbed, ("unet",))
    assert narrowed.checksums == {}
    assert [what.partition(" ")[0] for what in narrowed.unused] == list(parts)
    with pytest.raises(DataError, match=r"has no tokenizer \(tokenizer\): leave tokenizer out of --parts"):
        parts_of(file, testbed, ("unet", "tokenizer"))


Change = Callable[[dict[str, Tensor]], Any]


def without(part: str) -> Change:
    return lambda weights: [weights.pop(name) for name in list(weights) if part in name]


def with_more_layers(weights: dict[str, Tensor]) -> None:
    for name in [name for name in weights if ".encoder.layers.1." in name]:
        weights[name.replace(".layers.1.", ".layers.2.")] = weights[name].clone()


def cut(name: str) -> Change:
    return lambda weights: weights.update({name: weights[name][:3].clone()})


TOKENS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
DAMAGED: dict[str, tuple[Change, str]] = {
    "fewer layers": (without(".encoder.layers.1."), "text encoder .* of the testbed's .num_hidden_layers 1, not 2"),
    "more layers": (with_more_layers, "text encoder .* of the testbed's .num_hidden_layers 3, not 2"),
    "no tokens": (without("token_embedding"), "text encoder .*it lacks 'embeddings.token_embedding.weight'"),
    "fewer tokens": (cut(TOKENS), "text encoder .*'embeddings.token_embedding.weight' has the shape .3, 32"),
    "no decoder": (without("first_stage_model.decoder.conv_in.weight"), "VAE .*it lacks 'decoder.conv_in.weight'"),
    "VAE's shape": (cut("first_stage_model.decoder.conv_in.bias"), "VAE .*'decoder.conv_in.bias' has the shape .3"),
    "VAE of integers": (
        lambda w: w.update({"first_stage_model.decoder.conv_in.bias": torch.ones(8, dtype=torch.int32)}), "int32|shape",
    ),
    "NaN": (lambda w: w[TOKENS].view(-1)[:1].fill_(torch.nan), "are NaN or infinite"),
    "noise": (lambda w: w.update(alphas_cumprod=w["alphas_cumprod"] * 0.9), "cannot use: scheduler .different noise"),
    "steps": (lambda w: w.update(alphas_cumprod=w["alphas_cumprod"][:9].clone()), "scheduler .different noise levels"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_part_of_a_single_file_is_refused_in_one_sentence(
    kind: str, tiny: Path, testbed: Testbed, tmp_path: Path
) -> None:
    change, message = DAMAGED[kind]
    weights = whole(tiny.parent / "model")
    change(weights)
    save_file(weights, tmp_path / "theirs.safetensors")
    with pytest.raises(DataError, match=message) as caught:
        parts_of(tmp_path / "theirs.safetensors", testbed)
    assert "\n" not in str(caught.value)
    if kind != "NaN":  # the file is damaged as a whole
        assert parts_of(tmp_path / "theirs.safetensors", testbed, ("unet",)).unused


LAYERS = (
    "encoder.layers.0.self_attn.q_proj", "encoder.layers.0.self_attn.v_proj", "encoder.layers.1.self_attn.out_proj",
    "encoder.layers.1.mlp.fc1",
)  # fmt: skip


def text_factors(model: Path, rank: int = 2) -> dict[str, tuple[Tensor, Tensor]]:
    """The factors (down, up) of layers of the text encoder, by names without the prefix `text_model`."""
    states = CLIPTextModel.from_pretrained(model / "text_encoder").state_dict()
    weights = {name.removeprefix("text_model."): tensor for name, tensor in states.items()}
    source = torch.Generator().manual_seed(4)
    shapes = {layer: weights[f"{layer}.weight"].shape for layer in LAYERS}
    return {
        layer: (torch.randn(rank, inputs, generator=source) / 10, torch.randn(outputs, rank, generator=source) / 10)
        for layer, (outputs, inputs) in shapes.items()
    }


def text_lora(made: dict[str, tuple[Tensor, Tensor]], form: str, alpha: float) -> dict[str, Tensor]:
    """The tensors of a LoRA of the text encoder under the names of a tool."""
    tensors = {}
    for layer, pair in made.items():
        name = f"text_model.{layer}"
        old = name.replace("q_proj", "to_q").replace("v_proj", "to_v").replace("out_proj", "to_out")
        for tensor, role, letter in zip(pair, ("down", "up"), "AB", strict=True):
            key = {
                "diffusers": f"text_encoder.{name}.lora_{letter}.weight",
                "diffusers, linear layer": f"text_encoder.{name}.lora_linear_layer.{role}.weight",
                "diffusers 2023": f"text_encoder.{old}_lora.{role}.weight",
                "peft": f"base_model.model.{name}.lora_{letter}.weight",
                "kohya": f"lora_te_{name.replace('.', '_')}.lora_{role}.weight",
                "kohya, te1": f"lora_te1_{name.replace('.', '_')}.lora_{role}.weight",
            }[form]
            tensors[key] = tensor.clone()
        if form.startswith("kohya"):
            tensors[f"{key.partition('.')[0]}.alpha"] = torch.tensor(alpha)
    return tensors


@pytest.mark.parametrize(
    "form", ["diffusers", "diffusers, linear layer", "diffusers 2023", "peft", "kohya", "kohya, te1"]
)
def test_the_text_encoders_part_of_a_lora_is_added_under_the_names_of_every_tool(
    form: str, tiny: Path, testbed: Testbed, tmp_path: Path
) -> None:
    """In float64: W + scale * alpha / rank * up @ down."""
    model = tiny.parent / "model"
    made = text_factors(model)
    if form == "diffusers 2023":  # these LoRAs changed attention alone
        made = {layer: pair for layer, pair in made.items() if "attn" in layer}
    alpha = 6.0 if form.startswith(("peft", "kohya")) else 2.0
    save_file(text_lora(made, form, alpha), tmp_path / "lora.safetensors")
    if form == "peft":
        (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 6}')
    own = parts_of(tmp_path / "lora.safetensors", testbed, scale=0.5)
    assert own.used == (f"text_encoder (a LoRA of {len(made)} layers)",)
    before = CLIPTextModel.from_pretrained(model / "text_encoder").state_dict()
    for name, tensor in own.text_encoder.state_dict().items():
        layer = name.removeprefix("text_model.").removesuffix(".weight")
        wanted = before[name].double()
        if layer in made and name.endswith("weight"):
            down, up = made[layer]
            wanted = wanted + 0.5 * alpha / 2 * up.double() @ down.double()
        assert torch.allclose(tensor.double(), wanted, rtol=0, atol=1e-6), name


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_the_change_of_the_text_encoder_equals_that_of_peft(tiny: Path, testbed: Testbed, tmp_path: Path) -> None:
    config = LoraConfig(
        r=4, lora_alpha=6, target_modules=["q_proj", "out_proj", "fc2"], use_rslora=True, init_lora_weights=False,
        rank_pattern={"q_proj": 2}, alpha_pattern={"fc2": 5},
    )  # fmt: skip
    torch.manual_seed(2)
    adapted = get_peft_model(CLIPTextModel.from_pretrained(tiny.parent / "model" / "text_encoder"), config)
    adapted.save_pretrained(str(tmp_path))
    own = parts_of(tmp_path, testbed)
    theirs = adapted.merge_and_unload().state_dict()
    assert all(torch.allclose(t, theirs[name], rtol=0, atol=1e-6) for name, t in own.text_encoder.state_dict().items())
    assert not equal(own.text_encoder, CLIPTextModel.from_pretrained(tiny.parent / "model" / "text_encoder"))


@pytest.mark.parametrize("form", ["kohya", "diffusers, linear layer", "diffusers"])
def test_both_halves_of_a_lora_equal_those_of_diffusers(
    form: str, tiny: Path, testbed: Testbed, tmp_path: Path
) -> None:
    model = tiny.parent / "model"
    unet, encoder = UNet2DConditionModel.from_pretrained(model / "unet"), tiny.parent / "model" / "text_encoder"
    layer = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    outputs, inputs = unet.get_parameter(f"{layer}.weight").shape
    down, up = torch.randn(2, inputs), torch.randn(outputs, 2)
    of_unet = {
        "kohya": {
            f"lora_unet_{layer.replace('.', '_')}.lora_down.weight": down,
            f"lora_unet_{layer.replace('.', '_')}.lora_up.weight": up,
            f"lora_unet_{layer.replace('.', '_')}.alpha": torch.tensor(6.0),
        },
    }.get(form, {f"unet.{layer}.lora.down.weight": down, f"unet.{layer}.lora.up.weight": up})
    if form == "diffusers":
        of_unet = {f"unet.{layer}.lora_A.weight": down, f"unet.{layer}.lora_B.weight": up}
    save_file({**of_unet, **text_lora(text_factors(model), form, 6.0)}, tmp_path / "lora.safetensors")
    pipeline = StableDiffusionPipeline(
        unet=UNet2DConditionModel.from_pretrained(model / "unet"), text_encoder=CLIPTextModel.from_pretrained(encoder),
        scheduler=DDIMScheduler.from_pretrained(model / "scheduler"),
        vae=None, tokenizer=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # type: ignore[arg-type]  # fmt: skip
    pipeline.load_lora_weights(str(tmp_path / "lora.safetensors"))
    pipeline.fuse_lora(lora_scale=0.5)
    pipeline.unload_lora_weights()
    own = parts_of(tmp_path / "lora.safetensors", testbed, scale=0.5)
    theirs = pipeline.text_encoder.state_dict()
    assert all(torch.allclose(t, theirs[name], rtol=0, atol=1e-6) for name, t in own.text_encoder.state_dict().items())
    ours = load(scaled(locate(str(tmp_path / "lora.safetensors")), 0.5), unet, testbed.scheduler).state_dict()
    assert all(torch.allclose(t, pipeline.unet.state_dict()[name], rtol=0, atol=1e-6) for name, t in ours.items())


FOREIGN = "lora_te_text_model_x"
WRONG: dict[str, tuple[Change, str]] = {
    "no up": (lambda w: w.pop(next(n for n in w if "up" in n)), "lacks the factor 'up' of the layer 'encoder"),
    "shape": (lambda w: w.update({n: t[:1].clone() for n, t in w.items() if "up" in n}), "not fit .* text encoder"),
    "layer": (lambda w: w.update({f"{FOREIGN}.lora_up.weight": torch.ones(2, 2)}), f"text encoder, .* '{FOREIGN}"),
    "NaN": (lambda w: next(iter(w.values())).fill_(torch.nan), "are NaN or infinite"),
    "DoRA": (lambda w: w.update({f"{FOREIGN}.dora_scale": torch.ones(2)}), "is a DoRA"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_damaged_or_foreign_lora_of_the_text_encoder_is_refused_in_one_sentence(
    kind: str, tiny: Path, testbed: Testbed, tmp_path: Path
) -> None:
    change, message = WRONG[kind]
    weights = text_lora(text_factors(tiny.parent / "model"), "kohya", 2.0)
    change(weights)
    save_file(weights, tmp_path / "lora.safetensors")
    with pytest.raises(DataError, match=message) as caught:
        parts_of(tmp_path / "lora.safetensors", testbed)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["LoRA", "single file"])
def test_label_record_and_identity_name_the_parts_of_a_file(form: str, tiny: Path, tmp_path: Path) -> None:
    model = tiny.parent / "model"
    if form == "LoRA":  # of the text encoder alone
        file = tmp_path / "theirs.safetensors"
        save_file(text_lora(text_factors(model), "kohya", 6.0), file)
    else:
        file = single_file(model, tmp_path, "clip", edited_pipeline(model, "text_encoder", "vae"))
    words = ["eval", "--checkpoint", str(file), "--suite", "artists", "--alone", "--testbed", str(tiny), "--name", "x",
             "--reference", "base", "--device", "cpu", "--runs", str(tmp_path / "runs")]  # fmt: skip
    scored = bench(*words)
    assert scored.exit_code == 0, scored.output + str(scored.exception)
    alone = bench(*words, "--parts", "unet")
    labels = {"LoRA": ["x (own text encoder, LoRA)"]}.get(
        form, ["x (U-Net alone)", "x (own text encoder and VAE)"]
    )  # fmt: skip
    records = {record.label: record for record in read_records([tmp_path / "runs" / "records"]) if record.method == "x"}
    assert sorted(records) == labels
    record = records[labels[-1]]
    own: Any = record.counted["own parts"]
    assert list(own) == (["text_encoder"] if form == "LoRA" else ["text_encoder", "vae"])
    assert str(record.counted["differences"]).startswith("['text_encoder (")
    if form == "LoRA":
        assert "changes no layer of the U-Net, so there is nothing to score" in alone.stderr
    else:
        narrowed = records["x (U-Net alone)"]
        assert len({record.model_key, narrowed.model_key}) == 2
        assert [str(what).partition(" ")[0] for what in narrowed.counted["not used"]] == ["text_encoder", "vae"]  # type: ignore[union-attr]
    runs = tmp_path / "runs"
    request = RunRequest("distilled", "artists", testbed=str(tiny), runs=runs, device="cpu")
    with Progress() as progress:  # `bench export` reads the same parts
        workbench = workbench_for(request.runtime, runs, progress)
        weights_of(record, workbench, str(file))
        assert own_parts_of(record, workbench, str(file)).checksums == own
