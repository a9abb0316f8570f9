"""ESD trains the chosen weights on the model's own samples at their timesteps, and charges what it computes."""

import copy

import pytest
import torch
from reference import sampling as reference
from tiny import LENGTH, SAMPLER, SCHEDULER, SIZE, WIDTH, Memory, context, counting, materials, same, tiny_unet

from benchmark.errors import TrainingError, UsageError
from methods.base import configure
from methods.budget import Budget
from methods.esd import Esd, EsdConfig, erasing_phase
from methods.sampling import initial_noise, make_scheduler, sample
from methods.training import losses
from methods.training.batches import NoiseStream
from prompts.concepts import Concept

STYLE = Concept("style", ("Pablo Picasso", "Claude Monet"), "art")
EXPLICIT = Concept("explicit", ("nudity",), "person")
SMALL = {"batch": 2, "steps": 4, "rate": 1e-3, "checkpoint_every": 3, "log_every": 2}


def states(texts):
    return torch.stack([torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(len(t))) for t in texts])


def fit(iterations, memory=None, concept=STYLE, student=None, **settings):
    student = copy.deepcopy(student or tiny_unet(3))
    place = context(memory)
    given = materials(encode=states)
    method = Esd(EsdConfig(**{**SMALL, **settings}))
    return method.fit(student, given, concept, Budget(iterations=iterations), place, 0), place


def test_stopped_sampling_gives_the_papers_x_t_and_timestep() -> None:
    """Against the papers' DDIM, stopped by an exception at its n-th look."""
    unet, noise = tiny_unet(), initial_noise([4], (4, SIZE, SIZE))
    text, null = states(["one"]), states(["three"])[0]
    sampler = SAMPLER.model_copy(update={"scheduler": "ddim"})
    for stop in range(sampler.steps):
        seen: list[tuple[torch.Tensor, int]] = []

        def velocity(x, t, stop=stop, seen=seen):
            seen.append((x, t))
            if len(seen) > stop:
                raise StopIteration
            with torch.no_grad():
                return unet(x.float(), t, null[None])[0].double(), unet(x.float(), t, text)[0].double()

        levels = reference.signal(SCHEDULER["beta_start"], SCHEDULER["beta_end"], 1000)
        with pytest.raises(StopIteration):
            reference.sample(velocity, noise, levels, sampler.steps, sampler.guidance, multistep=False)
        x_t = sample(unet, SCHEDULER, text, null, noise, sampler, stop=stop)
        assert int(make_scheduler(SCHEDULER, sampler).timesteps[stop]) == seen[-1][1]
        torch.testing.assert_close(x_t, seen[-1][0].float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("parameters", "concept", "moves"),
    [("auto", STYLE, "x"), ("auto", EXPLICIT, "u"), ("x", EXPLICIT, "x"), ("u-all", STYLE, "u-all")],
)
def test_only_the_chosen_weights_move(parameters: str, concept: Concept, moves: str) -> None:
    before = tiny_unet(3).state_dict()
    after = fit(2, concept=concept, parameters=parameters)[0].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    cross = {name for name in before if ".attn2." in name}
    ends = {name for name in before if name.split(".")[0] in ("conv_in", "conv_out", "time_embedding")}
    assert moved
    if moves == "x":
        assert moved <= cross
    else:
        assert not moved & cross
        assert bool(moved & ends) == (moves == "u-all")


def test_charged_cost_is_that_of_the_passes() -> None:
    """Over one epoch of stops, in which each of them comes once."""
    student, given, config = tiny_unet(3), materials(encode=states), EsdConfig(**SMALL)
    phase = erasing_phase(config, student, tiny_unet(3), given, STYLE, 0)
    forwards = 0
    with counting() as counter:
        for k in range(config.steps):
            draw = phase.streams[0].draw(k, torch.device("cpu"))
            forwards += 2 * draw.stop * len(draw.noise) + 3 * len(draw.noise)
            phase.loss(student, draw)[0].backward()
    assert forwards == config.steps * phase.cost.forwards
    assert counter.get_total_flops() == pytest.approx(config.steps * phase.cost.flops, rel=0.02)


