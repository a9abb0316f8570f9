"""`bench speed`: compares the speed of this code with that of published scripts on the same task.

Timings depend on the machine and its load, but ratios of timings can be compared across machines.
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
from benchmark.json_types import JsonObject, Settings
from benchmark.records import provenance

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from benchmark.api.testbed import Workbench
    from methods.base import Materials, Method, State
    from prompts.concepts import Concept
    from prompts.lists import Prompt


WARM_UP = 2
"""Number of first training steps or prompts that are not timed."""


@dataclass(frozen=True)
class Timing:
    """The timing of one implementation of a task."""

    work: str  # the task: "generation", "training"
    way: str  # the implementation
    unit: str  # "images", "steps"
    count: int
    seconds: float
    precision: str  # of matrix products
    flops: float
    """FLOPs of all U-Net passes."""
    memory: int | None = None
    """Peak of allocated bytes on a CUDA device."""
    data_wait: float | None = None
    """Share of a training's time that it waited for picture files, 0 to 1."""
    ours: bool = False
    """Whether this is the implementation that the others are compared with."""

    @property
    def rate(self) -> float:
        """Units per second."""
        return self.count / self.seconds


@dataclass
class Took:
    """Seconds and peak memory of a block; both are set at the end of the block."""

    seconds: float = 0.0
    memory: int | None = None


def generation(bench: Workbench, prompts: Sequence[Prompt]) -> Iterator[Timing]:
    """Time sampling of the base model: in shards, as in `bench run`, and with one prompt per call of diffusers.

    Published scripts sample the images of the reference model again for every method, which doubles the computation;
    this code stores them. Timings in fp32 with one prompt per call are therefore given both without and with the images
    of the reference.
    """
    import torch

    from benchmark.generation.images import ready
    from methods.pruning.macs import forward_flops
    from methods.sampling import make_scheduler

    testbed = bench.testbed
    sampler, unet = testbed.sampler, testbed.base()
    calls = len(make_scheduler(testbed.scheduler, sampler).timesteps) * (2 if sampler.guidance > 1 else 1)
    flops = len(prompts) * calls * float(forward_flops(unet, sampler.latent_size, testbed.text_length))

    def timing(way: str, took: Took, precision: str, again: int = 1, ours: bool = False) -> Timing:
        seconds, all_flops = again * took.seconds, again * flops
        return Timing("generation", way, "images", len(prompts), seconds, precision, all_flops, took.memory, ours=ours)

    ready(bench, unet)
    warm = list(prompts[:WARM_UP])
    sharded(bench, unet, warm)
    with _measure_time(bench) as took:
        sharded(bench, unet, prompts)
    yield timing("shards, as here", took, bench.precision, ours=True)
    del unet
    half = torch.float16 if bench.device.type == "cuda" else torch.bfloat16
    for dtype, precision in ((torch.float32, "fp32"), (half, str(half).removeprefix("torch."))):
        pipeline = _pipeline(bench, dtype)
        with _torch_defaults(bench):
            one_by_one(bench, pipeline, warm)
            with _measure_time(bench) as took:
                one_by_one(bench, pipeline, prompts)
        name = f"one prompt a call, {'fp32' if dtype is torch.float32 else 'half precision'}"
        yield timing(name, took, precision)
        if dtype is torch.float32:
            yield timing(f"{name}, reference made again", took, precision, again=2)
        del pipeline


def sharded(bench: Workbench, unet: Any, prompts: Sequence[Prompt]) -> Tensor:
    """Sample images in shards without storing them. Returns a uint8 tensor (N, 3, H, W)."""
    import torch

    from benchmark.api.model import Components
    from benchmark.generation.images import render
    from benchmark.generation.shards import shards
    from benchmark.parallel import side_by_side

    testbed = bench.testbed
    components = Components(unet, testbed.encode, testbed.decode, testbed.scheduler)
    _ = components.null  # encoded once, before threads start
    images_by_shard = side_by_side(lambda s: render(bench, components, s), shards(prompts), bench.device)
    return torch.stack([image for images in images_by_shard for image in images])


def one_by_one(bench: Workbench, pipeline: Any, prompts: Sequence[Prompt]) -> Tensor:
    """Sample images by diffusers' pipeline with one prompt per call. Returns a uint8 tensor (N, 3, H, W)."""
    import torch

    from methods.sampling import initial_noise

    sampler = bench.testbed.sampler
    shape = (sampler.latent_channels, sampler.latent_size, sampler.latent_size)
    arguments = {"num_inference_steps": sampler.steps, "guidance_scale": sampler.guidance, "output_type": "pt"}
    images = []
    for prompt in prompts:
        noise = initial_noise([prompt.seed], shape).to(pipeline.device, pipeline.unet.dtype)
        images.append((pipeline(prompt.text, latents=noise, **arguments).images * 255).round().to("cpu", torch.uint8))
    return torch.cat(images)


