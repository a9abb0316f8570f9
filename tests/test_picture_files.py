"""Image files of every format are read as viewers show them, or refused."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import DataError
from benchmark.testbeds.stable_diffusion import picture_files
from benchmark.testbeds.stable_diffusion.picture_files import check, checksums, read_rgb

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def written(folder: Path, name: str, picture: Image.Image, **options: Any) -> Path:
    picture.save(folder / name, **options)
    return folder / name


def pixels(file: Path) -> np.ndarray:
    """What is read of a file that `check` takes, (h, w, 3)."""
    check(file, file.read_bytes())
    picture = read_rgb(file)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, 2)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("deep.png", RAMP.astype(np.uint16) * 257),
        ("deep.tiff", RAMP.astype(np.uint16) * 257),
        ("big-endian.tiff", (RAMP.astype(np.uint16) * 257).astype(">u2")),
        ("float.tiff", RAMP.astype(np.float32) / 255),
        ("plain.png", RAMP),
    ],
)
def test_high_bit_depths_are_converted_to_eight_bits(name: str, values: np.ndarray, tmp_path: Path) -> None:
    assert np.array_equal(pixels(written(tmp_path, name, Image.fromarray(values))), grey(RAMP))


def tiff(folder: Path, values: bytes, bits: int, kind: int, zero: int) -> Path:
    """A grey TIFF of 6 x 4 pixels; `kind` 1 is whole numbers, 3 floating point; `zero` 0 is white, 1 black."""
    fields = {256: 6, 257: 4, 258: bits, 259: 1, 262: zero, 273: 8, 277: 1, 278: 4, 279: len(values), 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    file = folder / f"{bits}-{kind}-{zero}.tiff"
    directory = struct.pack("<H", len(fields)) + entries + bytes(4)
    file.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(values)) + values + directory)
    return file


def twelve_bits(values: np.ndarray) -> bytes:
    """Two pixels in three bytes."""
    first, second = values.reshape(-1, 2).astype(int).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8).tobytes()


@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize(
    ("bits", "kind", "values"),
    [
        (8, 1, RAMP.tobytes()),
        (12, 1, twelve_bits(RAMP.astype(int) * 16 + 15)),
        (16, 1, (RAMP.astype("<u2") * 257).tobytes()),
        (32, 3, (RAMP.astype("<f4") / 255).tobytes()),
    ],
)
def test_grey_tiff_follows_its_photometric_interpretation(
    bits: int, kind: int, values: bytes, zero: int, tmp_path: Path
) -> None:
    file = tiff(tmp_path, values, bits, kind, zero)
    if (bits, zero) == (12, 0):  # Pillow knows no such form
        with pytest.raises(DataError, match="cannot be read"):
            read_rgb(file)
    else:
        assert np.array_equal(pixels(file), grey(RAMP if zero else 255 - RAMP))


@pytest.mark.parametrize("values", [np.full((4, 6), value, np.float32) for value in (1.5, -0.1, np.nan, np.inf)])
def test_floats_outside_0_to_1_are_refused(values: np.ndarray, tmp_path: Path) -> None:
    file = written(tmp_path, "float.tiff", Image.fromarray(values))
    with pytest.raises(DataError, match=r"float\.tiff cannot be read \(floating point with values outside 0 to 1"):
        read_rgb(file)
    with pytest.raises(DataError, match="outside 0 to 1"):
        check(file, file.read_bytes())


@pytest.mark.parametrize("picture", [Image.fromarray(np.ones((4, 6), np.int32)), Image.new("LAB", (6, 4))])
def test_images_of_unknown_range_or_colour_space_are_refused(picture: Image.Image, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="save it as RGB with 8 or 16 bits"):
        read_rgb(written(tmp_path, "strange.tiff", picture))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.tiff", {}), ("b.tiff", {"compression": "tiff_lzw"}), ("a.webp", {"lossless": True})],
)
def test_exif_orientation_is_applied_once(name: str, options: dict, turn: int, tmp_path: Path) -> None:
    turned = {
        1: RAMP, 2: RAMP[:, ::-1], 3: np.rot90(RAMP, 2), 4: RAMP[::-1], 5: RAMP.T, 6: np.rot90(RAMP, -1),
        7: np.rot90(RAMP, 2).T, 8: np.rot90(RAMP, 1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[274] = turn
    picture = Image.fromarray(grey(RAMP) if name.endswith("webp") else RAMP)
    assert np.array_equal(pixels(written(tmp_path, name, picture, exif=exif, **options)), grey(turned[turn]))


def test_unreadable_exif_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    file = written(tmp_path, "turned.jpg", Image.new("RGB", (16, 8), RED), exif=exif)
    data = file.read_bytes()
    assert read_rgb(file).size == (8, 16)
    file.write_bytes(data.replace(b"Exif\0\0MM\0*", b"Exif\0\0MM\0!"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_rgb(file).size == (16, 8)


def palette() -> Image.Image:
    """Red, its last pixel green; red is number 0."""
    picture = Image.new("P", (6, 4))
    picture.putpalette([*RED, *GREEN, *[0] * (3 * 254)])
    picture.putpixel((5, 0), 1)
    return picture


def half_clear() -> np.ndarray:
    """Green, but clear black in its left half."""
    values = np.zeros((4, 6, 4), np.uint8)
    values[:, 3:] = (*GREEN, 255)
    return values


@pytest.mark.parametrize(
    ("name", "picture", "options"),
    [
        ("a.png", Image.fromarray(half_clear()), {}),
        ("a.webp", Image.fromarray(half_clear()), {"lossless": True}),
        ("a.tiff", Image.fromarray(half_clear()), {}),
        ("palette.png", palette(), {"transparency": 0}),
        ("palette-alphas.png", palette(), {"transparency": b"\x00\xff"}),
        ("a.gif", palette(), {"transparency": 0}),
    ],
)
def test_transparent_pixels_become_white(name: str, picture: Image.Image, options: dict, tmp_path: Path) -> None:
    found = pixels(written(tmp_path, name, picture, **options))
    assert tuple(found[0, 0]) == WHITE
    assert tuple(found[0, 5]) == GREEN


def test_transparent_colour_or_grey_becomes_white(tmp_path: Path) -> None:
    colour = written(tmp_path, "rgb.png", Image.new("RGB", (6, 4), RED), transparency=RED)
    shade = written(tmp_path, "grey.png", Image.new("L", (6, 4), 7), transparency=7)
    veil = written(tmp_path, "veil.png", Image.new("LA", (6, 4), (0, 127)))
    assert tuple(pixels(colour)[0, 0]) == tuple(pixels(shade)[0, 0]) == WHITE
    assert pixels(veil)[0, 0].tolist() == [128] * 3


def png(folder: Path, depth: int, colour: int, row: bytes, clear: bytes) -> Path:
    """A PNG of 4 x 1 pixels in which the colour `clear` is transparent; `colour` is PNG's kind, 0 grey or 2 RGB."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head, body = struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0), zlib.compress(b"\0" + row)
    chunks = chunk(b"IHDR", head) + chunk(b"tRNS", clear) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return folder / "a.png"


