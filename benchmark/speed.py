"""`bench speed`: the harness against the loops that published scripts use, on the same work, in one run.

Timings are of this machine and this moment; the ratios are what is worth quoting.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmark import provenance, registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from benchmark.workbench import Workbench
    from methods.base import Materials, State
    from prompts.concepts import Concept
    from prompts.lists import Prompt

WARM_UP = 2
"""Steps of training, or prompts, that find the machine cold and are not timed."""


@dataclass(frozen=True)
class Timing:
    """One way of doing a piece of work."""

    work: str  # "generation", "training"
    way: str
    unit: str  # "images", "steps"
    count: int
    seconds: float
    ours: bool = False

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.count / self.seconds


def generation(bench: Workbench, prompts: Sequence[Prompt]) -> Iterator[Timing]:
    """Pictures of the base model: in shards as `bench run` makes them, and one prompt a call through diffusers.

    Published scripts make the reference's pictures again for every method that is scored, which doubles their work; the
    harness keeps them. What one-prompt calls cost is therefore told without it and with it.
    """
    import torch

    from benchmark.generate import ready

    count = len(prompts)
    unet: Any = bench.testbed.base()
    ready(bench, unet)
    warm = list(prompts[:WARM_UP])
    sharded(bench, unet, warm)
    with _timed(bench) as took:
        sharded(bench, unet, prompts)
    yield Timing("generation", "shards, as here", "images", count, took[0], ours=True)
    half = torch.float16 if bench.device.type == "cuda" else torch.bfloat16
    for name, dtype in (("one prompt a call, fp32", torch.float32), ("one prompt a call, half precision", half)):
        pipeline = _pipeline(bench, dtype)
        one_by_one(bench, pipeline, warm)
        with _timed(bench) as took:
            one_by_one(bench, pipeline, prompts)
        yield Timing("generation", name, "images", count, took[0])
        if dtype is torch.float32:
            yield Timing("generation", f"{name}, reference made again", "images", count, 2 * took[0])


def sharded(bench: Workbench, unet: Any, prompts: Sequence[Prompt]) -> Tensor:
    """Pictures uint8 (N, 3, H, W), without keeping them."""
    import torch

    from benchmark.generate import render
    from benchmark.shards import shards
    from benchmark.side_by_side import side_by_side

    null = bench.testbed.encode([""])[0]
    made = side_by_side(lambda s: render(bench, unet, null, s), shards(prompts), bench.device)
    return torch.stack([picture for shard in made for picture in shard])


def one_by_one(bench: Workbench, pipeline: Any, prompts: Sequence[Prompt]) -> Tensor:
    """Pictures uint8 (N, 3, H, W) by diffusers' own pipeline, a call a prompt."""
    import torch

    from methods.sampling import initial_noise

    sampler = bench.testbed.sampler
    shape = (sampler.latent_channels, sampler.latent_size, sampler.latent_size)
    asked = {"num_inference_steps": sampler.steps, "guidance_scale": sampler.guidance, "output_type": "pt"}
    made = []
    for prompt in prompts:
        noise = initial_noise([prompt.seed], shape).to(pipeline.device, pipeline.unet.dtype)
        made.append((pipeline(prompt.text, latents=noise, **asked).images * 255).round().to("cpu", torch.uint8))
    return torch.cat(made)


def training(bench: Workbench, concept: Concept, steps: int) -> Iterator[Timing]:
    """Steps of Eq. 8 here, by the way of published trainers, and bilevel's iterations beside them.

    The published way is fp32 throughout, reads pictures and captions through VAE and text tower in every step, and has
    autograd look for anomalies. Materials are made before the clock starts.
    """
    from benchmark.models import Pruned
    from benchmark.request import RunRequest
    from methods.base import configure

    materials = bench.testbed.materials(bench, concept, "plain")
    for name in ("distilled", "bilevel"):
        method = configure(registry.load("methods", name))
        count = steps if name == "distilled" else method.config.lower_steps + 1  # a whole cycle
        student = Pruned(RunRequest.pruning, RunRequest.macs).load(bench)[0].float()
        seconds = _fit(bench, method, student, materials, concept, count)
        yield Timing("training", f"{name}, as here", "steps", count, seconds, ours=name == "distilled")
    student = Pruned(RunRequest.pruning, RunRequest.macs).load(bench)[0].float().to(bench.device)
    materials.teacher.float()  # whatever it was above
    with _timed(bench) as took:
        online(bench, student, materials, steps)
    yield Timing("training", "Eq. 8, published way", "steps", steps, took[0])


