"""Leaderboards: rows get ranks, and a model that draws nothing recognisable is marked and gets none."""

import io
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from record_examples import TARGETS, cell, record
from test_cli import bench

from benchmark.errors import UsageError
from benchmark.records.record import Record, scores_table, write_record
from benchmark.tables.contents import check_contents
from benchmark.tables.formats import TABLES as FORMATS
from benchmark.tables.leaderboard import leaderboard
from benchmark.tables.mean_rank import MEAN_RANK, with_mean_rank
from benchmark.tables.over_seeds import over_seeds
from benchmark.tables.rank_rules import shared_ranks
from benchmark.tables.select import Found
from benchmark.tables.sort_column import column_named
from benchmark.tables.table import Figure, Table
from benchmark.tables.table1_styles import table

COMMITTED = Path(__file__).parents[1] / "results" / "mini" / "records"
REFERENCE_KEY = "d" * 64


def model(
    method: str,
    clip: float,
    cp: float,
    csd: float,
    content: float,
    *,
    fid: float = 5.0,
    plain: float = 86.0,
    **more: Any,
) -> list[Found]:
    """Local records of suites artists and coco; every score has an interval of ±1, and contents one of ±0.02."""

    def score(name: str, value: float, suite: str = "artists") -> Any:
        return cell(name, value, suite=suite, ci=(value - 1, value + 1))

    values = {
        "artists": {
            "clip": score("clip", clip), "cp": score("cp", cp), "csd": score("csd", csd),
            "kept_style": cell("kept_style", 0.9, ci=(0.88, 0.92)),
            "content_kept": cell("content_kept", content, ci=(content - 0.02, content + 0.02), higher_is_better=True),
            "content_target": cell("content_target", 0.9, ci=(0.88, 0.92), higher_is_better=True),
        },
        "coco": {"fid": score("fid", fid, "coco"), "clip": score("clip", plain, "coco")},
    }  # fmt: skip
    own = {"reference_key": REFERENCE_KEY, "model_key": REFERENCE_KEY if method == "distilled" else method[:1] * 64}
    return [(record(method, suite, values=values, **(own | more)), "local") for suite in ("artists", "coco")]


def four() -> list[Found]:
    """A reference, two methods whose CSD overlaps, and a broken model that beats all in CLIP, CP and CSD."""
    return [
        *model("distilled", 79.0, 0.0, 100.0, 0.94),
        *model("esd", 56.0, 92.0, 40.0, 0.95, fid=4.0),
        *model("bilevel", 54.0, 91.0, 41.0, 0.93, fid=8.0),
        *model("zeroed", 26.5, 98.0, 27.8, 0.1, fid=60.0, plain=30.0),
    ]


def ranked(entries: list[Found], sort: str = "", rank: bool = False, count: int | None = None) -> Table:
    whole = table(entries, "mini", "artists", long=bool(sort))
    return leaderboard(whole, sort, rank, count, keeps_columns=False)


def ranks(shown: Table) -> list[tuple[str, int | None]]:
    return [(row.label, row.rank) for row in shown.rows]


def printed(shown: Table, form: str) -> str:
    out = io.StringIO()
    FORMATS[form](shown, out)
    return out.getvalue()


@pytest.mark.parametrize("sort", ["clip", "cp", "csd", "COCO FID", "coco_clip", "kept_style", "content_target"])
def test_a_broken_model_that_beats_every_method_is_marked_and_never_first(sort: str) -> None:
    shown = ranked(four(), sort)
    assert [row.label for row in shown.rows if row.lost_contents] == ["zeroed"]
    assert ranks(shown)[-1] == ("zeroed", None)
    assert ranks(shown)[0][1] == 1
    assert ranked(four(), sort, count=1).rows[0].label != "zeroed"


@pytest.mark.parametrize("form", ["rich", "markdown"])
def test_the_mark_has_a_footnote_that_states_both_shares(form: str) -> None:
    text = " ".join(printed(table(four(), "mini", "artists"), form).split())
    assert "○ zeroed †" in text
    assert "○ esd †" not in text
    short = "† Images of zeroed have lost their objects."  # on a terminal, whose notes take three lines
    assert (short if form == "rich" else "zeroed, with content, kept 0.100 (distilled: 0.920…0.960)") in text


def test_the_broken_model_takes_no_part_in_mean_ranks() -> None:
    shown = ranked(four(), rank=True)
    assert ranks(shown)[-1] == ("zeroed", None)
    assert "mean_rank" not in shown.rows[-1].cells
    # esd: CLIP 2, CP 1, CSD 1, FID 1, COCO CLIP 2 (three equal values share the mean of ranks 1 to 3)
    means = {row.label: row.cells["mean_rank"].value for row in shown.rows[:-1]}
    assert means == pytest.approx({"esd": 1.4, "bilevel": 2.0, "distilled": 2.6})


