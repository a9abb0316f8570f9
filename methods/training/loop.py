"""The one training loop: every method is a cycle of phases through it.

A phase brings its loss, its data streams and its optimiser; the loop brings processes, precision, memory by need,
checkpoints, the ledger and the guard against NaN. A run that is stopped and started again gives, bit for bit, what it
would have given.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, reduce
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from benchmark.errors import DataError, TrainingError, UsageError
from methods.base import Checkpointer, Context, Precision, State
from methods.budget import Cost, Entry
from methods.training.accumulation import Gradients, Task, mean_over_processes
from methods.training.batches import BatchStream, NoiseStream
from methods.training.precision import arithmetic, laid_out, lowered

__all__ = ["Checkpointer", "Phase", "State", "freeze", "locate", "train"]


@dataclass(frozen=True, kw_only=True)
class Phase(Task):
    """One kind of step."""

    repeats: int
    """Steps in a row before the next phase of the cycle has its turn."""
    streams: tuple[BatchStream | NoiseStream, ...]
    rate: float
    """AdamW's rate, constant after the warm-up."""
    warm_up: int
    """Steps of this phase over which the rate rises linearly."""
    cost: Cost
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW without decay, or plain gradient descent."""
    trains: Callable[[str], bool] = lambda name: True
    """Which parameters the phase moves, by name."""
    clip: float | None = None
    """Largest norm of the gradient, where it is clipped."""
    warm_up_from_zero: bool = False
    """Whether the first step of the warm-up has rate 0, as in diffusers' `constant_with_warmup`."""

    def rate_at(self, iteration: int) -> float:
        """The learning rate of a step of this phase, counted from 0."""
        made = iteration if self.warm_up_from_zero else iteration + 1
        return self.rate * min(1.0, made / self.warm_up) if self.warm_up else self.rate


@dataclass
class Account:
    """What a phase has used up to now."""

    iterations: int = 0
    seconds: float = 0.0
    memory: int = 0


@dataclass
class Window:
    """Steps of one phase whose losses still lie on the device; reading them is what costs a synchronisation."""

    iterations: list[int] = field(default_factory=list)
    figures: list[dict[str, Tensor]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)


def locate(phases: Sequence[Phase], step: int) -> tuple[Phase, int]:
    """Return the phase of a step (from 0), and how many steps that phase has made before it."""
    rounds, rest = divmod(step, sum(phase.repeats for phase in phases))
    for phase in phases:
        if rest < phase.repeats:
            return phase, rounds * phase.repeats + rest
        rest -= phase.repeats
    raise AssertionError("unreachable: rest is below the length of the cycle")


