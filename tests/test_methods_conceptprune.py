"""ConceptPrune zeroes the weights that a plain implementation of the paper zeroes, and changes nothing else."""

import copy

import pytest
import torch
from tiny import LENGTH, WIDTH, context, counting, materials, tiny_unet

from benchmark.errors import BudgetError, UsageError
from methods.budget import Budget
from methods.conceptprune import ConceptPrune, ConceptPruneConfig, activity, last_layers, pruning_mask, share_of
from prompts.concepts import Concept

ONE = Concept("style", ("Claude Monet",), "art")
BOTH = Concept("style", ("Pablo Picasso", "Claude Monet"), "art")
CONTRAST = {
    "Claude Monet": [("a photo of a boat", "a boat by Monet"), ("a photo of a cat", "a cat by Monet")],
    "Pablo Picasso": [("a photo of a face", "a face by Picasso")],
}


def states(texts):
    return torch.stack(
        [torch.randn(LENGTH, WIDTH, generator=torch.Generator().manual_seed(sum(map(ord, t)))) for t in texts]
    )


def given():
    return materials(encode=states, contrast=CONTRAST)


def fit(concept=ONE, student=None, flops=1e15, **settings):
    student, place = copy.deepcopy(student or tiny_unet(3)), context()
    method = ConceptPrune(ConceptPruneConfig(**settings))
    return method.fit(student, given(), concept, Budget(flops=flops), place, 0), place


def zeroed(unet):
    return {name: layer.weight.detach() == 0 for name, layer in last_layers(unet).items()}


@pytest.mark.parametrize("threshold", [0.0, 0.5])
@pytest.mark.parametrize("share", [0.01, 0.25])
def test_zeroed_weights_match_a_plain_implementation(share: float, threshold: float) -> None:
    g = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 12, generator=g)
    excited, base = torch.rand(4, 12, generator=g), torch.rand(4, 12, generator=g)
    fell = pruning_mask(weight, excited, base, ConceptPruneConfig(share=share, threshold=threshold))
    best = max(1, int(share * 12))
    for row in range(3):
        for column in range(12):
            votes = 0
            for step in range(4):
                scores = [abs(float(weight[row, c])) * float(excited[step, c]) for c in range(12)]
                among = sum(other > scores[column] for other in scores) < best
                votes += among and scores[column] > abs(float(weight[row, column])) * float(base[step, column])
            assert bool(fell[row, column]) == (votes > threshold * 4)
    if not threshold:
        assert fell.any()  # int(0.01 * 12) is 0: then the layer would silently do nothing


def test_every_feed_forward_output_layer_is_pruned_and_nothing_else_changes() -> None:
    before, (after, _) = tiny_unet(3), fit()
    masks = zeroed(after)
    assert sum(int(mask.any()) for mask in masks.values()) == len(masks)
    for name, value in before.state_dict().items():
        if name.removesuffix(".weight") in masks:
            kept = ~masks[name.removesuffix(".weight")]
            torch.testing.assert_close(after.state_dict()[name][kept], value[kept], rtol=0, atol=0)
        else:
            assert torch.equal(after.state_dict()[name], value)


def test_activity_equals_the_norm_of_the_layer_inputs() -> None:
    """One text alone, its inputs recorded by another hook, row by row."""
    unet, config = tiny_unet(3).requires_grad_(False), ConceptPruneConfig()
    name, layer = list(last_layers(unet).items())[-1]
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].double()))
    norms = activity(unet, given(), ["a boat"], 3, 0, config)[name]
    hook.remove()
    assert len(seen) == len(norms) == 3
    for step, inputs in enumerate(seen):
        total = torch.zeros(inputs.shape[-1], dtype=torch.float64)
        for row in inputs.reshape(-1, inputs.shape[-1]):
            total += (row / row.norm()) ** 2
        torch.testing.assert_close(norms[step], total.sqrt())
    assert not unet._forward_pre_hooks


def test_two_targets_zero_the_union_of_their_weights() -> None:
    both = zeroed(fit(BOTH)[0])
    each = [zeroed(fit(Concept("style", (name,), "art"))[0]) for name in BOTH.targets]
    for name, mask in both.items():
        assert torch.equal(mask, each[0][name] | each[1][name])


def test_full_horizon_zeroes_a_superset_of_the_weights() -> None:
    few, many = zeroed(fit()[0]), zeroed(fit(horizon=1.0)[0])
    assert all((few[name] <= many[name]).all() for name in few)
    assert share_of(many, tiny_unet(3)) > share_of(few, tiny_unet(3))


def test_ledger_counts_the_passes_that_record_activity() -> None:
    student = tiny_unet(3)
    with counting() as counter:
        _, place = fit(BOTH, student, horizon=1.0)
    [entry] = list(place.ledger)
    assert entry.images == 6
    assert entry.unet_forwards == 6 * 6 * 2  # PNDM calls once more than its 5 steps; with and without guidance
    assert entry.flops == pytest.approx(counter.get_total_flops(), rel=0.02)
    with pytest.raises(BudgetError, match="at least"):
        fit(BOTH, horizon=1.0, flops=entry.flops - 1)


def test_network_without_feed_forward_layers_is_refused() -> None:
    unet = tiny_unet(3)
    for block in [m for m in unet.modules() if hasattr(m, "ff")]:
        block.ff = torch.nn.Identity()
    with pytest.raises(UsageError, match=r"ff\.net\.2"):
        fit(student=unet)
