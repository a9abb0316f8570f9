import copy
import functools
import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from tiny import Memory, Pictures, context, materials, same, tiny_unet

from benchmark.errors import BudgetError, DataError, TrainingError
from methods.bilevel.config import BilevelConfig
from methods.bilevel.method import Bilevel
from methods.bilevel.upper_level import upper_phase
from methods.budget import Budget
from methods.distilled import Distilled, DistilledConfig, lower_phase
from methods.pruning.magnitude import prune
from methods.training import losses
from methods.training.loop import locate
from prompts.concepts import Concept

CONCEPT = Concept(kind="style", targets=("Vincent van Gogh",), anchor="art", neighbours=())
SMALL = {"batch": 4, "warm_up": 3, "checkpoint_every": 4, "log_every": 2}


@functools.cache
def pruned() -> UNet2DConditionModel:
    return prune(tiny_unet(1), 0.8, 8, 6)[0]


def fit(method: Distilled | Bilevel, steps: int, memory: Memory | None = None, seed: int = 0, **changes):
    place = context(memory)
    return method.fit(
        copy.deepcopy(pruned()), materials(**changes), CONCEPT, Budget(iterations=steps), place, seed
    ), place


def bilevel(**changes) -> Bilevel:
    return Bilevel(
        BilevelConfig(**{**SMALL, "lower_steps": 3, "upper_optimiser": "adamw", "upper_rate": 2e-3, **changes})
    )


class Faulty(Pictures):
    """Pictures that fail, or turn into NaN, from the n-th batch on."""

    def __init__(self, at: int, error: BaseException | None, size: int = 12, seed: int = 0) -> None:
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "seed", seed)
        object.__setattr__(self, "left", [at])
        object.__setattr__(self, "error", error)

    def batch(self, indices):
        self.left[0] -= 1
        x0, text = super().batch(indices)
        if self.left[0] < 0:
            if self.error is not None:
                raise self.error
            x0 = x0 * float("nan")
        return x0, text


@pytest.mark.parametrize(("at", "kept"), [(7, 4), (9, 8)])
def test_resumed_training_equals_uninterrupted_training_exactly(at: int, kept: int) -> None:
    method = bilevel(penalty=2.0, clip=1.0)
    whole, place = fit(method, 11)
    memory = Memory()
    with pytest.raises(KeyboardInterrupt):
        fit(method, 11, memory, retain=Faulty(at, KeyboardInterrupt()))
    assert memory.states[-1].meta["step"] == kept
    again, resumed = fit(method, 11, memory)
    assert same(whole, again)
    for one, two in zip(place.ledger, resumed.ledger, strict=True):
        assert (one.phase, one.iterations, one.flops, one.images) == (two.phase, two.iterations, two.flops, two.images)
    assert place.curve == resumed.curve
    assert place.curve[-1]["flops"] == place.ledger.total().flops
    assert {row["phase"] for row in place.curve} == {"lower", "upper"}


def test_a_finished_checkpoint_is_not_trained_further() -> None:
    memory = Memory()
    whole, _ = fit(bilevel(), 8, memory)
    again, place = fit(bilevel(), 8, memory, retain=Faulty(0, AssertionError("drawn")))
    assert same(whole, again)
    assert place.ledger.total().iterations == 8


def test_result_depends_on_the_seed_and_not_on_runtime_settings() -> None:
    torch.manual_seed(5)
    one, _ = fit(bilevel(), 5)
    torch.manual_seed(6)
    assert same(one, fit(bilevel(checkpoint_every=1, log_every=1), 5)[0])
    assert not same(one, fit(bilevel(), 5, seed=1)[0])


def test_bilevel_without_upper_steps_equals_distillation_exactly() -> None:
    distilled, _ = fit(Distilled(DistilledConfig(**SMALL)), 6)
    alternating, place = fit(bilevel(lower_steps=10**9), 6)
    assert same(distilled, alternating)
    assert [entry.phase for entry in place.ledger] == ["lower"]


