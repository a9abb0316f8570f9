"""Committed results share one budget, count every picture, and give an interval to each figure."""

from pathlib import Path

import pytest

from benchmark.records.record import read_records, read_scores
from benchmark.tables.columns import PAPER_COLUMNS
from methods.budget import Ledger

MINI = Path(__file__).parents[1] / "results" / "mini"
RECORDS = read_records([MINI / "records"])
TRAINED = [record for record in RECORDS if record.method != "base"]


def test_every_committed_record_is_read() -> None:
    assert len(RECORDS) == len(list((MINI / "records").glob("*.json"))) > 100
    assert {record.method for record in RECORDS} >= {"base", "distilled", "bilevel", "esd", "uce", "conceptprune"}


@pytest.mark.parametrize("record", TRAINED, ids=lambda record: record.stem)
def test_method_spends_the_default_budget_and_never_exceeds_it(record) -> None:
    """The budget is never exceeded, and what is left of it is less than the dearest step."""
    assert record.budget["default"] is True
    spent, steps = Ledger.from_json(record.ledger).total().flops, []
    for entry in Ledger.from_json(record.ledger):
        steps.append(entry.flops / max(1, entry.iterations))
    flops = float(record.budget["flops"])
    assert spent <= flops
    if record.method != "conceptprune":  # what is not looked at is not spent
        assert flops - spent < 2 * max(steps)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_every_figure_has_its_count_and_interval_and_every_record_its_scores(record) -> None:
    assert record.cells
    for name, cell in record.cells.items():
        assert cell.n == cell.of or name == "probe_style"
        assert cell.unit
        if name in {column.cell for column in PAPER_COLUMNS}:
            assert cell.ci is not None
            assert cell.ci[0] <= cell.value <= cell.ci[1]
    assert read_scores(record).num_rows == record.scores.rows > 0


def test_committed_records_share_weights_and_one_reference_per_pruning() -> None:
    assert len({str(record.world) for record in RECORDS}) == 1
    references: dict[tuple[str, float], set[str]] = {}
    for record in RECORDS:
        if record.method != "base":  # which is compared with each of them
            references.setdefault((record.pruning, record.macs), set()).add(record.reference_key)
    assert all(len(keys) == 1 for keys in references.values())
    found = [key for keys in references.values() for key in keys]
    assert len(set(found)) == len(found)
    assert {record.reference_key for record in RECORDS} == set(found)
