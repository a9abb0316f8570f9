"""Estimates the hours of single steps of a run, for `bench run --dry-run`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from benchmark.cost import devices
from benchmark.cost.estimate import Speeds
from benchmark.cost.network_costs import SCORING
from benchmark.cost.testbed_facts import TestbedFacts, precision_of, read_facts
from benchmark.cost.workload import Piece, pieces, terms, training
from benchmark.errors import BudgetError, UsageError

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest
    from benchmark.models.plan import Plan


class Estimator:
    """Hours of steps, from the properties of a testbed and the assumed speed of the device."""

    def __init__(self, request: RunRequest, facts: TestbedFacts, speeds: Speeds) -> None:
        self.facts, self.speeds = facts, speeds
        self._work: list[Piece] = []
        with suppress(BudgetError):  # counted for networks of mini's size; the preparation checks the real ones
            self._work = pieces(request, facts, speeds.of("lower"))
        self._call = facts.sizes.call(facts.size)
        self._calls = (2 if facts.guidance > 1 else 1) * facts.calls

    @classmethod
    def of(cls, request: RunRequest, notes: list[str]) -> Estimator | None:
        """Return the estimator of a run; None, with a note, if the costs of its testbed are not known."""
        speeds = Speeds.of_device(devices.here(request.device)[0], precision_of(request))
        try:
            facts = read_facts(request)
        except UsageError as error:  # a testbed in Python; all other mistakes are reported by the preparation
            notes.append(str(error).partition(":")[0] + ", so hours are not known")
            return None
        notes.append(speeds.source)
        return cls(request, facts, speeds)

    def pruning(self) -> float:
        """Return the hours of the calibration of a pruning."""
        return self._hours_of("prune", "encode calibration images")

    def data(self) -> float:
        """Return the hours of the concept images and the encoding of training pictures."""
        return self._hours_of("sample concept images", "encode training pictures", "encode in training steps")

    def _hours_of(self, *names: str) -> float:
        """Return the hours of the parts of these kinds or names."""
        parts = [piece for piece in self._work if piece.kind in names or piece.what in names]
        return sum(piece.flops / self.speeds.of(piece.kind) + piece.seconds for piece in parts) / 3600

    def training(self, plan: Plan) -> tuple[float | None, int]:
        """Return the hours and the number of steps of a training; None and 0 if they are not known."""
        images = self.facts.erasing * self._calls * self._call if plan.method.uses_concept_images else 0.0
        try:
            parts = list(training(plan, terms(plan, self.facts), images))
        except BudgetError:
            return None, 0
        seconds = sum(piece.flops / self.speeds.of(piece.kind) for piece in parts)
        return seconds / 3600, sum(piece.count for piece in parts)

    def picture(self, macs: float) -> float:
        """Return the hours to sample, decode and score a picture of a model with this share of the base's MACs."""
        seconds = self._calls * self._call * macs / self.speeds.of("sample")
        seconds += self.facts.sizes.decode / self.speeds.of("decode")
        if self.facts.name != "mini":
            seconds += sum(SCORING.values()) / self.speeds.of("score")
        return seconds / 3600