def test_resumed_training_gives_the_same_model() -> None:
    whole, place = fit(7)
    memory = Memory()
    fit(3, memory)
    assert memory.states[-1].meta["step"] == 3
    again, resumed = fit(7, memory)
    assert same(whole, again)
    assert [entry.iterations for entry in place.ledger] == [entry.iterations for entry in resumed.ledger] == [7]


def test_every_stop_is_drawn_once_an_epoch() -> None:
    starts = NoiseStream(name="esd", seed=1, text=states(["one", "three"]), batch=2, steps=5, shape=(4, 8, 8))
    draws = [starts.draw(k, torch.device("cpu")) for k in range(20)]
    for epoch in range(4):
        assert sorted(draw.stop for draw in draws[5 * epoch : 5 * epoch + 5]) == list(range(5))
    assert len({tuple(draw.stop for draw in draws[5 * e : 5 * e + 5]) for e in range(4)}) > 1
    assert all(torch.equal(draw.text[0], draw.text[1]) for draw in draws)  # one name an iteration
    assert len({float(draw.text[0, 0, 0]) for draw in draws}) == 2  # and each name comes


def test_two_processes_share_the_batch_of_one() -> None:
    starts = NoiseStream(name="esd", seed=1, text=states(["one", "three"]), batch=4, steps=5, shape=(4, 8, 8))
    whole = starts.draw(3, torch.device("cpu"))
    parts = [starts.draw(3, torch.device("cpu"), rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat([part.noise for part in parts]), whole.noise)
    assert {part.stop for part in parts} == {whole.stop}
    with pytest.raises(UsageError, match="evenly"):
        starts.draw(0, torch.device("cpu"), 0, 3)


def test_frozen_model_gives_the_target_and_training_lowers_the_loss() -> None:
    """The frozen model is the one that came: away from it by eta = -1 means to stay where it is."""
    student, given = tiny_unet(3), materials(encode=states)
    draw = NoiseStream(name="esd", seed=1, text=states(["one"]), batch=2, steps=5, shape=(4, 8, 8)).draw(
        0, torch.device("cpu")
    )
    t = torch.full((2,), 500)
    loss, _ = losses.negative_guidance_loss(student, tiny_unet(3), draw.noise, t, draw.text, given.null, -1.0)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-10)
    config = EsdConfig(**{**SMALL, "rate": 2e-3})
    phase = erasing_phase(config, student, tiny_unet(3), given, STYLE, 0)
    trained = fit(40, rate=2e-3)[0]
    draws = [phase.streams[0].draw(k, torch.device("cpu")) for k in range(8)]
    before, after = (sum(float(phase.loss(model, d)[0].detach()) for d in draws) for model in (tiny_unet(3), trained))
    assert after < 0.7 * before


def test_offset_shifts_the_timestep_up_to_the_last_one() -> None:
    seen: list[torch.Tensor] = []
    student, given = tiny_unet(3), materials(encode=states)
    config = EsdConfig(**{**SMALL, "offset": 700})
    phase = erasing_phase(config, student, tiny_unet(3), given, STYLE, 0)
    student.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    for k in range(config.steps):
        draw = phase.streams[0].draw(k, torch.device("cpu"))
        phase.loss(student, draw)
        assert seen[-1].tolist() == [min(999, 751 - 250 * draw.stop + 700)] * 2


def test_nan_weights_stop_the_training() -> None:
    broken = tiny_unet(3)
    with torch.no_grad():
        broken.conv_in.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match="esd"):
        fit(2, student=broken)


def test_presets_have_their_published_values_and_guidance_exceeds_one() -> None:
    assert configure(Esd, "paper").config.rate == 1e-5
    assert configure(Esd, "released").config.offset == 19
    with pytest.raises(UsageError, match="guidance"):
        configure(Esd, guidance=1.0)