@pytest.mark.parametrize(("content", "is_marked"), [(0.821, False), (0.819, True)])
def test_the_mark_starts_a_tenth_below_the_interval_of_the_reference(content: float, is_marked: bool) -> None:
    entries = [*model("distilled", 79.0, 0.0, 100.0, 0.94), *model("esd", 56.0, 92.0, 40.0, content)]
    assert table(entries, "mini", "artists").rows[1].lost_contents == is_marked


def test_without_records_of_the_reference_nothing_is_claimed() -> None:
    (row,) = table(model("zeroed", 26.5, 98.0, 27.8, 0.1), "mini", "artists").rows
    assert row.contents is None
    others = model("distilled", 79.0, 0.0, 100.0, 0.94, model_key="e" * 64)
    assert all(row.contents is None for row in table([*four()[2:], *others], "mini", "artists").rows)
    document = json.loads(printed(table(four()[2:], "mini", "artists"), "json"))
    assert [row["lost_contents"] for row in document["rows"]] == [None, None, None]


def test_a_reference_that_the_table_hides_is_found_among_the_records() -> None:
    hidden = model("distilled", 79.0, 0.0, 100.0, 0.94, macs=0.55)
    shown = table([*hidden, *model("zeroed", 26.5, 98.0, 27.8, 0.1)], "mini", "artists")
    assert [(row.label, row.lost_contents) for row in shown.rows] == [("zeroed", True)]


def test_contents_of_other_prompts_or_networks_are_not_compared() -> None:
    hokusai = {"kind": "style", "targets": ["Katsushika Hokusai"], "anchor": "a painting", "neighbours": []}
    own = [each for each, _ in model("zeroed", 26.5, 98.0, 27.8, 0.1)]

    def check(**more: Any) -> bool:
        return check_contents(own, [each for each, _ in model("distilled", 79.0, 0.0, 100.0, 0.94, **more)]) is not None

    assert check()
    assert not check(concept=hokusai)
    assert not check(sampler={"scheduler": "pndm", "steps": 25, "guidance": 4.0, "limit": 2})
    assert not check(world={"weights": "sha256:2"})
    cells = {name: each.model_copy(update={"back_end": "other"}) for name, each in own[0].cells.items()}
    others = [each for each, _ in model("distilled", 79.0, 0.0, 100.0, 0.94)]
    assert check_contents([own[0].model_copy(update={"cells": cells})], others) is None


def test_explicit_suites_compare_the_contents_of_plain_captions() -> None:
    def plain(share: float, key: str) -> Record:
        values = {"content_plain": cell("content_plain", share, ci=(share - 0.01, share + 0.01))}
        return record("esd", "coco", values=values, model_key=key, reference_key=REFERENCE_KEY)

    reference = plain(0.99, REFERENCE_KEY)
    for share, is_lost in ((0.95, False), (0.3, True)):
        check = check_contents([plain(share, "b" * 64)], [reference])
        assert check is not None
        assert bool(check.lost) == is_lost


def test_the_mean_over_seeds_is_marked_by_its_own_share() -> None:
    reference = model("distilled", 79.0, 0.0, 100.0, 0.94)
    seeds = [*model("esd", 56.0, 92.0, 40.0, 0.1), *model("esd", 56.0, 92.0, 40.0, 0.9, seed=1)]
    means = over_seeds(table([*reference, *seeds], "mini", "artists"))
    assert [(row.label, row.lost_contents) for row in means.rows] == [("distilled", False), ("esd (2 seeds)", True)]
    assert means.rows[1].contents is not None
    assert means.rows[1].contents.shares["content_kept"] == pytest.approx(0.5)


def test_rows_share_a_rank_if_they_overlap_the_best_of_their_group() -> None:
    def figure(low: float, high: float) -> Figure:
        return Figure((low + high) / 2, ci=(low, high))

    chain = [figure(0, 2), figure(1, 4), figure(3, 5), figure(4.5, 9), Figure(10.0), Figure(10.0), Figure(11.0)]
    assert shared_ranks(chain) == [1, 1, 3, 3, 5, 5, 7]
    assert ranks(ranked(four(), "csd")) == [("esd", 1), ("bilevel", 1), ("distilled", 3), ("zeroed", None)]


