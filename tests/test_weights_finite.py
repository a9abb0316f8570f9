"""Weights that are not finite are refused wherever they are read, and broken samples stop the run."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from miniature import csd_weights
from record_examples import cell, record
from safetensors.torch import load_file, save_file
from tiny import SCHEDULER, tiny_unet

from benchmark.api import Scores, Workbench
from benchmark.api.request import Runtime
from benchmark.console import Progress
from benchmark.errors import DataError, SamplingError
from benchmark.generation import shards
from benchmark.generation.images import sample_missing
from benchmark.models.external_checkpoint import load, locate
from benchmark.models.fitted import Base
from benchmark.pipeline.setup import workbench_for
from benchmark.suites.artists import Artists
from benchmark.suites.scoring import make_metric
from benchmark.tables.table1_styles import table
from benchmark.testbeds.mini import load as mini_load
from benchmark.testbeds.mini import scoring_networks as mini_networks
from benchmark.testbeds.stable_diffusion import scoring_networks
from benchmark.testbeds.stable_diffusion.pipeline import Pipeline
from methods.pruning.architecture import Architecture, write_pruned
from metrics.networks.csd import csd
from metrics.networks.inception import FidInception, inception
from metrics.networks.weights import fill

KEY = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"


def spoil(file: Path, key: str = "", value: float = float("nan")) -> str:
    """Puts one value into a tensor of a file of weights; the tensor's name."""
    weights = load_file(file)
    key = key or next(name for name, tensor in weights.items() if tensor.is_floating_point())
    weights[key].view(-1)[0] = value
    save_file(weights, file, metadata={"format": "pt"})
    return key


def write(form: str, unet: Any, folder: Path) -> Path:
    """A U-Net in one of the forms that checkpoints come in."""
    weights, path = dict(unet.state_dict()), folder / f"model.{form}"
    if form == "safetensors":
        save_file(weights, path)
    elif form in ("pt", "ckpt"):
        torch.save({"state_dict": {f"module.{name}": tensor.half() for name, tensor in weights.items()}}, path)
    elif form == "some":
        path = folder / "esd.safetensors"
        save_file({name: tensor for name, tensor in weights.items() if "attn2" in name}, path)
    elif form == "pruned":
        path.mkdir()
        write_pruned(path, unet, Architecture.full(unet))
    else:
        size = "30KB" if form == "shards" else "1GB"
        unet.save_pretrained(path / "unet" if form == "pipeline" else path, max_shard_size=size)
    return path


