"""`bench eval --generate` and `--images`: pictures that this package did not sample are scored, in marked rows."""

import csv
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_cli import answer, bench

from benchmark.errors import DataError
from benchmark.models.picture_values import as_tensors
from benchmark.records.record import Record, read_records

SIZE = 64
HEADER = """
import numpy as np
def picture(seed, size):
    values = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return values.repeat(size // 4, 0).repeat(size // 4, 1)
"""
GOOD = HEADER + "def draw(prompts, seeds, size):\n    return [picture(seed, size) for seed in seeds]\n"


def scored(home: Path, *words: str | Path, alone: bool = True) -> Any:
    options = ["--suite", "artists", "--reference", "base", "--device", "cpu", "--runs", home]
    return bench("eval", *map(str, [*words, *options, *(["--alone"] if alone else [])]))


def records(home: Path) -> dict[str, Record]:
    """Records of the artists suite by label."""
    return {record.label: record for record in read_records([home / "records"]) if record.suite == "artists"}


def pictured(folder: Path, home: Path, *options: str) -> Path:
    """A folder with the suite's prompts and the pictures that GOOD draws for them."""
    written = bench("prompts", "write", "artists", str(folder / "prompts.csv"), "--runs", str(home), *options)
    assert written.exit_code == 0, written.output
    draw: dict[str, Any] = {}
    exec(GOOD, draw)
    for row in rows(folder):
        Image.fromarray(draw["picture"](int(row["seed"]), SIZE)).save(folder / row["file"])
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "prompts.csv", newline="") as file:
        return list(csv.DictReader(file))


def rewrite(folder: Path, changed: list[dict[str, str]]) -> None:
    with open(folder / "prompts.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, changed[0])
        writer.writeheader()
        writer.writerows(changed)


@pytest.mark.usefixtures("standin")
def test_a_function_and_its_saved_pictures_have_equal_scores_and_marked_rows(tmp_path: Path) -> None:
    home, code = tmp_path / "runs", tmp_path / "mine.py"
    code.write_text(GOOD)
    drawn = scored(home, "--generate", f"{code}:draw", "--metric", "kid")
    assert drawn.exit_code == 0, drawn.output
    saved = scored(home, "--images", pictured(tmp_path / "saved", home, "--alone"), "--require", "clip>=-100")
    assert saved.exit_code == 0, saved.output
    assert "pass  clip >= -100" in saved.output
    base, function, files = (records(home)[label] for label in ("base", "draw (own sampler)", "saved (own sampler)"))
    assert {name: function.cells[name] for name in files.cells} == files.cells
    assert function.cells["clip"] != base.cells["clip"]
    for record, form in ((function, "function"), (files, "pictures")):
        assert record.own_sampler
        assert "steps" not in record.sampler
        assert record.counted["form"] == form
        assert len(str(record.counted["checkpoint"])) == 64
        assert "share" not in record.counted
        assert str(tmp_path) not in record.model_dump_json(
            exclude={"command", "config", "plugins"}
        )  # which state paths as they were typed
    table = bench("table", "--runs", str(home), "--long", "--format", "json")
    document = json.loads(table.output)
    by_label = {row["label"].partition(" · inputs")[0]: row for row in document["rows"]}
    own = by_label["draw (own sampler)"]
    assert own["macs"] is None
    assert not {"flops", "choosing", "iterations", "seconds"} & own["cells"].keys()
    assert by_label["distilled"]["macs"] == 0.8
    (note,) = (note for note in document["notes"] if note.startswith("Not sampled by this benchmark"))
    assert all(label in note for label in ("draw (own sampler)", "saved (own sampler)"))
    refused = answer(bench("export", "draw (own sampler)", str(tmp_path / "out"), "--runs", str(home)))
    assert "there are no weights" in refused


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("[picture(s, size) / 255 for s in seeds]", "values of type float64; return uint8"),
        ("[picture(s, size) for s in seeds[1:]]", "returned 9 pictures for 10 prompts"),
        ("[picture(s, 2 * size) for s in seeds]", "an array of shape (128, 128, 3); this testbed needs (64, 64, 3)"),
        ("[picture(s, size)[..., 0] for s in seeds]", "an array of shape (64, 64)"),
        ("np.zeros((size, size, 3), np.uint8)", "returned an array of shape (64, 64, 3)"),
        ("(picture(s, size) for s in seeds)", "returned an object of type generator"),
        ("[prompts for s in seeds]", "as picture 1 of 10, an object of type list"),
        ("None", "returned an object of type NoneType"),
        ("1 / 0", "failed in mine.py, line 7: ZeroDivisionError: division by zero"),
        ("exit('no weights')", "failed in mine.py, line 7: SystemExit: no weights"),
    ],
)
def test_a_function_that_returns_no_pictures_is_refused_before_anything_is_sampled(
    body: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(HEADER + f"def draw(prompts, seeds, size):\n    return {body}\n")
    result = scored(tmp_path / "runs", "--generate", f"{tmp_path}/mine.py:draw")
    message = answer_at_the_end(result)
    assert complaint in message
    assert "mine.py:draw (called with prompts " in message
    assert "sample base" not in result.output
    assert not (tmp_path / "runs" / "records").exists() or not records(tmp_path / "runs")


def answer_at_the_end(result: Any) -> str:
    """The one-sentence error of a command that has shown progress before."""
    assert result.exit_code == 2, result.output + str(result.exception)
    assert "Traceback" not in result.output
    *_, last = result.stderr.strip().splitlines()
    assert last.startswith("error: ")
    return last


@pytest.mark.usefixtures("standin")
def test_pictures_that_a_function_made_before_it_failed_are_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        HEADER + "from pathlib import Path\nLOG = Path(__file__).with_name('log')\n"
        "def draw(prompts, seeds, size):\n"
        "    if len(prompts) < 10 and not LOG.with_name('repaired').exists():\n"
        "        raise RuntimeError('out of luck')\n"
        "    with LOG.open('a') as log:\n        print(len(prompts), file=log)\n"
        "    return [picture(seed, size) for seed in seeds]\n"
    )
    failed = scored(tmp_path / "runs", "--generate", f"{tmp_path}/mine.py:draw")
    assert "RuntimeError: out of luck" in answer_at_the_end(failed)
    assert (tmp_path / "log").read_text().split() == ["10", "10"]
    (tmp_path / "repaired").touch()
    assert scored(tmp_path / "runs", "--generate", f"{tmp_path}/mine.py:draw").exit_code == 0
    assert (tmp_path / "log").read_text().split() == ["10", "10", "4"]