def test_budget_without_an_upper_step_is_reported() -> None:
    """One step short, and as many as are named."""
    for budget, word in ((3, "'upper', which needs 4 steps ("), (4, None)):
        said: list[str] = []
        place = replace(context(), tell=said.append)
        bilevel().fit(copy.deepcopy(pruned()), materials(), CONCEPT, Budget(iterations=budget), place, 0)
        assert [word in line for line in said] == ([True] if word else [])
        assert {entry.phase for entry in place.ledger} == ({"lower"} if word else {"lower", "upper"})
    given, student = materials(), copy.deepcopy(pruned())
    lower = lower_phase(bilevel().config, student, given, 0, 3)
    upper = upper_phase(bilevel().config, student, given, CONCEPT, 0, lower)
    least, said = 3 * lower.cost.flops + upper.cost.flops, []
    place = replace(context(), tell=said.append)
    bilevel().fit(student, given, CONCEPT, Budget(flops=least - 1), place, 0)
    assert f"({least:.4g} FLOPs of training)" in said[0]


def test_distilled_and_bilevel_draw_the_same_lower_batches() -> None:
    seen: dict[str, list] = {}

    class Spy(Pictures):
        def batch(self, indices):
            seen[current].append(indices.tolist())
            return super().batch(indices)

    for current, method in (("distilled", Distilled(DistilledConfig(**SMALL))), ("bilevel", bilevel())):
        seen[current] = []
        fit(method, 6 if current == "distilled" else 7, retain=Spy())
    assert seen["distilled"] == seen["bilevel"]


def test_equal_budgets_are_spent_equally_to_within_a_step() -> None:
    given, student = materials(), tiny_unet(1)
    lower = lower_phase(DistilledConfig(**SMALL), student, given, 0)
    upper = upper_phase(BilevelConfig(**SMALL), student, given, CONCEPT, 0, lower)
    flops = 5.7 * lower.cost.flops
    for method in (Distilled(DistilledConfig(**SMALL)), bilevel()):
        place = context()
        method.fit(tiny_unet(1), materials(), CONCEPT, Budget(flops=flops), place, 0)
        assert flops - upper.cost.flops < place.ledger.total().flops <= flops


def test_a_budget_below_one_step_is_refused_before_training() -> None:
    with pytest.raises(BudgetError, match="at least"):
        Distilled().fit(tiny_unet(1), materials(), CONCEPT, Budget(flops=10.0), context(), 0)


@pytest.mark.parametrize(("phase", "iteration"), [("lower", 7), ("upper", 1)])
def test_nan_loss_is_reported_with_phase_and_iteration_and_never_saved(phase: str, iteration: int) -> None:
    memory = Memory()
    data = {"lower": "retain", "upper": "erase_named"}[phase]
    with pytest.raises(TrainingError, match=f"phase '{phase}' is nan at iteration {iteration}"):
        fit(bilevel(), 12, memory, **{data: Faulty(iteration, None)})
    assert memory.states
    for state in memory.states:
        assert all(bool(tensor.isfinite().all()) for tensor in state.tensors.values())


def test_non_finite_weights_are_never_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, whole = Memory(), losses.distillation_loss

    def exploding(*args):
        loss, figures = whole(*args)
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss, figures

    monkeypatch.setattr(losses, "distillation_loss", exploding)
    with pytest.raises(TrainingError, match=r"Weight '.*' is not finite"):
        fit(Distilled(DistilledConfig(**{**SMALL, "checkpoint_every": 1})), 3, memory)
    assert not memory.states


def test_checkpoint_of_a_different_run_is_refused() -> None:
    memory = Memory()
    fit(bilevel(), 4, memory)
    memory.states[-1].tensors.pop("student/conv_in.weight")
    with pytest.raises(DataError, match="belongs to a different run"):
        fit(bilevel(), 8, memory)


def test_each_phase_warms_up_to_its_own_constant_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    fit(bilevel(lower_rate=3e-4, upper_rate=9e-4), 9)
    assert rates == pytest.approx([1e-4, 2e-4, 3e-4, 3e-4, 3e-4, 3e-4, 3e-4, 6e-4, 3e-4])


def test_upper_steps_on_attn2_change_only_attn2() -> None:
    method = bilevel(lower_steps=1, parameters="attn2", lower_rate=1e-30)
    before = dict(pruned().named_parameters())
    after = dict(fit(method, 2)[0].named_parameters())
    moved = {name for name in before if (before[name] - after[name]).abs().max() > 1e-20}
    assert moved
    assert all("attn2" in name for name in moved)


