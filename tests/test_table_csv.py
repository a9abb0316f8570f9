"""CSV tables: one line per model, raw values, the names of the JSON columns, notes on standard error."""

import csv
import io
import json
from pathlib import Path

import pytest
from record_examples import cell, record
from test_cli import bench

from benchmark.tables.render_csv import SETTINGS, print_csv
from benchmark.tables.select import Found
from benchmark.tables.table1_styles import table

RECORDS = ["--records", str(Path(__file__).parents[1] / "results" / "mini" / "records")]
TABLES = {
    "table": ["table"],
    "long": ["table", "--long", "--all"],
    "seeds": ["table", "--over-seeds"],
    "table 2": ["table", "2"],
    "table 3": ["table", "3"],
}


def lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("words", TABLES.values(), ids=TABLES)
def test_csv_has_the_values_and_names_of_json(words: list[str]) -> None:
    rows = json.loads(bench(*words, *RECORDS, "--format", "json").stdout)["rows"]
    result = bench(*words, *RECORDS, "--format", "csv")
    read = lines(result.stdout)
    assert [line["label"] for line in read] == [row["label"] for row in rows]
    assert len({len(line) for line in csv.reader(io.StringIO(result.stdout, newline=""))}) == 1
    for line, row in zip(read, rows, strict=True):
        assert (line["method"], line["source"], int(line["seed"])) == (row["method"], row["source"], row["seed"])
        assert line["targets"].split("; ") == row["targets"]
        assert json.loads(line["budget"]) == row["budget"]
        for key, value in row["cells"].items():
            assert float(line[key]) == value["value"]
            assert line[f"{key}_n"] == ("" if value["n"] is None else str(value["n"]))
            if "ci" in value:
                assert float(line[f"{key}_half_width"]) == pytest.approx((value["ci"][1] - value["ci"][0]) / 2)
                assert [float(line[f"{key}_low"]), float(line[f"{key}_high"])] == value["ci"]
            assert line.get(f"{key}_name", "") == value.get("name", "")


def test_csv_has_no_notes_but_standard_error_has_them() -> None:
    result = bench("table", *RECORDS, "--format", "csv")
    assert "relative to" not in result.stdout
    assert "CP and CSD are relative to: distilled." in result.stderr


def test_comparison_has_one_line_per_column() -> None:
    words = ["compare", "bilevel", "esd", *RECORDS, "--long"]
    figures = json.loads(bench(*words, "--format", "json").stdout)["figures"]
    result = bench(*words, "--format", "csv")
    read = lines(result.stdout)
    assert [line["column"] for line in read] == list(figures)
    for line in read:
        contrast = figures[line["column"]]
        assert float(line["difference"]) == contrast["difference"]
        assert (line["left_label"], line["right_label"], line["over"]) == ("bilevel", "esd", contrast["over"])
        assert float(line["half_width"]) == pytest.approx((contrast["ci"][1] - contrast["ci"][0]) / 2)
        assert [float(line["low"]), float(line["high"])] == contrast["ci"]
    assert "10 pairs of runs" in result.stderr


def printed(*found: Found, **options) -> str:
    out = io.StringIO(newline="")
    print_csv(table(found, "mini", "artists", **options), out)
    return out.getvalue()


def test_labels_are_quoted_as_in_rfc_4180() -> None:
    label = 'a, "b"\nc; é'
    text = printed((record("bilevel", label=label), "local"))
    assert '"a, ""b""\nc; é"' in text
    assert text.endswith("\r\n")
    assert lines(text)[0]["label"] == label


def test_column_of_a_plugin_never_replaces_a_setting() -> None:
    values = {"clip": 26.0, "label": cell("label", 0.5, higher_is_better=True)}
    text = printed((record("bilevel", values=values), "local"), long=True)
    header = next(csv.reader([text.splitlines()[0]]))
    assert len(set(header)) == len(header)
    (line,) = lines(text)
    assert (line["label"], line["artists_label"]) == ("bilevel", "0.5")
    assert header[: len(SETTINGS)] == list(SETTINGS)


def test_values_of_the_paper_are_columns_of_their_own() -> None:
    read = lines(printed((record("bilevel"), "local"), paper=True))
    assert (read[0]["csd"], read[0]["csd_paper"]) == ("39.04", "39.04")
    assert {line["label"] for line in read[1:]} == {line["label"] for line in read if line["source"] == "paper"}
    assert all(not line["csd"] for line in read[1:])


def test_pandas_reads_numbers(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "table.csv"
    path.write_text(bench("table", "--long", *RECORDS, "--format", "csv").stdout, "utf-8", newline="")
    frame = pandas.read_csv(path)
    assert frame["clip"].dtype == float
    assert frame["clip_n"].dtype.kind == "i"
    assert frame["flops"].dtype == float
