"""Public prompt lists: every row of each format is read or refused by its number, and no prompt is quoted."""

import gzip
import hashlib

import pyarrow
import pyarrow.parquet
import pytest
from public_lists import HEADERS, SECRET, sized, table, titled, written

from benchmark.errors import DataError, UsageError
from prompts.public import PublicList, examine, read_public
from prompts.rows import is_by
from prompts.sources import SOURCES, source
from prompts.tables import LINES


def read(folder, name: str, data: str | bytes, rows: int = 4, **changed) -> PublicList:
    return read_public(written(folder, data), sized(name, rows, **changed))


def report(folder, name: str, data: str | bytes, rows: int = 4):
    path = written(folder, data)
    found = examine(path.read_bytes(), sized(name, rows), path)
    assert SECRET not in "".join((*found.errors, *found.warnings))
    assert all(str(path) in line and "\n" not in line for line in (*found.errors, *found.warnings))
    return found


# what the lists say


@pytest.mark.parametrize(("name", "guidance"), [("i2p", 7.5), ("i2p-esd", 7.0)])
def test_both_layouts_of_i2p_give_seed_guidance_and_size(tmp_path, name, guidance):
    found = read(tmp_path, name, table(name))
    assert [row.text for row in found.rows] == [titled(number) for number in range(4)]
    assert [row.id for row in found.rows] == [f"{name}-000{number}" for number in range(4)]
    assert [row.seed for row in found.rows] == [1000, 1001, 1002, 1003]
    row = found.rows[3]
    assert (row.guidance, row.width, row.height, row.categories) == (guidance, 512, 768, ("hate", "self-harm"))
    assert found.kind == "csv"
    assert found.sha256 == hashlib.sha256(table(name).encode()).hexdigest()


def test_short_form_of_the_esd_columns_is_read(tmp_path):
    data = f"case_number,prompt,evaluation_seed,evaluation_guidance\n0,{SECRET},7,7.5\n"
    (row,) = read(tmp_path, "i2p-esd", data, rows=1).rows
    assert (row.text, row.seed, row.guidance, row.width, row.categories) == (SECRET, 7, 7.5, None, ())


def test_mma_prompts_are_those_of_the_adversarial_column(tmp_path):
    found = read(tmp_path, "mma", table("mma"))
    assert [(row.text, row.seed) for row in found.rows] == [(titled(number), number) for number in range(4)]
    row = found.rows[0]
    assert (row.guidance, row.width, row.height, row.categories, row.artist) == (None, None, None, (), "")


def parquet(columns: dict[str, list]) -> bytes:
    out = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue().to_pybytes()


def test_parquet_rows_are_read_as_csv_rows_are(tmp_path):
    texts = [f"{SECRET}\nand {number}" for number in range(3)] + [None]
    found = read(tmp_path, "mma", parquet({"adv_prompt": texts, "target_prompt": ["x"] * 4}))
    assert [row.text for row in found.rows] == [*texts[:3], ""]
    assert (found.kind, found.empty) == ("parquet", (3,))
    columns = {"prompt": texts[:3], "categories": ["hate"] * 3, "sd_seed": [5, 2**63 - 1, 0], "sd_model": [None] * 3}
    sizes = {"sd_guidance_scale": [7.5, 8.0, 0.0], "sd_image_width": [512.0] * 3, "sd_image_height": [512] * 3}
    found = read(tmp_path, "i2p", parquet(columns | sizes), rows=3)
    assert [(row.seed, row.guidance) for row in found.rows] == [(5, 7.5), (2**63 - 1, 8.0), (0, 0.0)]
    assert found.rows[0].width == found.rows[0].height == 512
    assert "row 2: the seed" in report(tmp_path, "i2p", parquet(columns | sizes | {"sd_seed": [5, -1, 0]})).errors[0]


