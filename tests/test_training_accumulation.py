"""Batches larger than memory: gradients stay equal, no step is lost or repeated, and one warning is printed."""

import copy
import dataclasses

import pytest
import torch
from test_training_loop import CONCEPT, SMALL, bilevel, fit, pruned
from tiny import LENGTH, SIZE, context, materials, tiny_unet
from torch import nn

from benchmark.errors import DataError, TrainingError
from methods.base import Context
from methods.bilevel.config import BilevelConfig
from methods.bilevel.upper_level import upper_phase
from methods.budget import Budget
from methods.distilled import Distilled, DistilledConfig, lower_phase
from methods.esd import EsdConfig, erasing_phase
from methods.pruning.blocks import prune as prune_blocks
from methods.training import losses
from methods.training.accumulation import BUCKET, Gradients, halved, mean_over_processes, split
from methods.training.adaptive_batch import AdaptiveBatch
from methods.training.batches import Batch
from methods.training.loop import Phase
from methods.training.precision import arithmetic

CPU = torch.device("cpu")


def exhausted() -> torch.OutOfMemoryError:
    """As CUDA's allocator says it."""
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ...")


def phase_of(kind: str, student: nn.Module, batch: int) -> Phase:
    given, config = materials(), DistilledConfig(**{**SMALL, "batch": batch})
    lower = lower_phase(config, student, given, 0)
    if kind == "lower":
        return lower
    if kind == "esd":
        return erasing_phase(EsdConfig(batch=batch, steps=4), student, tiny_unet(3).eval(), given, CONCEPT, 0)
    settings = {"penalty": 2.0} if kind == "upper" else {"solver": "dynamic-barrier", "upper_optimiser": "sgd"}
    return upper_phase(BilevelConfig(**{**SMALL, "batch": batch, **settings}), student, given, CONCEPT, 0, lower)


def gradient(kind: str, student: nn.Module, parts: int = 1, batch: int = 6) -> tuple[torch.Tensor, losses.Loss]:
    """The flat gradient of one step, and its loss and figures."""
    phase = phase_of(kind, student, batch)
    student.train().requires_grad_(True).zero_grad(set_to_none=True)
    maker = Gradients(student, 1, print)
    maker.parts[phase.name] = parts
    told = maker.add(phase, [stream.draw(3, CPU) for stream in phase.streams], lambda: arithmetic(CPU, "fp32"))
    flat = [p.grad if p.grad is not None else torch.zeros_like(p) for p in student.parameters()]
    return torch.cat([grad.flatten() for grad in flat]), told


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize(("kind", "parts"), [("lower", 2), ("lower", 4), ("lower", 6), ("upper", 3), ("esd", 4)])
def test_accumulated_gradient_and_loss_equal_those_of_the_whole_batch(kind: str, parts: int) -> None:
    student = tiny_unet(1)
    whole, (loss, figures) = gradient(kind, student)
    summed, (sum_loss, sum_figures) = gradient(kind, student, parts)
    assert apart(summed, whole) < 1e-5
    assert float(sum_loss) == pytest.approx(float(loss), rel=1e-5)
    assert {k: float(v) for k, v in sum_figures.items()} == pytest.approx({k: float(v) for k, v in figures.items()})


@pytest.mark.parametrize("kind", ["lower", "upper", "esd", "barrier"])
def test_activation_checkpointing_keeps_gradient_loss_and_feature_maps(kind: str) -> None:
    for student in (tiny_unet(1), prune_blocks(tiny_unet(1, layers=2), 0.8, SIZE, LENGTH)[0]):
        whole, (loss, figures) = gradient(kind, student)
        student.enable_gradient_checkpointing()
        again, (same_loss, same_figures) = gradient(kind, student)
        assert apart(again, whole) < 1e-5
        assert float(same_loss) == pytest.approx(float(loss), rel=1e-5)
        assert ("feature" in figures) == (kind != "esd")
        assert {k: float(v) for k, v in same_figures.items()} == pytest.approx(
            {k: float(v) for k, v in figures.items()}, rel=1e-5
        )


def test_split_batch_keeps_all_rows_and_shared_fields() -> None:
    rows = torch.arange(5.0)
    draw = Batch(x0=rows[:, None], text=rows[:, None, None], noise=-rows[:, None], t=rows.long())
    parts = split([draw], 2)
    assert [share for share, _ in parts] == [3 / 5, 2 / 5]
    for field in dataclasses.fields(Batch):
        joined = torch.cat([getattr(part, field.name) for _, (part,) in parts])
        assert torch.equal(joined, getattr(draw, field.name))
    start = phase_of("esd", tiny_unet(1), 4).streams[0].draw(2, CPU)
    assert {part.stop for _, (part,) in split([start], 2)} == {start.stop}


def test_parts_of_two_batches_hold_equal_shares() -> None:
    def of(*counts: int) -> list[Batch]:
        return [Batch(x0=torch.zeros(n), text=torch.zeros(n), noise=torch.zeros(n), t=torch.zeros(n)) for n in counts]

    def walked(*counts: int) -> list[int]:
        found = [1]
        while more := halved(of(*counts), found[-1]):
            found.append(more)
        return found

    assert walked(64) == [1, 2, 4, 8, 16, 32, 64]
    assert walked(6) == [1, 2, 4, 6]
    assert walked(64, 64) == [1, 2, 4, 8, 16, 32, 64]
    assert walked(12, 18) == [1, 2, 6]
    assert walked(3, 4) == [1]