@pytest.mark.parametrize(
    ("depth", "row", "clear", "shades"),
    [
        (1, b"\x50", 1, [0, 255, 0, 255]),
        (1, b"\x50", 0, [255, 255, 255, 255]),
        (2, b"\x1b", 1, [0, 255, 170, 255]),
        (4, b"\x12\x34", 2, [17, 255, 51, 68]),
        (8, b"\x01\x02\x03\x04", 2, [1, 255, 3, 4]),
        (16, b"\x01\x00\x02\x00\x02\x01\x04\x00", 512, [1, 255, 2, 4]),
    ],
)
def test_transparent_grey_becomes_white_at_every_bit_depth(
    depth: int, row: bytes, clear: int, shades: list[int], tmp_path: Path
) -> None:
    picture = pixels(png(tmp_path, depth, 0, row, struct.pack(">H", clear)))
    assert picture[0, :, 0].tolist() == shades


def test_transparent_colour_in_16_bit_rgb_is_refused(tmp_path: Path) -> None:
    file = png(tmp_path, 16, 2, b"\x02\x01" * 12, struct.pack(">HHH", 512, 512, 512))
    with pytest.raises(DataError, match="a transparent colour in 16-bit RGB, save it with an alpha channel"):
        read_rgb(file)


@pytest.mark.parametrize("name", ["a.jpg", "a.tiff"])
def test_cmyk_is_converted_without_a_colour_profile(name: str, tmp_path: Path) -> None:
    found = pixels(written(tmp_path, name, Image.new("CMYK", (8, 8), (0, 255, 255, 0))))
    assert np.abs(found.astype(int) - RED).max() <= 2


def test_palette_and_one_bit_images_keep_their_colours(tmp_path: Path) -> None:
    found = pixels(written(tmp_path, "p.png", palette()))
    assert (tuple(found[0, 0]), tuple(found[0, 5])) == (RED, GREEN)
    assert tuple(pixels(written(tmp_path, "one.png", Image.new("1", (6, 4), 1)))[0, 0]) == WHITE


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tiff"])
def test_the_first_frame_of_an_animation_is_read(name: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in (RED, GREEN)]
    options = {"lossless": True} if name.endswith("webp") else {}
    file = written(tmp_path, name, frames[0], save_all=True, append_images=frames[1:], **options)
    assert tuple(pixels(file)[0, 0]) == RED


def test_icc_profile_is_ignored(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    file = written(tmp_path, "a.png", Image.fromarray(grey(RAMP)), icc_profile=profile)
    assert np.array_equal(pixels(file), grey(RAMP))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif", "a.tiff"])
def test_truncated_image_fails_its_check(name: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    file = written(tmp_path, name, Image.fromarray(noise))
    whole = file.read_bytes()
    check(file, whole)
    with pytest.raises(DataError):
        check(file, whole[: len(whole) // 2])


def test_broken_images_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    good = written(tmp_path, "a.png", Image.fromarray(RAMP))
    (tmp_path / "b.png").touch()
    (tmp_path / "c.png").symlink_to("nowhere")
    (tmp_path / "d.png").write_text("<html>")
    files = [tmp_path / name for name in ("d.png", "c.png", "b.png", "a.png")]
    with pytest.raises(DataError, match=r"3 of the 4 val pictures cannot be read.*b\.png \(it is empty\)"):
        checksums(tmp_path / "runs", files, "val")
    for file, why in ((files[1], "it is a link to a missing file"), (files[0], "Pillow does not know its format")):
        with pytest.raises(DataError, match=f"1 of the 2 val pictures .*{file.name} .{why}"):
            checksums(tmp_path / "runs", [good, file], "val")
    assert len(checksums(tmp_path / "runs", [good], "val")) == 1


def test_checksum_depends_on_names_contents_and_order() -> None:
    def digest(*names: str, sums: str = "12") -> str:
        return picture_files.digest([Path("x") / name for name in names], list(sums))

    assert digest("a", "b") == picture_files.digest([Path("y/a"), Path("y/b")], ["1", "2"])
    assert len({digest("a", "b"), digest("b", "a"), digest("a", "b", sums="13"), digest("a", "c")}) == 4
