"""Table 1: rows and columns come from records, settings are not mixed, and no record is lost."""

import io
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from record_examples import TARGETS, cell, record, write

from benchmark.api.declarations import Column as DeclaredColumn
from benchmark.errors import DataError, RecordError, UsageError
from benchmark.records.record import Record
from benchmark.tables.formats import TABLES
from benchmark.tables.over_seeds import over_seeds, possible
from benchmark.tables.render import print_json, print_markdown, print_rich
from benchmark.tables.render_latex import print_latex
from benchmark.tables.select import Found, gather
from benchmark.tables.table import only
from benchmark.tables.table1_styles import table


def _local(*records: Record) -> list[Found]:
    return [(each, "local") for each in records]


def _usual_four() -> list[Record]:
    methods = [("bilevel", 0), ("distilled", 1), ("base", 0), ("distilled", 0)]
    return [record(method, suite, seed=seed) for method, seed in methods for suite in ("artists", "coco")]


def _text(print_it, *args, **options) -> str:
    out = io.StringIO()
    print_it(table(*args, **options), out)
    return out.getvalue()


def test_row_order_does_not_depend_on_record_order() -> None:
    rows = table(_local(*_usual_four()), "mini", "artists").rows
    assert [row.label for row in rows] == ["base", "distilled", "distilled (seed 1)", "bilevel"]


def test_json_has_exactly_the_promised_form() -> None:
    told = json.loads(_text(print_json, _local(record("bilevel"), record("bilevel", "coco")), "mini", "artists"))
    assert (told["table"], told["testbed"]) == (1, "mini")
    (row,) = told["rows"]
    assert (row["method"], row["variant"]) == ("bilevel", "default")
    assert list(row["cells"]) == ["clip", "cp", "csd", "fid", "coco_clip"]
    values = {key: (each["value"], each["n"]) for key, each in row["cells"].items()}
    assert values == {
        "clip": (26.28, 150), "cp": (97.3, 150), "csd": (39.04, 150), "fid": (22.24, 150), "coco_clip": (29.19, 150),
    }  # fmt: skip


def test_json_has_an_interval_only_where_the_cell_has_one() -> None:
    values = {"clip": cell("clip", 26.0, ci=(25.0, 27.0)), "cp": 90.0}
    told = json.loads(_text(print_json, _local(record("bilevel", values=values)), "mini", "artists"))
    cells = told["rows"][0]["cells"]
    assert cells["clip"]["ci"] == [25.0, 27.0]
    assert "ci" not in cells["cp"]


def test_coco_of_another_seed_or_other_targets_never_fills_a_row() -> None:
    hokusai = {"kind": "style", "targets": ["Katsushika Hokusai"], "anchor": "a painting", "neighbours": []}
    found = _local(record("bilevel"), record("bilevel", "coco", seed=1), record("bilevel", "coco", concept=hokusai))
    rows = table(found, "mini", "artists", everything=True).rows
    assert len(rows) == 3
    assert all(("clip" in row.cells) != ("coco_clip" in row.cells) for row in rows)


def test_model_that_erases_nothing_has_one_coco_for_all_targets() -> None:
    hokusai = {"kind": "style", "targets": ["Katsushika Hokusai"], "anchor": "a painting", "neighbours": []}
    found = _local(record("distilled", concept=hokusai), record("distilled", "coco"))
    (row,) = table(found, "mini", "artists", everything=True).rows
    assert {"clip", "coco_clip"} <= set(row.cells)
    assert "Katsushika Hokusai" in row.label


def test_back_ends_never_share_a_column() -> None:
    other = record("distilled", "coco", values={"fid": cell("fid", 9.0, back_end="inception-legacy"), "clip": 29.0})
    mine = record("bilevel", "coco", values={"fid[mini-features]": cell("fid", 20.0), "clip": 30.0})
    made = table(_local(other, mine), "mini", "coco")
    assert [column.key for column in made.columns] == ["fid[inception-legacy]", "fid[mini-features]", "coco_clip"]
    by_label = {row.label: set(row.cells) for row in made.rows}
    assert by_label["bilevel"] == {"fid[mini-features]", "coco_clip"}
    assert by_label["distilled"] == {"fid[inception-legacy]", "coco_clip"}
    assert "COCO FID[inception-legacy]" in _text(print_markdown, _local(other, mine), "mini", "coco")


