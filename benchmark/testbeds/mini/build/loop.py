"""The training loop of mini's networks: AdamW, warm-up, cosine schedule, bf16 autocast, and bit-identical resuming."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from benchmark.testbeds.mini.build.whole import whole

CPU = torch.device("cpu")
Progress = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Job:
    """Settings of a training: seed, steps, folder of training states, progress function and device."""

    seed: int
    steps: int
    scratch: Path
    progress: Progress
    device: torch.device = CPU


Loss = Callable[[int, Generator], Tensor]
"""Called with (step, generator of that step); returns the scalar loss."""


def train(
    name: str,
    module: nn.Module,
    loss: Loss | Sequence[Loss],
    job: Job,
    *,
    rate: float,
    warmup: int = 100,
    decay: float = 0.0,
    average: float | None = None,
    autocast: bool = True,
    save_every: int = 250,
) -> nn.Module:
    """Train `module` in place and return it, on the CPU and in evaluation mode.

    The module is on the job's device during training; loss functions move their inputs there. Random numbers come from
    a generator that is seeded by (seed, step). Weights, moments and average are saved every `save_every` steps under
    `scratch`, so that a run that was killed can be resumed with identical results.

    Args:
        name: name of the training state's file, and of the stage for progress.
        module: the network.
        loss: the loss, or several losses that are parts of a sum. Each of them is computed in its own thread, from the
            same random numbers. On two cores, two threads with half a batch each are 1.4 times as fast as one thread.
        job: seed, steps, folder, progress and device.
        rate: AdamW's peak learning rate.
        warmup: steps of the linear warm-up.
        decay: weight decay.
        average: decay of an exponential moving average of the weights; if given, the averaged weights are returned.
        autocast: whether to compute in bf16.
        save_every: steps between two saved states.
    """
    module.to(job.device)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=decay)
    averaged = [p.detach().clone() for p in parameters] if average else []
    state = _State(job.scratch / f"{name}.safetensors", module, parameters, optimiser, averaged)
    module.train()
    shares = [loss] if callable(loss) else list(loss)
    pool = ThreadPoolExecutor(len(shares))
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // len(shares)))

    def backward(share: Loss, step: int) -> float:
        generator = torch.Generator().manual_seed(job.seed * 10_000_019 + step)
        with torch.autocast(job.device.type, torch.bfloat16, enabled=autocast):  # autocast applies per thread
            value = share(step, generator)
        value.backward()
        return value.item()

    running = 0.0
    for step in range(state.load(), job.steps):
        for group in optimiser.param_groups:
            ramp = min(1.0, (step + 1) / warmup)
            group["lr"] = rate * ramp * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / job.steps)))
        optimiser.zero_grad(set_to_none=True)
        value = sum(pool.map(lambda share, k=step: backward(share, k), shares))
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if average:
            weight = 1 - min(average, (step + 1) / (step + 10))
            torch._foreach_lerp_(averaged, [p.detach() for p in parameters], weight)
        running = 0.98 * running + 0.02 * value if running else value
        if (step + 1) % save_every == 0 or step + 1 == job.steps:
            state.save(step + 1)
        job.progress(name, step + 1, job.steps, {"loss": running})
    pool.shutdown()
    torch.set_num_threads(threads)
    if average:
        for p, a in zip(parameters, averaged, strict=True):
            p.data.copy_(a)
    return module.cpu().eval()


class _State:
    """The training state that resuming needs, in one file that is replaced atomically."""

    def __init__(
        self,
        path: Path,
        module: nn.Module,
        parameters: list[nn.Parameter],
        optimiser: torch.optim.Optimizer,
        averaged: list[Tensor],
    ) -> None:
        self.path, self.module, self.parameters, self.optimiser, self.averaged = (
            path,
            module,
            parameters,
            optimiser,
            averaged,
        )

    def load(self) -> int:
        """Load the file and return the number of steps done; 0 without a usable file."""
        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
                done = json.loads(file.metadata()["done"])
        except (SafetensorError, KeyError, OSError):
            return 0
        self.module.load_state_dict({key[2:]: value for key, value in tensors.items() if key.startswith("w.")})
        for k, p in enumerate(self.parameters):
            if f"m.{k}" in tensors:
                moments = {
                    "exp_avg": tensors[f"m.{k}"].to(p.device),
                    "exp_avg_sq": tensors[f"v.{k}"].to(p.device),
                    "step": torch.tensor(float(done)),
                }
                self.optimiser.state[p] = moments
            if self.averaged:
                self.averaged[k].copy_(tensors[f"a.{k}"])
        return int(done)

    def save(self, done: int) -> None:
        tensors = {f"w.{key}": value.contiguous() for key, value in self.module.state_dict().items()}
        for k, p in enumerate(self.parameters):
            if p in self.optimiser.state:
                tensors[f"m.{k}"], tensors[f"v.{k}"] = (
                    self.optimiser.state[p][key] for key in ("exp_avg", "exp_avg_sq")
                )
            if self.averaged:
                tensors[f"a.{k}"] = self.averaged[k]
        with whole(self.path) as part:
            save_file(tensors, part, {"done": json.dumps(done)})


def pixels(images: Tensor) -> Tensor:
    """Convert uint8 images (N, 3, H, W) to floats in [-1, 1], the input of mini's networks."""
    return images.float() / 127.5 - 1