@pytest.mark.parametrize("form", ["safetensors", "pt", "ckpt", "some", "pruned", "folder", "shards", "pipeline"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_value_that_is_not_finite_is_refused_in_every_form(form: str, value: float, tmp_path: Path) -> None:
    unet = tiny_unet(1)
    unet.get_parameter(KEY).data.view(-1)[3] = value
    with pytest.raises(DataError, match=f"1 of .* values of '{KEY}' are NaN or infinite") as caught:
        load(locate(str(write(form, unet, tmp_path))), tiny_unet(0), SCHEDULER)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["file", "folder"])
def test_quantised_weights_are_refused(form: str, tmp_path: Path) -> None:
    unet = tiny_unet(1)
    weights = {**unet.state_dict(), KEY: (unet.state_dict()[KEY] * 127).to(torch.int8)}
    unet.save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file(weights, file)
    with pytest.raises(DataError, match=f"'{KEY}' as int8 instead of floating point"):
        load(locate(str(tmp_path if form == "folder" else file)), tiny_unet(0), SCHEDULER)
    network = torch.nn.Linear(2, 2)
    with pytest.raises(DataError, match="'bias' as int64"):
        fill(network, {"weight": torch.ones(2, 2), "bias": torch.ones(2, dtype=torch.long)}, file, "a network")


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_base_of_a_testbed_with_a_broken_part_is_refused(part: str, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    (file,) = (tmp_path / "model" / part).glob("*.safetensors")
    spoil(file)
    pipeline = Pipeline(tmp_path / "model", torch.device("cpu"))
    use = {"unet": pipeline.unet, "vae": lambda: pipeline.vae, "text_encoder": lambda: pipeline.encode(["a boat"])}
    with pytest.raises(DataError, match=f"The weights in .*{part} are broken"):
        use[part]()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_truncated_file_of_a_testbed_model_is_refused_in_one_sentence(part: str, tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    (file,) = (tmp_path / "model" / part).glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:3000])
    pipeline = Pipeline(tmp_path / "model", torch.device("cpu"))
    use = {"unet": pipeline.unet, "vae": lambda: pipeline.vae, "text_encoder": lambda: pipeline.encode(["a boat"])}
    with pytest.raises(DataError, match=f"The weights in .*{part} cannot be loaded") as caught:
        use[part]()
    assert "\n" not in str(caught.value)


def test_text_encoder_that_lacks_weights_is_refused(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.parent / "model", tmp_path / "model")
    file = tmp_path / "model" / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    del weights["text_model.encoder.layers.1.mlp.fc1.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"do not fit their config.json \('.*mlp.fc1.weight'\)"):
        Pipeline(tmp_path / "model", torch.device("cpu")).encode(["a boat"])


def test_scoring_network_with_a_broken_weight_is_refused(tiny: Path, tmp_path: Path) -> None:
    weights = csd_weights()
    weights["last_layer_style"][0, 0] = torch.inf
    torch.save({"model_state_dict": weights}, tmp_path / "csd.pth")
    with pytest.raises(DataError, match="'last_layer_style' are NaN or infinite"):
        csd(tmp_path / "csd.pth", "csd")
    state = FidInception().state_dict()
    state["fc.bias"][0] = torch.nan
    torch.save(state, tmp_path / "inception.pth")
    with pytest.raises(DataError, match=r"'fc\.bias' are NaN or infinite"):
        inception(tmp_path / "inception.pth", "inception")
    shutil.copytree(tiny.parent / "networks" / "clip", tmp_path / "clip")
    key = spoil(tmp_path / "clip" / "open_clip_model.safetensors", "text_projection")
    with pytest.raises(DataError, match=f"The weights of CLIP in .* '{key}' are NaN"):
        scoring_networks.clip(tmp_path / "clip", "clip", "cpu")


def test_part_of_mini_with_a_broken_weight_is_refused(weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights, tmp_path / "w")
    pipeline = tmp_path / "w" / "pipeline"
    use = {
        "pipeline/vae": lambda: mini_load.load_vae(pipeline),
        "pipeline/unet": lambda: mini_load.load_unet(pipeline),
        "pipeline/text_encoder": lambda: mini_load.load_text(pipeline),
        "style": lambda: mini_networks.style(tmp_path / "w"),
        "features": lambda: mini_networks.features(tmp_path / "w"),
        "oracle": lambda: mini_networks.oracle(tmp_path / "w"),
        "clip": lambda: mini_networks.clip(tmp_path / "w", pipeline),
    }
    for name, read in use.items():
        place = tmp_path / "w" / name
        file = sorted(place.glob("*.safetensors"))[0] if place.is_dir() else place.with_suffix(".safetensors")
        key = spoil(file)
        with pytest.raises(DataError, match=f"values of '.*{key.removeprefix('text_model.')}' are NaN"):
            read()


@pytest.fixture
def bench(standin: Path, tmp_path: Path) -> Workbench:
    return workbench_for(Runtime(device="cpu"), tmp_path, Progress())


def sampled(bench: Workbench) -> list:
    return list(bench.testbed.prompts("artists", bench.testbed.concept(())))[:4]


def test_latents_that_are_not_finite_stop_the_run_and_store_no_picture(bench: Workbench) -> None:
    unet = bench.testbed.base()
    unet.conv_out.bias.data[0] = torch.inf
    model = Base(bench)
    model.label = "theirs"
    model.load = lambda: unet  # type: ignore[method-assign]
    with pytest.raises(SamplingError, match="theirs: The model samples latents that are not finite"):
        sample_missing(bench, model, sampled(bench), Artists())
    assert not list(bench.store.home.glob("artefacts/images/*"))
    with pytest.raises(SamplingError, match="The VAE decodes pictures that are not finite"):
        bench.testbed.decode(torch.full((1, 4, 16, 16), torch.nan))


def test_features_that_are_not_finite_stop_the_run(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = lambda images: torch.full((len(images), 3), torch.nan)  # noqa: E731
    monkeypatch.setattr(bench.testbed, "encoder", lambda job: broken)
    with pytest.raises(DataError, match=r"scores 'clip' \(mini-clip\) gives features that are not finite"):
        sample_missing(bench, Base(bench), sampled(bench), Artists())
    assert not list(bench.store.home.glob("artefacts/seen/*"))


@pytest.mark.parametrize(
    ("value", "error", "interval"),
    [(torch.inf, None, None), (1.0, torch.inf, None), (1.0, torch.nan, None), (1.0, None, (-torch.inf, 1.0))],
)
def test_figure_or_interval_that_is_not_finite_names_its_score_and_network(
    value: float, error: float | None, interval: tuple[float, float] | None
) -> None:
    scores = Scores(4)
    with pytest.raises(
        DataError,
        match=r"The score 'kid' or its interval is not finite .*: the features of blown-up are too large",
    ):
        scores.put("kid", value, 4, 4, "", False, "blown-up", error=error, interval=interval)
    assert not scores.cells


def test_features_whose_powers_overflow_are_refused() -> None:
    metric = make_metric("kid", "blown-up", 8)
    for real in (True, False):
        metric.update(torch.randn(12, 8, generator=torch.Generator().manual_seed(int(real))) * 1e30, real=real)
    with pytest.raises(DataError, match="the features of blown-up are too large to be compared"):
        Scores(12).add("kid", metric, "kept", 12, 12, error=float(metric.standard_error()))


@pytest.mark.parametrize("kept", ["with its count", "before there were counts"])
def test_pictures_of_one_colour_are_counted(kept: str, bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    noise[1], noise[2, 0], noise[2, 1:] = 0, 200, 7
    noise[2, :, ::2] += 2
    monkeypatch.setattr(bench.testbed, "decode", lambda latents: noise)
    model, prompts = Base(bench), sampled(bench)
    if kept != "with its count":
        monkeypatch.setattr("benchmark.generation.images.ONE_COLOUR", "something else")
    sample_missing(bench, model, prompts, Artists())
    assert shards.count_single_colour(bench, model, prompts, "images") == 2


def test_table_shows_pictures_of_one_colour_in_the_notes_of_their_row() -> None:
    values = {"clip": cell("clip", 1.0)}
    records = [record("bilevel", values=values, counted={shards.ONE_COLOUR: 3}), record("distilled", values=values)]
    (note,) = (
        note for note in table([(r, "local") for r in records], "mini", "artists").notes if "a single colour" in note
    )
    assert "bilevel (3 " in note
    assert "distilled" not in note
    assert not [n for n in table([(records[1], "local")], "mini", "artists").notes if "a single colour" in n]
