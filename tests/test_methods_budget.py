import pytest
import torch
from tiny import LENGTH, SIZE, Pictures, counting, materials, tiny_unet

from benchmark.errors import BudgetError, RecordError
from methods.bilevel.config import BilevelConfig
from methods.bilevel.upper_level import upper_phase
from methods.budget import Budget, Cost, Entry, Ledger
from methods.distilled import DistilledConfig, lower_phase
from methods.pruning.macs import forward_flops
from prompts.concepts import Concept

CONCEPT = Concept("style", ("Claude Monet",), "art")


def cost(flops: int) -> Cost:
    return Cost(forwards=1, backwards=1, flops=flops)


def entry(**changes: object) -> Entry:
    given = {
        "phase": "lower", "iterations": 2, "images": 8, "unet_forwards": 16, "unet_backwards": 8, "flops": 100,
        "wall_seconds": 1.5, "device_seconds": 3.0, "peak_memory_bytes": 7,
    }  # fmt: skip
    return Entry(**{**given, **changes})  # type: ignore[arg-type]


def naive_steps(flops: int, cycle: list[tuple[Cost, int]]) -> int:
    spent, steps = 0, 0
    while True:
        for one, repeats in cycle:
            for _ in range(repeats):
                if spent + one.flops > flops:
                    return steps
                spent, steps = spent + one.flops, steps + 1


@pytest.mark.parametrize("flops", [3, 11, 12, 17, 18, 29, 100, 1001])
def test_steps_fill_the_budget_and_never_exceed_it(flops: int) -> None:
    cycle = [(cost(3), 4), (cost(5), 1)]
    assert Budget(flops=flops).steps(cycle) == naive_steps(flops, cycle)


def test_budget_below_one_step_names_the_least_budget() -> None:
    with pytest.raises(BudgetError, match="at least 3e"):
        Budget(flops=1e6).steps([(cost(3 * 10**9), 4)])


def test_budgets_are_of_one_unit_and_not_negative() -> None:
    for wrong in ({}, {"flops": 1.0, "iterations": 1}, {"flops": -1}, {"iterations": -1}):
        with pytest.raises(BudgetError):
            Budget(**wrong)
    assert Budget(iterations=7).steps([(cost(3), 4)]) == 7


def test_budget_of_no_iteration_is_refused():
    with pytest.raises(BudgetError, match="takes all iterations of the budget"):
        Budget(iterations=0).steps([(cost(3), 4)])


def test_ledger_survives_json_and_totals_its_entries() -> None:
    ledger = Ledger([entry(), entry(phase="upper", iterations=1, peak_memory_bytes=9)])
    again = Ledger.from_json(ledger.to_json())
    assert list(again) == list(ledger)
    total = again.total()
    assert (total.iterations, total.flops, total.device_seconds, total.peak_memory_bytes) == (3, 200, 6.0, 9)
    with pytest.raises(RecordError):
        Ledger.from_json([{"phase": "lower"}])


def test_forward_flops_are_those_of_a_real_pass() -> None:
    unet, (x, text) = tiny_unet(), Pictures().batch(torch.arange(3))
    with counting() as counter, torch.no_grad():
        unet(x, torch.tensor([1, 2, 3]), text)
    assert forward_flops(unet, SIZE, LENGTH) * 3 == counter.get_total_flops()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"penalty": 1.0},
        {"objective": "anchor"},
        {"solver": "dynamic-barrier", "parameters": "all"},
        {"parameters": "all"},
    ],
    ids=str,
)
def test_charged_flops_are_those_of_a_real_step(settings: dict) -> None:
    given, student = materials(), tiny_unet(2)
    lower = lower_phase(DistilledConfig(batch=2), student, given, seed=0)
    upper = upper_phase(BilevelConfig(batch=2, **settings), student, given, CONCEPT, 0, lower)
    for phase in (lower, upper):
        draws = [stream.draw(0, torch.device("cpu")) for stream in phase.streams]
        given.teacher.requires_grad_(False)
        with counting() as counter:
            phase.loss(student, *draws)[0].backward()
        # "Backward is twice forward" leaves out that inputs and text states need no gradient.
        assert phase.cost.flops == pytest.approx(counter.get_total_flops(), rel=0.03)
