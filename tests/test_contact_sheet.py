"""Contact sheets show each image uncut in its row and column, and blur it on request."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.contact_sheet import (
    Block,
    Heading,
    _font,
    _width,
    _wrap,
    arrange,
    contact_sheet,
    draw,
    write_contact_sheet,
)
from benchmark.errors import DataError
from benchmark.figures.sheet_pdf import pdf_bytes
from benchmark.generation.sheet_columns import COLUMNS, chosen
from prompts.lists import Prompt

SIZE = 24


def _image(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), colour, dtype=np.uint8)


def _places(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Box (left, top, right, bottom) of all pixels of one colour; fails if there are none."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    assert len(rows), f"{colour} is nowhere on the sheet"
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_images_stand_in_the_row_of_their_model_and_the_column_of_their_prompt() -> None:
    colours = {"base": [(255, 0, 0), (0, 255, 0)], "bilevel": [(0, 0, 255), (255, 255, 0)]}
    rows = {label: [_image(colour) for colour in row] for label, row in colours.items()}
    sheet = contact_sheet(rows, ["a", "b"], scale=3)
    boxes = {label: [_places(sheet, colour) for colour in row] for label, row in colours.items()}
    for row in boxes.values():
        for left, top, right, bottom in row:
            assert (right - left, bottom - top) == (3 * SIZE, 3 * SIZE), "an image is cut or covered"
        assert row[0][2] < row[1][0]
        assert row[0][1] == row[1][1]
    assert boxes["base"][0][3] < boxes["bilevel"][0][1]
    assert boxes["base"][0][0] == boxes["bilevel"][0][0]


def test_nearest_keeps_pixels_exact() -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    plain = contact_sheet({"base": [pixels]}, ["a"], scale=2, resample="nearest")
    expected = pixels.repeat(2, axis=0).repeat(2, axis=1)
    whole = np.asarray(plain)
    side = 2 * SIZE
    found = whole[-16 - side : -16, -16 - side : -16]
    np.testing.assert_array_equal(found, expected)


def test_blurred_images_cannot_be_read() -> None:
    checks = np.indices((SIZE, SIZE)).sum(axis=0) % 2
    pixels = np.repeat((255 * checks)[:, :, None], 3, axis=2).astype(np.uint8)
    side = 2 * SIZE

    def inside(blurred: bool) -> np.ndarray:
        sheet = contact_sheet({"base": [pixels]}, ["a"], resample="nearest", blurred=blurred)
        return np.asarray(sheet)[-16 - side : -16, -16 - side : -16]

    assert inside(blurred=False).std() > 100
    assert inside(blurred=True).std() < 5


@pytest.mark.parametrize(
    "images",
    [[_image((1, 2, 3))], [_image((1, 2, 3)), np.zeros((SIZE, SIZE + 1, 3), np.uint8)],
     [_image((1, 2, 3)), np.zeros((SIZE, SIZE, 3), np.float32)], [_image((1, 2, 3)), np.zeros((SIZE, SIZE), np.uint8)]],
    ids=["one missing", "another size", "float", "grey"],
)  # fmt: skip
def test_missing_or_odd_image_is_refused_with_the_label_of_its_row(images: list[np.ndarray]) -> None:
    with pytest.raises(DataError, match="bilevel"):
        contact_sheet({"base": [_image((0, 0, 0))] * 2, "bilevel": images}, ["a", "b"])


def test_empty_sheet_is_refused() -> None:
    with pytest.raises(DataError):
        contact_sheet({}, [])


def test_long_captions_stay_in_their_column_and_lose_no_word() -> None:
    caption = "a red mug and a blue boat under a crescent moon by Katsushika Hokusai"
    lines = _wrap(caption, _font(13), 128)
    assert all(_width(line, _font(13)) <= 128 for line in lines)
    assert " ".join(lines) == caption
    assert _wrap("Donaudampfschifffahrtsgesellschaft", _font(13), 60)[0].endswith("…")
    assert _wrap("", _font(13), 60) == [""]


def test_artists_accents_are_drawn() -> None:
    font = _font(13)
    missing = font.getmask("\uffff").getbbox(), bytes(font.getmask("\uffff"))
    for letter in "éóí×–":
        assert (font.getmask(letter).getbbox(), bytes(font.getmask(letter))) != missing, letter


RED, GREEN = (200, 10, 10), (10, 120, 90)


def two_blocks() -> list[Block]:
    """Blocks of three and of two columns, the first with two headings."""
    rows = {name: [_image((20 * row + 5 * k, 9, 9)) for k in range(3)] for row, name in enumerate(("base", "bilevel"))}
    first = Block(rows, ["a", "b", "c"], [Heading("gone", 1, RED), Heading("kept", 2, GREEN)])
    return [first, Block({name: images[:2] for name, images in rows.items()}, ["d", "e"])]


def test_headings_stand_above_their_columns_and_apart() -> None:
    sheet = arrange(two_blocks(), (48, 48), "title")
    xs = sorted({picture.x for picture in sheet.pictures[:6]})
    red, green = sheet.rules
    assert (red.colour, red.x, red.width) == (RED, xs[0], 48)
    assert (green.colour, green.x, green.x + green.width) == (GREEN, xs[1], xs[2] + 48)
    assert xs[1] - xs[0] > xs[2] - xs[1] > 48
    top = min(picture.y for picture in sheet.pictures)
    assert red.y == green.y < top
    words = {text.text: text for text in sheet.texts}
    assert words["gone"].y < red.y < words["a"].y < top
    assert _places(draw(sheet), RED)[0] == red.x


def test_blocks_stand_below_each_other_with_the_labels_of_their_rows() -> None:
    sheet = arrange(two_blocks(), (48, 48))
    upper, lower = sheet.pictures[:6], sheet.pictures[6:]
    assert len(lower) == 4
    assert max(picture.y + picture.height for picture in upper) < min(picture.y for picture in lower)
    assert [text.text for text in sheet.texts].count("bilevel") == 2
    assert all(picture.x + picture.width < sheet.width for picture in sheet.pictures)
    assert max(picture.y + picture.height for picture in lower) < sheet.height


def test_long_label_is_wrapped_and_loses_no_word() -> None:
    label = "uce (kept_names=half:0, own text encoder and tokenizer)"
    sheet = arrange([Block({label: [_image((1, 2, 3))]}, [""])], (48, 48))
    lines = [text.text for text in sheet.texts if text.text]
    assert len(lines) > 1
    assert " ".join(lines) == label


def test_pdf_holds_every_picture_and_equal_sheets_are_equal_files() -> None:
    sheet = arrange(two_blocks(), (48, 48), "forgetting $10 of Joan Miró")
    data = pdf_bytes(sheet)
    assert data.startswith(b"%PDF")
    assert data.count(b"/Subtype /Image") == len(sheet.pictures) == 10
    assert data == pdf_bytes(arrange(two_blocks(), (48, 48), "forgetting $10 of Joan Miró"))
    assert data != pdf_bytes(arrange(two_blocks(), (48, 48), "another title"))


def test_sheet_of_a_run_shows_at_most_eight_prompts_of_each_side() -> None:
    parts = ["probes", *["targets"] * 9, *["kept"] * 9, *["implicit"] * 9, *["neighbours"] * 9]
    prompts = [Prompt(f"p{k}", f"text {k}", k, part) for k, part in enumerate(parts)]
    columns = {side: [prompts[k].part for k in rows] for side, rows in chosen(prompts).items()}
    assert columns == {
        True: ["targets"] * 6 + ["implicit"] * 2,
        False: ["neighbours"] * 3 + ["kept"] * 5,
    }
    few = {side: [prompts[k].part for k in rows] for side, rows in chosen(prompts[:10]).items()}
    assert few == {True: ["targets"] * 8}  # free columns are filled
    plain = [Prompt(f"p{k}", "", k, "retention") for k in range(20)]
    assert chosen(plain) == {False: list(range(COLUMNS))}


def test_interrupted_write_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = contact_sheet({"base": [_image((9, 9, 9))]}, ["a"], title="bilevel, mini")
    path = write_contact_sheet(tmp_path / "reports" / "sheet.png", sheet)
    before = path.read_bytes()

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.store.durable.os.replace", cut)
    with pytest.raises(KeyboardInterrupt):
        write_contact_sheet(path, sheet.rotate(90))
    assert path.read_bytes() == before
    with Image.open(path) as read:
        assert read.size == sheet.size
