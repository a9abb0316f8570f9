"""Bilevel: its solvers, upper-level objectives and upper-level data."""

import pytest
import torch
from tiny import context, materials, same, tiny_unet

from benchmark.errors import UsageError
from methods.base import configure
from methods.bilevel.config import BilevelConfig
from methods.bilevel.dynamic_barrier import multiplier
from methods.bilevel.method import Bilevel
from methods.bilevel.upper_level import upper_phase
from methods.budget import Budget
from methods.distilled import lower_phase
from methods.training import losses
from prompts.concepts import Concept

CONCEPT = Concept("style", ("Claude Monet",), "art")
CPU = torch.device("cpu")
SMALL = {"batch": 4, "warm_up": 0, "parameters": "all"}


def phases(student, **settings):
    config, given = BilevelConfig(**{**SMALL, **settings}), materials()
    lower = lower_phase(config, student, given, 0, config.lower_steps)
    return config, given, lower, upper_phase(config, student, given, CONCEPT, 0, lower)


def test_penalty_solver_matches_a_literal_algorithm_1_with_two_sets() -> None:
    """Algorithm 1 with two sets: K steps of phi on L_ft, then theta along L_CU + lambda (L_ft(theta) - L_ft(phi))."""
    settings = {"solver": "penalty", "penalty": 3.0, "upper_rate": 1e-3, "lower_rate": 1e-2, "upper_optimiser": "adamw"}
    theta, phi = tiny_unet(2), tiny_unet(2)
    _, given, lower, upper = phases(theta, **settings)
    given.teacher.requires_grad_(False)
    ascent = {name: torch.optim.AdamW(net.parameters(), lr=rate, eps=1e-8, weight_decay=0.0)
              for name, net, rate in (("theta", theta, 1e-3), ("phi", phi, 1e-2))}  # fmt: skip
    for step in range(20):
        for inner in range(2):
            ascent["phi"].zero_grad()
            lower.loss(phi, lower.streams[0].draw(2 * step + inner, CPU))[0].backward()
            ascent["phi"].step()
        erased, kept = (stream.draw(step, CPU) for stream in upper.streams)
        ascent["theta"].zero_grad()
        x_t = losses.Process(given.scheduler).noisy(erased)
        unlearning = losses.negative_guidance_loss(theta, given.teacher, x_t, erased.t, erased.text, given.null, 1.0)[0]
        gap = lower.loss(theta, kept)[0] - lower.loss(phi, kept)[0]
        (unlearning + 3.0 * gap).backward()
        ascent["theta"].step()
    method, student = Bilevel(BilevelConfig(**SMALL, **settings)), tiny_unet(2)
    ours = method.fit(student, materials(), CONCEPT, Budget(iterations=20), context(), 0)
    for name, value in theta.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_multiplier_is_the_smallest_with_lower_descent_of_at_least_alpha(alpha: float) -> None:
    """Of two quadratics in two variables, whose gradients are known."""
    for direction in ((-1.0, 0.3), (1.0, 0.0), (2.0, -5.0), (0.0, 1.0)):
        p = torch.nn.Parameter(torch.zeros(2))
        u, f = torch.tensor(direction), torch.tensor([1.0, 0.0])
        mu = multiplier((p * u).sum(), (p * f).sum(), [p], alpha)
        pace = (u + mu * f) @ f
        assert float(mu) == pytest.approx(max(0.0, alpha - direction[0]))
        assert float(pace) >= alpha - 1e-6


@pytest.mark.parametrize("parameters", ["all", "attn2", "attn2-kv"])
def test_upper_step_of_the_dynamic_barrier_does_not_raise_the_lower_loss(parameters: str) -> None:
    student = tiny_unet(2)
    settings = {"solver": "dynamic-barrier", "upper_rate": 1e-3, "alpha": 0.2, "parameters": parameters}
    _, given, lower, upper = phases(student, **settings)
    given.teacher.requires_grad_(False)
    rises = 0.0
    for step in range(6):
        erased, kept = (stream.draw(step, CPU) for stream in upper.streams)
        before = float(lower.loss(student, kept)[0].detach())
        student.zero_grad()
        loss, figures = upper.loss(student, erased, kept)
        loss.backward()
        with torch.no_grad():
            for name, p in student.named_parameters():
                if upper.trains(name):
                    p -= 1e-3 * p.grad
        assert float(lower.loss(student, kept)[0].detach()) <= before
        rises += float(figures["mu"])
    assert rises > 0  # or it was never needed, and nothing was tested


