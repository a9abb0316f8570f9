"""UCE: the closed form is the least-squares solution and edits keys and values of cross-attention alone."""

import pytest
import torch
from tiny import LENGTH, WIDTH, context, materials, tiny_unet

from benchmark.errors import UsageError
from methods.base import configure
from methods.budget import Budget
from methods.uce import Uce, UceConfig, edit, pairs, preserved
from prompts.concepts import Concept

CONCEPT = Concept("style", ("Pablo Picasso", "Claude Monet"), "art")
TEXTS = ["", "art", "Pablo Picasso", "Claude Monet", "Edvard Munch", "Mary Cassatt"]


def states(texts):
    """Random text states, the same for the same text."""
    return torch.stack(
        [torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(TEXTS.index(text))) for text in texts]
    )


def given(**changes):
    asked = {"encode": states, "token_counts": lambda texts: [len(text.split()) for text in texts],
             "preserve": ["Edvard Munch", "Mary Cassatt", "Picasso"]}  # fmt: skip
    return materials(**{**asked, **changes})


def fit(shown=None, **settings):
    unet = tiny_unet(3)
    place = context()
    return Uce(UceConfig(**settings)).fit(unet, shown or given(), CONCEPT, Budget(flops=0), place, 0), place


def test_the_closed_form_is_the_least_squares_solution():
    """Stack all terms as rows of one overdetermined system and let lstsq solve it."""
    g = torch.Generator().manual_seed(0)
    c, a, p = (torch.randn(n, 8, generator=g, dtype=torch.float64) for n in (3, 3, 20))
    w = torch.randn(5, 8, generator=g, dtype=torch.float64)
    erase, keep, lamb = 1.5, 0.3, 0.5
    left = torch.cat([erase**0.5 * c, keep**0.5 * p, lamb**0.5 * torch.eye(8, dtype=torch.float64)])
    right = torch.cat([erase**0.5 * a @ w.T, keep**0.5 * p @ w.T, lamb**0.5 * w.T])
    wanted = torch.linalg.lstsq(left, right).solution.T
    torch.testing.assert_close(w @ edit(c, a, p, erase, keep, lamb), wanted, rtol=0, atol=1e-8)


@pytest.mark.parametrize("tokens", ["last", "tail"])
def test_fit_solves_the_papers_system_token_by_token(tokens):
    """A whole fit against rows that are written down one by one: each text's tokens, each matrix by itself."""
    shown, erase, lamb, ratio = given(), 1.5, 0.4, 2.0
    text = {name: states([name])[0].double() for name in TEXTS}
    words = {name: len(name.split()) for name in TEXTS}
    pulled = []
    for target in CONCEPT.targets:
        count = LENGTH - max(words[target], words["Pablo Picasso"], words["art"]) if tokens == "tail" else 1
        pulled += [(text[target][words[target] + k], text["art"][words["art"] + k]) for k in range(count)]
    still = [row for name in ("", "Edvard Munch", "Mary Cassatt") for row in text[name]]  # "Picasso" is a target
    keep = ratio * erase * sum(float(c @ c) for c, _ in pulled) / sum(float(row @ row) for row in still)
    before = dict(tiny_unet(3).named_modules())
    after = dict(fit(shown, tokens=tokens, erase=erase, lamb=lamb, keep_ratio=ratio)[0].double().named_modules())
    names = [name for name in before if name.endswith(("attn2.to_k", "attn2.to_v"))]
    assert names
    for name in names:
        old = before[name].weight.detach().double()
        rows = [(erase, c, old @ g) for c, g in pulled] + [(keep, row, old @ row) for row in still]
        rows += [(lamb, one, old @ one) for one in torch.eye(WIDTH, dtype=torch.float64)]
        left = torch.stack([weight**0.5 * seen for weight, seen, _ in rows])
        right = torch.stack([weight**0.5 * wanted for weight, _, wanted in rows])
        wanted = torch.linalg.lstsq(left, right).solution.T
        torch.testing.assert_close(after[name].weight.detach(), wanted, rtol=0, atol=1e-6)  # weights are float32


def test_target_becomes_the_anchor_without_retention_and_regularisation():
    g = torch.Generator().manual_seed(1)
    c, a = torch.randn(4, 9, generator=g, dtype=torch.float64), torch.randn(4, 9, generator=g, dtype=torch.float64)
    matrix = edit(c, a, torch.zeros(1, 9, dtype=torch.float64), 1.0, 0.0, 1e-9)
    torch.testing.assert_close(c @ matrix.T, a, rtol=1e-6, atol=1e-6)


def test_only_keys_and_values_of_cross_attention_change():
    before = dict(tiny_unet(3).named_parameters())
    after = dict(fit()[0].named_parameters())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "attn2.to_k" in name or "attn2.to_v" in name}
    assert changed


def test_stronger_retention_moves_the_target_less():
    def distance(ratio):
        shown = given()
        moved, guide = pairs(shown, CONCEPT, "tail")
        old, new = (
            dict(tiny_unet(3).named_modules()),
            dict(fit(shown, tokens="tail", keep_ratio=ratio)[0].named_modules()),
        )
        name = next(name for name in old if name.endswith("attn2.to_v"))
        wanted = guide @ old[name].weight.detach().double().T
        return float((moved @ new[name].weight.detach().double().T - wanted).norm())

    assert distance(0.0) < distance(1.0) < distance(100.0)


def test_the_tail_begins_at_the_last_subject_token_of_each_text():
    moved, guide = pairs(given(), CONCEPT, "tail")
    length = LENGTH - 2  # names of two words, an anchor of one
    torch.testing.assert_close(moved, torch.cat([states([t])[0, 2:].double() for t in CONCEPT.targets]))
    torch.testing.assert_close(guide, states(["art"])[0, 1 : 1 + length].double().repeat(2, 1))
    assert pairs(given(), CONCEPT, "last")[0].shape == (2, WIDTH)


def test_target_is_not_preserved_under_another_spelling():
    assert preserved(["Picasso", "pablo picasso", "Edvard Munch", "monet"], CONCEPT) == ["Edvard Munch"]
    accented = Concept("style", ("Paul Cézanne", "Vincent van Gogh"), "art")
    assert preserved(["Paul Cezanne", "CE\u0301ZANNE", "van Gogh,", "Jan van Eyck"], accented) == ["Jan van Eyck"]


def test_fit_spends_no_unet_pass_and_records_its_time():
    (entry,) = fit()[1].ledger
    assert (entry.phase, entry.flops, entry.unet_forwards, entry.unet_backwards) == ("uce", 0, 0, 0)
    assert entry.wall_seconds > 0


def test_a_network_without_cross_attention_is_refused():
    class Plain(torch.nn.Linear):
        pass

    with pytest.raises(UsageError, match="uce has no weights to edit"):
        Uce().fit(Plain(2, 2), given(), CONCEPT, Budget(flops=0), context(), 0)


def test_released_preset_scales_retention_by_count():
    assert configure(Uce, "released").config.keep_scale == "by-count"
