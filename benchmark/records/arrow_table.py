"""Converts records to a `pyarrow.Table` for further analysis."""

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
    """Return a table with one row per record.

    The columns are the record's settings (`FACTS`), its targets, its total FLOPs and seconds, and for each score its
    value, `<name>_n` and the ends of its 95 % interval, `<name>_low` and `<name>_high`. Missing entries are null.

    If a record has the same score from several networks, the name of the network is part of the column's name, as in
    `fid[mini]`.
    """
    import pyarrow as pa

    scores = [_scores(record) for record in records]
    columns = {name: pa.array([record.model_dump()[name] for record in records]) for name in FACTS}
    columns["macs"] = pa.array([None if r.own_sampler else r.macs for r in records], pa.float64())
    targets = [list(map(str, record.concept["targets"])) for record in records]  # type: ignore[arg-type]
    columns["targets"] = pa.array(targets, pa.list_(pa.string()))
    totals = [Ledger.from_json(record.ledger).total() if record.ledger else None for record in records]
    columns["flops"] = pa.array([total and float(total.flops) for total in totals], pa.float64())
    columns["seconds"] = pa.array([total and total.wall_seconds for total in totals], pa.float64())
    for name in dict.fromkeys(name for row in scores for name in row):
        kind = pa.int64() if name.endswith("_n") else pa.float64()
        columns[name] = pa.array([row.get(name) for row in scores], kind)
    return pa.table(columns)


def _scores(record: Record) -> dict[str, float | int | None]:
    """Return the value, n and interval of each cell of a record, by column name."""
    short_names = [name.partition("[")[0] for name in record.cells]
    row: dict[str, float | int | None] = {}
    for (name, cell), short_name in zip(record.cells.items(), short_names, strict=True):
        key = name if short_names.count(short_name) > 1 else short_name
        low, high = cell.ci or (None, None)
        row |= {key: cell.value, f"{key}_n": cell.n, f"{key}_low": low, f"{key}_high": high}
    return row