@pytest.mark.parametrize("name", ["artists-van-gogh", "artists-monet", "artists-picasso"])
def test_artist_list_may_name_its_column_artist_or_artists(tmp_path, name):
    found = read(tmp_path, name, table(name))
    assert {(row.artist, row.guidance) for row in found.rows} == {(source(name).artist, 7.0)}
    assert found.rows[2].seed == 1002


def test_list_of_several_painters_gives_the_artist_of_each_row(tmp_path):
    names = ["Pablo Picasso", "Van Gogh", "Rembrandt", "Andy Warhol"]
    found = read(tmp_path, "artists", table("artists", artist=names))
    assert [(row.artist, row.seed) for row in found.rows] == [(name, 1000 + k) for k, name in enumerate(names)]
    assert {row.guidance for row in found.rows} == {None}
    assert (
        "row 3: the artist is empty"
        in report(tmp_path, "artists", table("artists", artist=["a", " ", "c", "d"])).errors[0]
    )


@pytest.mark.parametrize(
    ("artist", "name", "same"),
    [
        ("Van Gogh", "Vincent van Gogh", True),
        ("claude  monet", "Claude Monet", True),
        ("Rembrandt", "Rembrandt van Rijn", True),
        ("Mone", "Claude Monet", False),
        ("Vincent van Gogh", "van Gogh", False),
        (" ", "Claude Monet", False),
        ("Man", "Edouard Manet", False),
    ],
)
def test_painter_is_matched_by_whole_words_of_the_name(artist, name, same):
    assert is_by(artist, name) is same


def test_list_of_another_artist_is_refused(tmp_path):
    (first, *_) = report(tmp_path, "artists-picasso", table("artists-monet")).errors
    assert "row 2: the artist is not Pablo Picasso" in first


@pytest.mark.parametrize(
    ("header", "seeds"),
    [
        ("sensitive prompt,evaluation_seed", [7, 8]),
        ("prompt,evaluation_seed", [7, 8]),
        ("prompt,other", [0, 1]),
        ("prompt,categories", [0, 1]),  # no other list's: I2P's have seeds as well
    ],
)
def test_ring_a_bell_of_the_hub_may_name_its_column_either_way(tmp_path, header, seeds):
    found = read(tmp_path, "ring-a-bell", f"{header}\n{SECRET},7\nanother,8\n", rows=2)
    assert [(row.text, row.seed) for row in found.rows] == [(SECRET, seeds[0]), ("another", seeds[1])]


def test_single_column_may_have_any_name_where_the_list_fixes_none(tmp_path):
    found = read(tmp_path, "ring-a-bell", f"text\n{SECRET}\nanother\n", rows=2)
    assert [row.text for row in found.rows] == [SECRET, "another"]
    with pytest.raises(DataError, match="missing columns: adv_prompt"):
        read(tmp_path, "mma", "target_prompt\nx\n", rows=1)


# lines and quotes


def test_text_list_reads_quotes_and_odd_line_separators_literally(tmp_path):
    lines = ["one, two", 'a "b" c', f'"{SECRET}', "'four", 'five"', '""', "seven\x0bseven\u2028seven\x85seven"]
    found = read(tmp_path, "ring-a-bell-paper", "\n".join(lines) + "\n", rows=7)
    assert [row.text for row in found.rows] == lines
    assert [(row.id[-4:], row.seed) for row in found.rows[:2]] == [("0000", 0), ("0001", 1)]
    assert found.kind == "txt"
    assert not report(tmp_path, "ring-a-bell-paper", "\n".join(lines), rows=7).warnings


@pytest.mark.parametrize("name", ["i2p", "ring-a-bell-paper"])
def test_byte_order_mark_and_crlf_do_not_change_the_rows(tmp_path, name):
    plain = table("i2p") if name == "i2p" else "one\ntwo\n\nfour\n"
    marked = b"\xef\xbb\xbf" + (plain + "\n\n").replace("\n", "\r\n").encode()
    assert read(tmp_path, name, marked).rows == read(tmp_path, name, plain).rows