def training(bench: Workbench, concept: Concept, steps: int, batch: int | None) -> Iterator[Timing]:
    """Time training steps: Eq. 8 of the paper and bilevel in this code, and Eq. 8 as in published trainers.

    Published trainers compute in fp32, encode images and captions in every step, and use autograd's anomaly detection.
    Everything else is prepared before timing starts.
    """
    from benchmark.api.request import RunRequest
    from benchmark.models.pruned import Pruned
    from methods.base import configure

    def student() -> Any:
        return Pruned(RunRequest.pruning, RunRequest.macs).load(bench)[0].float()

    materials = bench.testbed.materials(bench, concept, "plain")
    settings: Settings = {} if batch is None else {"batch": batch}
    for name in ("distilled", "bilevel"):
        method = configure(registry.load("methods", name), **settings)
        count = steps if name == "distilled" else method.config.lower_steps + 1  # a whole cycle
        yield _fit(bench, method, student(), materials, concept, count)
    materials = replace(materials, teacher=bench.testbed.base())  # the previous teacher may have been cast to bf16
    method = configure(registry.load("methods", "distilled"), **settings)
    with _torch_defaults(bench):
        take, flops = online(bench, method, student().to(bench.device), materials)
        take(WARM_UP)
        with _measure_time(bench) as took:
            take(steps)
    way = "Eq. 8, published way"
    yield Timing("training", way, "steps", steps, took.seconds, "fp32", steps * flops, took.memory)


def online(bench: Workbench, method: Method, student: Any, materials: Materials) -> tuple[Callable[[int], None], float]:
    """Prepare training by Eq. 8 in the way of published trainers.

    Each step encodes images and captions, and anomaly detection is on.

    Returns:
        A function that trains for a number of steps, and the FLOPs of the U-Nets per step. The function raises
        UsageError if a batch does not fit into the device's memory.
    """
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
        prepared = stream.draw(iteration, bench.device)
        with torch.no_grad():
            images = pixels.to(bench.device, torch.float32) / 127.5 - 1
            x0 = vae.encode(images).latent_dist.sample() * vae.config.scaling_factor
            text = bench.testbed.encode(
                [*captions[1:], f"a photo of a house {iteration}"]
            )  # not in the encoder's cache
        batch = replace(prepared, x0=x0, text=text.to(bench.device))
        loss, _ = phase.loss(student, batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        float(loss.detach())  # published trainers display the loss at every step

    def take(steps: int) -> None:
        try:
            with torch.autograd.set_detect_anomaly(True, check_nan=True):
                for _ in range(steps):
                    step()
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
            raise UsageError(
                f"A batch of {stream.batch} images does not fit into the device's memory with the published training "
                "loop: use a smaller --batch."
            ) from None

    return take, float(phase.cost.flops)


def measure(bench: Workbench, concept: Concept, prompts: Sequence[Prompt], steps: int, batch: int | None) -> JsonObject:
    """Return all timings, ready for JSON.

    For each timing, `ours_faster` is the rate of this code divided by the rate of the timing on the same task, and
    `utilisation` is its FLOP/s divided by those of a large matrix product in the same precision.
    """
    import torch

    from benchmark.cost.timing import matmul_rate

    timings: list[Timing] = []
    with bench.progress.stage("measure", 7, "ways") as stage:
        for timing in (*generation(bench, prompts), *training(bench, concept, steps, batch)):
            timings.append(timing)
            stage.advance()
    ours = {timing.work: timing.rate for timing in timings if timing.ours}
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "float16": torch.float16, "bfloat16": torch.bfloat16}
    best = {name: matmul_rate(bench.device, dtypes[name]) for name in {timing.precision for timing in timings}}
    rows = [
        {
            **asdict(timing),
            "rate": timing.rate,
            "ours_faster": ours[timing.work] / timing.rate,
            "utilisation": timing.flops / timing.seconds / best[timing.precision],
        }
        for timing in timings
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
    """Time `steps` training steps of a method, after a warm-up."""
    from methods.base import Context
    from methods.budget import Budget, Ledger

    for count in (WARM_UP, steps):
        ledger = Ledger()
        tell = bench.progress.warn if count == steps else lambda message: None  # no warning that the warm-up is short
        context = Context(
            _Nowhere(), ledger, lambda *progress: None, bench.device, bench.precision, tell, bench.workers
        )
        student = method.fit(student, materials, concept, Budget(iterations=count), context, 0)
    spent, name = ledger.total(), method.name
    memory = spent.peak_memory_bytes if bench.device.type == "cuda" else None
    return Timing(
        "training", f"{name}, as here", "steps", steps, spent.wall_seconds, bench.precision, float(spent.flops), memory,
        sum(context.data_waits) / spent.wall_seconds, ours=name == "distilled",
    )  # fmt: skip


class _Nowhere:
    """A checkpointer that saves nothing, because timed fits are too short to be resumed."""

    def load(self) -> State | None:
        return None

    def save(self, state: State) -> None:
        return None


@contextmanager
def _measure_time(bench: Workbench) -> Iterator[Took]:
    """Measure time and peak memory of the block, including computations that it has queued on a device."""
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


def _torch_defaults(bench: Workbench) -> AbstractContextManager[None]:
    """Return a context in which fp32 convolutions use TF32 on a GPU, torch's default, as in published scripts."""
    from methods.training.precision import decoding

    return decoding(bench.device, "bf16")


def _pipeline(bench: Workbench, dtype: torch.dtype) -> Any:
    """Return the testbed's base as a diffusers pipeline, with the testbed's sampler."""
    import torch

    from methods.sampling import make_scheduler

    testbed = bench.testbed
    loaded = testbed.assembled()
    loaded.scheduler = make_scheduler(testbed.scheduler, testbed.sampler)
    loaded.set_progress_bar_config(disable=True)
    for part in loaded.components.values():
        if isinstance(part, torch.nn.Module):  # use nn.Module's `to`, because that of diffusers warns needlessly
            torch.nn.Module.to(part, bench.device, dtype)
    return loaded
