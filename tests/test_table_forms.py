"""Prompt lists and captions in an unsupported file format are refused by the name of the format, with a remedy."""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from benchmark.errors import DataError
from benchmark.testbeds.stable_diffusion.captions import read_split
from prompts.tables import read_table


def zipped(**files: str) -> bytes:
    """A zip of files, whose names have `__` where a folder ends."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return out.getvalue()


ROWS = "file_name,text\n0.png,a boat\n"
JSON_LINES = b'{"file_name": "0.png", "text": "a boat"}\n{"file_name": "1.png", "text": "a hill"}\n'
FORMS = {
    "Excel": (zipped(xl__workbook="x"), "is a spreadsheet: save it as CSV."),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "is a spreadsheet: save it as CSV."),
    "LibreOffice": (zipped(mimetype="application/vnd.oasis.opendocument.spreadsheet"), "is a spreadsheet: save it as"),
    "Numbers": (zipped(Index__Document=""), "is compressed: unpack it first."),
    "JSON lines": (JSON_LINES, "is JSON lines: save it as CSV."),
    "JSON lines with a mark": (b"\xef\xbb\xbf" + JSON_LINES, "is JSON lines: save it as CSV."),
    "JSON": (b'[\n {"prompt": "a boat"}\n]\n', "is JSON: save it as CSV."),
    "JSON in one line": (b'{"prompt": ["a boat"]}\n', "is JSON: save it as CSV."),
    "PDF": (b"%PDF-1.4 and so on", "is a PDF: save it as CSV."),
    "gzip": (gzip.compress(ROWS.encode()), "is compressed: unpack it first."),
    "zip": (zipped(table=ROWS), "is compressed: unpack it first."),
    "cut zip": (zipped(xl__workbook="x")[:40], "is compressed: unpack it first."),
    "bzip2": (bz2.compress(ROWS.encode()), "is compressed: unpack it first."),
    "xz": (lzma.compress(ROWS.encode()), "is compressed: unpack it first."),
}


@pytest.mark.parametrize("headed", [True, False], ids=["table", "lines"])
@pytest.mark.parametrize(("data", "sentence"), FORMS.values(), ids=FORMS)
def test_file_of_unsupported_format_is_refused_by_its_format(data: bytes, sentence: str, headed: bool) -> None:
    with pytest.raises(DataError) as refusal:
        read_table(data, Path("a.csv"), headed)
    assert str(refusal.value).startswith(f"a.csv {sentence}")


@pytest.mark.parametrize("form", ["Excel", "JSON lines", "gzip"])
def test_captions_of_unsupported_format_are_refused_by_their_format(form: str, tmp_path: Path) -> None:
    data, sentence = FORMS[form]
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "metadata.csv").write_bytes(data)
    with pytest.raises(DataError) as refusal:
        read_split(tmp_path, "val")
    assert sentence in str(refusal.value)


@pytest.mark.parametrize("text", ["{a boat} by the sea", "[a boat], by the sea", "{", '{"a"\nb'])
def test_prompts_with_brackets_are_not_taken_for_json(text: str) -> None:
    assert read_table(text.encode(), Path("a.txt"), headed=False).rows[0] == [text.split("\n")[0]]
    assert read_table(f"prompt\n{text}\n".encode(), Path("a.csv"), headed=True).header == ("prompt",)
