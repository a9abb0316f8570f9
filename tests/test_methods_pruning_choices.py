"""Prunings other than by magnitude, and every method on the network of each pruning."""

import copy
import inspect
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from tiny import LENGTH, SCHEDULER, SD21, SIZE, WIDTH, Pictures, context, materials, same, tiny_unet

from benchmark import registry
from benchmark.errors import BudgetError, UsageError
from methods.base import configure
from methods.budget import Budget
from methods.pruning import blocks, magnitude, random, scratch, taylor
from methods.pruning.aptp.experts import Experts
from methods.pruning.architecture import Architecture, gates, width
from methods.pruning.costs import Costs
from methods.pruning.depth import Dropped, droppable
from methods.pruning.macs import count_macs, published_macs
from methods.pruning.pictures import Pictures as Shown
from methods.training import losses
from prompts.concepts import Concept

MINI = (48, 96, 160)
CONCEPT = Concept("style", ("Claude Monet",), "art")
IN_CONTEXT = {"Claude Monet": [("a boat by Claude Monet", "a boat")]}
INNER = "attentions.0.transformer_blocks.0"
CONTRAST = {"Claude Monet": [("a photo of a boat", "a boat by Monet")]}
QUICK = {"batch": 2, "lower_steps": 1, "checkpoint_every": 1, "steps": 2}


def sd21() -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(**SD21)


def millions(unet: UNet2DConditionModel) -> float:
    return sum(p.numel() for p in unet.parameters()) / 1e6


def test_published_macs_match_the_published_figure() -> None:
    unet = sd21()
    assert published_macs(unet) == pytest.approx(1384.2e9, rel=1e-3)  # APTP's own figure for the whole of SD 2.1
    assert published_macs(unet, 64) > 1.1 * count_macs(unet, 64, 77)
    assert not any(module._forward_hooks for module in unet.modules())


