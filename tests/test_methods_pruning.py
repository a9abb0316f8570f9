import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from tiny import LENGTH, SD21, SIZE, Pictures, counting, same, tiny_unet

from benchmark.errors import BudgetError, DataError, UsageError
from methods.bilevel.upper_level import MOVED
from methods.conceptprune import last_layers
from methods.esd import moved
from methods.pruning import magnitude, none
from methods.pruning.architecture import Architecture, gates, load_pruned, read_pruned, width, write_pruned
from methods.pruning.macs import count_macs, published_macs
from methods.uce import EDITED
from prompts.concepts import Concept

MINI = (32, 64, 128)


def answer(unet: UNet2DConditionModel) -> torch.Tensor:
    x, text = Pictures().batch(torch.arange(2))
    with torch.no_grad():
        return unet.eval()(x, torch.tensor([3, 700]), text).sample


def sd21() -> UNet2DConditionModel:
    with torch.device("meta"):
        return UNet2DConditionModel(**SD21)


def test_sd21_has_its_published_modules_parameters_and_macs() -> None:
    unet = sd21()
    full, names = Architecture.full(unet), [name for name, _ in unet.named_parameters()]
    assert (len(full.resnets), len(full.attentions), len(full.feedforwards)) == (22, 32, 16)
    assert sum(name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")) for name in names) == 32
    assert sum(name.endswith("ff.net.2.weight") for name in names) == 16
    assert sum(type(module).__name__ == "Transformer2DModel" for module in unet.modules()) == 16
    # 22 x 32 groups, heads 2 x (5 x 5 + 5 x 10 + 6 x 20), hidden units of the widths 4 x 320, 640, 1280.
    assert sum(map(len, full.resnets.values())) == 22 * 32
    assert sum(map(len, full.attentions.values())) == 390
    assert sum(map(len, full.feedforwards.values())) == 5 * 1280 + 5 * 2560 + 6 * 5120
    assert sum(p.numel() for p in unet.parameters()) == pytest.approx(865.91e6, rel=1e-5)
    assert count_macs(unet, 64, 77) == pytest.approx(402.1e9, rel=0.005)
    assert count_macs(unet, 96, 77) == pytest.approx(1074.6e9, rel=0.005)


def test_macs_of_a_pruned_sd21_are_counted_on_the_meta_device() -> None:
    unet = sd21()
    kept = {name: range(0, width(module), 2) for name, module in gates(unet).items()}
    small = Architecture.of(unet, kept).apply(unet)
    assert 0.5 < count_macs(small, 64, 77) / count_macs(unet, 64, 77) < 0.7


def test_macs_are_counted_for_the_given_sizes_without_changing_the_unet() -> None:
    unet = tiny_unet()
    with counting() as counter, torch.no_grad():
        unet(torch.zeros(1, 4, 16, 16), 1, torch.zeros(1, 9, 16))
    assert count_macs(unet, 16, 9) == counter.get_total_flops() // 2
    assert count_macs(unet, 16, 9) > count_macs(unet, 16, 5) > count_macs(unet, 8, 5)
    assert unet.device.type == "cpu"


def test_counts_of_a_modified_network_are_not_those_of_the_original() -> None:
    original = count_macs(tiny_unet(0), 16, 9)
    assert count_macs(tiny_unet(1), 16, 9) == original
    stride = tiny_unet(0)
    stride.conv_in.stride = (2, 2)
    replaced = tiny_unet(0)
    replaced.mid_block.forward = lambda hidden, *_, **__: hidden
    hooked = tiny_unet(0)
    hooked.mid_block.register_forward_pre_hook(lambda _, given: (given[0][..., ::2], *given[1:]))
    hooked.mid_block.register_forward_hook(lambda _, given, output: output.repeat_interleave(2, dim=-1))
    for modified in (stride, replaced, hooked):
        assert count_macs(modified, 16, 9) < original
    wider = tiny_unet(0, channels=(16, 64))
    assert count_macs(wider, 16, 9) > original
    assert published_macs(wider, 16) > published_macs(tiny_unet(0), 16)


@pytest.mark.parametrize("asked", [0.9, 0.8, 0.65])
def test_pruned_macs_are_within_one_percent_of_the_budget(asked: float) -> None:
    unet = tiny_unet(channels=MINI, size=16)
    small, architecture = magnitude.prune(unet, asked, 16, 24)
    assert count_macs(small, 16, 24) / count_macs(unet, 16, 24) == pytest.approx(asked, abs=0.01)
    assert all(architecture.kept().values())
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in unet.parameters())


