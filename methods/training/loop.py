"""Training loop of all methods, which repeats a cycle of phases.

A phase has a loss, data streams and an optimiser. The loop handles processes, precision, splitting of batches that do
not fit in memory, checkpoints, the cost ledger and checks for NaN. An interrupted and resumed run gives bit-identical
results.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, reduce
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from benchmark.errors import DataError, TrainingError, UsageError
from benchmark.json_types import CurveRow
from methods.base import Checkpointer, Context, Precision, State
from methods.budget import Cost, Entry
from methods.training.accumulation import Gradients, Task, mean_over_processes
from methods.training.batches import BatchStream, NoiseStream
from methods.training.precision import arithmetic, laid_out, lowered
from methods.training.prefetch import StepBatches, phase_at

__all__ = ["Checkpointer", "Phase", "State", "freeze", "locate", "train"]


@dataclass(frozen=True, kw_only=True)
class Phase(Task):
    """One phase of the training cycle: a loss, its data and its optimiser."""

    repeats: int
    """Number of consecutive steps before the next phase of the cycle."""
    streams: tuple[BatchStream | NoiseStream, ...]
    rate: float
    """Learning rate, constant after the warm-up."""
    warm_up: int
    """Steps of this phase over which the learning rate rises linearly."""
    cost: Cost
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW without weight decay, or plain gradient descent."""
    trains: Callable[[str], bool] = lambda name: True
    """Takes a parameter's name and returns whether the phase trains it."""
    clip: float | None = None
    """Largest gradient norm; None for no clipping."""
    warm_up_from_zero: bool = False
    """Whether the first step of the warm-up has learning rate 0, as in diffusers' `constant_with_warmup`."""

    def rate_at(self, iteration: int) -> float:
        """Return the learning rate of a step of this phase; `iteration` starts at 0."""
        warm_steps = iteration if self.warm_up_from_zero else iteration + 1
        return self.rate * min(1.0, warm_steps / self.warm_up) if self.warm_up else self.rate


@dataclass
class PhaseTotals:
    """Iterations, seconds and peak memory (bytes) of a phase so far."""

    iterations: int = 0
    seconds: float = 0.0
    memory: int = 0


@dataclass
class Window:
    """Steps of one phase whose losses have not been read from the device, which requires a synchronisation."""

    iterations: list[int] = field(default_factory=list)
    figures: list[dict[str, Tensor]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)


def locate(phases: Sequence[Phase], step: int) -> tuple[Phase, int]:
    """Return the phase of training step `step` (from 0), and the number of earlier steps of that phase."""
    place, iteration = phase_at([phase.repeats for phase in phases], step)
    return phases[place], iteration


