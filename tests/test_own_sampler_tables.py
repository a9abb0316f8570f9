"""Tables and comparisons of pictures that this package did not sample."""

from pathlib import Path
from typing import Any

import pytest
from record_examples import SAMPLER, TARGETS, record

from benchmark.errors import DataError, RecordError
from benchmark.records.arrow_table import as_table
from benchmark.records.record import BROUGHT, Record, check_one_sampler, scores_table, write_record
from benchmark.tables.compare import compare
from benchmark.tables.select import Found, select_by_sampling
from benchmark.tables.table1_styles import table


def own(name: str, **more: Any) -> Record:
    facts: dict[str, Any] = {
        "label": f"{name} (own sampler)", "variant": "own sampler", "pruning": BROUGHT, "data": BROUGHT, "macs": 1.0,
        "budget": {}, "sampler": {"own_sampler": True, "latent_size": 16}, "reference": "base",
    }  # fmt: skip
    return record(name, **(facts | more))


def base(**more: Any) -> Record:
    return record("base", reference="base", **more)


def written(folder: Path, *shown: Record) -> list[Found]:
    """The records as read from a folder, with scores of 20 prompts."""
    ids = [f"p{k}" for k in range(20)]
    return [
        (
            write_record(
                folder, each, scores_table(ids, ["targets"] * 20, TARGETS[:1] * 20, list(range(20)),
                                           {"clip": [number + k / 7 for k in range(20)]})
            ),
            "local",
        )
        for number, each in enumerate(shown)
    ]  # fmt: skip


def test_pictures_with_an_own_sampler_are_not_compared_by_prompt_with_sampled_ones(tmp_path: Path) -> None:
    entries = written(tmp_path, base(), own("theirs"), own("others", model_key="1" * 64))
    for sides in (("base", "theirs (own sampler)"), ("theirs (own sampler)", "base")):
        with pytest.raises(
            DataError, match=r"'theirs .own sampler.' was not sampled by this benchmark and shares no noise"
        ):
            compare(entries, "mini", "artists", *sides)
    both = compare(entries, "mini", "artists", "theirs (own sampler)", "others (own sampler)")
    assert [contrast.column.key for contrast in both.contrasts if contrast.over == "prompts"]
    assert any("may not share noise" in note for note in both.notes)


def test_a_comparison_of_sampled_models_has_no_note_on_noise(tmp_path: Path) -> None:
    entries = written(tmp_path, record("bilevel"), record("esd"))
    assert not any("noise" in note for note in compare(entries, "mini", "artists", "bilevel", "esd").notes)


def test_a_table_shows_them_beside_sampled_models_without_macs(tmp_path: Path) -> None:
    entries = written(tmp_path, base(), own("theirs"), record("bilevel", reference="base"))
    shown = table(entries, "mini", "artists", long=True)
    assert [row.label for row in shown.rows] == ["base", "bilevel", "theirs (own sampler)"]
    assert not any(note.startswith("Each pruning") for note in shown.notes)
    (note,) = (note for note in shown.notes if note.startswith("Not sampled by this benchmark"))
    assert "bilevel" not in note
    assert not any(note.startswith("Not sampled") for note in table(entries[::2], "mini", "artists").notes)


def test_their_macs_are_missing_in_tables_of_records() -> None:
    rows = as_table([own("theirs"), record("bilevel")]).to_pylist()
    assert [row["macs"] for row in rows] == [None, 0.8]


def test_a_table_of_bf16_models_keeps_them(tmp_path: Path) -> None:
    bf16 = {"sampler": {**SAMPLER, "precision": "bf16"}, "reference": "base"}
    entries = written(tmp_path, record("bilevel", **bf16), own("theirs"))
    assert len(table(entries, "mini", "artists").rows) == 2


def test_changed_steps_of_a_testbed_do_not_hide_them(tmp_path: Path) -> None:
    entries = written(tmp_path, base(), own("theirs"))
    assert [each.method for each, _ in select_by_sampling(entries, "mini", {"steps": 3})] == ["theirs"]


def test_samplers_of_sampled_models_must_still_agree() -> None:
    check_one_sampler([own("theirs"), base(), record("bilevel")])
    with pytest.raises(RecordError, match="different steps"):
        check_one_sampler([own("theirs"), base(), record("bilevel", sampler={**SAMPLER, "steps": 7})])
