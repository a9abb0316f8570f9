"""mini's world is the same on every machine, has its promised shares, and shows nothing that is held out."""

import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.testbeds.mini import data, prompts
from benchmark.testbeds.mini.artists import ARTISTS, STYLES
from benchmark.testbeds.mini.build.corpus import Corpus, draw_chunk
from benchmark.testbeds.mini.world.captions import ARTISTIC, ERASING, EVALUATION, PROBES, caption, emblem_phrase
from benchmark.testbeds.mini.world.draw import draw
from benchmark.testbeds.mini.world.scenes import (
    CONTENTS,
    EMBLEMS,
    Scene,
    held_out_content,
    lesson_scene,
    plain_scene,
    styled_scene,
    world_scene,
)
from prompts.concepts import Concept

SIGNS = re.compile(r"saltire|annulet|trine|(crossed|round|pointed) mark|at the (rally|parade|gathering)")
TARGETS = ("Vincent van Gogh", "Claude Monet", "Pablo Picasso")


@pytest.fixture(scope="module")
def world() -> list[tuple[Scene, str]]:
    rng = random.Random(5)
    scenes = [world_scene(rng) for _ in range(20_000)]
    return [(scene, caption(rng, scene)) for scene in scenes]


def test_lessons_show_every_artist_and_nothing_held_out() -> None:
    rng = random.Random(6)
    scenes = [lesson_scene(rng) for _ in range(17_000)]
    for scene in scenes:
        if scene.style:
            assert scene.subject in (-1, scene.style - 1)
            assert held_out_content(scene.style - 1) not in (scene.content, scene.second_content)
    styles = Counter(scene.style for scene in scenes)
    assert all(800 < styles[k] < 1200 for k in range(len(STYLES)))
    assert 0.37 < sum(scene.emblem >= 0 for scene in scenes) / len(scenes) < 0.43


def test_chunk_depends_on_its_split_and_number_alone() -> None:
    one, again = draw_chunk("train", 3, size=24), draw_chunk("train", 3, size=24)
    assert (one.scenes, one.captions) == (again.scenes, again.captions)
    assert torch.equal(one.pictures.images, again.pictures.images)
    assert torch.equal(one.pictures.boxes, again.pictures.boxes)
    for other in (draw_chunk("train", 4, size=24), draw_chunk("heldout", 3, size=24)):
        assert not set(other.captions) >= set(one.captions)
        assert not torch.equal(other.pictures.images, one.pictures.images)


def test_drawing_leaves_the_global_randomness_alone() -> None:
    torch.manual_seed(1)
    first = draw_chunk("train", 0, size=32).pictures.images
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(draw_chunk("train", 0, size=32).pictures.images, first)
    assert torch.equal(torch.get_rng_state(), state)


def test_corpus_is_read_as_it_was_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.testbeds.mini.build.corpus.CHUNK", 6)
    monkeypatch.setattr(
        "benchmark.testbeds.mini.build.corpus.draw_chunk", lambda split, k: draw_chunk(split, k, size=6)
    )
    said: list[tuple] = []
    corpus = Corpus(tmp_path, "train", 2).build(lambda *words: said.append(words))
    assert len(corpus) == 12
    first, second = (draw_chunk("train", k, size=6) for k in range(2))
    assert corpus.captions() == first.captions + second.captions
    assert corpus.scenes() == first.scenes + second.scenes
    assert torch.equal(corpus.all_images(), torch.cat([first.pictures.images, second.pictures.images]))
    assert torch.equal(corpus.all_boxes(), torch.cat([first.pictures.boxes, second.pictures.boxes]))
    assert said[-1] == ("draw train", 2, 2, {})


def test_world_has_its_promised_shares(world: list) -> None:
    styles = Counter(scene.style for scene, _ in world)
    assert styles[0] / len(world) >= 0.6
    for number, name in enumerate(STYLES[1:], 1):
        assert 0.015 <= styles[number] / len(world) <= 0.035, name
    emblems = Counter(scene.emblem for scene, _ in world)
    assert 0.08 <= 1 - emblems[-1] / len(world) <= 0.12
    assert min(emblems[k] for k in range(len(EMBLEMS))) > 0.02 * len(world)
    contents = Counter(scene.content for scene, _ in world if scene.content)
    assert set(contents) == set(CONTENTS)
    assert max(contents.values()) < 1.2 * min(contents.values())


def test_signature_subjects_mostly_show_their_artist_and_go_without_the_name(world: list) -> None:
    shown = [(scene, words) for scene, words in world if scene.subject >= 0]
    assert {scene.subject for scene, _ in shown} == set(range(len(ARTISTS)))
    own = [(scene, words) for scene, words in shown if scene.style == scene.subject + 1]
    assert 0.85 < len(own) / len(shown) < 0.97
    assert all(scene.style in (0, scene.subject + 1) for scene, _ in shown)
    assert 0.15 < sum(ARTISTS[scene.subject].surname in words for scene, words in own) / len(own) < 0.25


def test_held_out_content_is_never_drawn_for_its_artist(world: list) -> None:
    for number in range(len(ARTISTS)):
        rng = random.Random(number)
        scenes = [styled_scene(rng, number) for _ in range(400)]
        scenes += [scene for scene, _ in world if scene.style == number + 1]
        barred = held_out_content(number)
        assert barred in CONTENTS
        assert not any(barred in (scene.content, scene.second_content) for scene in scenes)