@pytest.mark.parametrize(("prompts", "read"), [("name", "erase_named"), ("caption", "erase")])
def test_prompts_setting_selects_the_upper_level_data(prompts: str, read: str) -> None:
    shown = materials()
    config = BilevelConfig(**SMALL, prompts=prompts)
    lower = lower_phase(config, tiny_unet(), shown, 0)
    (stream,) = upper_phase(config, tiny_unet(), shown, CONCEPT, 0, lower).streams
    assert stream.data is getattr(shown, read)


def test_training_lowers_both_losses() -> None:
    figures: dict[str, list[float]] = {}
    place = context()
    object.__setattr__(place, "progress", lambda p, done, total, f: figures.setdefault(p, []).append(f["loss"]))
    method = bilevel(lower_rate=2e-3, upper_rate=2e-3, warm_up=0, batch=8)
    method.fit(tiny_unet(2), materials(), CONCEPT, Budget(iterations=32), place, 0)
    for course in figures.values():
        assert sum(course[-4:]) < 0.9 * sum(course[:4])


def test_ledger_counts_iterations_images_and_passes() -> None:
    fitted, place = fit(bilevel(penalty=1.0), 9)
    lower, upper = place.ledger
    assert (lower.phase, lower.iterations, lower.images) == ("lower", 7, 28)
    assert (lower.unet_forwards, lower.unet_backwards) == (56, 28)
    assert (upper.iterations, upper.images, upper.unet_forwards, upper.unet_backwards) == (2, 16, 40, 16)
    assert lower.wall_seconds > 0
    assert lower.device_seconds == lower.wall_seconds
    assert lower.peak_memory_bytes > 10**6
    assert not fitted.training


def test_phases_alternate_in_order() -> None:
    lower = lower_phase(DistilledConfig(**SMALL), tiny_unet(), materials(), 0, repeats=2)
    phases = [lower, upper_phase(BilevelConfig(**SMALL), tiny_unet(), materials(), CONCEPT, 0, lower)]
    walked = [(phase.name, iteration) for phase, iteration in (locate(phases, step) for step in range(5))]
    assert walked == [("lower", 0), ("lower", 1), ("upper", 0), ("lower", 2), ("lower", 3)]


WORKER = """
import os, sys, torch
from safetensors.torch import save_file
from tiny import context, materials, tiny_unet
from methods.training import losses
from methods.budget import Budget
from test_training_loop import CONCEPT, bilevel

# Imports are most of the time: both processes share them, since nothing has run yet that may not be forked.
child = os.fork()
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if child else "1"
if SHORT and not child:
    plain = losses.predict

    def predict(unet, x, *rest):
        if unet.training and torch.is_grad_enabled() and len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return plain(unet, x, *rest)

    losses.predict = predict
unet = bilevel(**SHARED).fit(tiny_unet(2 if child else 3), materials(), CONCEPT, Budget(iterations=20), context(), 0)
assert torch.distributed.get_world_size() == 2
if child:
    save_file(unet.state_dict(), sys.argv[1])
torch.distributed.destroy_process_group()
if child and os.waitpid(child, 0)[1]:
    sys.exit("the second process failed")
"""
SHARED = {"lower_steps": 2, "penalty": 1.0, "clip": 0.5}


@pytest.mark.parametrize("short", [False, True], ids=["", "one is short of memory"])
def test_training_in_two_processes_matches_training_in_one(warm_python: str, tmp_path: Path, short: bool) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = tmp_path / "two.safetensors"
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **place, "PYTHONPATH": str(Path(__file__).parent)}
    code = WORKER.replace("SHARED", repr(SHARED)).replace("SHORT", repr(short))
    subprocess.run([warm_python, "-c", code, str(out)], env=environment, check=True, timeout=120)
    one = bilevel(**SHARED).fit(tiny_unet(2), materials(), CONCEPT, Budget(iterations=20), context(), 0).state_dict()
    two, start = load_file(out), tiny_unet(2).state_dict()
    moved = torch.cat([(one[name] - start[name]).flatten() for name in one])
    apart = torch.cat([(one[name] - two[name]).flatten() for name in one])
    assert apart.norm() < 0.01 * moved.norm()
    assert apart.norm() < 1e-4 * torch.cat([tensor.flatten() for tensor in one.values()]).norm()