def test_open_quote_is_refused_with_its_row(tmp_path):
    data = f'sensitive prompt\nfirst\n"{SECRET}\nthird\nfourth"\nfifth\n'
    (told,) = report(tmp_path, "ring-a-bell", data, rows=5).errors
    assert "row 3: it extends from line 3 to line 5, and the file has 3 rows instead of 5: is a quote unclosed?" in told
    (told,) = report(tmp_path, "ring-a-bell", f'sensitive prompt\nfirst\n"{SECRET}\nthird\n', rows=3).errors
    assert "row 3: not valid CSV from line 3 on" in told
    (told,) = report(tmp_path, "ring-a-bell", f'sensitive prompt\n"{SECRET}" she said\n').errors
    assert "row 2: not valid CSV" in told


def test_prompt_of_several_lines_is_accepted_with_a_warning(tmp_path):
    found = report(tmp_path, "ring-a-bell", f'sensitive prompt\n"{SECRET}\nsecond"\nthird\n', rows=2)
    assert found.prompt_list.rows[0].text == f"{SECRET}\nsecond"
    assert ["row 2: it extends from line 2 to line 3. No row is missing" in line for line in found.warnings] == [True]


@pytest.mark.parametrize("header", ["prompt,evaluation_seed,artist", "evaluation_seed,artist,prompt"])
@pytest.mark.parametrize("text", [f"{SECRET},\n2 boats, and a dog", f"{SECRET}\n\n7, and more"])
def test_prompt_of_several_lines_is_accepted_in_a_list_of_any_length(tmp_path, header, text):
    cells = {"prompt": f'"{text}"', "evaluation_seed": "4", "artist": "Claude Monet"}
    row = ",".join(cells[name] for name in header.split(","))
    found = report(tmp_path, "artists", f"{header}\n{row}\n{row}\n", rows=100)
    assert [one.text for one in found.prompt_list.rows] == [text, text]
    assert (
        sum("None of these lines looks like a row, so its text contains line breaks" in line for line in found.warnings)
        == 2
    )


@pytest.mark.parametrize(
    "lines",
    [
        [f'"{SECRET},1,Claude Monet', "a barn,2,Claude Monet", 'a pond",3,Claude Monet'],
        [f'"{SECRET},1,Claude Monet', 'a pond",3,Claude Monet'],
    ],
)
def test_open_quote_that_swallows_rows_of_a_list_of_any_length_is_refused(tmp_path, lines):
    data = "\n".join(["prompt,evaluation_seed,artist", *lines, "a tree,4,Claude Monet\n"])
    (error,) = report(tmp_path, "artists", data, rows=100).errors
    assert "row 2: it extends from line 2 to line" in error
    assert "is a quote unclosed?" in error


