import pytest
import torch
from reference import losses as reference
from tiny import SCHEDULER, Pictures, materials, tiny_unet
from torch.nn import functional

from benchmark.errors import UsageError
from methods.bilevel.objectives import NegativeGuidance
from methods.training.batches import Batch
from methods.training.losses import Process, Weights, distillation_loss, feature_maps, negative_guidance_loss, predict

KINDS = ["v_prediction", "epsilon", "sample"]
TIMES = torch.tensor([0, 20, 400, 999])


def draw() -> Batch:
    x0, text = Pictures(5).batch(torch.arange(4))
    return Batch(x0=x0, text=text, noise=torch.randn(x0.shape, generator=torch.Generator().manual_seed(2)), t=TIMES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("weighting", "features"), [("shifted", "mean"), ("diffusers", "sum")])
def test_distillation_loss_is_eq8_of_the_paper(kind: str, weighting: str, features: str) -> None:
    scheduler, batch = {**SCHEDULER, "prediction_type": kind}, draw()
    student, teacher = tiny_unet(0), tiny_unet(1)
    weights = Weights(weighting=weighting, features=features)  # type: ignore[arg-type]
    loss, figures = distillation_loss(student, teacher, Process(scheduler), batch, weights)
    expected = reference.eq8(
        student, teacher, batch.x0, batch.noise, batch.t, batch.text, scheduler, (1.0, 2.0, 0.1), 5.0, weighting,
        features,
    )  # fmt: skip
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert set(figures) == {"diffusion", "output", "feature"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighting", ["shifted", "diffusers"])
def test_min_snr_weights_are_those_of_the_formula(kind: str, weighting: str) -> None:
    process = Process({**SCHEDULER, "prediction_type": kind})
    ours = process.min_snr(TIMES, 5.0, weighting)  # type: ignore[arg-type]
    theirs = [
        reference.min_snr(*reference.noise_level(SCHEDULER, int(t)), 5.0, kind, weighting)  # per image
        for t in TIMES
    ]
    torch.testing.assert_close(ours, torch.tensor(theirs), rtol=2e-3, atol=1e-5)


def test_the_weightings_differ_at_pure_noise_only() -> None:
    process = Process(SCHEDULER)
    shifted, plain = (process.min_snr(torch.tensor([0, 999]), 5.0, w) for w in ("shifted", "diffusers"))
    assert shifted[0] == pytest.approx(float(plain[0]))
    assert shifted[1] == 1
    assert plain[1] < 0.01


def test_output_and_feature_terms_of_eq8_are_zero_for_the_teacher_itself() -> None:
    teacher = tiny_unet(1)
    _, figures = distillation_loss(teacher, teacher, Process(SCHEDULER), draw(), Weights())
    assert figures["output"] == 0
    assert figures["feature"] == 0
    assert figures["diffusion"] > 0


def away(empty, caption, eta):
    return NegativeGuidance.target({"null": empty, "text": caption}, eta)


@pytest.mark.parametrize("eta", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("kind", ["v_prediction", "sample"])
def test_negative_guidance_means_the_same_in_every_prediction_space(kind: str, eta: float) -> None:
    x_t, empty, caption = torch.randn(3, 2, 4, 8, 8, dtype=torch.float64)
    alpha, sigma = reference.noise_level(SCHEDULER, 500)
    in_epsilon = away(empty, caption, eta)
    moved = [reference.from_epsilon(e, x_t, alpha, sigma, kind) for e in (empty, caption)]
    back = reference.to_epsilon(away(*moved, eta), x_t, alpha, sigma, kind)
    torch.testing.assert_close(back, in_epsilon)
    torch.testing.assert_close(away(empty, caption, 1.0), 2 * empty - caption)


def test_unlearning_calls_the_teacher_once_for_caption_and_null() -> None:
    student, teacher, batch, null = tiny_unet(0), tiny_unet(1), draw(), materials().null
    calls: list[int] = []
    teacher.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    x_t = Process(SCHEDULER).noisy(batch)
    loss, _ = negative_guidance_loss(student, teacher, x_t, batch.t, batch.text, null, eta=1.5)
    assert calls == [8]
    x_t = Process(SCHEDULER).noisy(batch)
    with torch.no_grad():
        caption = predict(teacher, x_t, batch.t, batch.text)
        empty = predict(teacher, x_t, batch.t, null.expand_as(batch.text))
        ours = predict(student, x_t, batch.t, batch.text)
    expected = functional.mse_loss(ours, empty - 1.5 * (caption - empty))
    assert loss.item() == pytest.approx(float(expected), rel=1e-5)


def test_retention_calls_the_teacher_once_and_gives_it_no_gradient() -> None:
    student, teacher = tiny_unet(0), tiny_unet(1)
    calls: list[int] = []
    teacher.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    distillation_loss(student, teacher, Process(SCHEDULER), draw(), Weights())[0].backward()
    assert calls == [4]
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())


def test_hooks_are_removed_after_a_failed_pass() -> None:
    unet = tiny_unet()
    with pytest.raises(RuntimeError), feature_maps(unet):
        unet(torch.zeros(1, 9, 8, 8), 0, torch.zeros(1, 6, 16))
    assert not any(module._forward_hooks for module in unet.modules())


def test_an_unknown_prediction_type_is_refused() -> None:
    with pytest.raises(UsageError, match="'flow'"):
        Process({**SCHEDULER, "prediction_type": "flow"})
