"""Contact sheets show each image uncut in its row and column, and blur it on request."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.contact_sheet import _font, _width, _wrap, contact_sheet, write_contact_sheet
from benchmark.errors import DataError

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
