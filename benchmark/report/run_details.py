"""The sections of single runs: settings, scores, cost, losses and provenance of one model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.api.suite import DESTINATION
from benchmark.figures import losses
from benchmark.figures.axes import log_ticks
from benchmark.records.command import Command
from benchmark.records.record import BROUGHT, Record
from benchmark.report.contents import Contents, Run
from benchmark.report.row_text import flattened
from benchmark.tables.render import MARKS, MEANINGS

WIDTH, HEIGHT = 640, 200
"""Size of a plot of losses, in units of its SVG."""
LEFT, BOTTOM = 60, 24
"""Space for the axes of a plot of losses."""
LEDGER = (
    ("phase", "phase"), ("iterations", "iterations"), ("images", "images"), ("unet_forwards", "U-Net forward passes"),
    ("unet_backwards", "U-Net backward passes"), ("flops", "FLOPs"), ("wall_seconds", "seconds"),
    ("peak_memory_bytes", "peak memory, bytes"),
)  # fmt: skip
"""Entries of the ledger, with their headings."""


@dataclass(frozen=True)
class Curve:
    """A line of a plot of losses: its name, the points of its polyline, and its first and last value."""

    name: str
    points: str
    first: str
    last: str


@dataclass(frozen=True)
class LossPlot:
    """Losses of one training over its U-Net FLOPs. `ticks` are the heights and labels of a logarithmic scale."""

    curves: list[Curve]
    ticks: list[tuple[float, str]]
    flops: str


@dataclass(frozen=True)
class Score:
    """One value of a record, with the direction that is better: "higher", "lower" or empty."""

    suite: str
    name: str
    better: str
    value: str
    interval: str
    count: str
    unit: str
    network: str


@dataclass(frozen=True)
class Detail:
    """The section of one run."""

    id: str
    label: str
    suites: str
    targets: str
    pruning: str
    """How it, or for the base model its reference, was pruned; empty for the default pruning."""
    mark: str
    meaning: str
    commands: list[Command]
    settings: list[tuple[str, str]]
    scores: list[Score]
    ledger: list[list[str]]
    losses: LossPlot | None
    provenance: list[tuple[str, str]]


def run_details(contents: Contents) -> list[Detail]:
    """Return the sections of all runs, in the order of their records."""
    return [_detail(run) for run in contents.runs_by_key.values()]


def _detail(run: Run) -> Detail:
    first = run.records[0]
    targets = first.concept.get("targets")
    return Detail(
        run.id, run.label, ", ".join(record.suite for record in run.records),
        ", ".join(map(str, targets)) if isinstance(targets, list) else "", run.pruning,
        MARKS[run.source], MEANINGS[run.source],
        list(dict.fromkeys(run.commands.values())), _settings(first), [s for r in run.records for s in _scores(r)],
        [[_entry(row.get(key)) for key, _ in LEDGER] for row in first.ledger], _losses(first), _provenance(run.records),
    )  # fmt: skip


def _settings(record: Record) -> list[tuple[str, str]]:
    is_external = record.pruning == BROUGHT
    pruning = "external" if is_external else record.pruning
    training: dict[str, object] = {}
    if not is_external:
        training = {"training data": record.data, "budget": _budget(record), "training seed": record.seed}
    facts = {
        "method": record.method, "preset": record.preset, "settings beyond the preset": record.variant,
        "solver": record.solver, "pruning": f"{pruning}, {record.macs:g} of the base's MACs", **training,
        "version of the method": record.recipe, "sampler": _listed(record.sampler), "reference": record.reference,
        "store key of the model": record.model_key or record.model_id, "images": record.images,
    }  # fmt: skip
    shown = [(name, str(value)) for name, value in facts.items() if value not in (None, "", "default")]
    return [*shown, *_config(record)]


def _config(record: Record) -> list[tuple[str, str]]:
    """Return all settings of the training and of the run that the record states; none for an old record."""
    parts = {"training": record.config.get("model"), "run": record.config.get("run")}
    return [
        (f"{part}: {name}", value)
        for part, settings in parts.items()
        for name, value in (flattened(settings) if isinstance(settings, dict) else {}).items()
    ]


def _budget(record: Record) -> str:
    amounts = {key: value for key, value in record.budget.items() if key != "default" and value is not None}
    default = record.budget.get("default") is not False and amounts
    return _listed(amounts) + (" (the testbed's default)" if default else "")


def _listed(facts: object) -> str:
    items = facts.items() if isinstance(facts, dict) else ()
    return ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in items)


def _scores(record: Record) -> Iterable[Score]:
    """Return the values of a record, except for the many shares of styles, which the columns of tables sum up."""
    better = {True: "higher", False: "lower", None: ""}
    for name, cell in record.cells.items():
        if not name.startswith(DESTINATION):
            yield Score(
                record.suite, name, better[cell.higher_is_better], "–" if cell.value is None else f"{cell.value:.4g}",
                f"{cell.ci[0]:.4g}…{cell.ci[1]:.4g}" if cell.ci else "",
                str(cell.n) if cell.n == cell.of else f"{cell.n}/{cell.of}", cell.unit, cell.back_end,
            )  # fmt: skip


def _entry(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def _provenance(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return versions, commit, platform and time of each record; facts that all records share stand once."""
    facts: dict[str, list[str]] = {}
    for record in records:
        versions = record.made.get("versions")
        own = {key: record.made.get(key) for key in ("time", "commit", "python", "platform")}
        own["commit"] = f"{own['commit']}, with changes" if record.made.get("modified") else own["commit"]
        own["code"] = record.code
        plugins = [f"{entry.name} of {entry.file}, sha256 {entry.sha256[:16]}" for entry in record.plugins]
        own["plug-ins"] = "; ".join(plugins)
        own |= versions if isinstance(versions, dict) else {}
        for key, value in own.items():
            if value:
                facts.setdefault(key, []).append(str(value))
    return [(key, ", ".join(dict.fromkeys(values))) for key, values in facts.items()]


def _losses(record: Record) -> LossPlot | None:
    """Return the losses as polylines on a logarithmic scale; None if the record has no positive losses."""
    lines = {
        name: [(x, y) for x, y in zip(flops, losses.smooth(values), strict=True) if y > 0 and math.isfinite(y)]
        for name, (flops, values) in losses.lines(record).items()
    }
    points = [point for line in lines.values() for point in line]
    if not points:
        return None
    lowest, highest = (math.log10(pick(y for _, y in points)) for pick in (min, max))
    lowest, highest = lowest - 0.05, highest + 0.05
    most = max(x for x, _ in points) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(y) - lowest) / (highest - lowest)
        return LEFT + (WIDTH - LEFT - 8) * x / most, (HEIGHT - BOTTOM) * (1 - share)

    curves = [
        Curve(
            name, " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line)), f"{line[0][1]:.4g}",
            f"{line[-1][1]:.4g}",
        )
        for name, line in lines.items()
        if line
    ]  # fmt: skip
    ticks = [(round(place(0, value)[1], 1), f"{value:g}") for value in log_ticks(lowest, highest)]
    return LossPlot(curves, ticks, f"{most:.3g}")