def test_two_back_ends_in_one_record_are_two_columns() -> None:
    values = {"fid[a]": cell("fid", 1.0, back_end="a"), "fid[b]": cell("fid", 2.0, back_end="b")}
    (row,) = table(_local(record("bilevel", "coco", values=values)), "mini", "coco").rows
    assert {key: figure.value for key, figure in row.cells.items()} == {"fid[a]": 1.0, "fid[b]": 2.0}


def test_records_of_other_samplers_are_refused() -> None:
    with pytest.raises(RecordError, match="guidance"):
        table(
            _local(record("base"), record("bilevel", sampler={"scheduler": "pndm", "steps": 25, "guidance": 7.5})),
            "mini",
            "artists",
        )


def test_missing_images_are_shown_with_their_count() -> None:
    found = _local(
        record("bilevel", values={"clip": cell("clip", 26.0, 148, of=150), "cp": cell("cp", None, 0, of=150)})
    )
    for print_it in (print_rich, print_markdown):
        text = _text(print_it, found, "mini", "artists")
        assert "n=148/150" in text
        assert "n=0/150" in text
        assert "Not all images were scored in: bilevel" in text


def test_default_view_hides_other_settings_and_says_how_many() -> None:
    hokusai = {"kind": "style", "targets": ["Katsushika Hokusai"], "anchor": "a painting", "neighbours": []}
    odd = [
        record("bilevel", budget={"flops": 2e15, "default": False}),
        record("bilevel", macs=0.55),
        record("bilevel", concept=hokusai),
        record("bilevel", recipe=0),
    ]
    found = _local(record("bilevel"), record("bilevel", seed=3), record("bilevel", preset="paper"), *odd)
    usual = table(found, "mini", "artists")
    assert [row.label for row in usual.rows] == ["bilevel", "bilevel (seed 3)", "bilevel · paper"]
    assert any("4 more records" in note for note in usual.notes)
    labels = [row.label for row in table(found, "mini", "artists", everything=True).rows]
    assert {"bilevel · 2e+15 flops", "bilevel · magnitude 0.55", "bilevel · Katsushika Hokusai"} < set(labels)
    assert len(labels) == 7


def test_targets_in_another_order_are_the_same_targets() -> None:
    concept = {"kind": "style", "targets": TARGETS[::-1], "anchor": "a painting", "neighbours": []}
    assert len(table(_local(record("bilevel", concept=concept)), "mini", "artists").rows) == 1


def test_reference_and_local_records_are_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.tables.select.RESULTS", tmp_path / "results")
    write(tmp_path / "results/mini/records", record("base"), record("bilevel", values={"clip": 20.0}))
    write(tmp_path / "runs/records", record("base"), record("bilevel", values={"clip": 21.0}))
    found = gather("mini", tmp_path / "runs")
    made = table(found, "mini", "artists")
    assert [(row.label, row.source) for row in made.rows] == [
        ("base", "both"), ("bilevel", "local"), ("bilevel", "reference"),
    ]  # fmt: skip
    text = _text(print_rich, found, "mini", "artists")
    assert all(mark in text for mark in "●○◉")