def test_unreachable_macs_are_refused_with_the_reachable_minimum() -> None:
    unet = tiny_unet(channels=MINI, size=16)
    with pytest.raises(BudgetError, match=r"request at least (\d+\.\d)%") as error:
        magnitude.prune(unet, 0.05, 16, 24)
    least = float(str(error.value).split("request at least ")[1].split("%")[0]) / 100
    small, architecture = magnitude.prune(unet, least + 0.002, 16, 24)
    assert count_macs(small, 16, 24) / count_macs(unet, 16, 24) == pytest.approx(least, abs=0.01)
    assert min(map(len, architecture.kept().values())) == 1
    for wrong in (0.0, 1.1):
        with pytest.raises(BudgetError, match="fraction"):
            magnitude.prune(unet, wrong, 16, 24)


def test_magnitude_pruning_keeps_the_largest_norms_by_one_global_threshold() -> None:
    unet = tiny_unet(channels=MINI, size=16)
    kept = magnitude.prune(unet, 0.8, 16, 24)[1].kept()
    scores = {name: magnitude.importance(module) for name, module in gates(unet).items()}
    stay = torch.cat([scores[name][list(rows)] for name, rows in kept.items() if len(rows) > 1])
    cut = [
        scores[name][[i for i in range(len(scores[name])) if i not in rows]].max()
        for name, rows in ((name, set(rows)) for name, rows in kept.items())
        if len(rows) < len(scores[name])
    ]
    assert max(cut) <= stay.min()


def slow_importance(module: Any, count: int) -> list[float]:
    """Sum the squares of one row or column at a time."""
    if hasattr(module, "conv1"):
        rows, columns = [module.conv1, module.time_emb_proj], module.conv2
    elif isinstance(module, Attention):
        rows, columns = [module.to_q, module.to_k, module.to_v], module.to_out[0]
    else:
        rows, columns = [module.net[0].proj], module.net[2]
    norms = []
    for element in range(count):
        total = 0.0
        for row in rows:
            # The feed-forward's value and gate halves both belong to a hidden unit.
            halves = row.weight.chunk(2) if isinstance(module, FeedForward) else [row.weight]
            for half in halves:
                size = len(half) // count
                total += sum(float(half[element * size + i].square().sum()) for i in range(size))
        size = columns.weight.shape[1] // count
        total += sum(float(columns.weight[:, element * size + i].square().sum()) for i in range(size))
        norms.append(total**0.5)
    return [norm / (sum(norms) / count) for norm in norms]


@torch.no_grad()
def test_importance_includes_all_weights_of_an_element() -> None:
    found = gates(tiny_unet())
    for ending in ("resnets.0", "attn2", "ff"):
        module = next(m for name, m in found.items() if name.endswith(ending))
        slow = torch.tensor(slow_importance(module, width(module)), dtype=torch.float64)
        torch.testing.assert_close(magnitude.importance(module), slow, rtol=1e-5, atol=1e-6)


def test_pruning_nothing_returns_an_exact_copy_of_the_base() -> None:
    unet = tiny_unet()
    for small, architecture in (magnitude.prune(unet, 1.0, SIZE, LENGTH), none.prune(unet, 0.8, SIZE, LENGTH)):
        assert architecture == Architecture.full(unet)
        assert small is not unet
        assert same(small, unet)
        assert torch.equal(answer(small), answer(unet))


def test_removing_zero_elements_keeps_the_output() -> None:
    """Elements whose weights are nought can go: cut and whole network answer alike (an exact check of every slice)."""
    unet = tiny_unet()
    kept = {}
    with torch.no_grad():
        for name, module in gates(unet).items():
            kept[name] = [i for i in range(width(module)) if i % 3 != 1]
            gone = [i for i in range(width(module)) if i % 3 == 1]
            reader = getattr(module, "conv2", None)
            if reader is None:
                reader = module.to_out[0] if isinstance(module, Attention) else module.net[2]
            reader.weight.unflatten(1, (width(module), -1))[:, gone] = 0
    small = Architecture.of(unet, kept).apply(unet)
    torch.testing.assert_close(answer(small), answer(unet), rtol=1e-4, atol=1e-5)
    attention = small.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    assert (attention.heads, attention.inner_dim, attention.inner_kv_dim) == (3, 12, 12)


