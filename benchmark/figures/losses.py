"""`bench figure losses`: plots the losses L_CU and L_ft of both levels over the U-Net FLOPs of the training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import DataError
from benchmark.figures.axes import count_flops, use_log_scale
from benchmark.figures.tradeoff import save
from benchmark.json_types import CurveRow
from benchmark.records.record import Record
from benchmark.tables.table import Row, Table
from methods.budget import Ledger

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Line = tuple[list[float], list[float]]


def lines(record: Record) -> dict[str, Line]:
    """Return the curves `L_ft` and `L_CU` of a training, as lists of FLOPs (including earlier stages) and losses.

    A loss that the record does not contain is left out. L_ft is the loss of the lower level (Eq. 8 of the paper), or
    the retention loss of upper steps that compute both losses.
    """
    if not record.curve:
        return {}
    rows: list[CurveRow] = [dict(row) for row in record.curve]
    before = Ledger.from_json(record.ledger).total().flops - rows[-1]["flops"]
    curves: dict[str, Line] = {}
    for name, read in (("L_ft", _retention), ("L_CU", _unlearning)):
        points = [(before + row["flops"], value) for row in rows if (value := read(row)) is not None]
        if points:
            curves[name] = ([flops for flops, _ in points], [value for _, value in points])
    return curves


def write(table: Table, out: Path) -> list[Path]:
    """Write the plot `out` with one line per row of the table, and return its path.

    Raises:
        DataError: no record contains losses.
    """
    return [save(draw(table), out)]


def draw(table: Table) -> Figure:
    """Draw one line per row of the table. All seeds of a method have the same colour.

    Raises:
        DataError: no record contains losses.
    """
    from matplotlib.figure import Figure

    labelled = [(_label_without_seed(row), curves) for row in table.rows if (curves := lines(row.record))]
    if not labelled:
        raise DataError("None of these records contains the losses of its training: run the methods again.")
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    both = dict(zip(("L_ft", "L_CU"), figure.subplots(1, 2), strict=True))
    colours: dict[str, str] = {}
    for label, curves in labelled:
        colour = colours.setdefault(label, f"C{len(colours) % 10}")
        for name, (flops, values) in curves.items():
            both[name].plot(flops, smooth(values), color=colour, label=label, linewidth=1.3)
    both["L_ft"].set_title("L_ft: what restores the model (Eq. 8) ↓")
    both["L_CU"].set_title("L_CU: what makes it forget ↓")
    for axis in both.values():
        axis.set_xlabel("U-Net compute of all training passes")
        count_flops(axis)
        if axis.lines:
            use_log_scale(axis)
        axis.grid(alpha=0.25, which="both")
    handles = {text: line for axis in both.values() for line, text in zip(*axis.get_legend_handles_labels())}  # noqa: B905
    columns = min(4, len(handles))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _label_without_seed(row: Row) -> str:
    return row.label.replace(f" (seed {row.record.seed})", "")


def smooth(values: Sequence[float], width: int = 5) -> list[float]:
    """Return the moving average of each value and up to `width - 1` previous ones, because single batches are noisy."""
    return [sum(part) / len(part) for k in range(len(values)) if (part := values[max(0, k + 1 - width) : k + 1])]


def _retention(row: CurveRow) -> float | None:
    return row["loss"] if row["phase"] == "lower" else row.get("retention")


def _unlearning(row: CurveRow) -> float | None:
    return row.get("unlearning")
