"""Declarations of suites and metrics: table columns, and the metrics that a suite uses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        key: its name in JSON and for `--columns`.
        header: its heading.
        higher_is_better: whether higher values of a metric are better; None if neither. Cells of a suite get their
            direction from `Scores.put` or from their metrics instead.
        format: format specification of its values: ".2f", ".0f", ".3g".
        cell: name of the record's cell that it shows; `key` if empty.
        section: heading of the section of `bench table --long` that shows it; empty for the default view.
        unit: unit of a metric's values, such as "%" or "100 cos"; empty for a plain number. Cells of a suite get their
            unit from `Scores.put` or from their metrics instead.
        relative: whether values are relative to the reference model. Rows with different references are then not
            comparable.
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
        """Name of the record's cell that the column shows."""
        return self.cell or self.key


@dataclass(frozen=True)
class Use:
    """A metric in a suite's list of metrics.

    Args:
        metric: name of the metric, or path/to/file.py:Class.
        parts: parts of the prompts whose pictures it scores; empty for all.
        cell: name of its cell and key of its column, for suites that list a metric several times; if empty, those of
            the metric. For a metric with several columns it is a prefix: cell "kept" and column "spread" give
            "kept_spread".
        header: heading of its column; if empty, that of the metric. For a metric with several columns it is a prefix
            too: "kept, spread".
    """

    metric: str
    parts: tuple[str, ...] = ()
    cell: str = ""
    header: str = ""