CALLS: list[int] = []
"""Calls that were running when a call of `draw` began."""
ACTIVE = threading.Semaphore(1)


@pytest.mark.usefixtures("standin")
def test_a_function_is_never_called_twice_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other models are sampled in as many threads as torch has, of which there seem to be four here."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    CALLS.clear()
    (tmp_path / "mine.py").write_text(
        HEADER + "import time\nfrom test_own_pictures import ACTIVE, CALLS\n"
        "def draw(prompts, seeds, size):\n"
        "    CALLS.append(ACTIVE.acquire(blocking=False))\n    time.sleep(0.05)\n    ACTIVE.release()\n"
        "    return [picture(seed, size) for seed in seeds]\n"
    )
    assert scored(tmp_path / "runs", "--generate", f"{tmp_path}/mine.py:draw").exit_code == 0
    assert CALLS == [True, True, True]


@pytest.mark.usefixtures("standin")
def test_a_function_is_known_by_what_it_imports_and_the_table_shows_its_newest_version(tmp_path: Path) -> None:
    home, code, helper = tmp_path / "runs", tmp_path / "mine.py", tmp_path / "helper.py"
    helper.write_text(HEADER)
    code.write_text("from helper import picture\ndef draw(prompts, seeds, size):\n"
                    "    return [picture(seed, size) for seed in seeds]\n")  # fmt: skip
    assert scored(home, "--generate", f"{code}:draw").exit_code == 0
    first = records(home)["draw (own sampler)"]
    helper.write_text(HEADER.replace("default_rng(seed)", "default_rng(seed + 1)"))
    assert scored(home, "--generate", f"{code}:draw").exit_code == 0
    versions = [record for record in read_records([home / "records"]) if record.method == "draw"]
    assert len({record.model_key for record in versions}) == 2
    document = json.loads(bench("table", "--runs", str(home), "--format", "json").output)
    (shown,) = (row for row in document["rows"] if row["method"] == "draw")
    (newest,) = (record for record in versions if record.model_key != first.model_key)
    assert shown["cells"]["clip"]["value"] == newest.cells["clip"].value != first.cells["clip"].value
    refused = scored(home, "--images", pictured(tmp_path / "saved", home, "--alone"), "--name", "draw")
    assert "'draw' is the name of a different function" in answer_at_the_end(refused)