def limited(monkeypatch: pytest.MonkeyPatch, most: int, calls: int = 0) -> list[int]:
    """Let the student's passes run out of memory above so many images, or at the one call of this number."""
    seen: list[int] = []
    plain = losses.predict

    def predict(unet, x, *rest):
        if unet.training and torch.is_grad_enabled():
            seen.append(len(x))
            if len(x) > most or len(seen) == calls:
                raise exhausted()
        return plain(unet, x, *rest)

    monkeypatch.setattr(losses, "predict", predict)
    return seen


def watched() -> tuple[Context, list[str]]:
    said: list[str] = []
    return dataclasses.replace(context(), tell=said.append), said


@pytest.mark.parametrize(("most", "calls", "seen"), [(4, 0, [8, 4, 4, 4, 4]), (8, 2, [8, 8, 4, 4]), (2, 0, None)])
def test_out_of_memory_step_is_taken_once_in_parts_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, most: int, calls: int, seen: list[int] | None
) -> None:
    method = Distilled(DistilledConfig(**{**SMALL, "batch": 8}))
    place, said = watched()
    start = copy.deepcopy(pruned())
    whole = method.fit(copy.deepcopy(start), materials(), CONCEPT, Budget(iterations=2), place, 0)
    plain = place.ledger.total()
    assert not said
    met = limited(monkeypatch, most, calls)
    place, said = watched()
    parts = method.fit(copy.deepcopy(start), materials(), CONCEPT, Budget(iterations=2), place, 0)
    moved = torch.cat([(a - b).flatten() for a, b in zip(whole.parameters(), start.parameters(), strict=True)])
    off = torch.cat([(a - b).flatten() for a, b in zip(whole.parameters(), parts.parameters(), strict=True)])
    assert off.norm() < 0.01 * moved.norm()  # AdamW's first steps turn rounding near 0 into whole steps
    spent = place.ledger.total()
    assert (spent.flops, spent.images, spent.iterations) == (plain.flops, plain.images, plain.iterations)
    if seen is None:  # 8, 4, 4 with activations computed again, then 2 by 2
        seen = [8, 4, 4] + [2] * 8
        assert "2 images at a time, with recomputed activations" in said[0]
    assert met == seen
    assert len(said) == 1
    assert "memory ran out in phase 'lower'" in said[0]
    assert not parts.is_gradient_checkpointing


def test_parts_before_an_out_of_memory_error_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    student = tiny_unet(1)
    whole, _ = gradient("lower", student, batch=8)
    met = limited(monkeypatch, 8, calls=2)  # the second part of two, when the first one's gradient is there
    summed, _ = gradient("lower", student, parts=2, batch=8)
    assert apart(summed, whole) < 1e-5
    assert met[:3] == [4, 4, 4]  # once more at that size, with activations computed again


def test_loss_that_needs_its_whole_batch_is_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 7)
    method = bilevel(batch=8, solver="dynamic-barrier", upper_optimiser="sgd", lower_steps=1)
    with pytest.raises(TrainingError, match=r"'upper' does not fit .* its loss needs all 8 images at once: .*\.$"):
        method.fit(copy.deepcopy(pruned()), materials(), CONCEPT, Budget(iterations=2), context(), 0)


def test_memory_too_small_for_one_image_gives_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0)
    with pytest.raises(TrainingError, match=r"'lower' does not .* 1 images at a time .*--precision bf16.*\.$"):
        fit(Distilled(DistilledConfig(**SMALL)), 1)


def test_other_runtime_errors_pass_through_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(losses, "predict", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        fit(Distilled(DistilledConfig(**SMALL)), 1)


def test_adaptive_batch_keeps_order_and_remembers_the_size_that_fits() -> None:
    sizes: list[int] = []

    def work(rows: slice) -> torch.Tensor:
        sizes.append(rows.stop - rows.start)
        if sizes[-1] > 3:
            raise exhausted()
        return torch.arange(rows.start, rows.stop)

    pieces = AdaptiveBatch("sampling", 32)
    assert pieces(work, 10).tolist() == list(range(10))
    assert sizes == [10, 5, 3, 3, 3, 1]
    assert pieces(work, 2).tolist() == [0, 1]
    assert sizes[6:] == [2]

    def never(rows: slice) -> torch.Tensor:
        raise exhausted()

    with pytest.raises(DataError, match="too small for sampling a single image"):
        pieces(never, 4)


@pytest.mark.parametrize(("size", "messages"), [(1, 6), (48, 5), (BUCKET, 3)])
def test_gradients_are_averaged_over_processes_in_buckets(
    size: int, messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process has twice the gradients of this one."""
    torch.manual_seed(0)
    shapes = [(5,), (2, 3, 2, 2), (), (7,), (4, 4), (3,)]
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    parameters[4] = nn.Parameter(torch.zeros(4, 4, dtype=torch.bfloat16))
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    parameters[1].grad = parameters[1].grad.to(memory_format=torch.channels_last)  # type: ignore[union-attr]
    parameters.insert(2, nn.Parameter(torch.zeros(9)))  # none
    mine = [None if p.grad is None else p.grad.clone() for p in parameters]
    sent: list[int] = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flat: sent.append(flat.numel()) or flat.mul_(3))
    mean_over_processes(parameters, 2, size)
    for parameter, before in zip(parameters, mine, strict=True):
        assert (parameter.grad is None) == (before is None)
        if before is not None:
            assert torch.equal(parameter.grad, before * 3 / 2)
            assert parameter.grad.stride() == before.stride()
    assert (len(sent), sum(sent)) == (messages, sum(each.numel() for each in mine if each is not None))
    mean_over_processes(parameters, 1, size)
    assert len(sent) == messages