def train(
    student: UNet2DConditionModel,
    phases: Sequence[Phase],
    steps: int,
    context: Context,
    *,
    checkpoint_every: int,
    log_every: int,
) -> UNet2DConditionModel:
    """Train `student` in place for `steps` steps of the cycle `phases`, going on from the last checkpoint, if any.

    The ledger gets one entry a phase, the work of resumed runs included (not what a crash threw away), and the curve
    one row for each look at the losses.

    Raises:
        TrainingError: a loss or a weight is no longer finite; the last good checkpoint stays.
        UsageError: a phase has nothing to train, as one of cross-attention where pruning has left none.
        DataError: the checkpoint belongs to another run.
    """
    # Precision is part of a result, so the launcher's environment may not choose it.
    processes = PartialState(cpu=context.device.type == "cpu")
    rank, world = processes.process_index, processes.num_processes
    network: nn.Module = student
    network.to(context.device, **laid_out(context.device, context.precision)).train().requires_grad_(True)
    named = dict(network.named_parameters())
    optimisers = {p.name: _optimiser(p, named) for p in phases}
    accounts = {phase.name: Account() for phase in phases}
    curve: list[dict[str, Any]] = []
    _tell_of_idle(phases, steps, context)
    done = _restore(context.checkpoint.load(), named, optimisers, accounts, curve)
    broadcast([parameter.detach() for parameter in named.values()])  # what moves alike must begin alike
    gradients = Gradients(student, world, context.tell)
    computing = partial(arithmetic, context.device, context.precision)
    if context.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(context.device)

    landmarks = _landmarks(phases, steps, context)
    window = Window()
    for step in range(done, steps):
        phase, iteration = locate(phases, step)
        draws = [stream.draw(iteration, context.device, rank, world) for stream in phase.streams]
        for group in optimisers[phase.name].param_groups:
            group["lr"] = phase.rate_at(iteration)
        loss, figures = gradients.add(phase, draws, computing)
        moved = [parameter for name, parameter in named.items() if phase.trains(name)]
        mean_over_processes(moved, world)
        if phase.clip is not None:
            nn.utils.clip_grad_norm_(moved, phase.clip)
        optimisers[phase.name].step()
        network.zero_grad(set_to_none=True)

        window.iterations.append(iteration)
        window.figures.append({"loss": loss, **figures})
        save = (step + 1) % checkpoint_every == 0
        leaving = step + 1 == steps or locate(phases, step + 1)[0] is not phase
        if save or leaving or step + 1 in landmarks or len(window.iterations) >= log_every:
            means = _read(window, phase)
            account = accounts[phase.name]
            account.iterations = iteration + 1
            account.seconds += time.perf_counter() - window.began
            account.memory = max(account.memory, _peak_memory(context.device))
            window = Window()
            spent = sum(accounts[each.name].iterations * each.cost.flops for each in phases)
            curve.append({"phase": phase.name, "iteration": iteration + 1, "flops": spent, **means})
            context.progress(phase.name, step + 1, steps, means)
        if keep := landmarks.get(step + 1):
            _check_weights(named, phase, iteration)
            keep(student, [_entry(each, accounts[each.name], world) for each in phases], curve)
        if save:
            _check_weights(named, phase, iteration)
            if processes.is_main_process:
                context.checkpoint.save(_state(step + 1, named, optimisers, accounts, curve))
            processes.wait_for_everyone()

    if steps > done:
        _check_weights(named, *locate(phases, steps - 1))
    for phase in phases:
        account = accounts[phase.name]
        if account.iterations:
            context.ledger.append(_entry(phase, account, world))
    context.curve.extend(curve)
    student.disable_gradient_checkpointing()
    network.to(memory_format=torch.contiguous_format)
    return student.eval()


def _tell_of_idle(phases: Sequence[Phase], steps: int, context: Context) -> None:
    """Say of a budget that it ends before the cycle comes to one of its phases."""
    before = flops = 0
    for phase in phases:
        if steps <= before:
            context.tell(
                f"this budget ends after {steps} steps, before the first of phase '{phase.name}': that takes "
                f"{before + 1} ({flops + phase.cost.flops:.4g} FLOPs of training)"
            )
            return
        before, flops = before + phase.repeats, flops + phase.repeats * phase.cost.flops


def _landmarks(phases: Sequence[Phase], steps: int, context: Context) -> dict[int, Callable]:
    """What to do with the student after so many steps."""
    cycle = [(phase.cost, phase.repeats) for phase in phases]
    asked = {b: keep for b, keep in context.landmarks.items() if b.flops is None or b.flops >= cycle[0][0].flops}
    return {n: keep for budget, keep in asked.items() if (n := budget.steps(cycle)) < steps}


def freeze(teacher: nn.Module, device: torch.device, precision: Precision = "fp32") -> None:
    """Make a network a teacher, in place: on the device, in evaluation mode, without gradients.

    In bf16 it is asked within `train` alone, where what it is given is brought to its precision.
    """
    lowered(teacher, device, precision).eval().requires_grad_(False)