def train(
    student: UNet2DConditionModel,
    phases: Sequence[Phase],
    steps: int,
    context: Context,
    *,
    checkpoint_every: int,
    log_every: int,
) -> UNet2DConditionModel:
    """Train `student` in place for `steps` steps of the cycle `phases`, resuming from the last checkpoint if any.

    The ledger gets one entry per phase. It includes the steps before an interruption, except those after the last
    checkpoint, which are repeated. The curve gets one row whenever the losses are read.

    Args:
        student: the network to train.
        phases: the cycle.
        steps: total number of steps over all phases.
        context: checkpoints, ledger, progress, device and precision.
        checkpoint_every: steps between checkpoints.
        log_every: largest number of steps between two readings of the losses.

    Returns:
        `student`, in evaluation mode.

    Raises:
        TrainingError: a loss or a weight is not finite. The last good checkpoint is retained.
        UsageError: the student has none of the weights that a phase trains, for example no cross-attention.
        DataError: the checkpoint belongs to a different run.
    """
    # PartialState instead of Accelerator: the launcher's environment must not choose the precision, which is part of
    # the model's identity.
    processes = PartialState(cpu=context.device.type == "cpu")
    rank, world = processes.process_index, processes.num_processes
    network: nn.Module = student
    network.to(context.device, **laid_out(context.device, context.precision)).train().requires_grad_(True)
    named = dict(network.named_parameters())
    optimisers = {p.name: _optimiser(p, named) for p in phases}
    totals_by_phase = {phase.name: PhaseTotals() for phase in phases}
    curve: list[CurveRow] = []
    _warn_of_idle_phases(phases, steps, context)
    done = _restore(context.checkpoint.load(), named, optimisers, totals_by_phase, curve)
    broadcast([parameter.detach() for parameter in named.values()])  # all processes start with the same weights
    gradients = Gradients(student, world, context.tell)
    computing = partial(arithmetic, context.device, context.precision)
    if context.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(context.device)

    landmarks = _landmarks(phases, steps, context)
    window = Window()
    cycle = [(phase.repeats, phase.streams) for phase in phases]
    with StepBatches(cycle, range(done, steps), context.device, rank, world, context.workers, context.tell) as source:
        for step in range(done, steps):
            phase, iteration = locate(phases, step)
            batches = source.draw(step)
            for group in optimisers[phase.name].param_groups:
                group["lr"] = phase.rate_at(iteration)
            loss, figures = gradients.add(phase, batches, computing)
            trained = [parameter for name, parameter in named.items() if phase.trains(name)]
            mean_over_processes(trained, world)
            if phase.clip is not None:
                nn.utils.clip_grad_norm_(trained, phase.clip)
            optimisers[phase.name].step()
            network.zero_grad(set_to_none=True)
            source.prepare(step + 1)

            window.iterations.append(iteration)
            window.figures.append({"loss": loss, **figures})
            save = (step + 1) % checkpoint_every == 0
            phase_ends = step + 1 == steps or locate(phases, step + 1)[0] is not phase
            if save or phase_ends or step + 1 in landmarks or len(window.iterations) >= log_every:
                means = _read(window, phase)
                totals = totals_by_phase[phase.name]
                totals.iterations = iteration + 1
                totals.seconds += time.perf_counter() - window.began
                totals.memory = max(totals.memory, _peak_memory(context.device))
                window = Window()
                spent = sum(totals_by_phase[p.name].iterations * p.cost.flops for p in phases)
                curve.append({"phase": phase.name, "iteration": iteration + 1, "flops": spent, **means})
                context.progress(phase.name, step + 1, steps, {**means, "learning rate": phase.rate_at(iteration)})
            if copy_model := landmarks.get(step + 1):
                _check_weights(named, phase, iteration)
                copy_model(student, [_entry(p, totals_by_phase[p.name], world) for p in phases], curve)
            if save:
                _check_weights(named, phase, iteration)
                if processes.is_main_process:
                    context.checkpoint.save(_state(step + 1, named, optimisers, totals_by_phase, curve))
                processes.wait_for_everyone()
    context.data_waits.append(source.waited)

    if steps > done:
        _check_weights(named, *locate(phases, steps - 1))
    for phase in phases:
        totals = totals_by_phase[phase.name]
        if totals.iterations:
            context.ledger.append(_entry(phase, totals, world))
    context.curve.extend(curve)
    student.disable_gradient_checkpointing()
    network.to(memory_format=torch.contiguous_format)
    return student.eval()


def _warn_of_idle_phases(phases: Sequence[Phase], steps: int, context: Context) -> None:
    """Warn the user if the budget ends before the first step of one of the phases."""
    before = flops = 0
    for phase in phases:
        if steps <= before:
            context.tell(
                f"this budget ends after {steps} steps, before the first step of phase '{phase.name}', which needs "
                f"{before + 1} steps ({flops + phase.cost.flops:.4g} FLOPs of training)"
            )
            return
        before, flops = before + phase.repeats, flops + phase.repeats * phase.cost.flops


def _landmarks(phases: Sequence[Phase], steps: int, context: Context) -> dict[int, Callable[..., None]]:
    """Return the functions that copy the student for smaller budgets, by the number of steps that these pay for."""
    cycle = [(phase.cost, phase.repeats) for phase in phases]
    payable = {b: copy for b, copy in context.landmarks.items() if b.flops is None or b.flops >= cycle[0][0].flops}
    return {n: copy for budget, copy in payable.items() if (n := budget.steps(cycle)) < steps}


def freeze(teacher: nn.Module, device: torch.device, precision: Precision = "fp32") -> None:
    """Prepare a network as a teacher in place: move it to the device, in evaluation mode and without gradients.

    A teacher in bf16 can only be called within `train`, where autocast converts its inputs.
    """
    lowered(teacher, device, precision).eval().requires_grad_(False)


