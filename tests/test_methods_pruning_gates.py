"""Pruning vectors: masking, exporting and reading back describe the same pruned U-Net."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from tiny import LENGTH, SD21, SIZE, WIDTH, same, tiny_unet

from benchmark.errors import DataError
from methods.pruning.architecture import Architecture, gates, read_pruned, width, write_pruned
from methods.pruning.depth import Dropped, depth_gates, drop, droppable
from methods.pruning.masked import masked
from methods.pruning.vector import Layout, hardened, to_architecture, to_vector

PARTS = ("attn1", "attn2", "ff")


def deep() -> UNet2DConditionModel:
    """Two layers a block, and norms that are not as they were initialised: a zeroed group shows."""
    unet = tiny_unet(channels=(16, 32, 32), layers=2).eval()
    source = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn(parameter.shape, generator=source))
    return unet


@torch.no_grad()
def answer(unet: UNet2DConditionModel, rows: int = 2) -> torch.Tensor:
    source = torch.Generator().manual_seed(2)
    x = torch.randn(rows, 4, SIZE, SIZE, generator=source)
    text = torch.randn(rows, LENGTH, WIDTH, generator=source)
    return unet(x, torch.tensor([3, 700])[:rows], text).sample


def some_vector(unet: UNet2DConditionModel, kind: str = "all", seed: int = 0) -> torch.Tensor:
    """Half of the elements of one kind gone, or of all kinds."""
    layout, found = Layout.of(unet), gates(unet)
    drawn = torch.rand(layout.length, generator=torch.Generator().manual_seed(seed))
    kinds = [type(found[name]).__name__ for name, count in layout.widths.items() for _ in range(count)]
    chosen = torch.tensor([kind in ("all", each) for each in [*kinds, *["depth"] * len(layout.depths)]])
    return hardened(layout, torch.where(chosen, drawn, torch.ones(())))


def test_sd21_vector_has_the_layout_of_the_published_experts() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD21)
    layout = Layout.of(unet)
    assert layout.length == 1620
    assert len(layout.widths) == 22 + 32 + 16
    resnets = [count for name, count in layout.widths.items() if ".resnets." in name]
    hidden = [count for name, count in layout.widths.items() if name.endswith(".ff")]
    heads = [count for name, count in layout.widths.items() if ".attn" in name]
    assert (resnets, hidden, sum(heads)) == ([32] * 22, [32] * 16, 390)
    # The first block tells the order: its resnets, then attn1, attn2 and ff of each of its transformers.
    attentions = [f"down_blocks.0.attentions.{k}.transformer_blocks.0.{part}" for k in (0, 1) for part in PARTS]
    assert list(layout.widths)[:8] == [*(f"down_blocks.0.resnets.{k}" for k in (0, 1)), *attentions]
    assert list(layout.widths)[-9:] == [
        f"up_blocks.3.attentions.{k}.transformer_blocks.0.{part}" for k in range(3) for part in PARTS
    ]
    assert list(layout.widths).index("mid_block.resnets.0") == 3 * 8 + 2
    down = [f"down_blocks.{k}.{kind}.1" for k in range(3) for kind in ("resnets", "attentions")]
    up = [f"up_blocks.{k}.{kind}.2" for k in range(1, 4) for kind in ("resnets", "attentions")]
    assert layout.depths == (*down, "down_blocks.3.resnets.1", "up_blocks.0.resnets.2", *up)


def test_sd21_with_dropped_blocks_runs_without_their_parameters() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD21)
    vector = torch.ones(1620)
    vector[-14:] = 0
    small = to_architecture(unet, vector).apply(unet)
    gone = sum(p.numel() for name in depth_gates(unet) for p in unet.get_submodule(name).parameters())
    count = [sum(p.numel() for p in each.parameters()) for each in (unet, small)]
    assert count[0] - count[1] == gone
    x, text = torch.empty(1, 4, 64, 64, device="meta"), torch.empty(1, 77, 1024, device="meta")
    assert small(x, torch.zeros(1, device="meta"), text).sample.shape == x.shape


def test_vector_of_ones_reproduces_the_base_exactly() -> None:
    unet = deep()
    ones = torch.ones(Layout.of(unet).length)
    with masked(unet, ones):
        assert torch.equal(answer(unet), answer(deep()))
    small = to_architecture(unet, ones).apply(unet)
    assert same(small, unet)
    assert torch.equal(answer(small), answer(unet))
    assert to_architecture(unet, ones) == Architecture.full(unet)


@pytest.mark.parametrize("kind", ["ResnetBlock2D", "Attention", "FeedForward", "depth", "all"])
def test_masked_and_exported_unets_give_the_same_output(kind: str) -> None:
    unet = deep()
    vector = some_vector(unet, kind)
    assert 0 < vector.mean() < 1
    with masked(unet, vector):
        under_masks = answer(unet)
    torch.testing.assert_close(under_masks, answer(to_architecture(unet, vector).apply(unet)), rtol=1e-5, atol=1e-5)
    assert (under_masks - answer(unet)).abs().max() > 1e-3


def test_masking_before_the_norm_differs_from_removing_the_group() -> None:
    """Why resnets are masked where conv2 reads: before norm2, SiLU of the norm's bias stays."""
    unet = deep()
    vector = some_vector(unet, "ResnetBlock2D")
    exported = answer(to_architecture(unet, vector).apply(unet))
    hooks = []
    for name, part in Layout.of(unet).split(vector)[0].items():
        if "resnets" in name:
            norm = unet.get_submodule(name).norm2
            each = part.repeat_interleave(norm.num_channels // len(part)).reshape(1, -1, 1, 1)
            hooks.append(norm.register_forward_pre_hook(lambda module, inputs, each=each: (inputs[0] * each,)))
    assert (answer(unet) - exported).abs().max() > 0.01
    for hook in hooks:
        hook.remove()


def test_each_row_of_a_batch_uses_its_own_mask() -> None:
    unet = deep()
    vectors = torch.stack([some_vector(unet, seed=k) for k in (3, 4)])
    with masked(unet, vectors):
        together = answer(unet)
    for row in (0, 1):
        with masked(unet, vectors[row]):
            torch.testing.assert_close(together[row], answer(unet)[row], rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_gates_and_hooks_are_removed() -> None:
    unet = deep().requires_grad_(False)
    soft = torch.full((Layout.of(unet).length,), 0.7, requires_grad=True)
    x, text = torch.randn(1, 4, SIZE, SIZE), torch.randn(1, LENGTH, WIDTH)
    with masked(unet, soft):
        unet(x, torch.tensor([500]), text).sample.square().mean().backward()
    assert soft.grad is not None
    assert (soft.grad != 0).float().mean() > 0.99
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in unet.modules())


def test_dropping_second_layers_equals_a_unet_with_one_layer_per_block() -> None:
    """An independent reference: diffusers' own U-Net of one layer a block, with the weights of those that stay."""
    unet = deep()
    middle = [f"up_blocks.{k}.resnets.1" for k in range(3)] + [f"up_blocks.{k}.attentions.1" for k in (1, 2)]
    second = [f"down_blocks.{k}.resnets.1" for k in range(3)] + [f"down_blocks.{k}.attentions.1" for k in (0, 1)]
    architecture = Architecture.of(unet, Architecture.full(unet).kept(), [*second, *middle])
    small = architecture.apply(unet)
    one = tiny_unet(channels=(16, 32, 32), layers=1).eval()
    state = {
        name.replace("resnets.2.", "resnets.1.").replace("attentions.2.", "attentions.1.")
        if name.startswith("up_blocks")
        else name: value
        for name, value in small.state_dict().items()
    }
    one.load_state_dict(state, strict=True)
    torch.testing.assert_close(answer(small), answer(one), rtol=1e-5, atol=1e-6)


def test_unet_with_dropped_blocks_is_read_back_exactly(tmp_path: Path) -> None:
    unet = deep()
    architecture = to_architecture(unet, some_vector(unet))
    assert architecture.dropped
    small = architecture.apply(unet)
    write_pruned(tmp_path, small, architecture)
    again, read = read_pruned(tmp_path)
    assert read == architecture
    assert same(again, small)
    assert torch.equal(answer(again), answer(small))
    assert isinstance(again.get_submodule(architecture.dropped[0]), Dropped)


def test_vector_and_architecture_convert_into_each_other() -> None:
    unet = deep()
    vector = some_vector(unet)
    architecture = to_architecture(unet, vector)
    assert to_architecture(unet, to_vector(unet, architecture)) == architecture
    partly = {name: range(width(module)) for name, module in gates(unet).items()}
    name = next(name for name in partly if name.endswith(".ff"))
    assert len(partly[name]) == 64
    partly[name] = range(5)  # two groups of two hidden units, and half of a third
    row = Layout.of(unet).split(to_vector(unet, Architecture.of(unet, partly)))[0][name]
    assert row.tolist() == [1, 1, 0.5] + [0] * 29
    with pytest.raises(DataError, match="mid_block"):
        to_vector(unet, Architecture.of(unet, partly, ["mid_block.resnets.0"]))


def test_every_module_retains_at_least_one_element() -> None:
    unet = deep()
    kept = to_architecture(unet, torch.zeros(Layout.of(unet).length)).kept()
    assert min(len(rows) for rows in kept.values()) == 1


def test_vector_of_wrong_length_is_refused() -> None:
    unet = deep()
    short = torch.ones(Layout.of(unet).length - 1)
    with pytest.raises(DataError, match=f"has {len(short) + 1} values, not {len(short)}"):
        to_architecture(unet, short)
    with pytest.raises(DataError, match="of the same base model"), masked(unet, torch.ones(2, 1620)):
        pass


def test_dropping_a_resnet_that_changes_channels_is_refused() -> None:
    unet = deep()
    assert "down_blocks.1.resnets.0" not in droppable(unet)
    with pytest.raises(DataError, match=r"down_blocks\.1\.resnets\.0"):
        drop(unet, ["down_blocks.1.resnets.0"])
    with pytest.raises(DataError, match="does not exist in this U-Net or cannot be dropped"):
        drop(unet, ["mid_block.nothing"])
