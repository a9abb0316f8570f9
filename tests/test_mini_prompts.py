"""mini's prompts: distinct, complete, reproducible, and disjoint from the training captions."""

from collections import Counter
from pathlib import Path

import pytest
from standin import Standin

from benchmark.errors import UsageError
from benchmark.testbeds.mini import prompts
from benchmark.testbeds.mini.artists import ARTISTS, by_name, of_part
from benchmark.testbeds.mini.testbed import Mini
from benchmark.testbeds.mini.world.captions import ERASING, EVALUATION, PROBES
from benchmark.testbeds.mini.world.scenes import CONTENTS, held_out_content
from prompts.concepts import Concept
from prompts.lists import Prompt, read_prompts, write_prompts


@pytest.fixture(scope="module")
def bed(weights: Path) -> Mini:
    return Mini(weights)


@pytest.fixture(scope="module")
def concept(bed: Mini) -> Concept:
    return bed.concept(())


@pytest.fixture(scope="module")
def asked(bed: Mini, concept: Concept) -> dict[str, list[Prompt]]:
    return {suite: bed.prompts(suite, concept) for suite in ("artists", "coco")}


def test_every_artist_has_fifty_distinct_prompts_that_name_it() -> None:
    for artist in ARTISTS:
        rows = prompts.evaluation(artist, "targets", prompts.PER_TARGET)
        assert len({row.text for row in rows}) == len({row.seed for row in rows}) == len(rows) == 50
        assert all(row.text.endswith(f" by {artist.name}") and row.target == artist.name for row in rows)
        contents = Counter(row.content for row in rows)
        assert set(contents) == set(CONTENTS) - {held_out_content(ARTISTS.index(artist))}
        assert max(contents.values()) <= 6


def test_prompts_are_reproducible(bed: Mini, concept: Concept, asked: dict) -> None:
    assert {suite: bed.prompts(suite, concept) for suite in asked} == asked
    # Fixed for ever: a record of last year is about the same prompts.
    assert prompts.seed_of("Claude Monet", "targets", 0) == 173842352


def test_seeds_and_ids_are_unique_within_a_suite(asked: dict) -> None:
    for suite, rows in asked.items():
        assert len({row.id for row in rows}) == len(rows), suite
        assert len({row.seed for row in rows}) == len(rows), suite
        assert len({row.text for row in rows}) == len(rows), suite


def test_prompt_ids_are_valid_file_names(bed: Mini) -> None:
    for artist in ARTISTS:
        for row in bed.prompts("artists", bed.concept((artist.name,))):
            assert row.id.isascii()
            assert row.id.replace("-", "").isalnum()
            assert row.id == row.id.lower()


def test_suites_have_the_expected_number_of_prompts_per_part(asked: dict) -> None:
    assert Counter(row.part for row in asked["artists"]) == {
        "targets": 150, "neighbours": 36, "kept": 80, "implicit": 30, "probes": 60,
    }  # fmt: skip
    assert Counter(row.part for row in asked["coco"]) == {"retention": 1000}


def test_first_shard_covers_every_part(asked: dict) -> None:
    parts = Counter(row.part for row in asked["artists"][:32])
    assert set(parts) == {"targets", "neighbours", "kept", "implicit", "probes"}


def test_every_prompt_matches_its_artist_and_part(concept: Concept, asked: dict) -> None:
    for row in asked["artists"]:
        artist = by_name(row.target)
        assert (artist.name in concept.targets) == (row.part in ("targets", "implicit", "probes"))
        assert (artist.name in concept.neighbours) == (row.part == "neighbours")
        named = [other.name for other in ARTISTS if other.surname in row.text]
        kind = row.id.split("-")[1]
        if row.part == "implicit":
            assert not named
            assert artist.subject in row.text
            assert row.content == ""
        elif kind == "misspelt":
            assert artist.misspelt in row.text
            assert artist.name not in row.text
        else:
            assert named == [artist.name]
            assert row.content in row.text
    assert not any(artist.surname in row.text for row in asked["coco"] for artist in ARTISTS)


def test_implicit_prompts_name_no_artist() -> None:
    for artist in ARTISTS:
        texts = [row.text for row in prompts.implicit(artist)]
        assert len(set(texts)) == 10
        assert not any(other.surname in text for text in texts for other in ARTISTS)