def test_dynamic_barrier_takes_upper_steps_with_sgd(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        step = kind.step
        monkeypatch.setattr(
            kind, "step", lambda self, *a, s=step, k=kind, **b: (taken.append(k.__name__), s(self, *a, **b))
        )
    method = Bilevel(BilevelConfig(**SMALL, solver="dynamic-barrier", lower_steps=2))
    method.fit(tiny_unet(2), materials(), CONCEPT, Budget(iterations=6), context(), 0)
    assert taken == ["AdamW", "AdamW", "SGD"] * 2


def test_anchor_objective_regresses_to_the_teacher_on_the_anchor() -> None:
    student = tiny_unet(0)
    _, given, _, upper = phases(student, objective="anchor", prompts="caption")
    draw = upper.streams[0].draw(0, CPU)
    loss, _ = upper.loss(student, draw)
    x_t = losses.Process(given.scheduler).noisy(draw)
    anchor = given.encode(["art"]).expand_as(draw.text)
    with torch.no_grad():
        wanted = given.teacher(x_t, draw.t, anchor)[0]
        ours = student(x_t, draw.t, draw.text)[0]
    assert float(loss.detach()) == pytest.approx(float((ours - wanted).square().mean()), rel=1e-4)


def test_sampled_upper_steps_draw_named_prompts_and_count_their_sampling() -> None:
    student = tiny_unet(0)
    config, given, _, upper = phases(student, upper_data="sampled")
    assert upper.streams[0].steps == given.sampler.steps
    assert upper.cost.forwards == config.batch * (given.sampler.steps - 1 + 3)
    names = {tuple(row.flatten().tolist()) for row in given.erase_named.batch(torch.arange(5))[1]}
    draws = [upper.streams[0].draw(k, CPU) for k in range(12)]
    assert {tuple(draw.text[0].flatten().tolist()) for draw in draws} <= names
    trained, _ = _fit(upper_data="sampled")
    assert not same(trained, _fit()[0])


def _fit(**settings):
    place = context()
    method = Bilevel(BilevelConfig(**SMALL, lower_steps=1, upper_rate=1e-3, **settings))
    return method.fit(tiny_unet(2), materials(), CONCEPT, Budget(iterations=4), place, 0), place


def test_sampled_upper_steps_need_no_concept_images() -> None:
    assert Bilevel(BilevelConfig()).uses_concept_images
    assert not Bilevel(BilevelConfig(upper_data="sampled")).uses_concept_images


def test_contradictory_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="penalty above 0"):
        configure(Bilevel, solver="penalty")
    with pytest.raises(UsageError, match="only under upper_optimiser 'sgd'"):
        configure(Bilevel, solver="dynamic-barrier", upper_optimiser="adamw")
    assert configure(Bilevel, "paper").config.upper_optimiser == "adamw"


def test_resumed_solvers_give_identical_weights(tmp_path) -> None:
    from tiny import Memory

    for solver in ("penalty", "dynamic-barrier"):
        config = {
            **SMALL,
            "solver": solver,
            "penalty": 2.0,
            "lower_steps": 1,
            "checkpoint_every": 3,
            "upper_rate": 0.01,
        }
        method = Bilevel(BilevelConfig(**config))
        whole = method.fit(tiny_unet(2), materials(), CONCEPT, Budget(iterations=5), context(), 0)
        memory = Memory()
        method.fit(tiny_unet(2), materials(), CONCEPT, Budget(iterations=4), context(memory), 0)
        memory.states = memory.states[:1]
        again = method.fit(tiny_unet(2), materials(), CONCEPT, Budget(iterations=5), context(memory), 0)
        assert same(whole, again)


INHERITS = "from benchmark.api import UpperObjective\nclass Away(UpperObjective):\n    name = summary = 'away'\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("class Away:\n    asks = ('text',)\n    target = print", "it must inherit from UpperObjective"),
        (f"{INHERITS}    asks = ('text',)", "it lacks target"),
        (f"{INHERITS}    asks = ('somebody',)\n    target = print", "of text, null, anchor"),
        ("class Away\n", "SyntaxError"),
        ("", "Unknown class"),
    ],
)
def test_invalid_objective_is_refused_at_configuration(tmp_path, code: str, said: str) -> None:
    file = tmp_path / "away.py"
    file.write_text(code)
    with pytest.raises(UsageError, match=said):
        configure(Bilevel, objective=f"{file}:Away")
    with pytest.raises(UsageError, match="Did you mean 'anchor'"):
        configure(Bilevel, objective="ancor")


def test_objective_cost_counts_only_the_passes_that_it_needs() -> None:
    costs = {name: phases(tiny_unet(0), objective=name)[3].cost for name in ("anchor", "negative-guidance")}
    batch = SMALL["batch"]
    assert costs["negative-guidance"].forwards - costs["anchor"].forwards == batch
    assert costs["negative-guidance"].flops > costs["anchor"].flops


def test_several_small_upper_steps_are_counted_separately() -> None:
    place = context()
    settings = {**SMALL, "batch": 6, "lower_steps": 3, "upper_steps": 2, "upper_batch": 2, "upper_rate": 1e-3}
    Bilevel(BilevelConfig(**settings)).fit(tiny_unet(2), materials(), CONCEPT, Budget(iterations=10), place, 0)
    spent = {entry.phase: (entry.iterations, entry.images, entry.unet_forwards) for entry in place.ledger}
    assert spent == {"lower": (6, 36, 72), "upper": (4, 8, 24)}
