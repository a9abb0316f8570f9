"""`bench rehearse`: runs a few steps of every stage of every method, and reports time, memory and failures."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch

from benchmark import registry
from benchmark.cost.count_flops import flops_of
from benchmark.cost.timing import matmul_rate, now
from benchmark.generation.images import ready
from benchmark.json_types import JsonObject, Settings
from benchmark.records import provenance
from methods.base import Context, Materials, State, configure
from methods.budget import Budget, Ledger
from methods.pruning.macs import count_macs, forward_flops
from methods.sampling import initial_noise, sample
from methods.training.precision import decoding

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Workbench


MACS = 0.8


LITTLE: dict[str, Settings] = {
    "bilevel": {"lower_steps": 1},
    "esd+kd": {"lower_steps": 1},
    "esd": {"steps": 3},
    "conceptprune": {"horizon": 0.05},
}
"""Settings of methods for which a few steps are enough to run every phase."""


@dataclass(frozen=True)
class Row:
    """The result of a stage. If the stage failed, `error` is its message and all numbers are None."""

    stage: str
    kind: str
    """Kind of computation, one of the kinds in `benchmark/cost/workload.py`."""
    unit: str
    count: int | None = None
    seconds: float | None = None
    flops: float | None = None
    utilisation: float | None = None
    """FLOP/s divided by those of a large matrix product on the same device in the same precision."""
    memory: int | None = None
    """Peak memory in bytes: allocated on a CUDA device during the stage, or otherwise of the process so far."""
    data_wait: float | None = None
    """Share of a training's time that it waited for picture files, 0 to 1, over all of its phases."""
    warm_up: float | None = None
    """Seconds of a first, untimed execution of the stage; with --compile, this includes compiling."""
    error: str | None = None


