"""The request of a `bench run`, and its outcome. Torch-free: wrong figures are refused at once."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from benchmark.errors import BudgetError, UsageError
from benchmark.json_types import Settings
from methods.base import Precision
from methods.kept_names import KEPT_NAMES

if TYPE_CHECKING:
    from benchmark.records.record import Record


REFERENCES = ("distilled", "base")
"""What CP and CSD may compare with."""
DATA = ("plain", "all-but-targets")
"""The choices of fine-tuning data D_f: plain captions only (as COCO holds no target), or all but the targets."""


class BudgetFigure(NamedTuple):
    """A requested budget: U-Net FLOPs of training, iterations, or seconds on this machine."""

    unit: Literal["flops", "iterations", "seconds"]
    amount: float


@dataclass(frozen=True)
class Runtime:
    """Where a run works, what it computes with and which prompts it asks: all that a workbench needs."""

    testbed: str = "mini"
    runs: Path = Path("runs")
    device: str = "auto"
    precision: str = ""  # of training and sampling; empty: the testbed's own
    compiles: bool = False  # models that sample are compiled
    as_published: bool = False  # public lists with every row, and each row's own guidance and size
    limit: int | None = None  # score the first prompts of each group alone, to screen settings


@dataclass(frozen=True)
class RunRequest:
    """One `bench run`. Raises UsageError or BudgetError for a figure that makes no sense.

    Names (method, suite, testbed, pruning) are checked against what is installed by the command line.
    """

    method: str
    suite: str
    testbed: str = "mini"
    pruning: str = "magnitude"
    macs: float = 0.8  # share of the base U-Net's MACs that the pruned one may use, in (0, 1]
    preset: str = ""  # empty: the testbed's own, where the method has it
    overrides: Settings = field(default_factory=dict)  # fields of the method's config, set by hand
    targets: tuple[str, ...] = ()  # empty: the testbed's own
    seed: int = 0  # of the training run; images have their prompts' seeds
    budget: str = "default"  # or U-Net FLOPs ("1e15"), time on this machine ("2h"), or iterations ("350it")
    along: tuple[str, ...] = ()  # shorter budgets asked for beside it: kept where one training passes them
    data: str = "plain"
    runs: Path = Path("runs")
    device: str = "auto"
    alone: bool = False  # score the suite without those it brings along
    reveal: bool = False  # show explicit pictures as they are on the contact sheet
    as_published: bool = False  # public lists with every row, and each row's own guidance and size
    precision: str = ""  # of training and sampling; empty: the testbed's own
    compiles: bool = False  # models that sample are compiled
    kept_names: str = "all"  # which names of concepts that stay a method may read
    limit: int | None = None  # score the first prompts of each group alone, to screen settings
    reference: str = "distilled"  # what CP and CSD compare with; "base" trains nothing but the method itself
    metrics: tuple[str, ...] = ()  # that score the suite beside its own: names, or path/to/file.py:Class

    def __post_init__(self) -> None:
        check_macs(self.macs)
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed must be between 0 and 2^63 - 1; {self.seed} is not.")
        if self.precision and self.precision not in get_args(Precision):
            precisions = " or ".join(get_args(Precision))
            raise UsageError(f"--precision is {precisions}; '{self.precision}' is neither.")
        if self.data not in DATA:
            raise UsageError(f"--data must be {' or '.join(DATA)}; '{self.data}' is not.")
        if self.reference not in REFERENCES:
            raise UsageError(f"--reference must be {' or '.join(REFERENCES)}; '{self.reference}' is not.")
        if self.kept_names not in KEPT_NAMES:
            raise UsageError(f"--kept-names must be {', '.join(KEPT_NAMES)}; '{self.kept_names}' is not.")
        if self.kept_names != "all" and self.data != "plain":
            raise UsageError(
                f"--kept-names {self.kept_names} needs --data plain: the captions of {self.data} hold all names."
            )
        if self.limit is not None:
            check_limit(self.limit)
        parse_budget(self.budget)

    @property
    def runtime(self) -> Runtime:
        """The part of the request that a workbench is made from."""
        return Runtime(
            self.testbed, self.runs, self.device, self.precision, self.compiles, self.as_published, self.limit
        )


def check_macs(macs: float) -> None:
    """UsageError unless `macs` is a share, above 0 and at most 1; NaN is none."""
    if not 0 < macs <= 1:
        raise UsageError(f"--macs is a share of the base U-Net's MACs, above 0 and at most 1; {macs:g} is not.")


def check_limit(limit: int) -> None:
    """UsageError unless `limit` is a number of prompts."""
    if limit < 1:
        raise UsageError(f"--limit is a number of prompts a group, at least 1; {limit} is not.")


class Outcome(NamedTuple):
    """What a run returns: its records, and the paths of other results by name."""

    records: list[Record]
    paths: dict[str, Path]  # such as "images", "contact sheet", "records"


def parse_budget(text: str) -> BudgetFigure | None:
    """`default` -> None; `1e15` -> FLOPs; `350it` -> iterations; `2h`, `30min` -> seconds. BudgetError otherwise."""
    figure = text.strip().lower()
    if figure == "default":
        return None
    if match := re.fullmatch(r"(\d{1,18})\s*it", figure):
        if int(match[1]) > 0:
            return BudgetFigure("iterations", int(match[1]))
    elif (match := re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(h|min)", figure)) and 0 < float(match[1]) < math.inf:
        return BudgetFigure("seconds", float(match[1]) * (3600 if match[2] == "h" else 60))
    elif re.fullmatch(r"(\d+\.?\d*|\.\d+)(e\+?\d+)?", figure) and 1 <= float(figure) < math.inf:
        return BudgetFigure("flops", float(figure))
    raise BudgetError(
        f"--budget '{text}' is none of: default, U-Net FLOPs such as 1e15, hours such as 2h (or 30min), iterations "
        "such as 350it."
    )


def parse_budgets(text: str) -> list[str]:
    """`"20it,360it,60it"` -> `["360it", "60it", "20it"]`, the longest first. BudgetError for mixed units."""
    budgets = list(dict.fromkeys(word.strip() for word in text.split(",")))
    if len(budgets) == 1:
        return budgets
    figures = {word: parse_budget(word) for word in budgets}
    units = {figure.unit if figure else "default" for figure in figures.values()}
    if len(units) > 1:
        raise BudgetError(f"--budget '{text}': several budgets are all told in FLOPs, in time, or in iterations.")
    return sorted(budgets, key=lambda word: -(figures[word] or BudgetFigure("flops", 0)).amount)


def parse_settings(pairs: list[str]) -> Settings:
    """`["upper_rate=1e-3", "solver=penalty"]` -> `{"upper_rate": 0.001, "solver": "penalty"}`.

    A value is read as JSON if it is JSON (numbers, true, null, lists), else as text. UsageError without a key, `=` or
    value, or for a key given twice or a number that is not finite.
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
            raise UsageError(f"--set {key} is empty: give it a value ({key}='\"\"' is an empty text).")
        if key in settings:
            raise UsageError(f"--set gives '{key}' twice.")
        try:
            settings[key] = json.loads(value)
        except ValueError:  # also a number of thousands of digits
            settings[key] = value
        try:
            manifest.canonical(settings[key])
        except ValueError as error:  # NaN and infinities, which no key can hold
            raise UsageError(f"--set {key} needs a finite number; '{value}' is not.") from error
    return settings
