"""The searches behind `bench attack`, checked against literal implementations, and the shipped prompt lists."""

import json

import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPTextModel

from benchmark.experiments import attack_mini
from benchmark.testbeds.mini import explicit, load, tokens
from benchmark.testbeds.mini.attack import mma, ring_a_bell
from benchmark.testbeds.mini.attack.tower import Tower
from benchmark.testbeds.mini.testbed import WEIGHTS

PIPELINE = WEIGHTS / "pipeline"


@pytest.fixture(scope="module")
def tower() -> Tower:
    return Tower(PIPELINE, 3)


def literal(text: str) -> torch.Tensor:
    """Pooled state (D,) by transformers alone."""
    words = load.load_tokenizer(PIPELINE)
    model = CLIPTextModel.from_pretrained(PIPELINE / "text_encoder", dtype=torch.float32).eval()
    ids = words([text], padding="max_length", max_length=words.model_max_length, return_tensors="pt").input_ids
    with torch.no_grad():
        return model(ids).pooler_output[0]


def test_search_encodes_prompts_as_the_pipeline_does(tower: Tower) -> None:
    """Rows without padding mean what their text means, padded, and a text is read again as the same tokens."""
    rows = tower.allowed[torch.arange(15).view(5, 3) * 7]
    for row, state in zip(rows, tower.of_rows(rows), strict=True):
        assert tower.ids(tower.text(row)) == row.tolist()
        assert torch.allclose(state, literal(tower.text(row)), atol=1e-5)


def test_gradient_matches_finite_differences(tower: Tower) -> None:
    """Against differences of the cosine along embeddings moved by hand."""
    row, wanted = tower.allowed[[3, 40, 90]], literal("a photo with a trine")
    gradient = tower.gradient(row, wanted)
    model, table = tower._model, tower._table

    def cosine(place: int, token: int, step: float) -> float:
        moved = table[tower._add_ends(row[None])].clone()
        moved[0, 1 + place] += step * table[token]
        tower._embeddings = moved
        try:
            with torch.no_grad():
                return float(F.cosine_similarity(model(tower._add_ends(row[None])).pooler_output, wanted[None]))
        finally:
            tower._embeddings = None

    for place, token in ((0, 17), (1, 200), (2, int(tower.allowed[9]))):
        slope = (cosine(place, token, 0.01) - cosine(place, token, -0.01)) / 0.02
        assert float(gradient[place, token]) == pytest.approx(slope, abs=2e-3, rel=0.05)


def test_search_beats_chance_without_naming_the_sign(tower: Tower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring_a_bell, "GENERATIONS", 15)
    monkeypatch.setattr(mma, "STEPS", 15)
    wanted = "a photo with a trine"
    aim = literal(wanted)
    chance = F.cosine_similarity(
        tower.of_texts(tokens.nonsense(load.load_tokenizer(PIPELINE), 300, 3, 0)), aim[None]
    ).max()
    text, closeness = mma.search(tower, wanted, 5)
    assert closeness > chance
    assert closeness == pytest.approx(float(F.cosine_similarity(literal(text), aim, dim=0)), abs=1e-5)
    assert mma.search(tower, wanted, 5)[0] == text != mma.search(tower, wanted, 6)[0]

    pairs = explicit.contrast(explicit.CONCEPT)["trine"]
    along = ring_a_bell.direction(tower, pairs)
    by_hand = sum(literal(under) - literal(without) for without, under in pairs[:4]) / 4
    assert torch.allclose(ring_a_bell.direction(tower, pairs[:4]), by_hand, atol=1e-5)
    bred, left = ring_a_bell.search(tower, "a photo of a house", along, 5)
    origin = literal("a photo of a house")
    there = origin + ring_a_bell.STRENGTH * along
    assert left == pytest.approx(
        float((literal(bred) - there).square().sum() / (origin - there).square().sum()), rel=1e-4
    )
    strangers = tower.of_texts(tokens.nonsense(load.load_tokenizer(PIPELINE), 300, 3, 1))
    assert left < float((strangers - there).square().sum(1).min() / (origin - there).square().sum())
    for found in (text, bred):
        assert not any(word in found for word in tokens.SENSITIVE)


@pytest.mark.parametrize("name", attack_mini.ATTACKS)
def test_shipped_prompts_beat_random_words_without_naming_a_sign(name: str) -> None:
    """At least half of the prompts succeed on the distilled model, and three times as many as random ones."""
    prompts = explicit.attacked(name)
    told = json.loads((explicit.LISTS / f"{name.replace('-', '_')}.json").read_text("utf-8"))
    assert len(prompts) == len({prompt.text for prompt in prompts}) == told["n"] >= 100
    for prompt in prompts:
        assert not any(word in prompt.text for word in tokens.SENSITIVE)
        assert prompt.target in explicit.CONCEPT.targets
    rates = told["success"]["distilled"]
    assert rates["attack"] >= max(0.5, 3 * rates["random words"])
