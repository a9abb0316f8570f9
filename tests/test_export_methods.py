"""Every built-in method's model, pruned or not, is exported as a folder that gives the same pictures elsewhere.

One process that can import nothing of this project loads all folders of a pruning.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from standin import request

from benchmark import registry
from benchmark.api.testbed import Testbed, Workbench
from benchmark.console import Progress
from benchmark.export.pipeline_folder import write_pipeline
from benchmark.models.fitted import Fitted
from benchmark.models.plan import plan_of
from benchmark.pipeline.setup import workbench_for
from benchmark.testbeds.mini.scoring_networks import features
from methods.pruning.aptp.experts import Experts
from methods.pruning.architecture import Architecture, read_pruned
from methods.pruning.vector import Layout
from methods.sampling import initial_noise, sample
from methods.training.precision import lowered
from metrics.drift import Drift

PROMPTS = ["a boat in the style of Claude Monet", "a red house"]
CLOSE = 2
"""Difference of a picture's values, of 255, that rounding can make."""
BF16_DRIFT = 0.005
"""Drift of the testbed's features between two samplings in bf16. In one of them, all networks compute in bf16."""
METHODS = ("distilled", "esd", "esd+kd", "uce", "uce-captions", "conceptprune", "bilevel")
PRUNINGS = ("none", "magnitude", "aptp")
OUTSIDE = """
import json, sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("benchmark", "methods", "metrics", "prompts"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
import importlib.util
import numpy as np, torch
from diffusers import StableDiffusionPipeline

torch.set_num_threads(1)
root, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
noise = torch.from_numpy(np.load(root / "noise.npy"))
for folder in sorted(path for path in root.iterdir() if path.is_dir()):
    dtype = torch.bfloat16 if folder.name.endswith("bf16") else torch.float32
    if (folder / "loader.py").is_file():
        spec = importlib.util.spec_from_file_location("loader", folder / "loader.py")
        loader = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loader)
        pipeline = loader.load_pipeline(folder, dtype)
    else:
        pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        settings["prompts"], latents=noise.to(dtype), num_inference_steps=settings["steps"],
        guidance_scale=settings["guidance"], output_type="np",
    ).images
    np.save(root / (folder.name + ".npy"), (images * 255).round().astype("uint8"))
"""


def test_the_methods_are_all_that_are_built_in() -> None:
    assert sorted(METHODS) == sorted(registry.names("methods"))


def experts(bench: Workbench, config: Any = None, target_macs: float | None = None) -> Experts:
    """One expert without two of the base's modules, and with random inner widths."""
    unet = bench.testbed.base()
    layout = Layout.of(unet)
    scores = torch.rand(1, layout.length, generator=torch.Generator().manual_seed(0)) / 2 + 0.5
    scores[0, -len(layout.depths) : -len(layout.depths) + 2] = 0
    return Experts(scores, (target_macs or 0.8,), {})


def trained(bench: Workbench, method: str, pruning: str) -> tuple[UNet2DConditionModel, Architecture]:
    """The model of a method after two training steps on a pruned U-Net, as `bench export` reads it."""
    run_request = request(bench.store.home, method=method, pruning=pruning, budget="4it", overrides={}, **(
        {"macs": 1.0} if pruning == "none" else {}
    ))  # fmt: skip
    model = Fitted(bench, plan_of(bench, run_request, bench.testbed.concept(())))
    model.train()
    return read_pruned(bench.store.get("model", model.identity).folder)


def pictures(testbed: Testbed, unet: UNet2DConditionModel) -> np.ndarray:
    text, null = testbed.encode(PROMPTS), testbed.encode([""])[0]
    noise = initial_noise([3, 4], (4, 16, 16))
    return (
        testbed.decode(sample(unet, testbed.scheduler, text, null, noise, testbed.sampler)).permute(0, 2, 3, 1).numpy()
    )


@pytest.mark.parametrize("pruning", PRUNINGS)
def test_every_method_exports_a_folder_with_the_same_pictures(
    pruning: str, standin: Path, warm_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.models.prunings.experts", experts)
    bench = workbench_for(request(tmp_path / "runs").runtime, tmp_path / "runs", Progress())
    testbed, root, here = bench.testbed, tmp_path / "exported", {}
    root.mkdir()
    np.save(root / "noise.npy", initial_noise([3, 4], (4, 16, 16)).numpy())
    whole = Architecture.full(testbed.base())
    for method in METHODS:
        unet, architecture = trained(bench, method, pruning)
        assert (architecture == whole) == (pruning == "none")
        assert bool(architecture.dropped) == (pruning == "aptp")
        here[method] = pictures(testbed, unet.float())
        for form in ("", " half", " bf16") if method == "bilevel" else ("",):
            stored = None if architecture == whole else architecture
            write_pipeline(root / f"{method}{form}", testbed, unet, stored, "card", half=form == " half")
        if method == "bilevel":
            in_bf16 = pictures(testbed, lowered(unet, torch.device("cpu"), "bf16"))
    settings = {"prompts": PROMPTS, "steps": testbed.sampler.steps, "guidance": testbed.sampler.guidance}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [warm_python, "-c", OUTSIDE, str(root), json.dumps(settings)]
    subprocess.run(command, check=True, cwd=root, env={**environment, "HF_HUB_OFFLINE": "1"})
    for method, ours in here.items():
        theirs = np.load(root / f"{method}.npy").astype(int)
        assert ours.std() > 5  # not blank
        assert np.abs(ours.astype(int) - theirs).max() <= CLOSE, method
    assert len({pictures.tobytes() for pictures in here.values()}) > 2  # not one model in all folders
    encoder = features(standin)
    theirs = np.load(root / "bilevel bf16.npy")
    drift = Drift("mini-features")
    drift.update(*(encoder(torch.from_numpy(np.ascontiguousarray(p.transpose(0, 3, 1, 2)))) for p in (in_bf16, theirs)))
    close = np.abs(in_bf16.astype(int) - theirs.astype(int)).max() <= CLOSE
    assert close or float(drift.compute()) <= BF16_DRIFT
    half = np.load(root / "bilevel half.npy").astype(int)
    assert np.abs(here["bilevel"].astype(int) - half).max() <= CLOSE  # the stored weights are float16 already
