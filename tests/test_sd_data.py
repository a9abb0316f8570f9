"""COCO folders and user-provided image folders: images and captions are read correctly or refused with a reason."""

import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from miniature import LONG, write_coco
from PIL import Image

from benchmark.api.testbed import Workbench
from benchmark.console import Progress
from benchmark.errors import DataError, StoreError
from benchmark.store.artefacts import Store
from benchmark.testbeds.stable_diffusion import data
from benchmark.testbeds.stable_diffusion import latent_moments as moments
from benchmark.testbeds.stable_diffusion.captions import read_split
from benchmark.testbeds.stable_diffusion.latent_moments import Moments, StoredRows, sampled
from benchmark.testbeds.stable_diffusion.pictures import crops, squares
from benchmark.testbeds.stable_diffusion.pipeline import Pipeline


@pytest.fixture(scope="module")
def pipeline(tiny: Path) -> Pipeline:
    return Pipeline(tiny.parent / "model", torch.device("cpu"))


def bench(home: Path) -> Workbench:
    return Workbench(None, Store(home), Progress(), torch.device("cpu"))  # type: ignore[arg-type]


# captions


def test_coco_captions_match_their_images_in_order(tmp_path):
    split = read_split(write_coco(tmp_path, train=3, val=2), "train")
    assert split.numbers == (100, 107, 114)
    assert [file.relative_to(tmp_path).as_posix() for file in split.files] == [
        f"train2017/{number:012d}.jpg" for number in split.numbers
    ]
    assert sorted(split.captions)[:2] == [(0, "train picture 0, caption 0."), (0, "train picture 0, caption 1.")]
    # The annotation with the lowest id is the second that is written.
    assert split.one_each()[:2] == [(100, "train picture 0, caption 1."), (107, "train picture 1, caption 1.")]
    assert split.one_each()[2] == (114, LONG.strip())


def test_subset_is_spread_over_the_split_with_matching_captions(tmp_path):
    split = read_split(write_coco(tmp_path, train=5), "train")
    some = split.spread(2)
    assert some.one_each() == [split.one_each()[k] for k in (0, 2)]
    assert some.captions == ((0, "train picture 0, caption 1."), (1, "train picture 2, caption 1."))
    assert [file.name for file in some.files] == ["000000000100.jpg", "000000000114.jpg"]
    assert split.spread(9).one_each() == split.one_each()


@pytest.mark.parametrize("home", ["images/val2017", "images", "."])
def test_images_are_found_in_every_supported_folder_layout(home, tmp_path):
    folder = write_coco(tmp_path)
    if home != "images":
        (folder / "images").mkdir()
    if home == ".":
        for file in (folder / "val2017").iterdir():
            shutil.move(file, folder / file.name)
    else:
        shutil.move(folder / "val2017", folder / home)
    assert all(file.is_file() and file.parent == (folder / home) for file in read_split(folder, "val").files)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_user_images_are_read_with_a_metadata_file(form, tmp_path):
    rows = [("a.png", "a boat,\nat sea"), ("b.png", "a\u2028tree"), ("a.png", "another boat")]
    (tmp_path / "train").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / "train" / name)
    if form == "csv":
        text = "file_name,text\n" + "".join(f'{name},"{text}"\n' for name, text in rows)
    else:
        text = "".join(json.dumps({"file_name": name, "text": text}, ensure_ascii=False) + "\n" for name, text in rows)
    (tmp_path / "train" / f"metadata.{form}").write_text(text)
    split = read_split(tmp_path, "train")
    assert [file.name for file in split.files] == ["a.png", "b.png"]
    assert split.captions == ((0, "a boat, at sea"), (1, "a tree"), (0, "another boat"))


def spoilt(folder: Path, how: str) -> str:
    """Spoils COCO's folder; what must be told."""
    annotations = folder / "annotations" / "captions_train2017.json"
    if how == "folder":
        shutil.rmtree(folder)
        return "with captioned pictures does not exist"
    if how == "annotations":
        annotations.unlink()
        return "has neither annotations/captions_train*.json"
    if how == "form":
        annotations.write_text('{"images": [{"id": 1}]}')
        return "is not a file of COCO captions (KeyError: 'file_name')"
    if how == "truncated":
        annotations.write_bytes(annotations.read_bytes()[:90])
        return "is not a file of COCO captions"
    if how == "empty":
        annotations.write_text('{"images": [], "annotations": []}')
        return "has no captions"
    for file in sorted((folder / "train2017").iterdir())[2:4]:
        file.unlink()
    return "2 of the 6 pictures that"


