"""`bench compare` takes the labels that tables print, leaves out the reference, and takes external checkpoints."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from record_examples import record, write
from typer.testing import CliRunner

from benchmark.cli.app import app
from benchmark.errors import DataError
from benchmark.records.record import BROUGHT, Record, read_records, scores_table, write_record
from benchmark.tables.columns import Column
from benchmark.tables.compare import Comparison, Contrast, compare
from benchmark.tables.compare_units import side_of
from benchmark.tables.over_seeds import over_seeds
from benchmark.tables.render_compare import _left_is_better
from benchmark.tables.select import Found
from benchmark.tables.table1_styles import table

REFERENCE, OTHER = "d" * 20, "e" * 20
COMMITTED: list[Found] = [
    (item, "reference") for item in read_records([Path(__file__).parents[1] / "results/mini/records"])
]


def compared(entries: list[Found], left: str, right: str, **more: Any) -> Comparison:
    """The comparison of records that were written, with scores of no images, where they are not committed ones."""
    with TemporaryDirectory() as folder:
        empty = scores_table([], [], [], [], {})
        kept = [(item if item.folder else write_record(Path(folder), item, empty), source) for item, source in entries]
        return compare(kept, "mini", "artists", left, right, **more)


def figures(result: Comparison) -> dict[str, Contrast]:
    return {item.column.key: item for item in result.contrasts}


def model(method: str, seed: int = 0, clip: float = 20.0, cp: float = 50.0, **more: Any) -> Found:
    key = more.pop("model_key", f"{method}{seed}".encode().hex().ljust(20, "0")[:20])
    fields = {"reference_key": REFERENCE, "model_key": key, "values": {"clip": clip, "cp": cp, "csd": cp}}
    return record(method, seed=seed, **(fields | more)), "local"


def brought(name: str, key: str = OTHER, **more: Any) -> Found:
    return model(name, model_key=key, pruning=BROUGHT, macs=1.0, data=BROUGHT, budget={}, **more)


def test_comparison_knows_the_labels_of_every_view() -> None:
    methods = ("base", "distilled", "uce")
    few = [(record, source) for record, source in COMMITTED if record.method in methods and record.suite == "artists"]
    views: list[dict[str, Any]] = [{}, {"pruning": "all"}, {"everything": True}]
    tables = [table(few, "mini", "artists", **view) for view in views]
    labels = {row.label for made in tables for row in (*made.rows, *over_seeds(made).rows)}
    assert len(labels) == 30
    for label in sorted(labels):
        assert side_of(few, "mini", "artists", label).models, label


def test_label_with_a_seed_selects_that_seed_alone() -> None:
    result = compared(COMMITTED, "distilled", "distilled (seed 1)")
    rows = {row.label: row for row in table(COMMITTED, "mini", "artists").rows}
    clip = figures(result)["clip"]
    assert clip.left == rows["distilled"].cells["clip"].value
    assert clip.right == rows["distilled (seed 1)"].cells["clip"].value
    assert result.units == ["Claude Monet, Pablo Picasso, Vincent van Gogh (seed 0 / 1)"]


def test_a_row_over_seeds_is_compared_over_these_seeds() -> None:
    folded = over_seeds(table(COMMITTED, "mini", "artists"))
    (row,) = [item for item in folded.rows if item.label == "esd (4 seeds)"]
    result = compared(COMMITTED, "esd (4 seeds)", "bilevel")
    assert figures(result)["clip"].left == pytest.approx(row.cells["clip"].value)
    assert len(result.units) == 4


def test_units_of_the_reference_with_itself_are_left_out_and_counted() -> None:
    result = compared(COMMITTED, "bilevel", "distilled")
    fields = figures(result)
    assert (fields["clip"].n, fields["cp"].n, fields["csd"].n) == (7, 3, 3)
    seeds = [r for r, _ in COMMITTED if (r.method, r.suite) == ("distilled", "artists") and r.seed and r.macs == 0.8]
    plain = {r.seed: r.cells["cp"].value for r in seeds if r.budget["default"]}
    assert fields["cp"].right == pytest.approx(sum(v for v in plain.values() if v is not None) / 3)
    assert "CP leaves out 4 pairs of 7, in which one side is the reference itself." in result.notes
    alone = compared([model("bilevel"), model("distilled", model_key=REFERENCE)], "bilevel", "distilled")
    assert list(figures(alone)) == ["clip"]
    assert "CP is left out: one side is the reference itself." in alone.notes


def test_base_is_compared_with_every_seed_by_the_record_of_its_reference() -> None:
    entries = [model("bilevel", seed, clip=10.0 + seed) for seed in range(3)]
    entries += [model("base", cp=33.0), model("base", cp=99.0, reference_key=OTHER)]
    fields = figures(compared(entries, "base", "bilevel"))
    assert (fields["clip"].n, fields["clip"].right) == (3, 11.0)
    assert (fields["cp"].n, fields["cp"].left) == (3, 33.0)


def test_external_checkpoint_is_compared_with_base_and_trained_models() -> None:
    entries = [brought("theirs", cp=80.0), model("base", cp=30.0), *(model("esd", seed) for seed in (0, 1))]
    for left, right in (("theirs", "base"), ("base", "theirs"), ("theirs", "esd"), ("esd", "theirs")):
        result = compared(entries, left, right)
        assert figures(result)["cp"].n == (2 if "esd" in (left, right) else 1)
    another = {"kind": "style", "targets": ["Edvard Munch"], "anchor": "art", "neighbours": []}
    with pytest.raises(DataError, match="score both with the same --testbed and --targets"):
        compared([*entries, brought("mine", concept=another)], "mine", "esd")


def test_external_checkpoint_leaves_out_scores_against_another_reference() -> None:
    entries = [brought("theirs", reference_key="f" * 20, reference="base"), model("esd")]
    result = compared(entries, "theirs", "esd")
    assert list(figures(result)) == ["clip"]
    assert any("different references" in note for note in result.notes)


def test_shared_name_of_two_checkpoints_needs_the_full_label() -> None:
    entries = [brought("theirs", "a" * 20, clip=1.0), brought("theirs", "b" * 20, clip=2.0), model("base")]
    with pytest.raises(DataError, match=r"'theirs' is the name of 2 checkpoints: .*'theirs · model aaaaaaaa'"):
        compared(entries, "theirs", "base")
    assert figures(compared(entries, "theirs · model aaaaaaaa", "base"))["clip"].left == 1.0
    assert figures(compared(entries, "theirs · model bbbbbbbb", "base"))["clip"].left == 2.0


@pytest.mark.parametrize(("p", "shown"), [(0.12, None), (0.04, True), (None, None)])
def test_winner_is_coloured_only_when_significant(p: float | None, shown: bool | None) -> None:
    fid = Column("fid", "FID", "coco", "fid", better=False)
    assert _left_is_better(Contrast(fid, 4.0, 5.0, -1.0, (-1.5, -0.5), p, 4, "units", "sign flip")) is shown
    assert _left_is_better(Contrast(fid, 4.0, 5.0, -1.0, (-1.5, 0.5), 0.01, 4, "units", "sign flip")) is None


def test_command_takes_a_label_with_a_seed_and_refuses_an_unknown_one(tmp_path: Path) -> None:
    records: list[Record] = [entries[0] for entries in (model("esd"), model("esd", 1), model("uce"))]
    write(tmp_path, *records)
    outcome = CliRunner().invoke(
        app, ["compare", "esd (seed 1)", "uce", "--format", "markdown", "--records", str(tmp_path)]
    )
    assert outcome.exit_code == 0, outcome.output
    assert "(seed 1 / 0)" in outcome.output
    outcome = CliRunner().invoke(app, ["compare", "esd (seed 2)", "uce", "--records", str(tmp_path)])
    assert outcome.exit_code == 2
