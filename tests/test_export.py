"""`bench export`: the folder loads without this project and gives the same pictures."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import dead_name
from standin import Standin
from test_cli import answer, bench
from torch import Tensor

from benchmark.export.pipeline_folder import write_pipeline
from benchmark.testbeds.mini.testbed import Mini
from methods.pruning.architecture import Architecture, gates, width
from methods.pruning.depth import depth_gates
from methods.sampling import initial_noise, sample

PROMPTS = ["a boat in the style of Claude Monet", "a red house"]
CLOSE = 2
"""Difference of a picture's values, of 255, that rounding can make."""

OUTSIDE = """
import sys
import numpy as np, torch
folder, noise, steps, guidance, pruned, out, *prompts = sys.argv[1:]
if pruned == "True":
    sys.path.insert(0, folder)
    from loader import load_pipeline
    pipeline = load_pipeline(folder)
else:
    from diffusers import StableDiffusionPipeline
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
torch.set_num_threads(1)
pipeline.set_progress_bar_config(disable=True)
images = pipeline(
    prompts, latents=torch.from_numpy(np.load(noise)), num_inference_steps=int(steps), guidance_scale=float(guidance),
    output_type="np",
).images
np.save(out, (images * 255).round().astype("uint8"))
ours = [name for name in sys.modules if name.split(".")[0] in ("benchmark", "methods", "metrics", "prompts")]
assert not ours, ours
"""


@dataclass(frozen=True)
class Pruned:
    """Modules to drop, and every so many elements of a gate to keep."""

    drops: int
    every: int


def architecture_of(testbed: Mini, pruned: Pruned) -> Architecture:
    unet = testbed.base()
    kept = {name: range(0, width(module), pruned.every) for name, module in gates(unet).items()}
    return Architecture.of(unet, kept, depth_gates(unet)[: pruned.drops])


def images_outside(python: str, folder: Path, noise: Tensor, testbed: Mini, pruned: bool) -> np.ndarray:
    """Pictures (N, H, W, 3) that a process without this project samples from the folder."""
    saved, out = folder.parent / "noise.npy", folder.parent / "images.npy"
    np.save(saved, noise.numpy())
    sampler = testbed.sampler
    words = [str(folder), str(saved), str(sampler.steps), str(sampler.guidance), str(pruned), str(out), *PROMPTS]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [python, "-c", OUTSIDE, *words]
    subprocess.run(command, check=True, cwd=folder.parent, env={**environment, "HF_HUB_OFFLINE": "1"})
    return np.load(out)


def images_here(testbed: Mini, unet: torch.nn.Module, noise: Tensor) -> np.ndarray:
    text, null = testbed.encode(PROMPTS), testbed.encode([""])[0]
    latents = sample(unet, testbed.scheduler, text, null, noise, testbed.sampler)  # type: ignore[arg-type]
    return testbed.decode(latents).permute(0, 2, 3, 1).cpu().numpy()


@pytest.mark.parametrize("pruned", [None, Pruned(0, 2), Pruned(4, 2)], ids=str)
def test_exported_folder_gives_the_same_pictures_without_this_project(
    pruned: Pruned | None, warm_python: str, tmp_path: Path
) -> None:
    testbed = Mini()
    architecture = architecture_of(testbed, pruned) if pruned else None
    unet = architecture.apply(testbed.base()) if architecture else testbed.base()
    folder = tmp_path / "exported"
    write_pipeline(folder, testbed, unet, architecture, "card")
    noise = initial_noise([3, 4], (4, 16, 16))
    here = images_here(testbed, unet, noise).astype(int)
    outside = images_outside(warm_python, folder, noise, testbed, bool(pruned)).astype(int)
    assert here.std() > 5  # not two blank pictures
    assert np.abs(here - outside).max() <= CLOSE


@pytest.mark.usefixtures("standin")
def test_trained_models_are_exported_with_a_card_and_score_the_same_from_the_folder(tmp_path: Path) -> None:
    runs = ["--runs", str(tmp_path / "runs")]
    for method in ("bilevel", "uce-captions"):
        result = bench("run", "--method", method, "--suite", "artists", "--alone", "--device", "cpu", *runs)
        assert result.exit_code == 0, result.output
    # Committed records have the same labels and no weights: without --records the user's own run is exported.
    own = bench("export", "bilevel", str(tmp_path / "own"), *runs)
    assert own.exit_code == 0, own.output
    labels = ["base", "distilled", "bilevel", "uce-captions"]
    for label in labels:
        folder = tmp_path / label
        options = ["--records", str(tmp_path / "runs" / "records"), *runs]
        exported = bench("export", label, str(folder), *options)
        assert exported.exit_code == 0, exported.output + str(exported.exception)
        assert (folder / "loader.py").exists() == (label != "base")
        assert (folder / "model_index.json").exists()
        card = (folder / "README.md").read_text()
        assert card.startswith("---\nlicense: mit\n")
        assert "| artists | clip ↓ |" in card
    again = bench(
        "eval", "--checkpoint", str(tmp_path / "bilevel"), "--suite", "artists", "--alone", *runs, "--name", "x"
    )
    assert again.exit_code == 0, again.output
    records = {}
    for file in (tmp_path / "runs" / "records").glob("*.record.json"):
        record = json.loads(file.read_text())
        records[record["label"]] = record
    assert records["x"]["cells"]["clip"]["value"] == pytest.approx(
        records["bilevel"]["cells"]["clip"]["value"], abs=0.05
    )
    again = bench("export", "x", str(tmp_path / "y"), *options)
    assert "name its file or folder with --checkpoint" in answer(again)
    again = bench("export", "x", str(tmp_path / "y"), "--checkpoint", str(tmp_path / "bilevel"), *options)
    assert again.exit_code == 0, again.output
    assert (tmp_path / "y" / "loader.py").exists()
    other = bench("export", "x", str(tmp_path / "z"), "--checkpoint", str(tmp_path / "uce-captions"), *options)
    assert other.exit_code == 2
    assert "is not the one that 'x' was measured on" in other.stderr
    trained = bench("export", "bilevel", str(tmp_path / "z"), "--checkpoint", str(tmp_path / "bilevel"), *options)
    assert "leave --checkpoint out" in answer(trained)


def test_an_export_removes_the_folder_of_one_that_was_killed(tmp_path: Path, standin: Path) -> None:
    testbed, left = Standin(standin), tmp_path / dead_name()
    left.mkdir()
    write_pipeline(tmp_path / "exported", testbed, testbed.base(), None, "card")
    assert [path.name for path in tmp_path.iterdir()] == ["exported"]


@pytest.mark.usefixtures("standin")
def test_wrong_names_and_existing_folders_are_refused(tmp_path: Path) -> None:
    assert "There is no record of 'nobody' in suite 'artists'" in answer(bench("export", "nobody", str(tmp_path / "a")))
    assert "exists already" in answer(bench("export", "bilevel", str(tmp_path)))
    missing = answer(bench("export", "bilevel", str(tmp_path / "a"), "--runs", str(tmp_path)))
    assert missing
    assert not (tmp_path / "a").exists()


def test_half_precision_is_saved_as_float16(tmp_path: Path, standin: Path) -> None:
    testbed = Standin(standin)
    write_pipeline(tmp_path / "exported", testbed, testbed.base(), None, "card", half=True)
    from safetensors.torch import load_file

    for part in ("unet", "vae"):
        [file] = (tmp_path / "exported" / part).glob("*.safetensors")
        assert {tensor.dtype for tensor in load_file(file).values()} == {torch.float16}
