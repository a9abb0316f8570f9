"""Caption tables: rows without text are refused by file and row, and every caption is read whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from miniature import write_coco
from PIL import Image

from benchmark.errors import DataError
from benchmark.testbeds.stable_diffusion.captions import count_pictures, read_split


def own(folder: Path, text: str | bytes, form: str = "csv") -> Path:
    """A folder of one's own pictures, `0.png` to `3.png`, with this table."""
    (folder / "train").mkdir(exist_ok=True)
    for number in range(4):
        Image.new("RGB", (9, 9)).save(folder / "train" / f"{number}.png")
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "train" / f"metadata.{form}").write_bytes(data)
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_split(folder, "train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            "0.png,a boat\n1.png,a red mill, at dusk\n",
            "row 3: 3 fields, but the header has 2; quote texts that contain commas",
        ),
        ("0.png,a boat\n1.png\n", "row 3: 1 fields, but the header has 2"),
        ("0.png,a boat\n\n1.png,a mill\n", "row 3: 0 fields"),
        ("0.png,a boat\n1.png,\n", "row 3: the text is empty"),
        ('0.png,a boat\n1.png," "\n', "row 3: the text is empty"),
        (",a boat\n", "row 2: the file_name is empty"),
        ('0.png,a boat\n1.png,"a mill\n', "row 3: not valid CSV from line 3 on"),
    ],
)
def test_incomplete_row_is_refused_with_its_number(rows: str, told: str, tmp_path: Path) -> None:
    found = refused(own(tmp_path, f"file_name,text\n{rows}"))
    assert f"metadata.csv, {told}" in found


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("file_name;text", "its columns are separated by semicolons: save the file with commas"),
        ("file_name\ttext", "its columns are separated by tabs: save the file with commas"),
        ("file_name,caption", "the column text is missing"),
        ("file_name,text,text", "the column text is duplicate"),
    ],
)
def test_a_header_without_its_columns_is_refused(header: str, told: str, tmp_path: Path) -> None:
    assert f"metadata.csv, row 1: {told}" in refused(own(tmp_path, f"{header}\n0.png,a,b\n"))


@pytest.mark.parametrize("text", ["NaN", "nan", " None ", "NULL", "<NA>"])
def test_missing_value_is_not_read_as_a_caption(text: str, tmp_path: Path) -> None:
    message = f"the text is '{text.strip()}', a missing value; fill it in or remove the"
    assert f"row 3: {message}" in refused(own(tmp_path, f"file_name,text\n0.png,a boat\n1.png,{text}\n"))
    (tmp_path / "train" / "metadata.csv").unlink()
    line = json.dumps({"file_name": "0.png", "text": text})
    assert f"line 1: {message}" in refused(own(tmp_path, line, "jsonl"))
    path = write_coco(tmp_path / "coco") / "annotations" / "captions_train2017.json"
    annotations = json.loads(path.read_text())
    annotations["annotations"][0]["caption"] = text
    path.write_text(json.dumps(annotations))
    assert len(read_split(tmp_path / "coco", "train").captions) == 11


@pytest.mark.parametrize("second", ["train/metadata.jsonl", "annotations/captions_train2014.json"])
def test_two_files_of_captions_are_refused_by_name(second: str, tmp_path: Path) -> None:
    folder = own(tmp_path, "file_name,text\n0.png,a boat\n")
    (folder / second).parent.mkdir(exist_ok=True)
    (folder / second).write_text("{}")
    message = refused(folder)
    assert "has several files of train captions" in message
    assert second in message
    assert "train/metadata.csv" in message


def test_two_spellings_of_a_path_are_one_picture(tmp_path: Path) -> None:
    split = read_split(own(tmp_path, "file_name,text\n0.png,a boat\n./0.png,a hill\n1.png,a mill\n"), "train")
    assert [file.name for file in split.files] == ["0.png", "1.png"]
    assert split.captions == ((0, "a boat"), (0, "a hill"), (1, "a mill"))