def _truncated(folder: Path, listed: list[dict[str, str]]) -> None:
    picture = folder / listed[0]["file"]
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(picture)
    picture.write_bytes(picture.read_bytes()[:500])


def _saved_as(mode: str, size: int = SIZE, **options: Any) -> Any:
    def save(folder: Path, listed: list[dict[str, str]]) -> None:
        Image.new(mode, (size, size)).save(folder / listed[0]["file"], **options)

    return save


def _listed_as(**cells: str) -> Any:
    def change(folder: Path, listed: list[dict[str, str]]) -> None:
        rewrite(folder, [listed[0] | cells, *listed[1:]])

    return change


def _without_a_row(folder: Path, listed: list[dict[str, str]]) -> None:
    rewrite(folder, listed[1:])


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_truncated, "is damaged ("),
        (_saved_as("RGB", 65), "has 65 x 65 pixels, but this testbed's have 64 x 64"),
        (_saved_as("1", 30_000), "has more pixels than Pillow decodes"),  # a bomb: 900 million pixels in a small file
        (_saved_as("RGBA"), "with transparent pixels; paste it on a background"),
        (_saved_as("I;16"), "in mode I;16; save it as RGB with 8 bits"),
        (_saved_as("RGB", format="BMP"), "is damaged, or not a PNG, JPEG or WebP file"),
        (_without_a_row, "has no picture for 1 of the 24 prompts of suite 'artists', such as"),
        (_listed_as(file="../0.png"), "row 2: the file '../0.png' must be in"),
        (_listed_as(file="a/../../0.png"), "must be in"),
        (_listed_as(file="/tmp/0.png"), "row 2: the file '/tmp/0.png' must be in"),
        (_listed_as(file="none.png"), "none.png does not exist"),
        (_listed_as(file=""), "row 2: the file is empty"),
        (_listed_as(id=""), "row 2: the id is empty"),
        (_listed_as(text="a different prompt"), "row 2: the text of "),
        (lambda folder, listed: rewrite(folder, [*listed, listed[0] | {"file": "2.png"}]), "is already used in row 2"),
        (lambda folder, listed: rewrite(folder, [*listed, listed[0] | {"id": "2"}]), "is already used in row 2"),
        (lambda folder, listed: (folder / "prompts.csv").write_text("id,picture\na,b\n"), "must include id and file"),
        (lambda folder, listed: (folder / "prompts.csv").unlink(), "prompts.csv cannot be read"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_scored_is_refused_before_anything_is_sampled(
    spoil: Any, complaint: str, tmp_path: Path
) -> None:
    folder = pictured(tmp_path / "saved", tmp_path / "runs", "--alone")
    spoil(folder, rows(folder))
    result = scored(tmp_path / "runs", "--images", folder)
    assert complaint in answer_at_the_end(result)
    assert "sample" not in result.output


@pytest.mark.usefixtures("standin")
def test_pictures_of_both_suites_are_scored_and_a_changed_set_needs_a_new_name(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    folder = pictured(tmp_path / "saved", home)
    listed = rows(folder)
    assert [sum(row["suite"] == suite for row in listed) for suite in ("artists", "coco")] == [24, 12]
    for form, quality in (("JPEG", {"quality": 100, "subsampling": 0}), ("WEBP", {"lossless": True})):
        row = listed[0] if form == "JPEG" else listed[1]
        with Image.open(folder / row["file"]) as picture:
            picture.load()
        row["file"] = f"deep/er/{row['id']}.{form.lower()}"
        (folder / row["file"]).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / row["file"], **quality)
    rewrite(folder, listed)
    assert scored(home, "--images", folder, alone=False).exit_code == 0
    suites = {record.suite for record in read_records([home / "records"]) if record.method == "saved"}
    assert suites == {"artists", "coco"}
    Image.new("RGB", (SIZE, SIZE)).save(folder / listed[5]["file"])
    changed = scored(home, "--images", folder, alone=False)
    assert "'saved' is the name of a different set of pictures" in answer_at_the_end(changed)


@pytest.mark.usefixtures("standin")
def test_a_limit_needs_pictures_of_its_own_prompts_only(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    folder = pictured(tmp_path / "saved", home, "--limit", "1", "--alone")
    assert len(rows(folder)) < 24
    assert scored(home, "--images", folder, "--limit", "1").exit_code == 0
    assert "saved (own sampler), limit 1" in records(home)
    assert "has no picture for" in answer_at_the_end(scored(home, "--images", folder))
    assert "exists already" in answer(bench("prompts", "write", "artists", str(folder / "prompts.csv")))


@pytest.mark.usefixtures("standin")
def test_pictures_that_only_a_larger_run_needs_may_be_missing(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    folder = pictured(tmp_path / "saved", home)
    for row in rows(folder):
        if row["suite"] == "coco":
            (folder / row["file"]).unlink()
    assert scored(home, "--images", folder).exit_code == 0
    assert "does not exist" in answer_at_the_end(scored(home, "--images", folder, alone=False))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "There is nothing to score"),
        (["--checkpoint", "x", "--images", "y"], "--checkpoint and --images are given"),
        (["--generate", "a.py:b", "--images", "y"], "--generate and --images are given"),
        (["--generate", "no/such.py:draw"], "The file no/such.py to load 'draw' from does not exist"),
        (["--generate", "draw"], "is not a function in a file"),
        *(
            ([*source, *option], f"{option[0]} has no effect here")
            for source in (["--generate", "a.py:b"], ["--images", "y"])
            for option in (
                ["--parts", "unet"], ["--weights", "int8"], ["--precision", "bf16"], ["--compile"], ["--as-published"],
            )
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(words: list[str], complaint: str) -> None:
    assert complaint in answer(bench("eval", "--suite", "artists", *words))


def test_a_function_with_other_arguments_is_refused(tmp_path: Path) -> None:
    from benchmark.errors import UsageError
    from benchmark.models.own_pictures import _load

    (tmp_path / "mine.py").write_text("def draw(prompts, seeds):\n    pass\n")
    with pytest.raises(UsageError, match=r"cannot be called as def generate\(prompts: list\[str\]"):
        _load(f"{tmp_path}/mine.py:draw")


def forms() -> dict[str, Any]:
    """The same two pictures in every form that a function may return."""
    stack = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    first = torch.from_numpy(stack).permute(0, 3, 1, 2)
    return {
        "array": stack,
        "channels first": np.ascontiguousarray(stack.transpose(0, 3, 1, 2)),
        "tensor": first,
        "tensor, channels last": torch.from_numpy(stack),
        "list": list(stack),
        "tuple of tensors": tuple(first),
        "PIL": [Image.fromarray(picture) for picture in stack],
        "opaque RGBA": [Image.fromarray(picture).convert("RGBA") for picture in stack],
        "flipped view": list(stack[:, ::-1][:, ::-1]),
    }


@pytest.mark.parametrize("form", forms())
def test_every_documented_form_of_pictures_gives_the_same_tensors(form: str) -> None:
    pictures = as_tensors(forms()[form], 2, SIZE)
    assert torch.equal(torch.stack(pictures), forms()["tensor"])
    assert all(picture.is_contiguous() and picture.dtype == torch.uint8 for picture in pictures)


def test_an_array_that_a_function_fills_again_does_not_change_earlier_pictures() -> None:
    reused = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    (picture,) = as_tensors(reused, 1, SIZE)
    reused[:] = 255
    assert picture.max() == 0


def test_a_picture_of_another_size_is_refused_by_its_size() -> None:
    with pytest.raises(DataError, match="as picture 2 of 2, one of 32 x 64 pixels; this testbed needs 64 x 64"):
        as_tensors([Image.new("RGB", (SIZE, SIZE)), Image.new("RGB", (32, SIZE))], 2, SIZE)
