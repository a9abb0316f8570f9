"""`bench figure 7`: the share of the base model's explicit images that each method removes, by label and threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import DataError
from benchmark.figures.tradeoff import limit_words, save
from benchmark.records.record import Record, read_scores
from benchmark.stats import reduction_interval, student_interval
from benchmark.store import durable
from benchmark.suites.explicit import SCORE
from benchmark.tables.labels import told_apart
from benchmark.tables.over_seeds import groups_of, without_seed
from benchmark.tables.select import Found
from benchmark.tables.table import Row
from benchmark.tables.table2_3_explicit import THRESHOLD, flags, groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure


TOTAL = "any"
COLUMNS = ("method", "label", "decrease %", "low", "high", "images", "images of the base", "n", "seeds")
"""Header of the CSV file that is written with the plot."""
THRESHOLDS = tuple(round(0.2 + 0.05 * k, 2) for k in range(15))
"""Detector thresholds of the right panel: 0.2 to 0.9, in steps of 0.05."""


def decrease(
    own: Sequence[Record], base: Record, label: str
) -> tuple[float, tuple[float, float] | None, float, float] | None:
    """Return by how many percent a method's number N of images with a detection of `label` is below the base's.

    Args:
        own: records of the method, one per training seed.
        base: record of the base model.
        label: a label of the detector, or `TOTAL` for any label.

    Returns:
        100 (1 - N(own) / N(base)); its 95 % interval; N(own), averaged over training seeds; and N(base). The interval
        is Student's over training seeds if there are several, or otherwise a bootstrap over prompts. None if N(base) is
        0.
    """
    chosen = () if label == TOTAL else (label,)
    own_flags, base_flags = [flags(record, THRESHOLD, chosen) for record in own], flags(base, THRESHOLD, chosen)
    if not sum(base_flags):
        return None
    values = [100 * (1 - sum(seed_flags) / sum(base_flags)) for seed_flags in own_flags]
    interval = student_interval(values) if len(own_flags) > 1 else reduction_interval(own_flags[0], base_flags)
    return sum(values) / len(values), interval, sum(map(sum, own_flags)) / len(own_flags), sum(base_flags)


def write(sources: Iterable[Found], testbed: str, suite: str, out: Path, made_on: str = "") -> list[Path]:
    """Write the plot `out` and a CSV file of its numbers with the same stem, and return both paths.

    The arguments and errors are those of `draw`; `out` is the path of the plot.
    """
    figure, rows = draw(sources, testbed, suite, made_on)
    return [save(figure, out), durable.write_csv(out.with_suffix(".csv"), COLUMNS, rows)]


def draw(sources: Iterable[Found], testbed: str, suite: str, made_on: str = "") -> tuple[Figure, list[list[object]]]:
    """Draw Figure 7, and return it with the rows of its numbers, whose header is `COLUMNS`.

    Args:
        sources: records, each with its source.
        testbed: name of the testbed.
        suite: name of the suite.
        made_on: the testbed as the user wrote it in the command, which can be a file.

    Raises:
        DataError: there is no record of the base model.
    """
    from matplotlib.figure import Figure

    rows = [Row(by[suite].label, source, by[suite], {}) for by, source in groups(sources, testbed, (suite,), made_on)]
    rows = told_apart(rows, [row.record for row in rows])
    records = [row.record for row in rows]
    base = next((record for record in records if record.method == "base"), None)
    if base is None:
        raise DataError(
            f"There is no record of the base model in suite '{suite}' to compare with: run any method on this suite."
        )
    labels = [TOTAL, *sorted({name.removeprefix(SCORE).rpartition("/")[0] for name in _columns(base)})]
    seeds, _ = groups_of([row for row in rows if row.record is not base])
    others: dict[str, list[Record]] = {}
    for group in seeds:  # all seeds of the distilled model form one bar, because nothing is relative to it here
        others.setdefault(without_seed(group[0].label), []).extend(row.record for row in group)
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    sheet: list[list[object]] = []
    width = 0.8 / max(1, len(others))
    for number, (name, method_records) in enumerate(others.items()):
        for position, label in enumerate(labels):
            if (numbers := decrease(method_records, base, label)) is None:
                continue
            value, interval, own_count, base_count = numbers
            x = position + (number - (len(others) - 1) / 2) * width
            left.bar(x, value, width, color=f"C{number % 10}")
            if interval:
                left.vlines(x, *interval, color="0.2", linewidth=1)
            low, high = (f"{end:.2f}" for end in interval) if interval else ("", "")
            n = base.scores.rows if base.scores else 0
            sheet.append(
                [name, label, f"{value:.2f}", low, high, f"{own_count:g}", f"{base_count:.0f}", n, len(method_records)]
            )
    left.set_xticks(range(len(labels)), labels)
    left.set_ylabel("% fewer pictures than the base ↑")
    left.set_title(f"{suite} on {testbed}{limit_words(base)}: detections above {THRESHOLD:g}")
    for number, (name, method_records) in enumerate([(base.label, [base]), *others.items()]):
        flags_by_threshold = [[flag for record in method_records for flag in flags(record, t)] for t in THRESHOLDS]
        shares = [100 * sum(column) / len(column) for column in flags_by_threshold]
        right.plot(THRESHOLDS, shares, color="0.3" if method_records == [base] else f"C{(number - 1) % 10}", label=name)
    right.set_xlabel("threshold of the detector")
    right.set_title("% of pictures that count as explicit ↓")
    handles, names = right.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(5, len(names)), frameon=False)
    return figure, sheet


def _columns(record: Record) -> list[str]:
    return [name for name in read_scores(record).column_names if name.startswith(SCORE)]
