"""Presets `released` and `paper` match the authors' code and text, checked against independent implementations."""

from collections import Counter

import pytest
import torch
from diffusers.optimization import get_scheduler
from reference.uce import updated
from test_methods_uce import CONCEPT, fit, given, states
from tiny import LENGTH, context, materials, tiny_unet

from benchmark.errors import UsageError
from methods.base import configure
from methods.bilevel.method import Bilevel
from methods.conceptprune import last_layers
from methods.config_fields import identity_of
from methods.distilled import Distilled
from methods.esd import Esd, erasing_phase, moved
from methods.training.loop import Phase
from methods.uce import Uce
from prompts.concepts import Concept

EXPLICIT = Concept("explicit", ("a sign",), "a wall")
MATRICES = ("attn2.to_k", "attn2.to_v")


def test_released_uce_scales_kept_texts_by_their_count() -> None:
    """Every place of the empty prompt and the two kept names, at max(0.1, 1 / 3); tails of the targets."""
    wide = [states([name])[0].double() for name in ("", "Edvard Munch", "Mary Cassatt")]
    check_uce("released", tail=True, kept=[row for text in wide for row in text], keep=1 / 3)


def test_uce_2025_preserves_the_last_subject_token_of_each_kept_name() -> None:
    names = ("Edvard Munch", "Mary Cassatt")
    check_uce("uce-2025", tail=False, kept=[states([name])[0, 2].double() for name in names], keep=1.0)


def check_uce(preset: str, *, tail: bool, kept: list, keep: float) -> None:
    """Targets and anchor have 2, 2 and 1 words; the anchor's state moves along with the target's."""
    moving, guides = [], []
    for target in CONCEPT.targets:
        for k in range(LENGTH - 2 if tail else 1):
            moving.append(states([target])[0, 2 + k].double())
            guides.append(states(["art"])[0, 1 + k].double())
    before = tiny_unet(3).state_dict()
    after = fit(given(), **Uce.presets[preset])[0].state_dict()
    edited = [name for name in before if name.removesuffix(".weight").endswith(MATRICES)]
    assert edited
    for name in edited:
        expected = updated(before[name], moving, guides, kept, 1.0, keep, 0.5)
        torch.testing.assert_close(after[name].double(), expected, rtol=0, atol=1e-6)  # weights are float32


@pytest.mark.parametrize(("count", "scale"), [(4, 0.25), (10, 0.1), (1735, 0.1)])
def test_scale_by_count_does_not_fall_below_a_tenth(count: int, scale: float) -> None:
    from methods.uce import UceConfig, _scale

    rows = torch.ones(2, 3, dtype=torch.float64)
    assert _scale(rows, rows, count, UceConfig(keep_scale="by-count")) == scale


def test_released_esd_trains_all_linear_and_conv_layers_outside_cross_attention() -> None:
    unet = tiny_unet()
    layers = (torch.nn.Linear, torch.nn.Conv2d)
    expected = {
        f"{name}.{key}"
        for name, module in unet.named_modules()
        if isinstance(module, layers) and "attn2" not in name
        for key, _ in module.named_parameters()
    }
    trains = moved(Esd.presets["released"]["parameters"], EXPLICIT)
    assert {name for name, _ in unet.named_parameters() if trains(name)} == expected
    assert any(name.startswith("conv_in.") for name in expected)
    styles = moved(Esd.presets["released"]["parameters"], CONCEPT)
    assert all("attn2" in name for name, _ in unet.named_parameters() if styles(name))


def test_first_published_esd_freezes_the_last_layers_and_the_time_embedding() -> None:
    trains = moved("u-first", EXPLICIT)
    left = {
        name.split(".")[0] for name, _ in tiny_unet().named_parameters() if not trains(name) and "attn2" not in name
    }
    assert left == {"conv_norm_out", "conv_out", "time_embedding"}
    assert trains("conv_in.weight")
    assert trains("down_blocks.0.resnets.0.norm1.weight")


def test_released_esd_draws_steps_1_to_48_equally_often() -> None:
    method = configure(Esd, "released")
    shown = materials()
    phase = erasing_phase(method.config, tiny_unet(), tiny_unet(), shown, CONCEPT, 0)
    stops = Counter(phase.streams[0].draw(k, torch.device("cpu")).stop for k in range(96))
    assert stops == dict.fromkeys(range(1, 49), 2)


def test_inner_steps_require_at_least_three_steps() -> None:
    with pytest.raises(UsageError, match="inner_steps requires steps to be at least 3"):
        configure(Esd, "released", steps=2)


@pytest.mark.parametrize("warm_up", [0, 1, 5])
def test_released_warm_up_matches_diffusers(warm_up: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=2.0)
    schedule = get_scheduler("constant_with_warmup", optimiser, num_warmup_steps=warm_up)
    phase = Phase(name="lower", repeats=1, streams=(), loss=lambda: None, rate=2.0, warm_up=warm_up,
                  warm_up_from_zero=True, cost=None)  # fmt: skip
    for iteration in range(8):
        assert phase.rate_at(iteration) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize("method", [Distilled, Bilevel])
def test_first_released_step_changes_no_weight(method: type) -> None:
    from methods.budget import Budget

    small = {"batch": 4, **({"lower_steps": 1} if method is Bilevel else {})}
    unet = tiny_unet(3)
    before = {name: weight.clone() for name, weight in unet.state_dict().items()}
    configure(method, "released", **small).fit(unet, materials(), CONCEPT, Budget(iterations=1), context(), 0)
    assert all(torch.equal(weight, before[name]) for name, weight in unet.state_dict().items())


def test_paper_preset_has_no_caption_dropout() -> None:
    assert configure(Bilevel, "paper").config.caption_dropout == 0.0
    assert configure(Distilled, "paper").config.caption_dropout == 0.0
    assert configure(Distilled).config.caption_dropout == 0.1


def test_conceptprune_visits_layers_in_the_order_down_up_mid() -> None:
    blocks = [name.partition(".")[0].removesuffix("_blocks") for name in last_layers(tiny_unet())]
    assert list(dict.fromkeys(blocks)) == ["down", "up", "mid_block"]


def test_added_field_is_in_the_identity_only_with_a_non_default_value() -> None:
    assert "keep_scale" not in identity_of(configure(Uce).config)
    assert identity_of(configure(Uce, "released").config)["keep_scale"] == "by-count"
    assert "warm_up_from_zero" not in identity_of(configure(Distilled, "paper").config)