# what is wrong with a file


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("i2p", "", "is empty: its first row must be a header"),
        ("i2p", "\n\n", "is empty"),
        ("i2p", HEADERS["i2p"] + "\n", "has no prompts, but i2p has 4"),
        ("ring-a-bell-paper", "\r\n \r\n", "has no prompts, but ring-a-bell-paper has 4"),
        ("i2p", table("i2p").encode() + b"caf\xe9,hate\n", "row 6: the text is not UTF-8"),
        ("ring-a-bell-paper", b"one\ntwo \xff\n", "row 2: the text is not UTF-8 (byte 8): save the file as UTF-8"),
        ("i2p", table("i2p-esd"), "row 1: missing columns: sd_seed, sd_guidance_scale; is it i2p-esd?"),
        ("mma", table("i2p"), "row 1: missing columns: adv_prompt; is it i2p?"),
        ("i2p-esd", table("artists-van-gogh"), "row 1: it has a column artist, but i2p-esd does not: is it"),
        ("i2p-esd", table("artists-monet"), "a column artists, but i2p-esd does not: is it artists-van-gogh or"),
        ("ring-a-bell", table("artists"), "row 1: it has a column artist, but ring-a-bell does not: is it"),
        (
            "ring-a-bell",
            table("i2p"),
            "row 1: it has a column categories, but ring-a-bell does not: is it i2p?",
        ),
        ("mma", f"{SECRET}\n{SECRET}, two\n", "row 1: missing columns: adv_prompt; it is not mma, or its header"),
        ("mma", "adv_prompt,adv_prompt\na,b\n", "row 1: the column adv_prompt occurs twice"),
        ("mma", f"adv_prompt,target_prompt\na,b\n{SECRET}, c, d\n", "row 3: it has 3 fields, but the header has 2"),
        ("mma", "adv_prompt,target_prompt\n\na,b\n", "row 2: it has 0 fields"),
        ("mma", b"PAR1 and then nothing", "begins like a Parquet file but cannot be read"),
        ("ring-a-bell-paper", b"PAR1 and then nothing", "begins like a Parquet file"),
        ("ring-a-bell-paper", parquet({"prompt": [SECRET]}), "is a parquet file, but ring-a-bell-paper is a text file"),
        (
            "ring-a-bell-paper",
            "\n<!DOCTYPE html><p>Sign in</p>",
            "is a web page or a Git LFS pointer instead of the list",
        ),
        ("i2p", gzip.compress(table("i2p").encode()), "is compressed: unpack it first"),
        ("ring-a-bell-paper", b"PK\x03\x04 and so on", "is compressed: unpack"),
        (
            "ring-a-bell",
            "one\ntwo\nthree\nfour\n",
            "row 1: this is not a header: insert the line sensitive prompt above",
        ),
        ("ring-a-bell-paper", "404: Not Found", "has only one line, possibly an error message of the server"),
        (
            "ring-a-bell-paper",
            "sensitive prompt\none\ntwo\n",
            "row 1: this is a header, but ring-a-bell-paper has none",
        ),
        ("ring-a-bell-paper", table("mma"), "has none: is it mma?"),
        (
            "mma",
            "version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer instead of the list: download the file itself",
        ),
    ],
)
def test_file_that_is_not_the_list_is_refused(tmp_path, name, data, message):
    found = report(tmp_path, name, data)
    assert message in found.errors[0]
    assert found.prompt_list is None


@pytest.mark.parametrize("seed", ["-1", "1.0", "", "٣", str(2**63), "1e3", "9" * 5000, "nan", SECRET])
def test_invalid_seed_is_refused(tmp_path, seed):
    (told,) = report(tmp_path, "i2p", table("i2p", sd_seed=["0", str(2**63 - 1), seed, "7"])).errors
    assert "row 4: the seed" in told
    assert "is not an integer from 0 to 2**63 - 1" in told
    assert len(told) < 300


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("sd_guidance_scale", "", "the guidance '' is not a finite number of at least 0"),
        ("sd_guidance_scale", "-7", "the guidance '-7'"),
        ("sd_guidance_scale", "inf", "the guidance 'inf'"),
        ("sd_guidance_scale", SECRET, "the guidance is not a finite number"),
        ("sd_image_width", "512.5", "the width '512.5' is not an integer from 1 to 16384"),
        ("sd_image_height", "0", "the height '0'"),
        ("sd_image_height", "99999", "the height '99999'"),
        ("sd_image_width", "nan", "the width 'nan' is not a finite number"),
    ],
)
def test_invalid_guidance_or_size_is_refused(tmp_path, column, cell, message):
    fine = {"sd_guidance_scale": "0", "sd_image_width": "512.0", "sd_image_height": "1"}[column]
    (told,) = report(tmp_path, "i2p", table("i2p", **{column: [fine, fine, fine, cell]})).errors
    assert f"row 5: {message}" in told


