"""`bench rehearse`: every stage of every method for a few steps, with what it takes; a stage that fails is told."""

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


LITTLE: dict[str, dict[str, Any]] = {
    "bilevel": {"lower_steps": 1},
    "esd+kd": {"lower_steps": 1},
    "esd": {"steps": 3},
    "conceptprune": {"horizon": 0.05},
}
"""Settings under which a few steps see every phase."""


@dataclass(frozen=True)
class Row:
    """One stage. Of one that failed, figures are None and `error` says why."""

    stage: str
    kind: str
    """As `benchmark/cost/workload.py` calls such work."""
    unit: str
    count: int | None = None
    seconds: float | None = None
    flops: float | None = None
    utilisation: float | None = None
    """FLOP/s over those of a large matrix product on the same device in the same precision."""
    memory: int | None = None
    """Bytes: most that was allocated on a CUDA device during the stage, else by the process until its end."""
    error: str | None = None


class Rehearsal:
    """A testbed's networks, each made when the first stage asks for it, and the stages themselves."""

    def __init__(self, bench: Workbench, batch: int, steps: int, images: int) -> None:
        self.bench, self.batch, self.steps, self.images = bench, batch, steps, images
        self.concept = bench.testbed.concept(())
        sampler = bench.testbed.sampler
        self.size, self.length = sampler.latent_size, bench.testbed.text_length

    @cached_property
    def materials(self) -> Materials:
        """With two pairs of prompts a target, so that looking at them is short."""
        found = self.bench.testbed.materials(self.bench, self.concept, "plain")
        few = {target: pairs[:2] for target, pairs in found.contrast.items()}
        found.teacher.to(self.bench.device)  # type: ignore[arg-type]
        return replace(found, contrast=few)

    @cached_property
    def student(self) -> UNet2DConditionModel:
        prune = registry.load("prunings", "magnitude")
        return prune(self.materials.teacher, MACS, self.size, self.length)[0]

    @cached_property
    def dtype(self) -> torch.dtype:
        """What is computed in."""
        return torch.bfloat16 if self.bench.precision == "bf16" else self.materials.teacher.dtype

    @cached_property
    def best(self) -> float:
        """FLOP/s of a large matrix product."""
        return matmul_rate(self.bench.device, self.dtype)

    def rows(self) -> Iterator[Row]:
        """All stages, in the order of a run."""
        yield from self._tried("load", "load", "networks", self._load)
        yield from self._tried("prune", "prune", "U-Nets", self._prune)
        for name in registry.names("methods"):
            yield from self._fitted(name)
        yield from self._tried("sample", "sample", "images", self._sample, warm=True)
        yield from self._tried("decode", "decode", "images", self._decode, warm=True)
        for job in self.bench.testbed.networks:
            yield from self._tried(f"look: {job}", "score", "images", partial(self._look, job), warm=True)

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
        """The base as it is sampled, and FLOPs of an image's pass, which are counted before blocks are compiled."""
        flops = forward_flops(self.materials.teacher, self.size, self.length)
        return ready(self.bench, self.materials.teacher), flops

    def _sample(self) -> tuple[int, float | None]:
        unet, flops = self.sampled
        testbed, asked = self.bench.testbed, self.bench.testbed.prompts("artists", self.concept)[: self.images]
        sampler = testbed.sampler.model_copy(update={"steps": self.steps})
        noise = initial_noise([prompt.seed for prompt in asked], (sampler.latent_channels, self.size, self.size))
        text = testbed.encode([prompt.text for prompt in asked])
        passes = 0

        def count(module: Any, inputs: Any) -> None:
            nonlocal passes
            passes += len(inputs[0])

        def some(rows: slice) -> torch.Tensor:
            return sample(unet, testbed.scheduler, text[rows], self.materials.null, noise[rows], sampler)

        hook = unet.register_forward_pre_hook(count)
        try:
            self.bench.together(some, len(asked))
        finally:
            hook.remove()
        return len(asked), float(passes * flops)

    @property
    def pictures(self) -> torch.Tensor:
        latents = torch.zeros(self.images, self.bench.testbed.sampler.latent_channels, self.size, self.size)
        with decoding(self.bench.device, self.bench.precision):
            return self.bench.testbed.decode(latents.to(self.bench.device))

    def _decode(self) -> tuple[int, float | None]:
        return self.images, float(flops_of(lambda: self.pictures))

    def _look(self, job: str) -> tuple[int, float | None]:
        encoder, pictures = self.bench.testbed.encoder(job), self.pictures
        return self.images, float(flops_of(lambda: encoder(pictures))) or None

    def _fitted(self, name: str) -> Iterator[Row]:
        """A row for each phase of a method, from its ledger; its first steps are not timed."""
        ledger = Ledger()

        def fit() -> tuple[int, float | None]:
            nonlocal ledger
            kind = registry.load("methods", name)
            given = {"batch": self.batch, **LITTLE.get(name, {})}
            settings = {key: value for key, value in given.items() if key in kind.Config.model_fields}
            method = configure(kind, **settings)
            for steps in (2, 2 * self.steps):
                ledger = Ledger()
                given_to = (_Nowhere(), ledger, lambda *told: None, self.bench.device, self.bench.precision)
                context = Context(*given_to, tell=self.bench.progress.warn)
                method.fit(self.student, self.materials, self.concept, Budget(iterations=steps), context, 0)
            return 1, None

        (whole,) = self._tried(name, name, "steps", fit)
        if whole.error:
            yield whole
            return
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
            )

    def _tried(
        self, stage: str, kind: str, unit: str, work: Callable[[], tuple[int, float | None]], warm: bool = False
    ) -> Iterator[Row]:
        """The one row of a stage; with `warm` it is done once before the clock starts."""
        cuda = self.bench.device.type == "cuda"
        gc.collect()
        if cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.bench.device)
        try:
            if warm:
                work()
            began = self._now()
            count, flops = work()
            seconds = self._now() - began
            share = flops / seconds / self.best if flops else None
            yield Row(stage, kind, unit, count, seconds, flops, share, self._memory())
        except Exception as error:  # whatever it is, the other stages are worth seeing
            said = str(error).splitlines()
            yield Row(stage, kind, unit, error=said[0] if said else type(error).__name__)

    def _memory(self) -> int:
        if self.bench.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.bench.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def _now(self) -> float:
        return now(self.bench.device)


class _Nowhere:
    """What is rehearsed is too short to be resumed."""

    def load(self) -> State | None:
        return None

    def save(self, state: State) -> None:
        return None


def rehearse(bench: Workbench, batch: int, steps: int, images: int) -> dict[str, Any]:
    """All stages, JSON-ready, with the device and what it can do at best."""
    play, rows = Rehearsal(bench, batch, steps, images), []
    for row in play.rows():
        bench.progress.say(f"rehearsed {row.stage}" + (f": {row.error}" if row.error else ""))
        rows.append(row)
    cuda = bench.device.type == "cuda"
    return {
        "testbed": bench.testbed.name,
        "device": torch.cuda.get_device_name(bench.device) if cuda else "cpu",
        "precision": str(play.dtype).removeprefix("torch."),
        "latent_size": play.size,
        "batch": batch,
        "matmul": play.best,
        "weights": sum(p.numel() * p.element_size() for p in play.student.parameters()),
        "rows": [asdict(row) for row in rows],
        "made": provenance.collect(),
    }
