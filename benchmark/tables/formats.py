"""The output formats of `bench table` and `bench compare`."""

from __future__ import annotations

from collections.abc import Callable

from benchmark.tables.compare import Comparison
from benchmark.tables.render import print_json, print_markdown, print_rich
from benchmark.tables.render_compare import print_json as print_comparison_json
from benchmark.tables.render_compare import print_markdown as print_comparison_markdown
from benchmark.tables.render_compare import print_rich as print_comparison_rich
from benchmark.tables.render_compare_latex import print_comparison_latex
from benchmark.tables.render_csv import print_comparison_csv, print_csv
from benchmark.tables.render_latex import print_latex

TABLES: dict[str, Callable[..., None]] = {
    "rich": print_rich,
    "json": print_json,
    "markdown": print_markdown,
    "latex": print_latex,
    "csv": print_csv,
}
"""Functions that print a table. Each takes the table, and optionally the file to write to."""
COMPARISONS: dict[str, Callable[[Comparison, bool], None]] = {
    "rich": print_comparison_rich,
    "json": print_comparison_json,
    "markdown": print_comparison_markdown,
    "latex": print_comparison_latex,
    "csv": print_comparison_csv,
}
"""Functions that print a comparison. Each takes the comparison, and whether to add bounds of non-inferiority."""