@pytest.mark.parametrize("how", ["folder", "annotations", "form", "truncated", "empty", "pictures"])
def test_missing_or_damaged_coco_files_give_one_sentence(how, tmp_path):
    told = spoilt(write_coco(tmp_path / "coco"), how)
    with pytest.raises(DataError) as caught:
        read_split(tmp_path / "coco", "train")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    if how == "pictures":
        assert "000000000114.jpg" in str(caught.value)


# pictures


def mode(file: Path) -> str:
    with Image.open(file) as picture:
        return picture.mode


def test_images_of_any_mode_and_size_form_one_batch(tmp_path):
    files = read_split(write_coco(tmp_path), "train").files
    assert {mode(file) for file in files} == {"RGB", "L", "CMYK"}
    found = crops(files, [0] * len(files), 64)
    assert found.shape == (6, 3, 64, 64)
    assert found.dtype == torch.uint8
    assert torch.equal(found[1, 0], found[1, 1])  # grey
    assert crops(files[:1], [0], 96).shape == (1, 3, 96, 96)
    assert squares(files, 48).shape == (6, 3, 48, 48)


def test_crop_depends_on_its_number_and_not_on_the_reading_order(tmp_path):
    files = read_split(write_coco(tmp_path), "train").files
    wide = files[2]  # 640 x 64
    each = crops([wide] * 8, list(range(8)), 64)
    assert torch.equal(crops([files[0], wide], [0, 3], 64)[1], each[3])
    assert len({bytes(one.flatten().tolist()) for one in each}) == 8
    with Image.open(wide) as picture:
        whole = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    for one in each:  # height is 64 already, so a crop is a stretch of the picture, mirrored or not
        stretches = whole.unfold(2, 64, 1).permute(2, 0, 1, 3)
        assert (stretches == one).all((1, 2, 3)).any() or (stretches.flip(3) == one).all((1, 2, 3)).any()


