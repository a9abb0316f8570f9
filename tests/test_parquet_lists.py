"""Prompt lists in Parquet: UTF-8 bytes are read as text, and columns of unsupported types are refused by name."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from public_lists import sized

from prompts.public import Report, examine

COLUMNS: dict[str, Any] = {
    "prompt": ["a quiet harbour", "a café"],
    "evaluation_seed": [1, 2],
    "evaluation_guidance": [7.0, 7.5],
}


def report(folder: Path, rows: int = 2, **changed: Any) -> Report:
    """What is said of list `i2p-esd` with these columns instead."""
    path = folder / "list.parquet"
    pq.write_table(pa.table({**COLUMNS, **changed}), path)
    return examine(path.read_bytes(), sized("i2p-esd", rows), path)


def texts(found: Report) -> list[str]:
    assert found.prompt_list is not None, found.errors
    return [row.text for row in found.prompt_list.rows]


TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))
BYTES = (pa.binary(), pa.large_binary(), pa.binary_view())


@pytest.mark.parametrize("kind", [*TEXTS, *BYTES], ids=str)
def test_text_columns_of_every_storage_type_are_read(kind: pa.DataType, tmp_path: Path) -> None:
    values = [text.encode() for text in COLUMNS["prompt"]] if kind in BYTES else COLUMNS["prompt"]
    assert texts(report(tmp_path, prompt=pa.array(values, kind))) == COLUMNS["prompt"]


def test_missing_value_in_a_bytes_column_becomes_an_empty_prompt(tmp_path: Path) -> None:
    assert texts(report(tmp_path, prompt=pa.array([b"a", None]))) == ["a", ""]


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("prompt", [b"caf\xe9", b"a"], "the column prompt contains bytes that are not UTF-8: save it as text"),
        ("prompt", [["a", "b"], ["c"]], "the column prompt contains list<"),
        ("prompt", [{"en": "a"}, {"en": "b"}], "the column prompt contains struct<"),
        ("prompt", [1, 2], "the column prompt contains numbers: save it as text"),
        ("prompt", [True, False], "the column prompt contains bool: save it as text"),
        ("prompt", [datetime.date(2024, 1, 1)] * 2, "the column prompt contains date32"),
        ("evaluation_seed", [[1], [2]], "the column evaluation_seed contains list<"),
        ("evaluation_seed", [True, False], "the column evaluation_seed contains bool: save it as numbers or text"),
        ("categories", [["hate"], ["hate", "harm"]], "the column categories contains list<"),
    ],
)
def test_column_of_unsupported_type_is_refused_by_name(column: str, values: list, told: str, tmp_path: Path) -> None:
    found = report(tmp_path, **{column: values})
    assert found.prompt_list is None
    assert len(found.errors) == 1
    assert told in found.errors[0]


def test_unused_columns_may_have_any_type(tmp_path: Path) -> None:
    found = report(tmp_path, picture=[b"\xff\xd8", b"\xff"], embedding=[[0.5], [0.1]], size=[{"w": 1}, {"w": 2}])
    assert texts(found) == COLUMNS["prompt"]


def test_numbers_stored_as_bytes_or_decimals_are_read(tmp_path: Path) -> None:
    seeds = pa.array([b"5", b"6"])
    guidance = [decimal.Decimal("7.0"), decimal.Decimal("0.5")]
    found = report(tmp_path, evaluation_seed=seeds, evaluation_guidance=guidance).prompt_list
    assert found is not None
    assert [(row.seed, row.guidance) for row in found.rows] == [(5, 7.0), (6, 0.5)]


def test_error_about_a_single_column_does_not_quote_its_name(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"whatever": [["a"], ["b"]]}), path)
    (told,) = examine(path.read_bytes(), sized("ring-a-bell", 2), path).errors
    assert "its only column contains list<" in told
    assert "whatever" not in told
