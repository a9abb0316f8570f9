"""The request of a `bench run`, and its outcome.

This module does not import torch, so that invalid values are reported at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from benchmark.errors import BudgetError, UsageError, has_controls
from benchmark.json_types import Settings
from methods.base import Precision
from methods.kept_names import KEPT_NAMES

if TYPE_CHECKING:
    from benchmark.records.record import Record


REFERENCES = ("distilled", "base")
"""The models that the scores CP and CSD can be relative to."""
DATA = ("plain", "all-but-targets")
"""The choices of fine-tuning data D_f: only plain captions (COCO has no target either), or everything except the
targets."""


class BudgetFigure(NamedTuple):
    """A requested training budget: U-Net FLOPs, iterations, or seconds on this machine."""

    unit: Literal["flops", "iterations", "seconds"]
    amount: float


@dataclass(frozen=True)
class Runtime:
    """The options from which a workbench is created: testbed, folder, device, precision and choice of prompts."""

    testbed: str = "mini"
    runs: Path = Path("runs")
    device: str = "auto"
    precision: str = ""  # precision of training and sampling; empty: the testbed's default
    compiles: bool = False  # compile the models that sample
    as_published: bool = False  # use every row of public lists, with the guidance and size given in it
    limit: int | None = None  # score only this many prompts of each group, to screen settings
    workers: int | None = None  # processes that read training pictures ahead; None: chosen for the device


@dataclass(frozen=True)
class RunRequest:
    """The request of one `bench run`.

    The command line checks that the method, suite, testbed and pruning are installed; this class does not.

    Raises:
        UsageError: a value is out of range or not one of the choices.
        BudgetError: the budget cannot be parsed.
    """

    method: str
    suite: str
    testbed: str = "mini"
    pruning: str = "magnitude"
    macs: float = 0.8  # MACs of the pruned U-Net as a share of the base U-Net's, in (0, 1]
    preset: str = ""  # empty: the testbed's default if the method has it
    overrides: Settings = field(default_factory=dict)  # fields of the method's config that differ from the preset
    targets: tuple[str, ...] = ()  # empty: the testbed's default
    seed: int = 0  # seed of the training; pictures use the seeds of their prompts
    budget: str = "default"  # or U-Net FLOPs ("1e15"), time on this machine ("2h"), iterations ("350it")
    along: tuple[str, ...] = ()  # shorter budgets of the same request: stored when the training passes them
    data: str = "plain"
    runs: Path = Path("runs")
    device: str = "auto"
    alone: bool = False  # score the suite without the suites that it also runs
    reveal: bool = False  # do not blur explicit pictures on the contact sheet
    as_published: bool = False  # use every row of public lists, with the guidance and size given in it
    precision: str = ""  # precision of training and sampling; empty: the testbed's default
    compiles: bool = False  # compile the models that sample
    kept_names: str = "all"  # which names of concepts to keep a method may read
    limit: int | None = None  # score only this many prompts of each group, to screen settings
    reference: str = "distilled"  # reference of CP and CSD; with "base", only the method is trained
    workers: int | None = None  # processes that read training pictures ahead; None: chosen for the device
    metrics: tuple[str, ...] = ()  # further metrics to score the suite with: names, or path/to/file.py:Class
    command: tuple[str, ...] = field(default=(), compare=False)  # the command line, for records; empty: not known

    def __post_init__(self) -> None:
        for text in (self.method, self.suite, self.testbed, self.pruning, self.preset, *self.targets, *self.metrics):
            if has_controls(text) or "\n" in text:
                raise UsageError(f"The name {text!r} contains a line break or a control character: write it without.")
        check_macs(self.macs)
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed must be between 0 and 2^63 - 1; {self.seed} is not.")
        if self.precision and self.precision not in get_args(Precision):
            precisions = " or ".join(get_args(Precision))
            raise UsageError(f"--precision must be {precisions}; '{self.precision}' is not.")
        if self.data not in DATA:
            raise UsageError(f"--data must be {' or '.join(DATA)}; '{self.data}' is not.")
        if self.reference not in REFERENCES:
            raise UsageError(f"--reference must be {' or '.join(REFERENCES)}; '{self.reference}' is not.")
        if self.kept_names not in KEPT_NAMES:
            raise UsageError(f"--kept-names must be {', '.join(KEPT_NAMES)}; '{self.kept_names}' is not.")
        if self.kept_names != "all" and self.data != "plain":
            raise UsageError(
                f"--kept-names {self.kept_names} needs --data plain: the captions of {self.data} contain all names."
            )
        if self.limit is not None:
            check_limit(self.limit)
        parse_budget(self.budget)

    @property
    def runtime(self) -> Runtime:
        """The part of the request from which a workbench is created."""
        return Runtime(
            self.testbed,
            self.runs,
            self.device,
            self.precision,
            self.compiles,
            self.as_published,
            self.limit,
            self.workers,
        )


def check_macs(macs: float) -> None:
    """Raise UsageError unless `macs` is above 0 and at most 1. NaN is refused too."""
    if not 0 < macs <= 1:
        raise UsageError(f"--macs must be a share of the base U-Net's MACs, above 0 and at most 1; {macs:g} is not.")


def check_limit(limit: int) -> None:
    """Raise UsageError unless `limit` is at least 1."""
    if limit < 1:
        raise UsageError(f"--limit must be a number of prompts per group, at least 1; {limit} is not.")


class Outcome(NamedTuple):
    """The result of a run: its records, the paths of other results by name, and the requirements that were checked."""

    records: list[Record]
    paths: dict[str, Path]  # such as "images", "contact sheet", "records"
    requirements: Mapping[str, bool] = MappingProxyType({})  # whether `evaluate(require=...)` is met, by requirement


def parse_budget(text: str) -> BudgetFigure | None:
    """Parse a budget: `default` (None), FLOPs (`1e15`), iterations (`350it`), or time (`2h`, `30min`; in seconds).

    Raises:
        BudgetError: the text is none of these.
    """
    amount = text.strip().lower()
    if amount == "default":
        return None
    if match := re.fullmatch(r"(\d{1,18})\s*it", amount):
        if int(match[1]) > 0:
            return BudgetFigure("iterations", int(match[1]))
    elif (match := re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(h|min)", amount)) and 0 < float(match[1]) < math.inf:
        return BudgetFigure("seconds", float(match[1]) * (3600 if match[2] == "h" else 60))
    elif re.fullmatch(r"(\d+\.?\d*|\.\d+)(e\+?\d+)?", amount) and 1 <= float(amount) < math.inf:
        return BudgetFigure("flops", float(amount))
    raise BudgetError(
        f"--budget must be default, U-Net FLOPs such as 1e15, time such as 2h or 30min, or iterations such as 350it; "
        f"'{text}' is not."
    )


def parse_budgets(text: str) -> list[str]:
    """Split a list of budgets: `"20it,360it,60it"` -> `["360it", "60it", "20it"]`, the longest first.

    Raises:
        BudgetError: the budgets have different units.
    """
    budgets = list(dict.fromkeys(word.strip() for word in text.split(",")))
    if len(budgets) == 1:
        return budgets
    parsed = {word: parse_budget(word) for word in budgets}
    units = {budget.unit if budget else "default" for budget in parsed.values()}
    if len(units) > 1:
        raise BudgetError(f"--budget '{text}' mixes units: give all budgets in FLOPs, in time, or in iterations.")
    return sorted(budgets, key=lambda word: -(parsed[word] or BudgetFigure("flops", 0)).amount)


def parse_settings(pairs: list[str]) -> Settings:
    """Parse settings: `["upper_rate=1e-3", "solver=penalty"]` -> `{"upper_rate": 0.001, "solver": "penalty"}`.

    A value that is valid JSON (a number, true, null, a list) is parsed as JSON; any other value is a string.

    Raises:
        UsageError: a pair lacks its key, `=` or value, a key is given twice, or a number is not finite.
    """
    import json

    from benchmark.store import manifest

    settings: Settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"--set takes key=value, such as --set upper_rate=1e-3; '{pair}' is not.")
        if not value.strip():
            raise UsageError(f"--set {key} is empty: give it a value ({key}='\"\"' is an empty string).")
        if key in settings:
            raise UsageError(f"--set gives '{key}' twice.")
        try:
            settings[key] = json.loads(value)
        except ValueError:  # plain text, or a number with thousands of digits
            settings[key] = value
        try:
            manifest.canonical(settings[key])
        except ValueError as error:  # NaN and infinities, which cannot be part of a store key
            raise UsageError(f"--set {key} needs a finite number; '{value}' is not.") from error
    return settings
