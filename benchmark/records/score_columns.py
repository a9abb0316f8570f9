"""Checks the columns of a table of per-image scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow


NAMES = {b"holds": b"names"}
"""Metadata of a column of names in the parquet file. Other texts are refused, as they may be explicit prompts."""


def check_columns(scores: pyarrow.Table) -> None:
    """Raise ValueError unless a table has the columns of `records.record.scores_table`, and no other texts."""
    import pyarrow as pa

    fixed = {"id": pa.string(), "part": pa.string(), "target": pa.string(), "seed": pa.int64()}
    for name, kind in fixed.items():
        if name not in scores.column_names or scores.schema.field(name).type != kind:
            raise ValueError(f"the scores table has no {kind} column {name!r}")
    for field in scores.schema:
        is_name = pa.types.is_string(field.type) and (field.name == "text" or field.metadata == NAMES)
        if field.name not in fixed and not (pa.types.is_floating(field.type) or is_name):
            raise ValueError(
                f"the scores column {field.name!r} has type {field.type}: columns other than {', '.join(fixed)} "
                "must be floats"
            )