def test_a_pruned_unet_is_read_back_exactly(tmp_path: Path) -> None:
    small, architecture = magnitude.prune(tiny_unet(), 0.8, SIZE, LENGTH)
    write_pruned(tmp_path, small, architecture)
    again, same_architecture = read_pruned(tmp_path)
    assert same_architecture == architecture
    assert same(again, small)
    assert torch.equal(answer(again), answer(small))
    again.train()
    assert all(parameter.requires_grad and not parameter.is_meta for parameter in again.parameters())


def test_weights_of_a_different_architecture_are_refused(tmp_path: Path) -> None:
    unet = tiny_unet()
    small, architecture = magnitude.prune(unet, 0.8, SIZE, LENGTH)
    state = small.state_dict()
    with pytest.raises(DataError, match="do not match the pruned architecture"):
        load_pruned(dict(unet.config), Architecture.full(unet), state)
    state.pop("conv_in.weight")
    with pytest.raises(DataError, match="conv_in"):
        load_pruned(dict(unet.config), architecture, state)
    write_pruned(tmp_path, small, architecture)
    weights = tmp_path / "unet.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        read_pruned(tmp_path)


@pytest.mark.parametrize("rows", [[], [1, 0], [0, 0], [-1], [8]])
def test_a_damaged_architecture_is_refused(rows: list[int]) -> None:
    unet = tiny_unet()
    data = json.loads(json.dumps(Architecture.full(unet).to_json()))
    name = next(iter(data["resnets"]))
    data["resnets"][name] = rows
    with pytest.raises(DataError, match=name):
        Architecture.from_json(data).apply(unet)


def test_architecture_of_a_different_unet_is_refused() -> None:
    with pytest.raises(DataError, match="belongs to a different U-Net"):
        Architecture.full(tiny_unet(channels=MINI)).apply(tiny_unet())
    for wrong in ({"resnets": {}}, [], {"resnets": 3}):
        with pytest.raises(DataError):
            Architecture.from_json(wrong)


def test_unsupported_unet_design_is_refused() -> None:
    with torch.device("meta"):
        other = UNet2DConditionModel(**{**SD21, "resnet_time_scale_shift": "scale_shift"})
    with pytest.raises(UsageError, match="not built as"):
        gates(other)


def test_erasure_methods_train_the_parts_of_sd21_that_their_papers_name() -> None:
    """By the names that diffusers gives SD 2.1's modules; figures from the public config's shapes."""
    unet = sd21()
    size = {name: p.numel() for name, p in unet.named_parameters()}
    style, explicit = Concept("style", ("Claude Monet",), "art"), Concept("explicit", ("nudity",), "person")
    x, u = (sum(n for name, n in size.items() if moved("auto", concept)(name)) for concept in (style, explicit))
    ends = sum(n for name, n in size.items() if name.startswith(("conv_in.", "conv_out.", "time_embedding.")))
    assert x + u + ends == sum(size.values())
    assert x == sum(n for name, n in size.items() if moved("x", explicit)(name))
    edited = [module for name, module in unet.named_modules() if name.endswith(EDITED)]
    assert len(edited) == 32
    assert sum(module.weight.numel() for module in edited) == pytest.approx(25.56e6, rel=1e-3)
    assert {module.weight.shape for module in edited} == {(width, 1024) for width in (320, 640, 1280)}
    columns = last_layers(unet)
    assert len(columns) == 16
    assert sum(layer.weight.numel() for layer in columns.values()) == pytest.approx(49.56e6, rel=1e-3)
    upper = {part: sum(n for name, n in size.items() if any(word in name for word in MOVED[part])) for part in MOVED}
    assert upper["all"] == sum(size.values())
    assert upper["attn2"] == x
    assert upper["attn2-kv"] == sum(module.weight.numel() for module in edited)
