"""`bench speed`: the harness against the loops that published scripts use, on the same work, in one run.

Timings are of this machine and this moment; the ratios are what is worth quoting.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.errors import UsageError
from benchmark.records import provenance

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from benchmark.api.testbed import Workbench
    from methods.base import Materials, Method, State
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
    precision: str  # of matrix products
    flops: float
    """Of the U-Nets' passes."""
    memory: int | None = None
    """Bytes, the most that was allocated at once on a CUDA device."""
    ours: bool = False

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.count / self.seconds


@dataclass
class Took:
    """What a block took, known at its end."""

    seconds: float = 0.0
    memory: int | None = None


def generation(bench: Workbench, prompts: Sequence[Prompt]) -> Iterator[Timing]:
    """Pictures of the base model: in shards as `bench run` makes them, and one prompt a call through diffusers.

    Published scripts make the reference's pictures again for every method that is scored, which doubles their work; the
    harness keeps them. What one-prompt calls cost is therefore told without it and with it.
    """
    import torch

    from benchmark.generation.images import ready
    from methods.pruning.macs import forward_flops
    from methods.sampling import make_scheduler

    testbed = bench.testbed
    sampler, unet = testbed.sampler, testbed.base()
    calls = len(make_scheduler(testbed.scheduler, sampler).timesteps) * (2 if sampler.guidance > 1 else 1)
    flops = len(prompts) * calls * float(forward_flops(unet, sampler.latent_size, testbed.text_length))

    def told(way: str, took: Took, precision: str, again: int = 1, ours: bool = False) -> Timing:
        seconds, all_flops = again * took.seconds, again * flops
        return Timing("generation", way, "images", len(prompts), seconds, precision, all_flops, took.memory, ours)

    ready(bench, unet)
    warm = list(prompts[:WARM_UP])
    sharded(bench, unet, warm)
    with _timed(bench) as took:
        sharded(bench, unet, prompts)
    yield told("shards, as here", took, bench.precision, ours=True)
    del unet
    half = torch.float16 if bench.device.type == "cuda" else torch.bfloat16
    for dtype, precision in ((torch.float32, "fp32"), (half, str(half).removeprefix("torch."))):
        pipeline = _pipeline(bench, dtype)
        with _as_torch_comes(bench):
            one_by_one(bench, pipeline, warm)
            with _timed(bench) as took:
                one_by_one(bench, pipeline, prompts)
        name = f"one prompt a call, {'fp32' if dtype is torch.float32 else 'half precision'}"
        yield told(name, took, precision)
        if dtype is torch.float32:
            yield told(f"{name}, reference made again", took, precision, again=2)
        del pipeline


def sharded(bench: Workbench, unet: Any, prompts: Sequence[Prompt]) -> Tensor:
    """Pictures uint8 (N, 3, H, W), without keeping them."""
    import torch

    from benchmark.generation.images import render
    from benchmark.generation.shards import shards
    from benchmark.parallel import side_by_side

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


def training(bench: Workbench, concept: Concept, steps: int, batch: int | None) -> Iterator[Timing]:
    """Steps of Eq. 8 here, by the way of published trainers, and bilevel's iterations beside them.

    The published way is fp32 throughout, reads pictures and captions through VAE and text tower in every step, and has
    autograd look for anomalies. What can be prepared in any way is made before the clock starts.
    """
    from benchmark.api.request import RunRequest
    from benchmark.models.pruned import Pruned
    from methods.base import configure

    def student() -> Any:
        return Pruned(RunRequest.pruning, RunRequest.macs).load(bench)[0].float()

    materials = bench.testbed.materials(bench, concept, "plain")
    given: dict[str, Any] = {} if batch is None else {"batch": batch}
    for name in ("distilled", "bilevel"):
        method = configure(registry.load("methods", name), **given)
        count = steps if name == "distilled" else method.config.lower_steps + 1  # a whole cycle
        yield _fit(bench, method, student(), materials, concept, count)
    materials = replace(materials, teacher=bench.testbed.base())  # whatever became of the other above
    method = configure(registry.load("methods", "distilled"), **given)
    with _as_torch_comes(bench):
        take, flops = online(bench, method, student().to(bench.device), materials)
        take(WARM_UP)
        with _timed(bench) as took:
            take(steps)
    way = "Eq. 8, published way"
    yield Timing("training", way, "steps", steps, took.seconds, "fp32", steps * flops, took.memory)


