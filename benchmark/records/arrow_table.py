"""Records as a `pyarrow.Table`, for analyses of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.records.record import Record
from methods.budget import Ledger

if TYPE_CHECKING:
    import pyarrow

FACTS = (
    "label", "testbed", "suite", "method", "preset", "variant", "pruning", "macs", "data", "seed", "reference",
    "model_key",
)  # fmt: skip


def as_table(records: Sequence[Record]) -> pyarrow.Table:
    """One row a record: facts, targets, costs, and value, n and interval of each figure; null where it has none.

    A figure is called by its bare name; where a record has it from several networks, by its name with the network's.
    """
    import pyarrow as pa

    figures = [_figures(record) for record in records]
    columns = {name: pa.array([record.model_dump()[name] for record in records]) for name in FACTS}
    targets = [list(map(str, record.concept["targets"])) for record in records]  # type: ignore[arg-type]
    columns["targets"] = pa.array(targets, pa.list_(pa.string()))
    totals = [Ledger.from_json(record.ledger).total() if record.ledger else None for record in records]
    columns["flops"] = pa.array([total and float(total.flops) for total in totals], pa.float64())
    columns["seconds"] = pa.array([total and total.wall_seconds for total in totals], pa.float64())
    for name in dict.fromkeys(name for row in figures for name in row):
        kind = pa.int64() if name.endswith("_n") else pa.float64()
        columns[name] = pa.array([row.get(name) for row in figures], kind)
    return pa.table(columns)


def _figures(record: Record) -> dict[str, float | int | None]:
    bare = [name.partition("[")[0] for name in record.cells]
    row: dict[str, float | int | None] = {}
    for (name, cell), short in zip(record.cells.items(), bare, strict=True):
        key = name if bare.count(short) > 1 else short
        low, high = cell.ci or (None, None)
        row |= {key: cell.value, f"{key}_n": cell.n, f"{key}_low": low, f"{key}_high": high}
    return row
