"""uce-captions: the edit is the least-squares solution, and every target moves by the requested share."""

import pytest
import torch
from tiny import LENGTH, WIDTH, context, materials, tiny_unet

from benchmark.errors import UsageError
from benchmark.testbeds.mini import explicit, prompts
from benchmark.testbeds.mini.artists import ARTISTS
from benchmark.testbeds.mini.world.scenes import held_out_content
from methods.budget import Budget
from methods.uce import edited_weights
from methods.uce_captions import UceCaptions, UceCaptionsConfig, move, reading, rows_of, solve
from prompts.concepts import Concept
from prompts.decoys import DECOYS

CONCEPT = Concept("style", ("Claude Monet", "Pablo Picasso"), "art")
KEPT = ("Edvard Munch", "Mary Cassatt")
CAPTIONS = {
    name: [(f"a boat by {name}", "a boat"), (f"{thing}, {name} style", thing), (name, "")]
    for name, thing in zip((*CONCEPT.targets, *KEPT), ("a cat", "a tree", "a dog", "a bridge"), strict=True)
}


def states(texts):
    """A causal stand-in of a text encoder: a place depends on the words up to it, the start mark on none."""
    rows = []
    for text in texts:
        words, row = text.split(), []
        for place in range(LENGTH):
            seed = hash_of(" ".join(words[:place]) if place else "start")
            row.append(torch.randn(WIDTH, generator=torch.Generator().manual_seed(seed)))
        rows.append(torch.stack(row))
    return torch.stack(rows)


def hash_of(text: str) -> int:
    return sum((k + 1) * ord(letter) for k, letter in enumerate(text)) + 7919 * len(text)


def given(**changes):
    return materials(**{"encode": states, "preserve": list(KEPT), "in_context": CAPTIONS, **changes})


def differing(named: str, bare: str):
    """Places after the start mark where the two captions' states differ."""
    with_name, without = states([named])[0].double(), states([bare])[0].double()
    return [(with_name[k], without[k]) for k in range(1, LENGTH) if not torch.equal(with_name[k], without[k])]


def decoyed(count: int):
    """States of the targets' captions under made-up names: full names and surnames, targets in turns."""
    rows = []
    for number, decoy in enumerate(DECOYS[:count]):
        target = CONCEPT.targets[number % 2]
        for named, bare in CAPTIONS[target]:
            for name in (decoy, decoy.split()[-1]):
                rows += [state for state, _ in differing(named.replace(target, name), bare)]
    return rows


@pytest.mark.parametrize("decoys", [0, 3])
def test_edit_is_the_least_squares_solution_over_name_dependent_tokens(decoys: int) -> None:
    config = UceCaptionsConfig(move=None, keep_ratio=3.0, lamb=0.2, decoys=decoys, decoy_ratio=2.0)
    pulled = [row for target in CONCEPT.targets for pair in CAPTIONS[target] for row in differing(*pair)]
    stay = [named for name in KEPT for pair in CAPTIONS[name] for named, _ in differing(*pair)]
    for text in dict.fromkeys(["", *(bare for pairs in CAPTIONS.values() for _, bare in pairs)]):
        stay += list(states([text])[0, 1:].double())
    mass = sum(float(c @ c) for c, _ in pulled)
    kept = [(3.0 * mass / sum(float(p @ p) for p in stay)) ** 0.5 * p for p in stay]
    if made_up := decoyed(decoys):
        kept += [(2.0 * mass / sum(float(d @ d) for d in made_up)) ** 0.5 * d for d in made_up]
    kept += list(0.2**0.5 * torch.eye(WIDTH).double())
    left = [c for c, _ in pulled] + kept
    right = [g for _, g in pulled] + kept
    expected = torch.linalg.lstsq(torch.stack(left), torch.stack(right)).solution.T
    before, unet = tiny_unet(3).state_dict(), tiny_unet(3)
    UceCaptions(config).fit(unet, given(), CONCEPT, Budget(flops=0), context(), 0)
    edited = 0
    for name, weight in unet.state_dict().items():
        if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            torch.testing.assert_close(weight.double(), before[name].double() @ expected, rtol=0, atol=1e-6)
            edited += 1
        else:
            assert torch.equal(weight, before[name])
    assert edited


@pytest.mark.parametrize("share", [0.2, 0.4, 0.7])
def test_every_target_moves_by_the_requested_share(share: float) -> None:
    unet = tiny_unet(3)
    matrix, moves = solve(unet, given(), CONCEPT, UceCaptionsConfig(move=share))
    weights = [
        w.double() for n, w in unet.state_dict().items() if n.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
    ]
    for target in CONCEPT.targets:
        moved = whole = 0.0
        for pair in CAPTIONS[target]:
            for named, bare in differing(*pair):
                for w in weights:
                    moved += float((w @ (matrix @ named - named)).square().sum() / w.square().sum())
                    whole += float((w @ (bare - named)).square().sum() / w.square().sum())
        assert (moved / whole) ** 0.5 == pytest.approx(share, abs=2e-3)
        assert moves[target] == pytest.approx((moved / whole) ** 0.5, rel=1e-9)


def test_kept_names_move_less_than_targets() -> None:
    unet = tiny_unet(3)
    matrix, moves = solve(unet, given(), CONCEPT, UceCaptionsConfig(decoys=0))
    metric = reading(list(edited_weights(unet, "").values()))
    kept = [move(matrix, rows_of(given(), name), metric) for name in KEPT]
    assert max(kept) < 0.5 * min(moves.values())


def test_testbed_without_captions_of_a_target_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no captions with and without 'Claude Monet' .* use method uce\.$"):
        UceCaptions().fit(tiny_unet(), given(in_context={}), CONCEPT, Budget(flops=0), context(), 0)


def test_ledger_counts_no_unet_pass() -> None:
    place = context()
    UceCaptions().fit(tiny_unet(3), given(), CONCEPT, Budget(flops=0), place, 0)
    (entry,) = place.ledger
    assert (entry.phase, entry.unet_forwards, entry.flops) == ("uce-captions", 0, 0)


def test_mini_captions_avoid_suite_prompts_and_held_out_content() -> None:
    captions = prompts.in_context(CONCEPT)
    texts = {text for pairs in captions.values() for pair in pairs for text in pair}
    assert set(captions) == {artist.name for artist in ARTISTS}
    for number, artist in enumerate(ARTISTS):
        assert not texts & prompts.asked_by_suites(Concept("style", (artist.name,), "art"))
        own = " ".join(text for text, _ in captions[artist.name])
        assert held_out_content(number) not in own
        assert all(text.startswith(bare) or not bare for text, bare in captions[artist.name])
    signs = explicit.in_context(explicit.CONCEPT)
    texts = {text for sign in explicit.CONCEPT.targets for pair in signs[sign] for text in pair}
    assert not texts & explicit.asked_by_suites(explicit.CONCEPT)