def online(bench: Workbench, student: Any, materials: Materials, steps: int) -> None:
    """Eq. 8 with nothing prepared: VAE and text tower in the step, anomaly detection on."""
    import torch

    from methods.base import configure
    from methods.distilled import lower_phase

    method = configure(registry.load("methods", "distilled"))
    phase = lower_phase(method.config, student, materials, 0)
    (stream,) = phase.streams
    vae = _pipeline(bench, torch.float32).vae
    optimiser = torch.optim.AdamW(student.parameters(), lr=phase.rate, weight_decay=0.0)
    pixels = bench.testbed.decode(materials.retain.batch(torch.arange(method.config.batch))[0].to(bench.device))
    captions = ["a photo of a house"] * method.config.batch
    student.train().requires_grad_(True)
    with torch.autograd.set_detect_anomaly(True, check_nan=True):
        for iteration in range(steps):
            draw = stream.draw(iteration, bench.device)
            with torch.no_grad():
                seen = pixels.to(bench.device, torch.float32) / 127.5 - 1
                x0 = vae.encode(seen).latent_dist.sample() * vae.config.scaling_factor
                text = bench.testbed.encode([*captions[1:], f"a photo of a house {iteration}"])  # nothing remembered
            draw = replace(draw, x0=x0, text=text.to(bench.device))
            loss, _ = phase.loss(student, draw)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            float(loss.detach())  # their progress bars show it at every step


def measure(bench: Workbench, concept: Concept, prompts: Sequence[Prompt], steps: int) -> dict[str, Any]:
    """All timings, and by how much our way is faster than each other way of the same work (JSON-ready)."""
    found: list[Timing] = []
    with bench.progress.stage("measure", 8, "ways") as stage:
        for timing in (*generation(bench, prompts), *training(bench, concept, steps)):
            found.append(timing)
            stage.advance()
    ours = {timing.work: timing.rate for timing in found if timing.ours}
    rows = [{**asdict(each), "rate": each.rate, "ours_faster": ours[each.work] / each.rate} for each in found]
    told = {"testbed": bench.testbed.name, "device": str(bench.device), "precision": bench.precision}
    return {**told, "rows": rows, "made": provenance.collect()}


def _fit(bench: Workbench, method: Any, student: Any, materials: Materials, concept: Concept, steps: int) -> float:
    """Seconds of `steps` steps, after some that are not timed."""
    from methods.base import Context
    from methods.budget import Budget, Ledger

    for count in (WARM_UP, steps):
        ledger = Ledger()
        context = Context(_Nowhere(), ledger, lambda *told: None, bench.device, bench.precision)
        student = method.fit(student, materials, concept, Budget(iterations=count), context, 0)
    return ledger.total().wall_seconds


class _Nowhere:
    """What is timed is too short to be resumed."""

    def load(self) -> State | None:
        return None

    def save(self, state: State) -> None:
        return None


@contextmanager
def _timed(bench: Workbench) -> Iterator[list[float]]:
    """The seconds that the block takes, put into the list at its end; work queued on a device is waited for."""
    import torch

    def wait() -> None:
        if bench.device.type == "cuda":
            torch.cuda.synchronize(bench.device)

    took: list[float] = []
    wait()
    began = time.perf_counter()
    yield took
    wait()
    took.append(time.perf_counter() - began)


def _pipeline(bench: Workbench, dtype: torch.dtype) -> Any:
    """The testbed's base as diffusers loads it, with the testbed's sampler."""
    from diffusers import StableDiffusionPipeline

    from methods.sampling import make_scheduler

    loaded: Any = StableDiffusionPipeline.from_pretrained(bench.testbed.pipeline, local_files_only=True)
    loaded.scheduler = make_scheduler(bench.testbed.scheduler, bench.testbed.sampler)
    loaded.set_progress_bar_config(disable=True)
    return loaded.to(bench.device, dtype)
