"""Prints a comparison as LaTeX: a complete `table` environment in the style of booktabs."""

from __future__ import annotations

from benchmark.tables.best import SIGNIFICANT
from benchmark.tables.compare import Comparison, Contrast
from benchmark.tables.latex_text import escape, number
from benchmark.tables.render_compare import WORSE, name_of, notes_of, title
from benchmark.tables.render_latex import INTERVALS, MISSING, environment, preamble, spread


def print_comparison_latex(comparison: Comparison, margins: bool = False) -> None:
    """Print one line per compared column; `margins` adds the bounds for claims of non-inferiority."""
    notes = notes_of(comparison, margins)
    names = [escape(name_of(contrast.column)) for contrast in comparison.contrasts]
    rows = [[name, *_cells(contrast, margins)] for name, contrast in zip(names, comparison.contrasts, strict=True)]
    headers = ["", escape(comparison.left), escape(comparison.right), "difference", "$p$", "$n$"]
    headers += [WORSE] if margins else []
    caption = [escape(f"{title(comparison)}."), INTERVALS, _bold_rule(comparison)]
    caption += [escape(note) for note in notes if "--" not in note]
    printed = [title(comparison), *notes, *(name_of(contrast.column) for contrast in comparison.contrasts)]
    lines = preamble(notes, printed)
    name = f"compare-{comparison.left}-{comparison.right}-{comparison.suite}"
    print("\n".join([*lines, "", *environment(headers, [rows], " ".join(filter(None, caption)), name)]))


def _cells(contrast: Contrast, margins: bool) -> list[str]:
    """Return the cells of a line, without the name of the column."""
    form = contrast.column.form
    left_bold, right_bold = _bold(contrast)
    interval = spread(contrast.difference, contrast.ci, form)
    cells = [
        _value(contrast.left, form, left_bold),
        _value(contrast.right, form, right_bold),
        f"${number(f'{contrast.difference:+{form}}')}{interval}$",
        MISSING if contrast.p is None else f"${number(f'{contrast.p:.2g}')}$",
        f"{contrast.n} {'pairs' if contrast.over == 'units' else 'prompts'}",
    ]
    worse = MISSING if contrast.worse_by is None else f"${number(f'{contrast.worse_by:+{form}}')}$"
    return [*cells, worse] if margins else cells


def _value(value: float, form: str, is_bold: bool) -> str:
    text = number(f"{value:{form}}")
    return rf"$\mathbf{{{text}}}$" if is_bold else f"${text}$"


def _bold(contrast: Contrast) -> tuple[bool, bool]:
    """Return whether the left and the right value are bold: the better one, or both if the test finds no difference."""
    if contrast.column.better is None or contrast.p is None:
        return False, False
    if contrast.p >= SIGNIFICANT:
        return True, True
    left_is_better = (contrast.difference > 0) == contrast.column.better
    return left_is_better, not left_is_better


def _bold_rule(comparison: Comparison) -> str:
    if not any(any(_bold(contrast)) for contrast in comparison.contrasts):
        return ""
    return rf"Bold: the better value, or both if the test does not tell them apart ($p \geq {SIGNIFICANT}$)."
