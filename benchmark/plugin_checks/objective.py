"""Checks an upper objective: its contract, its target, and `bilevel` with this objective."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmark import registry
from benchmark.plugin_checks.checks import Check, Fault, until_broken
from benchmark.plugin_checks.method import MethodChecks
from methods.bilevel.config import check_objective
from methods.objective import UpperObjective


class ObjectiveChecks:
    """The checks of one objective, given as a name or `path/to/file.py:Class`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def lines(self) -> Iterator[Check]:
        whole = True
        for line in until_broken(("contract", self.contract), ("target", self.target)):
            whole &= line.state != "broken"
            yield line
        if whole:
            for line in MethodChecks("bilevel", {"objective": self.name}).lines():
                if line.subject != "contract":
                    yield line._replace(subject=f"bilevel's {line.subject}")

    def contract(self) -> str:
        check_objective(self.name)
        return "declares all required attributes of an upper objective"

    def target(self) -> str:
        objective: type[UpperObjective] = registry.load("objectives", self.name)
        source = torch.Generator().manual_seed(0)
        answers: dict[str, torch.Tensor] = {text: torch.randn(2, 4, 8, 8, generator=source) for text in objective.asks}
        given = {text: answer.clone() for text, answer in answers.items()}
        first, second = objective.target(answers, 1.0), objective.target(given, 1.0)
        if not isinstance(first, torch.Tensor) or first.shape != (2, 4, 8, 8):
            raise Fault("target must return a tensor with the shape of its inputs, (n, C, h, w)")
        if any(not torch.equal(answers[text], given[text]) for text in answers) or not torch.equal(first, second):
            raise Fault("target differs for equal inputs, or changes its inputs: compute it from the inputs only")
        if not bool(first.isfinite().all()):
            raise Fault("target contains values that are not finite")
        return f"is computed from {', '.join(objective.asks)}, and is the same for equal inputs"
