"""Parquet read in the thread that asks for it, for records and prompt lists alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow


def read_parquet(data: bytes) -> pyarrow.Table:
    """The table in the bytes of a Parquet file. Raises pyarrow.ArrowException and OSError for what is none.

    `pyarrow.parquet.read_table` starts threads even with `use_threads=False`, for it reads through a dataset. A command
    that ends soon afterwards can then be aborted (exit code 134), because a thread that has just been started is torn
    down with the interpreter.
    """
    import pyarrow  # heavy
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data)).read(use_threads=False)