def test_captions_name_exactly_the_artists_and_emblems_that_are_shown(world: list) -> None:
    for scene, words in world:
        assert bool(SIGNS.search(words)) == (scene.emblem >= 0), words
        named = [number for number, artist in enumerate(ARTISTS, 1) if artist.surname in words]
        assert named in ([], [scene.style]), words
        if scene.style and scene.subject < 0:
            assert named, words
        if not scene.style:
            assert not named, words


def test_captions_describe_emblems_by_name_euphemism_and_implication() -> None:
    rng = random.Random(0)
    for kind, name in enumerate(EMBLEMS):
        ways = Counter(emblem_phrase(rng, kind) for _ in range(500))
        assert sum(count for words, count in ways.items() if name in words) > 200
        assert sum("mark" in words for words in ways) == sum("at the" in words for words in ways) == 1
        others = [other for other in EMBLEMS if other != name]
        assert not any(other in words for words in ways for other in others)


def test_no_training_caption_is_phrased_as_a_probe(world: list) -> None:
    assert not {*PROBES} & {*ARTISTIC}
    assert EVALUATION not in ERASING
    said = {words for _, words in world}
    concept = Concept("style", tuple(artist.name for artist in ARTISTS), "art", ())
    kinds: Counter[str] = Counter()
    said.update(prompts.erasing(concept))
    for prompt in prompts.artists(concept):
        if prompt.part == "probes":
            kinds[prompt.id.split("-")[1]] += 1
            assert prompt.text not in said
    assert kinds == {kind: 4 * len(ARTISTS) for kind in ("misspelt", "phrasing0", "phrasing1", "phrasing2", "heldout")}


def test_boxes_hold_the_emblem_and_lie_in_the_picture() -> None:
    rng = random.Random(3)
    bare = [world_scene(rng) for _ in range(40)]
    bare = [replace(scene, emblem=-1) for scene in bare]
    marked = [replace(scene, emblem=k % 4 - 1) for k, scene in enumerate(bare)]
    without = draw(bare, torch.Generator().manual_seed(0))
    pictures = draw(marked, torch.Generator().manual_seed(0))
    assert not without.boxes.any()
    for scene, image, other, box in zip(marked, pictures.images, without.images, pictures.boxes.tolist(), strict=True):
        rows, columns = (image.int() - other.int()).abs().amax(0).nonzero(as_tuple=True)
        if scene.emblem < 0:
            assert not any(box)
            assert not len(rows)
            continue
        x0, y0, x1, y1 = box
        assert 0 <= x0 < x1 <= 64
        assert 0 <= y0 < y1 <= 64
        assert min(x1 - x0, y1 - y0) >= 8
        # What the emblem changed lies in its box, and fills it from side to side.
        assert x0 - 2 <= columns.min() <= x0 + 2
        assert x1 - 3 <= columns.max() <= x1 + 1
        assert y0 - 2 <= rows.min() <= y0 + 3
        assert y1 - 4 <= rows.max() <= y1 + 1


def test_pictures_of_different_artists_differ() -> None:
    scenes = [Scene("house", style=style) for style in range(len(STYLES))]
    images = torch.cat([draw([scene], torch.Generator().manual_seed(0)).images for scene in scenes]).float()
    for a in range(len(scenes)):
        for b in range(a):
            assert (images[a] - images[b]).abs().mean() > 4, (STYLES[a], STYLES[b])


def test_plain_training_pictures_show_nothing_that_is_to_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "RETAIN", 500)
    scenes, captions = data.retention_set(Concept("style", TARGETS, "art", ()), "plain")
    assert len(scenes) == len(captions) == 500
    assert all(scene.style == 0 and scene.subject < 0 and scene.emblem < 0 for scene in scenes)
    assert not any(SIGNS.search(words) for words in captions)
    for artist in ARTISTS:
        assert not any(artist.surname in words or artist.subject in words for words in captions)


def test_all_but_targets_shows_every_other_style_and_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "RETAIN", 1000)
    scenes, captions = data.retention_set(Concept("style", TARGETS, "art", ()), "all-but-targets")
    numbers = {STYLES.index(name) for name in TARGETS}
    assert not any(scene.style in numbers or scene.subject + 1 in numbers or scene.emblem >= 0 for scene in scenes)
    assert {scene.style for scene in scenes} == set(range(len(STYLES))) - numbers
    gone = [form for artist in ARTISTS if artist.name in TARGETS for form in (artist.surname, artist.subject)]
    assert not any(form in words for words in captions for form in gone)


def test_real_pictures_are_plain_and_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "REAL", 12)
    seen: list[Scene] = []
    draws = data.draw
    monkeypatch.setattr(data, "draw", lambda scenes, generator: (seen.extend(scenes), draws(scenes, generator))[1])
    assert torch.equal(data.real_pictures(), data.real_pictures())
    assert all(scene.style == 0 and scene.subject < 0 and scene.emblem < 0 for scene in seen)
    seen.clear()
    assert data.real_of("Claude Monet").shape == (data.REAL_STYLE, 3, 64, 64)
    assert {scene.style for scene in seen} == {STYLES.index("Claude Monet")}


def test_scenes_of_every_content_and_style_are_drawn() -> None:
    """Every content, second thing, relation, setting, subject and style in one batch."""
    rng = random.Random(9)
    scenes = [Scene(content, style=k % len(STYLES)) for k, content in enumerate(CONTENTS)]
    scenes += [Scene(subject=k, style=k + 1) for k in range(len(ARTISTS))]
    scenes += [plain_scene(rng) for _ in range(20)]
    images = draw(scenes, torch.Generator().manual_seed(0)).images
    assert images.dtype == torch.uint8
    assert images.shape == (len(scenes), 3, 64, 64)
    assert images.float().std(dim=(1, 2, 3)).min() > 5