def online(bench: Workbench, method: Method, student: Any, materials: Materials) -> tuple[Callable[[int], None], float]:
    """What takes so many steps of Eq. 8 with nothing prepared (VAE and text tower in the step, anomaly detection on),
    and the U-Nets' FLOPs of one step. UsageError, then, where the device's memory does not hold a batch."""
    import torch
    from accelerate.utils.memory import should_reduce_batch_size

    from methods.distilled import lower_phase
    from methods.training.loop import freeze

    freeze(materials.teacher, bench.device)
    phase = lower_phase(method.config, student, materials, 0)
    (stream,) = phase.streams
    vae = _pipeline(bench, torch.float32).vae
    optimiser = torch.optim.AdamW(student.parameters(), lr=phase.rate, weight_decay=0.0)
    pixels = bench.testbed.decode(materials.retain.batch(torch.arange(stream.batch))[0].to(bench.device))
    captions = ["a photo of a house"] * stream.batch
    student.train().requires_grad_(True)
    done = itertools.count()

    def step() -> None:
        iteration = next(done)
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

    def take(steps: int) -> None:
        try:
            with torch.autograd.set_detect_anomaly(True, check_nan=True):
                for _ in range(steps):
                    step()
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            raise UsageError(
                f"The device's memory does not hold {stream.batch} images in the published way of training: give all "
                "ways a smaller --batch."
            ) from None

    return take, float(phase.cost.flops)


def measure(
    bench: Workbench, concept: Concept, prompts: Sequence[Prompt], steps: int, batch: int | None
) -> dict[str, Any]:
    """All timings, and by how much our way is faster than each other way of the same work (JSON-ready).

    `utilisation` is the share of the best rate of a large matrix product here, in the precision of the row.
    """
    import torch

    from benchmark.cost.timing import matmul_rate

    found: list[Timing] = []
    with bench.progress.stage("measure", 7, "ways") as stage:
        for timing in (*generation(bench, prompts), *training(bench, concept, steps, batch)):
            found.append(timing)
            stage.advance()
    ours = {timing.work: timing.rate for timing in found if timing.ours}
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "float16": torch.float16, "bfloat16": torch.bfloat16}
    best = {name: matmul_rate(bench.device, dtypes[name]) for name in {timing.precision for timing in found}}
    rows = [
        {
            **asdict(each),
            "rate": each.rate,
            "ours_faster": ours[each.work] / each.rate,
            "utilisation": each.flops / each.seconds / best[each.precision],
        }
        for each in found
    ]
    cuda = bench.device.type == "cuda"
    return {
        "testbed": bench.testbed.name,
        "device": torch.cuda.get_device_name(bench.device) if cuda else str(bench.device),
        "precision": bench.precision,
        "latent_size": bench.testbed.sampler.latent_size,
        "matmul": best,
        "rows": rows,
        "made": provenance.collect(),
    }


def _fit(bench: Workbench, method: Any, student: Any, materials: Materials, concept: Concept, steps: int) -> Timing:
    """`steps` steps, after some that are not timed."""
    from methods.base import Context
    from methods.budget import Budget, Ledger

    for count in (WARM_UP, steps):
        ledger = Ledger()
        tell = bench.progress.warn if count == steps else lambda said: None  # what warms up ends early, as it should
        context = Context(_Nowhere(), ledger, lambda *told: None, bench.device, bench.precision, tell)
        student = method.fit(student, materials, concept, Budget(iterations=count), context, 0)
    spent, name = ledger.total(), method.name
    memory = spent.peak_memory_bytes if bench.device.type == "cuda" else None
    return Timing(
        "training", f"{name}, as here", "steps", steps, spent.wall_seconds, bench.precision, float(spent.flops), memory,
        ours=name == "distilled",
    )  # fmt: skip


class _Nowhere:
    """What is timed is too short to be resumed."""

    def load(self) -> State | None:
        return None

    def save(self, state: State) -> None:
        return None


@contextmanager
def _timed(bench: Workbench) -> Iterator[Took]:
    """What the block takes; work queued on a device is waited for."""
    import torch

    cuda = bench.device.type == "cuda"

    def wait() -> None:
        if cuda:
            torch.cuda.synchronize(bench.device)

    took = Took()
    wait()
    if cuda:
        torch.cuda.reset_peak_memory_stats(bench.device)
    began = time.perf_counter()
    yield took
    wait()
    took.seconds = time.perf_counter() - began
    took.memory = torch.cuda.max_memory_allocated(bench.device) if cuda else None


def _as_torch_comes(bench: Workbench) -> AbstractContextManager[None]:
    """A context in which a GPU's fp32 convolutions take TF32, as torch comes: published scripts leave it so."""
    from methods.training.precision import decoding

    return decoding(bench.device, "bf16")


def _pipeline(bench: Workbench, dtype: torch.dtype) -> Any:
    """The testbed's base as diffusers loads it, with the testbed's sampler."""
    import torch
    from diffusers import StableDiffusionPipeline

    from methods.sampling import make_scheduler

    testbed: Any = bench.testbed
    loaded: Any = (
        testbed.assembled()
        if hasattr(testbed, "assembled")
        else StableDiffusionPipeline.from_pretrained(testbed.pipeline, local_files_only=True)
    )
    loaded.scheduler = make_scheduler(testbed.scheduler, testbed.sampler)
    loaded.set_progress_bar_config(disable=True)
    for part in loaded.components.values():
        if isinstance(part, torch.nn.Module):  # not the overridden `to` of diffusers, which warns of nothing
            torch.nn.Module.to(part, bench.device, dtype)
    return loaded