def test_folder_named_like_a_picture_is_refused(tmp_path: Path) -> None:
    folder = own(tmp_path, "file_name,text\nd.png,a boat\n")
    (folder / "train" / "d.png").mkdir()
    assert "1 of the 1 pictures" in refused(folder)


def test_a_table_that_is_not_utf8_or_no_table_is_refused(tmp_path: Path) -> None:
    assert "row 2: the text is not UTF-8" in refused(own(tmp_path, "file_name,text\n0.png,a café\n".encode("latin-1")))
    assert "web page" in refused(own(tmp_path, "<!DOCTYPE html>"))
    (tmp_path / "train" / "metadata.csv").unlink()
    told = refused(own(tmp_path, b'{"file_name": "0.png", "text": "caf\xe9"}', "jsonl"))
    assert "metadata.jsonl, line 1: not UTF-8" in told


def test_other_columns_quotes_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = '\ufeffid,file_name,text\r\n7,0.png,"a red mill, at dusk"\r\n8,1.png,"a ""quiet""\nhill"\r\n\r\n'
    split = read_split(own(tmp_path, text), "train")
    assert [caption for _, caption in split.captions] == ["a red mill, at dusk", 'a "quiet" hill']


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"file_name": "1.png", "text": None}, "the text is null, which is not a string"),
        ({"file_name": "1.png", "text": 5}, "the text is 5, which is not a string"),
        ({"file_name": "1.png", "text": ["a", "b"]}, 'the text is ["a", "b"], which is not a string'),
        ({"file_name": "1.png", "text": True}, "the text is true"),
        ({"file_name": "1.png", "text": " "}, "the text is empty"),
        ({"file_name": None, "text": "a"}, "the file_name is null"),
        ({"file_name": "1.png"}, "text is missing"),
        (["1.png", "a"], "not a JSON object with file_name and text"),
        ("1.png", "not a JSON object"),
    ],
)
def test_invalid_entry_of_json_lines_is_refused_with_its_line(entry: Any, told: str, tmp_path: Path) -> None:
    lines = [json.dumps({"file_name": "0.png", "text": "a boat"}), "", json.dumps(entry)]
    assert f"metadata.jsonl, line 3: {told}" in refused(own(tmp_path, "\n".join(lines), "jsonl"))


@pytest.mark.parametrize(
    ("part", "key", "value", "told"),
    [
        ("annotations", "caption", None, "annotations[1]: the caption is null, which is not a string"),
        ("annotations", "caption", 3.5, "annotations[1]: the caption is 3.5"),
        ("annotations", "image_id", 1.5, "annotations[1]: the image_id is 1.5, which is not an integer"),
        ("annotations", "image_id", True, "annotations[1]: the image_id is true"),
        ("annotations", "image_id", 99, "belongs to image 99, which is not among the images"),
        ("images", "file_name", None, "images[1]: the file_name is null"),
        ("images", "id", 100, "two images have the id 100"),
    ],
)
def test_invalid_entry_of_coco_annotations_is_refused(part: str, key: str, value: Any, told: str, tmp_path) -> None:
    path = write_coco(tmp_path) / "annotations" / "captions_train2017.json"
    annotations = json.loads(path.read_text())
    annotations[part][1][key] = value
    path.write_text(json.dumps(annotations))
    found = refused(tmp_path)
    assert "captions_train2017.json" in found
    assert told in found


def test_coco_ids_may_be_text_and_blank_captions_are_left_out(tmp_path: Path) -> None:
    path = write_coco(tmp_path) / "annotations" / "captions_train2017.json"
    annotations = json.loads(path.read_text())
    annotations["annotations"][0] |= {"image_id": "100", "caption": " \n"}
    path.write_text(json.dumps(annotations))
    assert len(read_split(tmp_path, "train").captions) == 11
    assert count_pictures(path) == 6


def test_pictures_of_a_table_are_counted_by_name_not_by_line(tmp_path: Path) -> None:
    folder = own(tmp_path, 'file_name,text\n0.png,"two\nlines"\n0.png,again\n1.png,a hill\n')
    assert count_pictures(folder / "train" / "metadata.csv") == 2
