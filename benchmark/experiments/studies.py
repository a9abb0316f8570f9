"""`bench study`: many distillations whose results form one plot. This module does not import torch.

A study consists of a campaign (`campaign.py`) and a way to read its records, so it can be interrupted and resumed.
"Before distillation" means after one step at the first learning rate of the warm-up (2.5e-6), which changes no weight
by more than this rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmark.errors import DataError
from benchmark.records.record import Record
from benchmark.tables.select import targets_of
from benchmark.tables.table import Row
from benchmark.testbeds.resolve import default_targets

AFTER = (20, 60, 180, 360)
"""Iterations of distillation after which models are evaluated; mini's default budget is 353."""
SEARCHED = 814
"""Iterations that cost as much as `AFTER[-1]` iterations and APTP's default search, on mini at 55 % of MACs."""
MACS = (0.8, 0.55)
"""Shares of MACs that pruning keeps: the two budgets of the paper."""
KEPT = ("fid", "kid", "coco_clip", "kept_style", "content_kept")
"""Columns that measure the image quality of a pruned model."""
LOSSES = {
    "diffusion loss": {"feature": 0.0, "output": 0.0},
    "+ output distillation": {"feature": 0.0},
    "+ feature distillation": {"output": 0.0},
    "all (Eq. 8)": {},
}
"""Lines of the paper's Figure 4, and the weights of Eq. 8 that are 0 for each line."""


@dataclass(frozen=True)
class Study:
    """The runs of a study, and how their records are shown as lines and panels."""

    title: str
    runs: Callable[[str, str], list[str]]
    """Function of (prunings, seeds), both comma-separated strings, that returns the lines of the campaign."""
    line: Callable[[Record], str]
    """Function that returns the name of a record's line in the plot; empty if it has none."""
    panels: tuple[tuple[str, float], ...]
    """(column of `bench table --long`, share of MACs) of each panel."""
    prunings: tuple[str, ...]
    """Prunings that are compared by default."""
    after: tuple[int, ...] = AFTER
    """Iterations of distillation after which models are evaluated."""


def _loss_line(record: Record) -> str:
    return next((name for name, off in LOSSES.items() if record.variant == _variant(off)), "")


def _pruning_line(record: Record) -> str:
    return record.pruning if record.variant == "default" else ""


def _variant(settings: dict[str, float]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(settings.items())) or "default"


def _distillation_runs(
    pruning: str, macs: Iterable[float], after: Iterable[int], seeds: str, suite: str = "coco"
) -> str:
    """Return the campaign line of distillations for all combinations of the settings."""
    shares, points = ",".join(f"{share:g}" for share in macs), ",".join(f"{count}it" for count in after)
    options = f"--method distilled --suite {suite} --pruning {{{pruning}}} --macs {{{shares}}} --budget {points}"
    return f"{options} --seed {{{seeds}}}"


def _loss_runs(pruning: str, seeds: str) -> list[str]:
    line = _distillation_runs(pruning, MACS, AFTER, seeds)
    return [" ".join([line, *(f"--set {key}={value}" for key, value in off.items())]) for off in LOSSES.values()]


STUDIES = {
    "distillation": Study(
        "Figure 4: what distillation adds",
        _loss_runs,
        _loss_line,
        tuple(("fid", share) for share in MACS),
        ("magnitude",),
    ),
    "init": Study(
        "Figure 5: the base's weights and random weights in the same architecture",
        lambda prunings, seeds: [_distillation_runs(prunings, MACS[1:], AFTER, seeds)],
        _pruning_line,
        (("fid", MACS[1]),),
        ("magnitude", "scratch"),
    ),
    "pruning": Study(
        "What is pruned, before and after distillation",
        lambda prunings, seeds: [_distillation_runs(prunings, MACS[1:], (1, AFTER[-1]), seeds, "artists")],
        _pruning_line,
        tuple((key, MACS[1]) for key in KEPT),
        ("magnitude", "taylor", "aptp", "blocks", "random"),
        after=(1, AFTER[-1]),
    ),
    "search": Study(
        "APTP's expert, and a different pruning with additional distillation for the FLOPs of APTP's search",
        lambda prunings, seeds: [
            _distillation_runs(
                name, MACS[1:], AFTER[-1:] if name == "aptp" else (AFTER[-1], SEARCHED), seeds, "artists"
            )
            for name in prunings.split(",")
        ],
        _pruning_line,
        tuple((key, MACS[1]) for key in KEPT),
        ("aptp", "taylor"),
        after=(AFTER[-1], SEARCHED),
    ),
}


@dataclass(frozen=True)
class Point:
    """A model: its position in the plot, and its values by column."""

    line: str
    pruning: str
    macs: float
    iterations: int
    seed: int
    values: dict[str, float]


def plan(study: Study, seeds: int, prunings: Sequence[str] = ()) -> str:
    """Return the text of the study's campaign file."""
    lines = study.runs(",".join(prunings or study.prunings), ",".join(map(str, range(seeds))))
    return "\n".join([f"# {study.title}", *lines]) + "\n"


def points(study: Study, rows: Sequence[Row], seeds: int, prunings: Sequence[str] = ()) -> list[Point]:
    """Return the points of the study's runs; rows of other runs are ignored.

    If several prunings are compared and lines do not represent prunings, the name of the pruning becomes part of the
    line's name.

    Raises:
        DataError: none of the study's runs has a record.
    """
    shares = {macs for _, macs in study.panels}
    compared, default = prunings or study.prunings, frozenset(default_targets("mini"))
    newest = max((row.record.recipe for row in rows if row.record.method == "distilled"), default=0)
    points_by_place: dict[tuple[str, str, float, int, int], Point] = {}
    for row in rows:
        record, iterations = row.record, row.record.budget.get("iterations")
        line = study.line(record)
        default_distillation = (record.method, record.preset, record.data) == ("distilled", "default", "plain")
        # Plain captions have no targets.
        usual_targets = targets_of(record) in (default, frozenset()) or record.suite == "coco"
        as_run = (
            default_distillation and usual_targets and record.recipe == newest and "precision" not in record.sampler
        )
        if not (as_run and line and isinstance(iterations, int) and iterations in study.after and record.seed < seeds):
            continue
        if record.macs in shares and record.pruning in compared:
            if len(compared) > 1 and line != record.pruning:
                line = f"{record.pruning}: {line}"
            values = {key: cell.value for key, cell in row.cells.items() if cell.value is not None}
            key = (line, record.pruning, record.macs, iterations, record.seed)
            # A model can have several rows. Use the one with the most values.
            if key not in points_by_place or len(values) >= len(points_by_place[key].values):
                points_by_place[key] = Point(*key, values)
    if not points_by_place:
        raise DataError(
            "None of the study's runs has a record yet: leave out --only-figure and --format to execute the runs."
        )
    return sorted(points_by_place.values(), key=lambda point: (point.macs, point.line, point.iterations, point.seed))