def _optimiser(phase: Phase, named: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    trained = [parameter for name, parameter in named.items() if phase.trains(name)]
    if not trained:
        raise UsageError(
            f"This U-Net has none of the weights that phase '{phase.name}' trains: prune less of it (a larger --macs), "
            "or train different weights (--set parameters=...)."
        )
    if phase.optimiser == "sgd":
        return torch.optim.SGD(trained, lr=phase.rate)
    return torch.optim.AdamW(trained, lr=phase.rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=True)


def _read(window: Window, phase: Phase) -> dict[str, float]:
    """Return the means of the losses in the window. Raises TrainingError if a loss is not finite."""
    names = list(window.figures[0])
    table = torch.stack([torch.stack([row[name].float() for name in names]) for row in window.figures])
    table = reduce(table, reduction="mean").cpu()  # a NaN in one process becomes a NaN in all processes
    for iteration, value in zip(window.iterations, table[:, 0].tolist(), strict=True):
        if not torch.isfinite(torch.tensor(value)):
            raise TrainingError(
                f"The loss of phase '{phase.name}' is {value} at iteration {iteration}: lower its learning rate or "
                "clip its gradient. The last good checkpoint is retained."
            )
    return dict(zip(names, table.mean(0).tolist(), strict=True))


def _check_weights(named: dict[str, nn.Parameter], phase: Phase, iteration: int) -> None:
    finite = torch.stack([parameter.detach().isfinite().all() for parameter in named.values()])
    if not bool(finite.all()):
        name = list(named)[int(finite.logical_not().nonzero()[0])]
        raise TrainingError(
            f"Weight '{name}' is not finite after iteration {iteration} of phase '{phase.name}': lower its learning "
            "rate or clip its gradient. The last good checkpoint is retained."
        )


def _state(
    done: int,
    named: dict[str, nn.Parameter],
    optimisers: dict[str, torch.optim.Optimizer],
    totals_by_phase: dict[str, PhaseTotals],
    curve: list[CurveRow],
) -> State:
    tensors = {f"student/{name}": parameter.detach() for name, parameter in named.items()}
    for phase, optimiser in optimisers.items():
        for name, parameter in named.items():
            for moment, value in optimiser.state.get(parameter, {}).items():
                tensors[f"{phase}/{moment}/{name}"] = value
    ledger = {name: vars(totals) for name, totals in totals_by_phase.items()}
    return State(tensors=tensors, meta={"step": done, "ledger": ledger, "curve": list(curve)})


def _restore(
    state: State | None,
    named: dict[str, nn.Parameter],
    optimisers: dict[str, torch.optim.Optimizer],
    totals_by_phase: dict[str, PhaseTotals],
    curve: list[CurveRow],
) -> int:
    """Load a checkpoint, and return the number of steps that were done when it was saved (0 without one)."""
    if state is None:
        return 0
    moments = dict(state.tensors)
    try:
        for phase, totals in state.meta["ledger"].items():
            vars(totals_by_phase[phase]).update(totals)
        curve.extend(state.meta["curve"])
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(moments.pop(f"student/{name}"))
        for key, value in moments.items():
            phase, moment, name = key.split("/", 2)
            parameter = named[name]
            # Fused optimisers need the memory layout of the parameter.
            like = parameter.detach() if value.shape == parameter.shape else value
            restored = torch.empty_like(like, dtype=value.dtype, device=parameter.device).copy_(value)
            optimisers[phase].state[parameter][moment] = restored
        return int(state.meta["step"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise DataError(
            f"The checkpoint belongs to a different run ({error}): delete it to start from the beginning."
        ) from error


def _peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: allocated on a CUDA device, else the process's resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # ru_maxrss is in kilobytes on Linux and in bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _entry(phase: Phase, totals: PhaseTotals, world: int) -> Entry:
    done = totals.iterations
    return Entry(
        phase=phase.name,
        iterations=done,
        images=done * sum(stream.batch for stream in phase.streams),
        unet_forwards=done * phase.cost.forwards,
        unet_backwards=done * phase.cost.backwards,
        flops=done * phase.cost.flops,
        wall_seconds=totals.seconds,
        device_seconds=totals.seconds * world,
        peak_memory_bytes=totals.memory,
    )