def test_broken_image_is_refused_by_name(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8\xff\xe0 not more")
    with pytest.raises(DataError, match=r"x\.jpg cannot be read"):
        crops([tmp_path / "x.jpg"], [0], 64)


# moments


def test_saved_moments_equal_those_of_the_vae(tiny, pipeline, tmp_path):
    split = read_split(tiny.parent / "coco", "train")
    stored = Moments(pipeline, "vae", split.files, 2, 64).make(bench(tmp_path))
    moments_of = StoredRows(stored.files_of_shards, range(12))
    vae = AutoencoderKL.from_pretrained(tiny.parent / "model" / "vae")
    for row in (0, 5, 11):
        picture = crops([split.files[row // 2]], [row % 2], 64)
        with torch.no_grad():
            wanted = vae.encode(picture / 127.5 - 1).latent_dist
        assert torch.allclose(moments_of([row])[0], torch.cat([wanted.mean, wanted.std], 1)[0], rtol=1e-3, atol=1e-3)
    assert stored.bytes == 12 * 8 * 8 * 8 * 2


def test_sampled_latent_is_seeded_with_the_right_mean_and_std():
    both = torch.cat([torch.full((4, 32, 32), 3.0), torch.full((4, 32, 32), 0.5)])
    found = sampled(both, 7, 2.0)
    assert torch.equal(found, sampled(both, 7, 2.0))
    assert not torch.equal(found, sampled(both, 8, 2.0))
    assert float(found.mean()) == pytest.approx(6, abs=0.1)
    assert float(found.std()) == pytest.approx(1, abs=0.05)


def test_encoding_resumes_after_a_kill_and_redoes_changed_shards(tiny, pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr(moments, "SHARD", 4)
    shutil.copytree(tiny.parent / "coco", tmp_path / "coco")
    split, asked = read_split(tmp_path / "coco", "train"), []
    encode = pipeline.moments
    monkeypatch.setattr(pipeline, "moments", lambda pictures: asked.append(len(pictures)) or encode(pictures))
    first = bench(tmp_path / "runs")

    def stop(pictures):
        if len(asked) == 2:
            raise KeyboardInterrupt
        return asked.append(len(pictures)) or encode(pictures)

    with monkeypatch.context() as cut:
        cut.setattr(pipeline, "moments", stop)
        with pytest.raises(KeyboardInterrupt):
            Moments(pipeline, "vae", split.files, 2, 64).make(first)
    assert asked == [4, 4]
    Moments(pipeline, "vae", split.files, 2, 64).make(first)
    assert asked == [4, 4, 4]
    Image.new("RGB", (64, 64)).save(split.files[0])
    Moments(pipeline, "vae", split.files, 2, 64).make(first)
    assert asked == [4, 4, 4, 4]
    for shard in (tmp_path / "runs").glob("artefacts/moments/*/moments.safetensors"):
        shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    mended = Moments(pipeline, "vae", split.files, 2, 64).make(bench(tmp_path / "runs"))
    assert asked == [4] * 7
    assert StoredRows(mended.files_of_shards, range(12))([11]).isfinite().all()


def test_insufficient_disk_space_is_refused_before_encoding(tiny, pipeline, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(moments.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 100))
    split = read_split(tiny.parent / "coco", "train")
    with pytest.raises(StoreError, match=r"need 12\.3 kB more .* has only 100 bytes free: .*crops = 0"):
        Moments(pipeline, "vae", split.files, 2, 64).make(bench(tmp_path))
    assert not list(tmp_path.glob("artefacts/*/*"))


# what training draws


def retention(tiny, pipeline, home, kept=2, barred=()):
    split = read_split(tiny.parent / "coco", "train")
    return data.retention(
        bench(home),
        pipeline,
        "vae",
        split,
        kept,
        64,
        lambda text: any(word.casefold() in text.casefold() for word in barred),
    )


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_each_caption_is_paired_with_its_image(kept, tiny, pipeline, tmp_path):
    found = retention(tiny, pipeline, tmp_path, kept)
    split = read_split(tiny.parent / "coco", "train")
    assert len(found) == len(split.captions) == 12
    x0, text = found.batch(torch.tensor([9, 0, 9]))
    assert torch.equal(x0[0], x0[2])
    assert text.shape == (3, 77, 32)
    place, caption = split.captions[9]
    nth = [at for at, _ in split.captions[:9]].count(place)
    picture = crops([split.files[place]], [nth % kept if kept else nth], 64)
    vae = AutoencoderKL.from_pretrained(tiny.parent / "model" / "vae")
    with torch.no_grad():
        told = vae.encode(picture / 127.5 - 1).latent_dist
    wanted = sampled(torch.cat([told.mean, told.std], 1)[0], 9, vae.config.scaling_factor)
    assert torch.allclose(x0[0], wanted, atol=2e-3)
    assert torch.allclose(text[0], pipeline.encode([caption])[0], atol=1e-6)


def test_text_embeddings_are_cached_only_within_the_memory_limit(tiny, pipeline, tmp_path, monkeypatch, capsys):
    kept = retention(tiny, pipeline, tmp_path)
    asked: list[int] = []
    encode = pipeline.encode
    monkeypatch.setattr(kept, "_encode", lambda texts: asked.append(len(texts)) or encode(texts))
    first = kept.batch(torch.arange(12))[1]
    assert torch.equal(first, kept.batch(torch.arange(12))[1])
    assert asked == [12]
    monkeypatch.setattr(data, "REMEMBERED", 10**5)
    streamed = retention(tiny, pipeline, tmp_path)
    notice = capsys.readouterr().err
    assert "hidden states of 12 unique captions would take 118.3 kB of memory" in notice
    assert "captions are encoded in every step instead" in notice
    assert torch.allclose(streamed.batch(torch.arange(12))[1], first, atol=1e-6)
    assert streamed._states is None


def test_all_but_targets_removes_captions_that_name_a_target(tiny, pipeline, tmp_path):
    assert len(retention(tiny, pipeline, tmp_path, barred=("PICTURE 3", "boat"))) == 12 - 1 - 2


def test_long_captions_are_truncated_to_the_text_length(pipeline):
    cut = pipeline.encode([LONG, LONG[:105]])  # 75 letters, and the two marks
    assert cut.shape == (2, 77, 32)
    assert torch.allclose(cut[0], cut[1], atol=1e-6)
