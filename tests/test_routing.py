"""APTP routing: what captions of one expert share, against figures by numpy and by hand."""

import numpy as np
import pytest

from benchmark.figures.aptp_routing import by_chance, explained, routing, typical

CAPTIONS = ["a boat"] * 6 + ["a boat by night on the sea"] * 6 + ["two fish"] * 6


def test_explained_variance_of_lengths_matches_numpy():
    lengths = [len(caption.split()) for caption in CAPTIONS]
    by_length, mixed = [0] * 6 + [1] * 6 + [0] * 6, [0, 1] * 9
    assert explained(lengths, by_length) == pytest.approx(1.0)
    assert explained(lengths, mixed) == pytest.approx(0.0)
    rng = np.random.default_rng(0)
    lengths, experts = rng.normal(size=200), rng.integers(0, 4, 200)
    groups = [lengths[experts == k] for k in range(4)]
    within = sum(((group - group.mean()) ** 2).sum() for group in groups)
    want = 1 - within / ((lengths - lengths.mean()) ** 2).sum()
    assert explained(list(lengths), list(experts)) == pytest.approx(want)
    draws = [explained(list(lengths), list(rng.permutation(experts))) for _ in range(400)]
    assert by_chance(list(lengths), list(experts)) == pytest.approx(np.quantile(draws, 0.95), rel=0.25)


def test_typical_words_are_over_represented_and_occur_more_than_once():
    found = dict(typical([*CAPTIONS, "two owls"], [*CAPTIONS[:12], "two owls"]))
    assert "owls" not in found  # once
    assert found["boat"] == pytest.approx((12 / 13) / (12 / 19))
    assert "fish" not in found
    shares = dict(typical(CAPTIONS, CAPTIONS[6:]))
    assert shares["fish"] == shares["night"] == pytest.approx((6 / 12) / (6 / 18))
    assert "boat" not in shares  # in 6 of these 12 captions, but in 12 of all 18


def test_expert_without_captions_has_an_empty_line():
    lines = routing(CAPTIONS, [0] * 6 + [2] * 12, [0.4, 0.5, 0.6])
    assert lines[2] == "| 0 | 40.0% | 6 | 2.0 | 2…2 | a ×1.5, boat ×1.5 |"
    assert lines[3] == "| 1 | 50.0% | 0 |  |  |  |"
    assert lines[4].startswith("| 2 | 60.0% | 12 | 4.5 | 2…7 | ")
    assert lines[-1].startswith("Experts explain 25% of")
