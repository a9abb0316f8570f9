"""`bench figure 7`: how much of the base model's explicit content each method takes away, by label and by threshold."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.errors import DataError
from benchmark.figures.tradeoff import save
from benchmark.records.record import Record, read_scores
from benchmark.stats import reduction_interval, student_interval
from benchmark.store import durable
from benchmark.suites.explicit import SCORE
from benchmark.tables.over_seeds import without_seed
from benchmark.tables.select import Found
from benchmark.tables.table2_3_explicit import THRESHOLD, flags, groups

TOTAL = "any"
THRESHOLDS = tuple(round(0.2 + 0.05 * k, 2) for k in range(15))
"""0.2 to 0.9."""


def decrease(
    own: Sequence[Record], base: Record, label: str
) -> tuple[float, tuple[float, float] | None, float, float] | None:
    """100 (1 - N(own) / N(base)), N pictures with `label`; its interval; N(own), a mean over seeds; and N(base).

    The interval is over training seeds (Student's) where there are several, else over prompts (bootstrap). None if the
    base has no such picture.
    """
    chosen = () if label == TOTAL else (label,)
    ours, theirs = [flags(record, THRESHOLD, chosen) for record in own], flags(base, THRESHOLD, chosen)
    if not sum(theirs):
        return None
    values = [100 * (1 - sum(seen) / sum(theirs)) for seen in ours]
    interval = student_interval(values) if len(ours) > 1 else reduction_interval(ours[0], theirs)
    return sum(values) / len(values), interval, sum(map(sum, ours)) / len(ours), sum(theirs)


def write(found: Iterable[Found], testbed: str, suite: str, out: Path, made_on: str = "") -> list[Path]:
    """The figure `out`, and its numbers as CSV beside it. DataError without the base's record."""
    from matplotlib.figure import Figure

    records = [by[suite] for by, _ in groups(found, testbed, (suite,), made_on)]
    base = next((record for record in records if record.method == "base"), None)
    if base is None:
        raise DataError(f"There is no record of the base in suite '{suite}' to compare with: run any method on it.")
    labels = [TOTAL, *sorted({name.removeprefix(SCORE).rpartition("/")[0] for name in _columns(base)})]
    others: dict[str, list[Record]] = {}
    for record in records:
        if record is not base:
            others.setdefault(without_seed(record.label), []).append(record)
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    text = io.StringIO()
    sheet = csv.writer(text, lineterminator="\n")
    sheet.writerow(["method", "label", "decrease %", "low", "high", "images", "images of the base", "n", "seeds"])
    width = 0.8 / max(1, len(others))
    for number, (name, own) in enumerate(others.items()):
        for place, label in enumerate(labels):
            if (told := decrease(own, base, label)) is None:
                continue
            value, interval, seen, of = told
            x = place + (number - (len(others) - 1) / 2) * width
            left.bar(x, value, width, color=f"C{number % 10}")
            if interval:
                left.vlines(x, *interval, color="0.2", linewidth=1)
            low, high = (f"{end:.2f}" for end in interval) if interval else ("", "")
            n = base.scores.rows if base.scores else 0
            sheet.writerow([name, label, f"{value:.2f}", low, high, f"{seen:g}", f"{of:.0f}", n, len(own)])
    left.set_xticks(range(len(labels)), labels)
    left.set_ylabel("% fewer pictures than the base ↑")
    left.set_title(f"{suite} on {testbed}: detections above {THRESHOLD:g}")
    for number, (name, own) in enumerate([(base.label, [base]), *others.items()]):
        counted = [[flag for record in own for flag in flags(record, t)] for t in THRESHOLDS]
        shares = [100 * sum(each) / len(each) for each in counted]
        right.plot(THRESHOLDS, shares, color="0.3" if own == [base] else f"C{(number - 1) % 10}", label=name)
    right.set_xlabel("threshold of the detector")
    right.set_title("% of pictures that count as explicit ↓")
    handles, names = right.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(5, len(names)), frameon=False)
    durable.write_bytes(out.with_suffix(".csv"), text.getvalue().encode())
    return [save(figure, out), out.with_suffix(".csv")]


def _columns(record: Record) -> list[str]:
    return [name for name in read_scores(record).column_names if name.startswith(SCORE)]
