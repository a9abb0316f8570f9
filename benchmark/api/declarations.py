"""What suites and metrics declare: their columns, and the metrics that a suite uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        key: its name in JSON and for `--columns`.
        header: its heading.
        higher_is_better: direction of a metric's figure; None where neither is better. A suite's cells have directions
            of their own, from `Scores.put` or from their metrics.
        format: how its figure is printed, in Python's format language: ".2f", ".0f", ".3g".
        cell: the cell of the record that it shows; `key` if empty.
        section: heading of the part of `bench table --long` that it stands in; empty for the default view.
        unit: unit of a metric's values, such as "%" or "100 cos"; empty for a plain number. A suite's cells have
            units of their own.
        relative: whether the figure compares with the reference model, so that rows with different references do not
            compare.
    """

    key: str
    header: str
    higher_is_better: bool | None = None
    format: str = ".2f"
    cell: str = ""
    section: str = ""
    unit: str = ""
    relative: bool = False

    @property
    def cell_name(self) -> str:
        """The cell that the column shows."""
        return self.cell or self.key


@dataclass(frozen=True)
class Use:
    """A metric as a suite lists it.

    Args:
        metric: its name, or path/to/file.py:Class.
        parts: parts of the prompts whose pictures it sees; empty for all.
        cell: name of its cell, and key of its column, for a suite that lists a metric several times; the metric's own
            if empty. Only for metrics with one column.
        header: heading of its column; the metric's own if empty.
    """

    metric: str
    parts: tuple[str, ...] = ()
    cell: str = ""
    header: str = ""
