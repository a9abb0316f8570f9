"""`bench eval --embedding` adds new words to the text encoder, as diffusers does, in every published format."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import save_file
from test_checkpoint_parts import called
from test_cli import answer
from test_cli import bench as run_bench
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from benchmark.api.testbed import Testbed, Workbench
from benchmark.console import Progress
from benchmark.errors import PalimpsestError, UsageError
from benchmark.models.embeddings import Embedding, read_embeddings
from benchmark.models.external_checkpoint import locate
from benchmark.models.external_model import ExternalCheckpoint
from benchmark.records.record import read_records
from benchmark.store.artefacts import Store
from benchmark.testbeds import resolve
from benchmark.testbeds.stable_diffusion.pipeline import Pipeline
from methods.sampling import initial_noise, make_scheduler, sample

WIDTH = 32
PROMPTS = ["a boat by <ann>", "a house"]
VECTORS = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))
FORMATS = ("diffusers.safetensors", "diffusers.bin", "a1111.pt", "parameters.pt", "<ann>.safetensors")


def write(folder: Path, name: str, vectors: Tensor = VECTORS, word: str = "<ann>") -> Path:
    file = folder / name
    if name == "<ann>.safetensors":
        save_file({"emb_params": vectors}, file)
    elif name.startswith("diffusers.s"):
        save_file({word: vectors}, file)
    elif name.startswith("diffusers"):
        torch.save({word: vectors}, file)
    else:
        params: Any = {"*": vectors}
        if name.startswith("parameters"):
            params = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors)})
        torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": params, "name": word}, file)
    return file


@pytest.fixture(scope="module")
def testbed(tiny: Path) -> Testbed:
    return resolve.load(str(tiny))(device="cpu")


@pytest.fixture
def bench(testbed: Testbed, tmp_path: Path) -> Workbench:
    return Workbench(testbed, Store(tmp_path / "runs"), Progress(), torch.device("cpu"))


def embedded(bench: Workbench, tiny: Path, *embeddings: Embedding) -> ExternalCheckpoint:
    return ExternalCheckpoint(bench, locate(str(tiny.parent / "model")), "x", embeddings=embeddings)


@pytest.mark.parametrize("name", FORMATS)
def test_every_published_format_gives_the_same_word_and_vectors(name: str, tmp_path: Path) -> None:
    (embedding,) = read_embeddings([write(tmp_path, name)])
    assert embedding.word == "<ann>"
    assert torch.equal(embedding.vectors, VECTORS)
    (half,) = read_embeddings([write(tmp_path, "diffusers.bin", VECTORS.half())])
    assert half.checksum != embedding.checksum
    (same,) = read_embeddings([write(tmp_path, "diffusers.safetensors")])
    assert same.checksum == embedding.checksum


@pytest.mark.parametrize("count", [1, 3])
def test_pictures_with_a_new_word_are_those_of_diffusers(
    count: int, tiny: Path, bench: Workbench, tmp_path: Path
) -> None:
    testbed, folder = bench.testbed, tiny.parent / "model"
    model = embedded(bench, tiny, *read_embeddings([write(tmp_path, "diffusers.bin", VECTORS[:count])]))
    plain, noise = embedded(bench, tiny), initial_noise([3, 4], (4, 8, 8))

    def pictures_of(scored: ExternalCheckpoint) -> Tensor:
        parts = scored.components(testbed)
        latents = sample(parts.unet, parts.scheduler, parts.encode(PROMPTS), parts.null, noise, testbed.sampler)
        return parts.decode(latents)

    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"), unet=Pipeline(folder, torch.device("cpu")).unet(),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        scheduler=make_scheduler(testbed.scheduler, testbed.sampler),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.load_textual_inversion({"<ann>": VECTORS[:count]})
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        PROMPTS, latents=noise.clone(), num_inference_steps=testbed.sampler.steps, output_type="pt",
        guidance_scale=testbed.sampler.guidance,
    ).images  # fmt: skip
    here = pictures_of(model)
    assert (here.int() - (theirs * 255).round().int()).abs().max() <= 2
    assert not torch.equal(here[0], pictures_of(plain)[0])
    assert model.label == "x (with <ann>)"
    assert model.identity != plain.identity
    assert model.identity["embeddings"] == model.counted()["embeddings"]
    assert len(testbed.encode(["<ann>"])[0]) == 77  # the testbed's own tokenizer has no new word


def test_adding_a_word_leaves_the_random_state_and_the_testbed_as_they_were(
    tiny: Path, bench: Workbench, tmp_path: Path
) -> None:
    before, state = bench.testbed.encode(PROMPTS), torch.random.get_rng_state()
    embedded(bench, tiny, *read_embeddings([write(tmp_path, "diffusers.bin")]))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(bench.testbed.encode(PROMPTS), before)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"<ann>": torch.full((WIDTH,), torch.nan)}, "NaN or infinite for '<ann>'"),
        ({"<ann>": torch.ones(2, 3, WIDTH)}, r"a tensor of shape \(2, 3, 32\)"),
        ({"<ann>": torch.ones(WIDTH, dtype=torch.int32)}, "floating-point"),
        ({"two words": torch.ones(WIDTH)}, "no spaces"),
        ({"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)}, "two text encoders of SDXL"),
        ({"<ann>": 3}, "in no known format"),
        ([torch.ones(WIDTH)], "in no known format"),
        (b"cut", "cannot be read|contains other objects"),
    ],
)
def test_file_that_is_no_embedding_is_refused_in_one_sentence(content: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "x.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(PalimpsestError, match=message) as caught:
        read_embeddings([file])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "vectors", "message"),
    [
        ("<ann>", torch.randn(64), "vectors of width 64, and the text encoder needs 32"),
        ("<ann>", torch.randn(76, WIDTH), "76 vectors, and a prompt holds at most 75"),
        ("b", torch.randn(WIDTH), "the tokenizer already has 'b'"),
    ],
)
def test_embedding_that_does_not_fit_the_text_encoder_is_refused(
    word: str, vectors: Tensor, message: str, tiny: Path, bench: Workbench, tmp_path: Path
) -> None:
    file = write(tmp_path, "diffusers.bin", vectors, word)
    with pytest.raises(PalimpsestError, match=message):
        embedded(bench, tiny, *read_embeddings([file]))


def test_missing_file_and_repeated_word_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.pt is not a file"):
        read_embeddings([tmp_path / "none.pt"])
    with pytest.raises(UsageError, match="gives the word '<ann>' twice"):
        read_embeddings([write(tmp_path, "diffusers.bin"), write(tmp_path, "a1111.pt")])


def test_row_and_record_name_the_word_and_an_unused_word_is_warned_of(tiny: Path, tmp_path: Path) -> None:
    file, runs = write(tmp_path, "diffusers.safetensors"), str(tmp_path / "runs")
    told = called("eval", "--checkpoint", str(tiny.parent / "model"), "--suite", "artists", "--alone", "--name", "x",
                  "--embedding", str(file), "--reference", "base", "--testbed", str(tiny), "--device", "cpu",
                  "--runs", runs)  # fmt: skip
    assert "x (with <ann>)" in " ".join(told.split())
    assert "no prompt of this run contains '<ann>'" in " ".join(told.split())
    (record,) = (r for r in read_records([tmp_path / "runs" / "records"]) if r.method == "x")
    assert record.counted["embeddings"] == {"<ann>": read_embeddings([file])[0].checksum}
    exported = run_bench("export", record.label, str(tmp_path / "out"), "--testbed", str(tiny), "--runs", runs,
                         "--checkpoint", str(tiny.parent / "model"))  # fmt: skip
    assert "was measured with --embedding, which `bench export` does not write" in answer(exported)
    assert not (tmp_path / "out").exists()