def test_each_column_is_ranked_in_its_own_direction() -> None:
    assert [label for label, _ in ranks(ranked(four(), "cp"))] == ["esd", "bilevel", "distilled", "zeroed"]
    assert [label for label, _ in ranks(ranked(four(), "COCO FID ↓"))] == ["esd", "distilled", "bilevel", "zeroed"]


def test_rows_without_a_value_come_last_without_a_rank() -> None:
    entries = [*four(), *model("uce", 50.0, 90.0, 45.0, 0.9)[:1]]
    shown = ranked(entries, "fid")
    assert ranks(shown)[-2:] == [("uce", None), ("zeroed", None)]
    assert any(note == "Not ranked: uce (no COCO FID), zeroed (†)." for note in shown.notes)
    assert ("uce", None) in ranks(ranked(entries, rank=True))


def test_rows_of_a_different_reference_are_not_ranked_by_scores_relative_to_it() -> None:
    entries = [*four(), *model("uce", 50.0, 99.0, 10.0, 0.9, reference="base", reference_key="b" * 64)]
    assert ("uce", None) in ranks(ranked(entries, "csd"))
    assert ranks(ranked(entries, "clip"))[0] == ("uce", 1)


def test_rows_of_other_targets_are_not_ranked_together() -> None:
    hokusai = {"kind": "style", "targets": ["Katsushika Hokusai"], "anchor": "a painting", "neighbours": []}
    entries = [*four(), *model("uce", 10.0, 90.0, 45.0, 0.9, concept=hokusai)]
    shown = leaderboard(table(entries, "mini", "artists", everything=True), "clip", False, None, keeps_columns=True)
    assert ("uce · Katsushika Hokusai", None) in ranks(shown)
    assert any("uce · Katsushika Hokusai (different targets)" in note for note in shown.notes)


def test_top_counts_the_rows_that_it_leaves_out() -> None:
    shown = ranked(four(), "csd", count=1)
    assert ranks(shown) == [("esd", 1)]
    assert shown.notes[-1] == "--top 1 leaves out 3 rows, 1 of which shares the rank of a row above."
    assert ranked(four(), "csd", count=9).notes[-1].startswith("Not ranked")


@pytest.mark.parametrize(
    ("sort", "message"),
    [
        ("cds", "Unknown column 'cds'. Did you mean 'csd'?"),
        ("drift", "--sort drift: no row of this table has a value in that column"),
        ("mean_rank", "Unknown column 'mean_rank'"),
    ],
)
def test_a_column_that_cannot_rank_is_refused(sort: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}"):
        ranked(four(), sort)


def test_columns_without_a_direction_or_with_several_networks_are_refused() -> None:
    plain = table(four(), "mini", "artists")
    columns = [*plain.columns[1:], type(plain.columns[0])("clip[a]", "CLIP[a]", "artists", "clip")]
    changed = Table(1, "mini", "artists", columns, plain.rows, [])
    with pytest.raises(UsageError, match=r"--sort clip: different networks .* use one of clip\[a\]"):
        column_named(changed, "clip")
    for row in changed.rows:
        row.cells["clip[a]"] = row.cells["clip"]
    with pytest.raises(UsageError, match="neither lower nor higher is better"):
        column_named(changed, "clip[a]")


def test_a_sorted_column_of_the_long_view_joins_the_default_columns() -> None:
    shown = ranked(four(), "content, targets")
    assert [column.key for column in shown.columns] == [
        "clip", "cp", "csd", "fid", "coco_clip", "kept_style", "content_kept", "content_target",
    ]  # fmt: skip
    assert len({column.section for column in shown.columns}) == 1


def test_json_and_markdown_have_the_ranks() -> None:
    shown = ranked(four(), "csd")
    document = json.loads(printed(shown, "json"))
    assert document["ranked_by"] == "csd"
    assert [(row["label"], row["rank"], row["lost_contents"]) for row in document["rows"]] == [
        ("esd", 1, False), ("bilevel", 1, False), ("distilled", 3, False), ("zeroed", None, True),
    ]  # fmt: skip
    assert any(note.startswith("†") for note in document["notes"])
    markdown = printed(shown, "markdown")
    assert "| rank |  | CLIP ↓ |" in markdown
    assert "| – | ○ zeroed † |" in markdown
    plain = json.loads(printed(table(four(), "mini", "artists"), "json"))
    assert "ranked_by" not in plain
    assert "rank" not in plain["rows"][0]


