"""The sentence at the end of `bench run` and `bench eval`: where results are, and which command shows them again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.records.record import Record


def end_of_run(records: Sequence[Record], paths: Mapping[str, Path], runs: Path | None) -> str:
    """Return the sentence on the model of a request, on one line.

    Args:
        records: the records of the run, those of its first suite first.
        paths: the paths of its outcome: "images" and "records", and usually "contact sheet".
        runs: the folder that `--runs` named; None if the option was left out.
    """
    from benchmark.records.record import SUFFIX

    folder = f"images/{paths['images'].name}/"
    record = next((r for r in records if (r.images or "").startswith(folder)), records[-1])
    sheet = f", contact sheet {paths['contact sheet']}" if "contact sheet" in paths else ""
    words = ["bench", "show", record.stem.rpartition("-")[2]]
    words += ["--runs", str(runs)] if runs is not None else []
    return (
        f"Row {record.label}: record {paths['records'] / (record.stem + SUFFIX)}, scores beside it "
        f"(.scores.parquet), pictures {paths['images']}{sheet}. `{shlex.join(words)}` shows this row again, with its "
        "command and settings."
    )