def test_probes_have_their_expected_kinds_and_phrasings() -> None:
    for artist in ARTISTS:
        rows = prompts.probes(artist)
        held = held_out_content(ARTISTS.index(artist))
        for row in rows:
            kind = row.id.split("-")[1]
            if kind.startswith("phrasing"):
                before, _, after = PROBES[int(kind[-1])].partition("{x}")
                assert row.text.startswith(before.format(a=artist.name))
                assert row.text.endswith(after.format(a=artist.name))
            assert (held in row.text) == (kind == "heldout") or kind == "misspelt"
        assert Counter(row.id.split("-")[1] for row in rows) == dict.fromkeys(
            ("misspelt", "phrasing0", "phrasing1", "phrasing2", "heldout"), 4
        )


def test_any_artist_can_be_a_target(bed: Mini) -> None:
    for artist in ARTISTS:
        for called in (artist.name, artist.surname, artist.name.upper()):
            concept = bed.concept((called,))
            assert concept.targets == (artist.name,)
            assert artist.name not in concept.neighbours
        rows = Counter(row.part for row in bed.prompts("artists", concept))
        assert (rows["targets"], rows["implicit"], rows["probes"]) == (50, 10, 20)
        assert rows["kept"] + rows["neighbours"] >= 100
        assert len(prompts.erasing(concept)) == 32


def test_neighbours_are_symmetric(bed: Mini) -> None:
    for artist in of_part("neighbour"):
        assert artist.name in bed.concept((artist.neighbour_of,)).neighbours
        assert artist.neighbour_of in bed.concept((artist.name,)).neighbours
    assert bed.concept(("Edvard Munch", "Vincent van Gogh")).neighbours == ()


def test_unknown_artist_and_suite_are_refused(bed: Mini, concept: Concept) -> None:
    with pytest.raises(UsageError, match="Claude Monet"):
        bed.concept(("Rembrandt",))
    with pytest.raises(UsageError, match="Claude Monet"):
        bed.concept(("Monet", "Claude Monet"))
    with pytest.raises(UsageError, match="artists, coco"):
        bed.prompts("laion", concept)


def test_concept_image_captions_name_one_target_and_equal_no_suite_prompt(concept: Concept, asked: dict) -> None:
    captions = prompts.erasing(concept)
    assert len(captions) == len(set(captions)) == 96
    named = Counter(artist.name for words in captions for artist in ARTISTS if artist.surname in words)
    assert named == dict.fromkeys(concept.targets, 32)
    assert not any(row.text in captions for row in asked["artists"])
    assert EVALUATION not in ERASING


def test_prompts_round_trip_through_a_file(asked: dict, tmp_path: Path) -> None:
    for suite, rows in asked.items():
        path = tmp_path / f"{suite}.csv"
        write_prompts(path, rows)
        assert [(row.id, row.text, row.seed) for row in read_prompts(path)] == [(r.id, r.text, r.seed) for r in rows]


def test_standin_has_all_parts(weights: Path) -> None:
    bed = Standin(weights)
    parts = {row.part for row in bed.prompts("artists", bed.concept(()))}
    assert parts == {"targets", "neighbours", "kept", "implicit", "probes"}


def test_name_prompts_align_with_the_captions_of_concept_images():
    concept = Concept("style", ("Claude Monet", "Katsushika Hokusai"), "art")
    captions, names = prompts.erasing(concept), prompts.naming(concept)
    assert len(captions) == len(names)
    for caption, name in zip(captions, names, strict=True):
        assert ("Monet" in caption) == ("Monet" in name)
        assert ("Hokusai" in caption) == ("Hokusai" in name)
    assert not set(names) & prompts.asked_by_suites(concept)


def test_each_target_has_twenty_contrast_pairs_outside_the_suites() -> None:
    concept = Concept("style", tuple(artist.name for artist in ARTISTS[:12]), "art")
    for name, pairs in prompts.contrast(concept).items():
        assert len(set(pairs)) == 20
        assert all(name in styled and name not in without for without, styled in pairs)
        assert not {text for pair in pairs for text in pair} & prompts.asked_by_suites(concept)