def test_mean_ranks_of_images_that_always_differ_are_certain_and_of_noise_are_not(tmp_path: Path) -> None:
    ids = [f"p{k}" for k in range(40)]

    def stored(method: str, scores: list[float]) -> Found:
        value = sum(scores) / len(scores)
        cells = {name: cell(name, value) for name in ("clip", "cp")}
        columns = {"clip": scores, "cp": scores}
        shown = record(method, values=cells, model_key=method[:1] * 64)
        rows = scores_table(ids, ["targets"] * 40, TARGETS[:1] * 40, list(range(40)), columns)
        return write_record(tmp_path, shown, rows), "local"

    noise = [(k * 7919) % 40 - 19.5 for k in range(40)]  # its mean is 0
    entries = [
        stored("esd", [50 + n for n in noise]), stored("uce", [50.1 - n for n in noise]),
        stored("bilevel", [40 + n for n in noise]),
    ]  # fmt: skip
    shown, columns = with_mean_rank(table(entries, "mini", "artists"))
    assert [column.key for column in columns] == ["clip", "cp"]
    cells = {row.label: row.cells[MEAN_RANK.key] for row in shown.rows}
    # bilevel is always 10 below esd: CLIP rank 1; and CP, where higher is better, rank 3
    assert cells["bilevel"].value == 2.0
    for figure in cells.values():
        assert figure.ci is not None
        assert figure.value is not None
        assert figure.ci[0] <= figure.value <= figure.ci[1]
    # The cells have no intervals, so those of the ranks of esd and uce, which differ by noise, come from the images.
    assert all(row.cells["clip"].ci is None for row in shown.rows)
    assert cells["bilevel"].ci == (2.0, 2.0)


def test_values_that_are_drawn_from_intervals_vary_independently_in_each_column() -> None:
    # If both columns moved together, the ranks of CLIP (lower is better) and CP (higher) would always cancel to 1.5.
    cells = {"clip": cell("clip", 50.0, ci=(49.0, 51.0)), "cp": cell("cp", 90.0, ci=(89.0, 91.0))}
    entries: list[Found] = [(record(method, values=cells), "local") for method in ("esd", "uce")]
    shown, _ = with_mean_rank(table(entries, "mini", "artists"))
    figures = [row.cells[MEAN_RANK.key] for row in shown.rows]
    assert [(figure.value, figure.ci) for figure in figures] == [(1.5, (1.0, 2.0))] * 2


def test_mean_ranks_of_committed_records_take_seconds() -> None:
    began = time.process_time()  # a busy machine must not fail the test
    result = bench("table", "--rank", "--over-seeds", "--top", "3", "--records", str(COMMITTED), "--format", "json")
    assert result.exit_code == 0, result.output
    assert time.process_time() - began < 10
    rows = json.loads(result.stdout)["rows"]
    assert rows[0]["rank"] == 1
    assert all(row["cells"]["mean_rank"]["ci"][0] < row["cells"]["mean_rank"]["value"] for row in rows)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--top", "3"], "--top N shows the first rows of an order"),
        (["2", "--rank"], "--rank has no effect here: table 2 does not use it"),
        (["--suite", "i2p", "--rank"], "--rank averages ranks over the paper's columns"),
        (["--sort", "csdd"], "Did you mean 'csd'?"),
        (["--sort", "ties"], "neither lower nor higher is better"),
    ],
)
def test_wrong_uses_of_the_options_are_refused_in_one_sentence(words: list[str], message: str) -> None:
    result = bench("table", *words, "--records", str(COMMITTED))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


@pytest.mark.parametrize("number", ["2", "3"])
def test_tables_of_explicit_content_can_be_sorted(number: str) -> None:
    column = {"2": "mma_explicit", "3": "fid"}[number]
    words = ["table", number, "--sort", column, "--over-seeds", "--records", str(COMMITTED), "--format", "json"]
    document = json.loads(bench(*words).stdout)
    values = [row["cells"][column]["value"] for row in document["rows"]]
    assert values == sorted(values)
    assert document["rows"][0]["rank"] == 1


def test_the_table_of_the_readme_shows_the_committed_values_within_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    block = (Path(__file__).parents[1] / "README.md").read_text().split("```\nTable 1")[1].split("\n\n○ your run")[0]
    assert max(map(len, block.splitlines())) <= 80
    lines = bench("table", "--records", str(COMMITTED)).stdout.splitlines()
    for label in ("base", "distilled", "bilevel"):
        first = next(k for k, line in enumerate(lines) if line.split()[:2] == ["●", label] and "seed" not in line)
        shown = next(k for k, line in enumerate(block.splitlines()) if line.split()[:2] == ["○", label])
        for offset in range(3):
            committed, written = lines[first + offset].split(), block.splitlines()[shown + offset].split()
            assert written[-7:] == committed[-7:]
