"""Reads Parquet files in the calling thread, for records and prompt lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

MOST_ROWS, MOST_BYTES = 10_000_000, 1 << 30
"""Largest number of rows, and of bytes in memory, of a table. A file of a few kilobytes can claim any number of rows,
and a single long text can be repeated in all of them."""


class TooLarge(ValueError):
    """A table would fill the memory."""


def read_parquet(data: bytes) -> pyarrow.Table:
    """Return the table in the bytes of a Parquet file. Columns of lists and structs are returned without their values.

    This function does not use `pyarrow.parquet.read_table`, which starts threads even with `use_threads=False`, because
    it reads through a dataset. A command that ends soon afterwards can then abort with exit code 134, because the
    interpreter exits while a thread starts.

    Raises:
        TooLarge: the table has more than `MOST_ROWS` rows or `MOST_BYTES` bytes. The sizes are checked before the
            values are unpacked.
        pyarrow.ArrowException or OSError: `data` is not a Parquet file.
    """
    import pyarrow as pa  # slow to import
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(data))
    groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
    rows = file.metadata.num_rows
    if rows > MOST_ROWS or sum(group.total_byte_size for group in groups) > MOST_BYTES:
        raise TooLarge(f"it has {rows:,} rows, or more than {MOST_BYTES >> 20:,} MiB of values")
    schema = file.schema_arrow
    flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
    texts = [field.name for field in schema if _is_text(field.type)]
    # Repeated texts stay one text each in a dictionary, until it is known how large the table is without it.
    packed = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts).read(columns=flat, use_threads=False)
    if sum(map(_unpacked_bytes, packed.columns)) > MOST_BYTES:
        raise TooLarge(f"it has more than {MOST_BYTES >> 20:,} MiB of values")
    columns = []
    for field in schema:
        if field.name not in flat:
            columns.append(pa.chunked_array([pa.nulls(rows, field.type)]))
            continue
        column = packed.column(field.name)
        columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.table(columns, schema=schema)


def _is_text(data_type: Any) -> bool:
    from pyarrow import types

    return types.is_string(data_type) or types.is_binary(data_type)


def _unpacked_bytes(column: Any) -> int:
    """Return the bytes that a column takes when each of its rows has its own value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = 0
    for chunk in column.chunks:
        if not pa.types.is_dictionary(chunk.type):
            total += chunk.nbytes
        elif len(chunk.dictionary):
            lengths = pc.binary_length(chunk.dictionary).cast(pa.int64())
            total += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    return total