def test_published_macs_count_cross_attention_as_self_attention() -> None:
    """Place by place: each attention twice n^2 times its width, and n^2 a head for the softmax."""
    unet = tiny_unet()
    expected = count_macs(unet, SIZE, 1)
    for name, module in gates(unet).items():
        if ".attn" in name:
            places = (SIZE if name.startswith(("down_blocks.0", "up_blocks.1")) else SIZE // 2) ** 2
            expected += module.heads * places**2
            if name.endswith("attn2"):
                expected += 2 * places * places * module.inner_dim - 2 * places * module.inner_dim
    assert published_macs(unet, SIZE) == expected


def test_bk_sdm_sizes_have_the_published_parameter_counts() -> None:
    unet, gone = sd21(), list[str]()
    # Of SD 2.1 they have 0.59, 0.49 and 0.33 G; our tiny keeps a downsampler and an upsampler of 14.7 M each.
    for size, published in (("base", 584), ("small", 486), ("tiny", 327 + 29.5)):
        gone += blocks.ladder(unet)[size]
        small = Architecture.of(unet, Architecture.full(unet).kept(), gone).apply(unet)
        assert millions(small) == pytest.approx(published, rel=5e-3)
    assert not any(name.endswith(".0") and "up_blocks" in name for name in blocks.ladder(unet)["base"])


@pytest.mark.parametrize("asked", [0.9, 0.8, 0.65, 0.55])
@pytest.mark.parametrize("prune", [blocks.prune, random.prune])
def test_pruning_meets_its_share_of_macs_within_two_percent(prune, asked: float) -> None:
    unet = tiny_unet(channels=MINI, size=16)
    small, architecture = prune(unet, asked, 16, 32)
    tolerance = 0.02 if prune is blocks.prune else 0.01
    assert count_macs(small, 16, 32) / count_macs(unet, 16, 32) == pytest.approx(asked, abs=tolerance)
    assert same(architecture.apply(unet), small)
    assert bool(architecture.dropped) == (prune is blocks.prune)


def test_blocks_drops_whole_blocks_and_leaves_the_others_unchanged() -> None:
    unet = tiny_unet(channels=MINI, size=16)
    small, architecture = blocks.prune(unet, 0.55, 16, 32)
    assert all(len(kept) == width(gates(unet)[name]) for name, kept in architecture.kept().items())
    left = {name: module for name, module in small.named_modules() if isinstance(module, Dropped)}
    assert set(left) == set(architecture.dropped)
    for name, value in small.state_dict().items():
        assert torch.equal(value, unet.state_dict()[name])


def test_random_pruning_is_fixed_by_its_seed() -> None:
    unet = tiny_unet(channels=MINI, size=16)
    first = random.prune(unet, 0.6, 16, 32)[1]
    assert random.prune(unet, 0.6, 16, 32)[1] == first
    assert random.prune(unet, 0.6, 16, 32, seed=1)[1] != first
    assert magnitude.prune(unet, 0.6, 16, 32)[1] != first


def test_random_pruning_spreads_evenly_over_gates() -> None:
    unet = tiny_unet(channels=MINI, size=16)
    kept = random.prune(unet, 0.6, 16, 32)[1].kept()
    shares = [len(kept[name]) / width(module) for name, module in gates(unet).items()]
    assert max(shares) - min(shares) <= 0.25  # one head of four


@pytest.mark.parametrize("prune", [blocks.prune, random.prune])
def test_unreachable_or_invalid_share_of_macs_is_refused(prune) -> None:
    unet = tiny_unet(channels=MINI, size=16)
    with pytest.raises(BudgetError, match=r"request at least \d+\.\d%"):
        prune(unet, 0.05, 16, 32)
    for wrong in (0.0, 1.5):
        with pytest.raises(BudgetError, match="fraction"):
            prune(unet, wrong, 16, 32)


def states(texts):
    """Random text states, the same for the same text."""
    seeds = [sum(map(ord, text)) for text in texts]
    return torch.stack([torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def shown() -> Shown:
    return Shown(Pictures(0), ["a boat"] * 12, torch.zeros(LENGTH, WIDTH), SCHEDULER)


def pruned(name: str) -> UNet2DConditionModel:
    """A tiny U-Net at 70 % of its MACs; the teacher of `materials` is its base."""
    prune, unet = registry.load("prunings", name), tiny_unet(1, layers=2)
    wants = inspect.signature(prune).parameters
    given: dict[str, Any] = {"pictures": shown()} if "pictures" in wants else {}
    if "experts" in wants:
        costs = Costs.of(unet, SIZE, LENGTH)
        scores = torch.rand(1, costs.layout.length, generator=torch.Generator().manual_seed(0))
        scores[:, -2:] = 0  # two blocks go
        given["experts"] = Experts(scores, (0.7,), {})
    return prune(unet, 0.7, SIZE, LENGTH, **given)[0]


def test_all_expected_methods_and_prunings_are_registered() -> None:
    """The next test runs what is registered."""
    prunings = {"aptp", "blocks", "magnitude", "none", "random", "scratch", "taylor"}
    assert set(registry.names("prunings")) >= prunings
    assert set(registry.names("methods")) >= {"bilevel", "conceptprune", "distilled", "esd", "esd+kd", "uce"}


@pytest.mark.parametrize("pruning", registry.names("prunings"))
@pytest.mark.parametrize("method", registry.names("methods"))
def test_every_method_trains_on_every_pruned_network(method: str, pruning: str) -> None:
    kind = registry.load("methods", method)
    settings = {key: value for key, value in QUICK.items() if key in kind.Config.model_fields}
    student = pruned(pruning)
    before = copy.deepcopy(student)
    given = materials(teacher=tiny_unet(1, layers=2), contrast=CONTRAST, encode=states, in_context=IN_CONTEXT)
    after = configure(kind, **settings).fit(student, given, CONCEPT, Budget(iterations=2), context(), 0)
    assert after.state_dict().keys() == before.state_dict().keys()
    assert not same(after, before)
    assert all(bool(weight.isfinite().all()) for weight in after.parameters())


@pytest.mark.parametrize("method", [name for name in registry.names("methods") if name != "distilled"])
def test_attention_method_refuses_a_network_without_attention(method: str) -> None:
    teacher = tiny_unet(1, layers=2)
    student = Architecture.of(teacher, Architecture.full(teacher).kept(), droppable(teacher)).apply(teacher)
    assert not any("attentions" in name for name, _ in student.named_parameters())
    kind = registry.load("methods", method)
    settings = {key: value for key, value in QUICK.items() if key in kind.Config.model_fields}
    given = materials(teacher=teacher, contrast=CONTRAST, encode=states, in_context=IN_CONTEXT)
    with pytest.raises(UsageError, match="This U-Net has no"):
        configure(kind, **settings).fit(student, given, CONCEPT, Budget(iterations=2), context(), 0)


def weights_of(module: Any, element: int) -> list[torch.Tensor]:
    """The weights that go with an element, as views."""
    rows = slice(element, element + 1)
    if hasattr(module, "conv1"):
        size = module.norm2.num_channels // module.norm2.num_groups
        rows = slice(element * size, element * size + size)
        return [module.conv1.weight[rows], module.time_emb_proj.weight[rows], module.conv2.weight[:, rows]]
    if hasattr(module, "to_q"):
        size = module.inner_dim // module.heads
        rows = slice(element * size, element * size + size)
        inputs = [layer.weight[rows] for layer in (module.to_q, module.to_k, module.to_v)]
        return [*inputs, module.to_out[0].weight[:, rows]]
    return [*(half[rows] for half in module.net[0].proj.weight.chunk(2)), module.net[2].weight[:, rows]]


@pytest.mark.parametrize("name", ["down_blocks.0.resnets.0", f"mid_block.{INNER}.attn2", f"up_blocks.1.{INNER}.ff"])
def test_taylor_scores_match_finite_differences_of_the_loss(name: str, monkeypatch) -> None:
    """By differences of the loss itself, an element's weights being made larger and smaller by 5 %."""
    monkeypatch.setattr(taylor, "LITTLE", 0.0)  # so that all timesteps count on both sides
    errors: list[float] = []

    def mse_loss(answer: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        errors.append(float((answer - target).detach().double().square().mean()))
        return (answer - target).square().mean()

    monkeypatch.setattr(taylor.F, "mse_loss", mse_loss)
    unet = tiny_unet(1).requires_grad_(True)
    taylor._accumulate(unet, shown())
    found = magnitude.elements(unet.get_submodule(name), lambda weight: weight.detach() * weight.grad)
    scores = torch.stack([part.sum(1) for part in found]).sum(0)
    element, step, sums = int(scores.abs().argmax()), 0.05, []
    for sign in (1, -1):
        errors.clear()
        other = tiny_unet(1)
        with torch.no_grad():
            for weight in weights_of(other.get_submodule(name), element):
                weight *= 1 + sign * step
        taylor._accumulate(other.requires_grad_(True), shown())
        sums.append(sum(errors))
    assert float(scores[element]) == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=0.01)


def test_taylor_leaves_the_base_unchanged() -> None:
    unet, before = tiny_unet(1), tiny_unet(1)
    taylor.prune(unet, 0.8, SIZE, LENGTH, shown())
    assert same(unet, before)
    assert all(weight.grad is None for weight in unet.parameters())


def test_taylor_splits_batches_when_memory_runs_out_with_the_same_result(monkeypatch) -> None:
    """Once half of a batch has a gradient already when memory runs out; the next parts are smaller still."""
    whole, parts = tiny_unet(1), tiny_unet(1)
    small, architecture = taylor.prune(whole, 0.8, SIZE, LENGTH, shown())
    for unet in (whole, parts):
        unet.requires_grad_(True)
    taylor._accumulate(whole, shown())
    plain, seen = losses.predict, list[int]()

    def predict(unet, x, *rest):
        seen.append(len(x))
        if len(x) > 8 or len(seen) == 3 or (len(x) > 2 and len(seen) > 4):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return plain(unet, x, *rest)

    monkeypatch.setattr(losses, "predict", predict)
    taylor._accumulate(parts, shown())
    assert seen[:8] == [16, 8, 8, 4, 4, 4, 2, 2]
    assert parts.is_gradient_checkpointing
    ours, theirs = (torch.cat([w.grad.flatten() for w in unet.parameters()]) for unet in (parts, whole))
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5
    parts.requires_grad_(False)
    again, found = taylor.prune(parts, 0.8, SIZE, LENGTH, shown())
    assert found == architecture
    assert same(again, small)
    assert not parts.is_gradient_checkpointing
    assert not any(weight.requires_grad for weight in parts.parameters())


def test_taylor_removes_elements_without_effect_first() -> None:
    """An element whose weights read nothing of what follows has score 0 and goes first."""
    unet = tiny_unet(1)
    name = "up_blocks.1.attentions.0.transformer_blocks.0.ff"
    with torch.no_grad():
        unet.get_submodule(name).net[2].weight[:, :10] = 0
    kept = taylor.prune(unet, 0.9, SIZE, LENGTH, shown())[1].kept()[name]
    assert not set(kept) & set(range(10))


def test_scratch_has_new_weights_in_the_magnitude_architecture() -> None:
    unet = tiny_unet(1)
    state = torch.random.get_rng_state()
    small, architecture = scratch.prune(unet, 0.7, SIZE, LENGTH)
    assert torch.equal(torch.random.get_rng_state(), state)
    other, same_architecture = magnitude.prune(unet, 0.7, SIZE, LENGTH)
    assert architecture == same_architecture
    matrices = [name for name, weight in small.named_parameters() if weight.ndim > 1]
    assert not any(torch.equal(small.get_parameter(name), other.get_parameter(name)) for name in matrices)
    assert same(small, scratch.prune(unet, 0.7, SIZE, LENGTH)[0])
