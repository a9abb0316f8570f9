"""Reads Parquet files in the calling thread, for records and prompt lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow


def read_parquet(data: bytes) -> pyarrow.Table:
    """Return the table in the bytes of a Parquet file.

    This function does not use `pyarrow.parquet.read_table`, which starts threads even with `use_threads=False`, because
    it reads through a dataset. A command that ends soon afterwards can then abort with exit code 134, because the
    interpreter exits while a thread starts.

    Raises pyarrow.ArrowException or OSError if `data` is not a Parquet file.
    """
    import pyarrow  # slow to import
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data)).read(use_threads=False)
