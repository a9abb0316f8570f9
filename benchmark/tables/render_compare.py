"""How a comparison looks: on a terminal, as JSON, as Markdown."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable

from benchmark.tables.columns import Column
from benchmark.tables.compare import Comparison, Contrast

SIGNIFICANT = 0.05
_SIDE = 20  # columns of a terminal that the label of a side may take before it is wrapped
_DIRECTION = {True: " ↑", False: " ↓", None: ""}


def print_rich(comparison: Comparison) -> None:
    """For people: a line a figure; green or red where p is below 0.05 and the interval leaves out 0."""
    from rich import box
    from rich.table import Table

    from benchmark.console import console_on
    from benchmark.tables.render import fits

    console = console_on()
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for header in _headers(comparison):
        table.add_column("\n".join(textwrap.wrap(header, _SIDE)), justify="left" if not header else "right")
    styles = {True: "green", False: "red", None: ""}
    for contrast in comparison.contrasts:
        table.add_row(*_figures(contrast), style=styles[_wins(contrast)])
    narrow = not fits(console, table, wraps=True)
    console.print(_title(comparison), style="bold", markup=False, soft_wrap=narrow)
    if not narrow:
        console.print(table)
    for contrast in comparison.contrasts if narrow else ():
        name, *figures = _figures(contrast)
        labelled_figures = [
            f"{header} {figure}" for header, figure in zip(_headers(comparison)[1:], figures, strict=True) if figure
        ]
        lines = "\n  ".join([name, *labelled_figures])
        console.print(lines, style=styles[_wins(contrast)], markup=False, soft_wrap=True)
    for note in _notes(comparison):
        console.print(note, style="dim", markup=False, soft_wrap=narrow)


def print_json(comparison: Comparison) -> None:
    """For programs."""
    document = {
        "left": comparison.left,
        "right": comparison.right,
        "testbed": comparison.testbed,
        "suite": comparison.suite,
        "units": comparison.units,
        "figures": {
            c.column.key: {
                "left": c.left,
                "right": c.right,
                "difference": c.difference,
                "ci": c.ci,
                "p": c.p,
                "n": c.n,
                "over": c.over,
                "test": c.test,
                "higher_is_better": c.column.better,
            }
            for c in comparison.contrasts
        },
        "notes": comparison.notes,
    }
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def print_markdown(comparison: Comparison) -> None:
    """For a README."""
    lines = [_title(comparison), "", "| " + " | ".join(_headers(comparison)) + " |", "|---" + "|---:" * 6 + "|"]
    lines += ["| " + " | ".join(_figures(contrast)) + " |" for contrast in comparison.contrasts]
    print("\n".join([*lines, "", *(f"{note}  " for note in _notes(comparison))]))


FORMATS: dict[str, Callable[[Comparison], None]] = {
    "rich": print_rich,
    "json": print_json,
    "markdown": print_markdown,
}


def _title(comparison: Comparison) -> str:
    return f"{comparison.left} against {comparison.right}, suite {comparison.suite}, testbed {comparison.testbed}"


def _headers(comparison: Comparison) -> list[str]:
    return ["", comparison.left, comparison.right, "difference", "95 %", "p", "n"]


def _figures(contrast: Contrast) -> list[str]:
    form, column = contrast.column.form, contrast.column
    signed = f"+{form}"
    interval = f"{contrast.ci[0]:{signed}} to {contrast.ci[1]:{signed}}" if contrast.ci else ""
    p = "" if contrast.p is None else f"{contrast.p:.2g}"
    return [
        _name(column),
        f"{contrast.left:{form}}",
        f"{contrast.right:{form}}",
        f"{contrast.difference:{signed}}",
        interval,
        p,
        f"{contrast.n} {contrast.over if contrast.n > 1 else contrast.over[:-1]}",
    ]


def _name(column: Column) -> str:
    suite = f" ({column.suite})" if column.key.startswith("coco_") else ""
    return column.header + suite + _DIRECTION[column.better]


def _wins(contrast: Contrast) -> bool | None:
    """Whether the left side is surely better; None where that is open, or neither direction is better."""
    if contrast.ci is None or contrast.column.better is None or contrast.ci[0] <= 0 <= contrast.ci[1]:
        return None
    if contrast.p is None or contrast.p >= SIGNIFICANT:
        return None
    return (contrast.difference > 0) == contrast.column.better


def _notes(comparison: Comparison) -> list[str]:
    seeds_by_targets: dict[str, list[str]] = {}
    for unit in comparison.units:
        targets, _, seed = unit.removesuffix(")").rpartition("seed ")
        seeds_by_targets.setdefault(targets.rstrip(" ("), []).append(seed)
    units = [
        f"{targets} (seed {', '.join(target_seeds)})" if targets else f"seed {', '.join(target_seeds)}"
        for targets, target_seeds in seeds_by_targets.items()
    ]
    return [f"Units: {'; '.join(units)}.", *comparison.notes]