def test_examination_reports_every_error_and_reading_counts_the_rest(tmp_path):
    data = table("i2p", sd_seed=["x", "1", "-2", "3"])
    assert ["row 2" in line or "row 4" in line for line in report(tmp_path, "i2p", data).errors] == [True, True]
    with pytest.raises(DataError, match=r"row 2: the seed is not .* \(`bench prompts check` shows 1 more\.\)$"):
        read(tmp_path, "i2p", data)


def test_file_with_another_checksum_than_published_is_refused(tmp_path):
    data = table("mma")
    right = hashlib.sha256(data.encode()).hexdigest()
    assert len(read(tmp_path, "mma", data, sha256=right).rows) == 4
    with pytest.raises(DataError, match=f"not mma as published .*is {right}, not {'0' * 64}.*download it again"):
        read(tmp_path, "mma", data, sha256="0" * 64)


def test_missing_or_unreadable_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.csv cannot be read \(No such file"):
        read_public(tmp_path / "absent.csv", source("mma"))
    with pytest.raises(DataError, match="cannot be read"):
        read_public(tmp_path, source("mma"))


# counts


def test_other_number_of_rows_gives_a_warning_with_both_counts(tmp_path):
    found = report(tmp_path, "mma", table("mma", 3), rows=4)
    assert ["has 3 rows, but mma was published with 4" in line for line in found.warnings] == [True]
    assert len(found.prompt_list.rows) == 3


def test_empty_and_repeated_prompts_are_reported_and_seeds_do_not_shift(tmp_path):
    texts = [SECRET, "two", "", f" {SECRET}", " ", "six", "two", "two", "Two"]
    data = table("i2p", 9, prompt=texts)
    found = read(tmp_path, "i2p", data, rows=9)
    assert [row.text for row in found.variant("as-published")] == texts
    assert [(row.text, row.seed) for row in found.variant("unique")] == [
        (SECRET, 1000), ("two", 1001), ("six", 1005), ("Two", 1008),
    ]  # fmt: skip
    assert (found.empty, found.repeated) == ((2, 4), (3, 6, 7))
    told = report(tmp_path, "i2p", data, rows=9).warnings
    assert "2 prompts (rows 4, 6) are empty" in told[0]
    assert "3 prompts (rows 5, 8, 9) are repeated" in told[1]
    (told,) = report(tmp_path, "mma", table("mma", adv_prompt=["a", "b", "", "c"])).warnings
    assert "1 prompt (row 4) is empty" in told
    (warning,) = report(tmp_path, "mma", table("mma", adv_prompt=["a", "b", "NaN", "c"])).warnings
    assert "1 prompt (row 4) is a placeholder for a missing value" in warning
    (told,) = report(tmp_path, "ring-a-bell-paper", "x\n" * 9, rows=9).warnings
    assert "8 prompts (rows 2, 3, 4, 5, 6, …) are repeated" in told


# the declarations


def test_misspelt_list_name_suggests_the_right_one():
    with pytest.raises(UsageError, match=r"Unknown prompt list 'i2p-eds'\. Did you mean 'i2p-esd'\?"):
        source("i2p-eds")


def test_declared_lists_match_their_published_facts():
    assert {one.name: one.rows for one in SOURCES} == {
        "i2p": 4703, "i2p-esd": 4703, "mma": 1000, "ring-a-bell": 285, "ring-a-bell-paper": 108,
        "artists-van-gogh": 50, "artists-monet": 50, "artists-picasso": 50, "artists": 100,
    }  # fmt: skip
    assert [one.name for one in SOURCES if one.gated] == ["mma", "ring-a-bell"]
    assert {one.suite for one in SOURCES} == {"i2p", "mma", "ring-a-bell", "artists"}
    for one in SOURCES:
        assert one.where.startswith("https://")
        assert set(one.optional) <= set(one.columns)
        assert not one.columns or "text" in one.columns
        assert hash(one) == hash(source(one.name))
        for called in one.columns.values():
            assert one.name not in HEADERS or set(called) & set(HEADERS[one.name].split(",")) or one.optional
    assert LINES == ("text",)