class Rehearsal:
    """The stages of a rehearsal, and the testbed's networks, which are loaded at first use."""

    def __init__(self, bench: Workbench, batch: int, steps: int, images: int) -> None:
        self.bench, self.batch, self.steps, self.images = bench, batch, steps, images
        self.concept = bench.testbed.concept(())
        sampler = bench.testbed.sampler
        self.size, self.length = sampler.latent_size, bench.testbed.text_length

    @cached_property
    def materials(self) -> Materials:
        """The testbed's materials, with only two contrast pairs per target, so that ConceptPrune is fast."""
        materials = self.bench.testbed.materials(self.bench, self.concept, "plain")
        contrast = {target: pairs[:2] for target, pairs in materials.contrast.items()}
        materials.teacher.to(self.bench.device)  # type: ignore[arg-type]
        return replace(materials, contrast=contrast)

    @cached_property
    def student(self) -> UNet2DConditionModel:
        prune = registry.load("prunings", "magnitude")
        return prune(self.materials.teacher, MACS, self.size, self.length)[0]

    @cached_property
    def dtype(self) -> torch.dtype:
        """The dtype of computations."""
        return torch.bfloat16 if self.bench.precision == "bf16" else self.materials.teacher.dtype

    @cached_property
    def best(self) -> float:
        """FLOP/s of a large matrix product, the peak rate for utilisation."""
        return matmul_rate(self.bench.device, self.dtype)

    def rows(self) -> Iterator[Row]:
        """Run all stages in the order of a run, and yield their rows."""
        yield from self._run_stage("load", "load", "networks", self._load)
        yield from self._run_stage("prune", "prune", "U-Nets", self._prune)
        for name in registry.names("methods"):
            yield from self._run_method(name)
        yield from self._run_stage("sample", "sample", "images", self._sample, warm=True)
        yield from self._run_stage("decode", "decode", "images", self._decode, warm=True)
        for job in self.bench.testbed.networks:
            yield from self._run_stage(f"look: {job}", "score", "images", partial(self._score, job), warm=True)

    def _load(self) -> tuple[int, float | None]:
        return len([self.materials]), None

    def _prune(self) -> tuple[int, float | None]:
        share = count_macs(self.student, self.size, self.length) / count_macs(
            self.materials.teacher, self.size, self.length
        )
        self.bench.progress.say(f"pruned    to {share:.1%} of MACs at {self.size} x {self.size} latents")
        return 1, None

    @cached_property
    def sampled(self) -> tuple[UNet2DConditionModel, int]:
        """The base U-Net prepared for sampling, and the FLOPs of its forward pass.

        FLOPs are counted first, because blocks may be compiled for sampling.
        """
        flops = forward_flops(self.materials.teacher, self.size, self.length)
        return ready(self.bench, self.materials.teacher), flops

    def _sample(self) -> tuple[int, float | None]:
        unet, flops = self.sampled
        testbed, prompts = self.bench.testbed, self.bench.testbed.prompts("artists", self.concept)[: self.images]
        sampler = testbed.sampler.model_copy(update={"steps": self.steps})
        noise = initial_noise([prompt.seed for prompt in prompts], (sampler.latent_channels, self.size, self.size))
        text = testbed.encode([prompt.text for prompt in prompts])
        passes = 0

        def count(module: Any, inputs: Any) -> None:
            nonlocal passes
            passes += len(inputs[0])

        def sample_rows(rows: slice) -> torch.Tensor:
            return sample(unet, testbed.scheduler, text[rows], self.materials.null, noise[rows], sampler)

        hook = unet.register_forward_pre_hook(count)
        try:
            self.bench.together(sample_rows, len(prompts))
        finally:
            hook.remove()
        return len(prompts), float(passes * flops)

    @property
    def pictures(self) -> torch.Tensor:
        """Decode latents of zeros; returns `images` images."""
        latents = torch.zeros(self.images, self.bench.testbed.sampler.latent_channels, self.size, self.size)
        with decoding(self.bench.device, self.bench.precision):
            return self.bench.testbed.decode(latents.to(self.bench.device))

    def _decode(self) -> tuple[int, float | None]:
        return self.images, float(flops_of(lambda: self.pictures))

    def _score(self, job: str) -> tuple[int, float | None]:
        encoder, pictures = self.bench.testbed.encoder(job), self.pictures
        return self.images, float(flops_of(lambda: encoder(pictures))) or None

    def _run_method(self, name: str) -> Iterator[Row]:
        """Train a method for a few steps after a warm-up, and yield a row for each phase in its ledger."""
        ledger, context = Ledger(), Context(_Nowhere(), Ledger(), lambda *progress: None, self.bench.device)

        def fit() -> tuple[int, float | None]:
            nonlocal ledger, context
            kind = registry.load("methods", name)
            wanted_settings = {"batch": self.batch, **LITTLE.get(name, {})}
            settings = {key: value for key, value in wanted_settings.items() if key in kind.Config.model_fields}
            method = configure(kind, **settings)
            for steps in (2, 2 * self.steps):
                ledger = Ledger()
                arguments = (_Nowhere(), ledger, lambda *progress: None, self.bench.device, self.bench.precision)
                context = Context(*arguments, tell=self.bench.progress.warn, workers=self.bench.workers)
                method.fit(self.student, self.materials, self.concept, Budget(iterations=steps), context, 0)
            return 1, None

        (whole,) = self._run_stage(name, name, "steps", fit)
        if whole.error:
            yield whole
            return
        trained = sum(entry.wall_seconds for entry in ledger)
        wait = sum(context.data_waits) / trained if context.data_waits and trained else None
        for entry in ledger:
            seconds, flops = entry.wall_seconds, float(entry.flops) or None
            yield replace(
                whole,
                stage=name if entry.phase == name else f"{name}: {entry.phase}",
                kind=entry.phase,
                count=entry.iterations,
                seconds=seconds,
                flops=flops,
                utilisation=flops / seconds / self.best if flops else None,
                data_wait=wait,
            )

    def _run_stage(
        self, stage: str, kind: str, unit: str, work: Callable[[], tuple[int, float | None]], warm: bool = False
    ) -> Iterator[Row]:
        """Run a stage and yield its row. With `warm`, the stage first runs once without timing."""
        cuda = self.bench.device.type == "cuda"
        gc.collect()
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.bench.device)
        try:
            began = self._now()
            if warm:
                work()
            warm_up = self._now() - began if warm else None
            began = self._now()
            count, flops = work()
            seconds = self._now() - began
            share = flops / seconds / self.best if flops else None
            yield Row(stage, kind, unit, count, seconds, flops, share, self._memory(), warm_up=warm_up)
        except Exception as error:  # report any failure in the row, so that the other stages still run
            lines = str(error).splitlines()
            yield Row(stage, kind, unit, error=lines[0] if lines else type(error).__name__)

    def _memory(self) -> int:
        if self.bench.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.bench.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def _now(self) -> float:
        return now(self.bench.device)


class _Nowhere:
    """A checkpointer that saves nothing, because rehearsed fits are too short to be resumed."""

    def load(self) -> State | None:
        return None

    def save(self, state: State) -> None:
        return None


def rehearse(bench: Workbench, batch: int, steps: int, images: int) -> JsonObject:
    """Run all stages, and return their rows with the device and its peak rate, ready for JSON."""
    rehearsal, rows = Rehearsal(bench, batch, steps, images), []
    for row in rehearsal.rows():
        bench.progress.say(f"rehearsed {row.stage}" + (f": {row.error}" if row.error else ""))
        rows.append(row)
    cuda = bench.device.type == "cuda"
    return {
        "testbed": bench.testbed.name,
        "device": torch.cuda.get_device_name(bench.device) if cuda else "cpu",
        "precision": str(rehearsal.dtype).removeprefix("torch."),
        "latent_size": rehearsal.size,
        "batch": batch,
        "matmul": rehearsal.best,
        "weights": sum(p.numel() * p.element_size() for p in rehearsal.student.parameters()),
        "rows": [asdict(row) for row in rows],
        "made": provenance.collect(),
    }