def test_given_records_replace_the_usual_ones(tmp_path: Path) -> None:
    write(tmp_path / "a", record("base"))
    write(tmp_path / "b", record("bilevel"), record("distilled"))
    one = next((tmp_path / "b").glob("*bilevel*.record.json"))
    assert [r.method for r, _ in gather("mini", tmp_path, [tmp_path / "a", one])] == ["base", "bilevel"]
    with pytest.raises(DataError, match=r"missing, given for records, does not exist"):
        gather("mini", tmp_path, [tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no record"):
        gather("mini", tmp_path, [tmp_path / "empty"])


def test_empty_table_names_the_command_that_fills_it() -> None:
    with pytest.raises(DataError, match="bench run --method bilevel --suite artists"):
        table([], "mini", "artists")
    with pytest.raises(DataError, match="1 with other settings: add --all"):
        table(_local(record("bilevel", macs=0.5)), "mini", "artists")


def test_paper_figures_are_quoted_once_per_method_with_their_testbed() -> None:
    found = _local(*_usual_four())
    told = json.loads(_text(print_json, found, "mini", "artists", paper=True))
    quoted = {row["label"]: row["cells"]["csd"].get("paper") for row in told["rows"]}
    assert quoted == {"base": 87.91, "distilled": 100.0, "distilled (seed 1)": None, "bilevel": 39.04}
    assert set(told["paper"]["not_run_here"]) == {"esd", "uce", "conceptprune"}
    assert told["paper"]["setting"]["testbed"] == "sd21"
    text = _text(print_markdown, found, "mini", "artists", paper=True)
    assert "39.04 [39.04] (n=150)" in text
    assert "testbed sd21" in text


def test_markup_in_paper_quotes_and_labels_is_printed_literally() -> None:
    found = _local(record("bilevel", label="bilevel [bold]"))
    text = _text(print_rich, found, "mini", "artists", paper=True)
    assert "[26.28]" in text
    assert "[bold]" in text


def test_top_destination_names_the_artist_who_gained_most() -> None:
    gogh, monet = "destination/Vincent van Gogh", "destination/Claude Monet"
    values = {"clip": 26.0, f"{gogh}/plain": 0.6, f"{gogh}/Vincent van Gogh": 0.3, f"{gogh}/Edvard Munch": 0.08}
    values |= {f"{monet}/plain": 0.8, f"{monet}/Pablo Picasso": 0.15, f"{monet}/Edvard Munch": 0.05}
    (row,) = table(_local(record("bilevel", values=values)), "mini", "artists", long=True).rows
    figure = row.cells["top_destination"]
    assert (figure.value, figure.name, figure.n) == (0.15, "Claude Monet → Pablo Picasso", 150), "a swap counts"
    assert not [key for key in row.cells if key.startswith("destination")]


def test_long_table_adds_cost_and_third_party_metrics() -> None:
    entry = {
        "iterations": 100, "images": 3200, "unet_forwards": 1, "unet_backwards": 1, "flops": 10**14,
        "wall_seconds": 12.0, "device_seconds": 12.0, "peak_memory_bytes": 1,
    }  # fmt: skip
    ledger = [{"phase": "prepare", **entry}, {"phase": "train", **entry}]
    values = {"clip": 26.0, "sharpness": cell("sharpness", 0.5, higher_is_better=True)}
    found = _local(record("bilevel", values=values, ledger=ledger))
    made = table(found, "mini", "artists", long=True)
    cells = made.rows[0].cells
    assert [cells[key].value for key in ("flops", "iterations", "seconds")] == [2e14, 200, 24]
    assert cells["sharpness"].value == 0.5
    assert next(column.better for column in made.columns if column.key == "sharpness") is True
    assert set(table(found, "mini", "artists").rows[0].cells) == {"clip"}
    for print_it in TABLES.values():
        text = _text(print_it, found, "mini", "artists", long=True)
        assert "sharpness" in text
        assert re.search(r"2e\+14|200000000000000|2 \\times 10\^\{14\}", text)


def test_different_references_are_noted() -> None:
    found = _local(record("bilevel"), record("distilled", reference="base"))
    assert any("cannot be compared" in note for note in table(found, "mini", "artists").notes)


def _prunings() -> list[Record]:
    found = []
    for pruning, macs, key in (("magnitude", 0.8, "a"), ("magnitude", 0.55, "b"), ("random", 0.55, "c")):
        for method in ("distilled", "bilevel"):
            found.append(record(method, pruning=pruning, macs=macs, reference_key=key))
        found.append(record("base", reference_key=key))
    return found


def test_pruning_option_selects_that_pruning_at_every_share_of_macs() -> None:
    found = _local(*_prunings())
    usual = table(found, "mini", "artists")
    assert [row.label for row in usual.rows] == ["base", "distilled", "bilevel"]
    one = table(found, "mini", "artists", pruning="random")
    assert {(row.record.pruning, row.record.macs) for row in one.rows[1:]} == {("random", 0.55)}
    assert one.rows[0].record.reference_key == "c"
    both = table(found, "mini", "artists", pruning="magnitude")
    assert sorted({row.record.macs for row in both.rows if row.record.method == "bilevel"}) == [0.55, 0.8]
    with pytest.raises(DataError, match="--pruning blocks"):
        table(found, "mini", "artists", pruning="blocks")


def test_base_has_one_row_per_reference_and_is_not_averaged_over_them() -> None:
    beside = [record(one.method, "coco", **_same(one)) for one in _prunings()]
    made = over_seeds(table(_local(*_prunings(), *reversed(beside)), "mini", "artists", pruning="magnitude"))
    bases = [row for row in made.rows if row.record.method == "base"]
    assert sorted(row.label for row in bases) == ["base · against magnitude 0.55", "base · against magnitude 0.8"]
    assert all({"clip", "fid"} <= row.cells.keys() for row in made.rows)


def _same(one: Record) -> dict:
    return {"pruning": one.pruning, "macs": one.macs, "reference_key": one.reference_key}


def test_prunings_side_by_side_have_distinct_labels() -> None:
    made = table(_local(*_prunings()), "mini", "artists", pruning="all")
    labels = [row.label for row in made.rows]
    assert len(set(labels)) == len(labels) == 9
    assert labels[-3:] == ["bilevel", "bilevel · magnitude 0.55", "bilevel · random 0.55"]
    assert "base · against random 0.55" in labels
    assert any("between prunings" in note for note in made.notes)


def test_only_seeds_of_one_setting_are_averaged_with_students_interval() -> None:
    """Means and Student's interval by hand; what nothing was repeated for stays as it was."""
    clips = [20.0, 23.0, 26.0]
    found = [record("esd", seed=k, values={"clip": clip, "cp": 90.0}) for k, clip in enumerate(clips)]
    found += [record("distilled", seed=k, values={"clip": 30.0, "cp": 44.0 * (k > 0)}) for k in range(3)]
    found += [record("esd", label="esd (rate=1)", variant="rate=1", values={"clip": 9.0, "cp": 99.0})]
    made = over_seeds(table(_local(*found), "mini", "artists"))
    rows = {row.label: row.cells for row in made.rows}
    assert list(rows) == ["distilled", "distilled (2 seeds)", "esd (3 seeds)", "esd (rate=1)"]
    folded = rows["esd (3 seeds)"]["clip"]
    half = 4.302653 * 3.0 / 3**0.5  # t at 97.5 % and 2 degrees of freedom, standard deviation 3
    assert folded.value == pytest.approx(23.0)
    assert folded.ci == pytest.approx((23.0 - half, 23.0 + half), abs=1e-4)
    assert (folded.n, folded.of) == (450, 450)
    assert possible((-20.9, 190.0), "cp", "%") == (0, 100)
    assert possible((-20.9, 190.0), "mma", "%") == (-20.9, 100)  # resilience: more may be shown than before
    assert possible((-0.1, 1.2), "kid", "MMD²") == (-0.1, 1.2)
    assert possible((-0.1, 0.7), "kept_style", "probability") == (0, 0.7)
    assert rows["distilled"]["cp"].value == 0
    assert rows["distilled (2 seeds)"]["cp"].value == 44
    assert rows["esd (rate=1)"]["clip"].value == 9


def test_targets_option_selects_those_targets_alone() -> None:
    others = ["Edvard Munch"]
    concept = {"kind": "style", "targets": others, "anchor": "a painting", "neighbours": []}
    found = _local(*_usual_four(), record("bilevel", "artists", concept=concept))
    assert [row.record.concept["targets"] for row in table(found, "mini", "artists", targets=others).rows] == [
        [*others]
    ]
    assert all(row.record.concept["targets"] != others for row in table(found, "mini", "artists").rows)


def test_columns_option_selects_columns_in_the_given_order() -> None:
    made = table(_local(*_usual_four()), "mini", "artists", long=True)
    assert [column.key for column in only(made, ["fid", "cp"]).columns] == ["fid", "cp"]
    with pytest.raises(UsageError, match=r"^Unknown column 'fidd'\. Did you mean 'fid'\?"):
        only(made, ["fidd"])


def test_note_on_the_reference_appears_only_with_a_column_that_compares_with_it() -> None:
    note = "CP and CSD are relative to: distilled."
    artists = table(_local(*_usual_four()), "mini", "artists")
    assert note in artists.notes
    assert note in only(artists, ["fid", "csd"]).notes
    assert note not in only(artists, ["fid", "clip"]).notes
    assert not any("relative to" in each for each in table(_local(*_usual_four()), "mini", "coco").notes)


@pytest.mark.parametrize(("relative", "expected"), [(True, ["harm is relative to: distilled."]), (False, [])])
def test_note_on_the_reference_names_the_columns_of_a_plugin_suite(relative: bool, expected: list[str]) -> None:
    declared = asdict(DeclaredColumn("harm", "harm", relative=relative))
    scored = record("bilevel", "ponds", values={"harm": 1.0}, made={"suite": {"columns": [declared], "brings": []}})
    notes = table(_local(scored), "mini", "ponds").notes
    assert [note for note in notes if "relative to" in note] == expected


def test_models_that_forgot_a_sign_are_left_out_of_the_artists_table() -> None:
    sign = record("esd", "coco")
    sign = sign.model_copy(update={"concept": {"kind": "explicit", "targets": ["trine"]}})
    rows = table(_local(*_usual_four(), sign), "mini", "artists", everything=True).rows
    assert all(row.record.method != "esd" for row in rows)
    assert [row.record.method for row in table(_local(sign), "mini", "coco", everything=True).rows] == ["esd"]


def test_terminal_table_shows_half_the_width_of_an_interval() -> None:
    scored = record("bilevel", values={"cp": cell("cp", 92.0, ci=(88.0, 94.0))})
    assert "±3.00" in _text(print_rich, _local(scored), "mini", "artists")


def test_an_asymmetric_interval_is_shown_with_its_two_ends_in_every_format() -> None:
    scored = record(
        "bilevel", values={"cp": cell("cp", 0.0, n=3, ci=(0.0, 56.15)), "clip": cell("clip", 5.0, ci=(4, 6))}
    )
    text = _text(print_rich, _local(scored), "mini", "artists")
    assert "0.00…56.15" in text
    assert "±28" not in text
    assert "±1.00" in text
    assert "a…b: a whole one" in text
    latex = _text(print_latex, _local(scored), "mini", "artists")
    assert r"$0.00 {\scriptstyle (0.00\ldots 56.15)}$" in latex.replace(r"\mathbf{0.00}", "0.00")
    symmetric = _text(print_rich, _local(record("bilevel")), "mini", "artists")
    assert "a…b" not in symmetric


def _rebuilt(world: str) -> list[Record]:
    told = {"world": {"weights": world, "data": 1}, "reference_key": world}
    return [record(method, **told) for method in ("base", "distilled", "bilevel")]


def test_rows_on_different_weights_are_labelled_by_their_inputs() -> None:
    alone = table(_local(*_rebuilt("a")), "mini", "artists")
    assert [row.label for row in alone.rows] == ["base", "distilled", "bilevel"]
    assert not any("inputs" in note for note in alone.notes)
    both = table(_local(*_rebuilt("a"), *_rebuilt("b")), "mini", "artists")
    labels = [row.label for row in both.rows]
    assert len(set(labels)) == 6
    assert all(" · inputs " in label for label in labels)
    assert any("cannot be compared with each other" in note for note in both.notes)
    assert len(over_seeds(both).rows) == 6  # two worlds are not two seeds


def test_repeated_seed_counts_once() -> None:
    def run(seed: int, clip: float) -> Record:
        return record("bilevel", seed=seed, values={"artists": {"clip": clip}})

    committed = [(run(0, 50.0), "reference"), (run(1, 60.0), "reference")]
    made = over_seeds(table([*committed, (run(0, 52.0), "local")], "mini", "artists"))  # type: ignore[list-item]
    (row,) = made.rows
    assert row.label == "bilevel (2 seeds)"
    assert row.cells["clip"].value == pytest.approx(56.0)
    assert any("counts once" in note for note in made.notes)


@pytest.mark.parametrize("order", [1, -1])
def test_records_of_a_pruning_before_its_file_changed_are_left_out(order: int) -> None:
    def run(fid: float, reference: str, time: str, **more: Any) -> Record:
        values = {"artists": {"clip": 30.0}, "coco": {"fid": fid}}
        told = {"reference_key": reference, "made": {"time": time}, "pruning": "mine.py:f", "values": values}
        return record("bilevel", "coco", **(told | more))

    found = [run(9.0, "old", "2026-01-01"), run(5.0, "new", "2026-01-02"), run(6.0, "new", "2026-01-02", seed=1)]
    found = [(each, "local") for each in found[::order]]
    made = table(found, "mini", "coco", pruning="mine.py:f")  # type: ignore[arg-type]
    assert [row.cells["fid"].value for row in made.rows] == [5.0, 6.0]
    assert "1 more record has" in made.notes[-1]
    assert over_seeds(made).rows[0].cells["fid"].value == 5.5
    assert len(table(found, "mini", "coco", everything=True).rows) == 3  # type: ignore[arg-type]