def _optimiser(phase: Phase, named: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    moved = [parameter for name, parameter in named.items() if phase.trains(name)]
    if not moved:
        raise UsageError(
            f"This U-Net has none of the weights that phase '{phase.name}' trains: keep more of it (--macs), or let "
            "others move (--set parameters=...)."
        )
    if phase.optimiser == "sgd":
        return torch.optim.SGD(moved, lr=phase.rate)
    return torch.optim.AdamW(moved, lr=phase.rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=True)


def _read(window: Window, phase: Phase) -> dict[str, float]:
    """Return the window's mean figures; raise `TrainingError` at its first loss that is not finite."""
    names = list(window.figures[0])
    table = torch.stack([torch.stack([row[name].float() for name in names]) for row in window.figures])
    table = reduce(table, reduction="mean").cpu()  # so that all processes see the NaN of one
    for iteration, value in zip(window.iterations, table[:, 0].tolist(), strict=True):
        if not torch.isfinite(torch.tensor(value)):
            raise TrainingError(
                f"The loss of phase '{phase.name}' is {value} at iteration {iteration}: lower its rate or clip its "
                "gradient. The last good checkpoint is kept."
            )
    return dict(zip(names, table.mean(0).tolist(), strict=True))


def _check_weights(named: dict[str, nn.Parameter], phase: Phase, iteration: int) -> None:
    finite = torch.stack([parameter.detach().isfinite().all() for parameter in named.values()])
    if not bool(finite.all()):
        name = list(named)[int(finite.logical_not().nonzero()[0])]
        raise TrainingError(
            f"Weight '{name}' is not finite after iteration {iteration} of phase '{phase.name}': lower its rate or "
            "clip its gradient. The last good checkpoint is kept."
        )


def _state(
    done: int,
    named: dict[str, nn.Parameter],
    optimisers: dict[str, torch.optim.Optimizer],
    accounts: dict[str, Account],
    curve: list[dict[str, Any]],
) -> State:
    tensors = {f"student/{name}": parameter.detach() for name, parameter in named.items()}
    for phase, optimiser in optimisers.items():
        for name, parameter in named.items():
            for moment, value in optimiser.state.get(parameter, {}).items():
                tensors[f"{phase}/{moment}/{name}"] = value
    ledger = {name: vars(account) for name, account in accounts.items()}
    return State(tensors=tensors, meta={"step": done, "ledger": ledger, "curve": list(curve)})


def _restore(
    state: State | None,
    named: dict[str, nn.Parameter],
    optimisers: dict[str, torch.optim.Optimizer],
    accounts: dict[str, Account],
    curve: list[dict[str, Any]],
) -> int:
    """Put a checkpoint back, and return how many steps it had made (0 without one)."""
    if state is None:
        return 0
    left = dict(state.tensors)
    try:
        for phase, account in state.meta["ledger"].items():
            vars(accounts[phase]).update(account)
        curve.extend(state.meta["curve"])
        with torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(left.pop(f"student/{name}"))
        for key, value in left.items():
            phase, moment, name = key.split("/", 2)
            parameter = named[name]
            # In the layout of its parameter, as fused optimisers want it.
            like = parameter.detach() if value.shape == parameter.shape else value
            kept = torch.empty_like(like, dtype=value.dtype, device=parameter.device).copy_(value)
            optimisers[phase].state[parameter][moment] = kept
        return int(state.meta["step"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"The checkpoint is of another run ({error}): remove it to start afresh.") from error


def _peak_memory(device: torch.device) -> int:
    """Bytes: most that was allocated on a CUDA device, else the process's largest resident size."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts kilobytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _entry(phase: Phase, account: Account, world: int) -> Entry:
    done = account.iterations
    return Entry(
        phase=phase.name,
        iterations=done,
        images=done * sum(stream.batch for stream in phase.streams),
        unet_forwards=done * phase.cost.forwards,
        unet_backwards=done * phase.cost.backwards,
        flops=done * phase.cost.flops,
        wall_seconds=account.seconds,
        device_seconds=account.seconds * world,
        peak_memory_bytes=account.memory,
    )
