"""SD 2.1's architecture at full size, pruned to 80 % of its MACs: counting, writing and reading agree."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from tiny import SD21, same

from methods.pruning import magnitude
from methods.pruning.architecture import read_pruned, write_pruned
from methods.pruning.macs import count_macs, published_macs

WHOLE, PUBLISHED = 402.1e9, 1384.2e9
"""MACs of the base: at 64^2 latents with 77 tokens, and as APTP counts them, at 96^2."""
SIDES = {"down_blocks.0": 96, "down_blocks.1": 48, "down_blocks.2": 24, "mid_block": 12,
         "up_blocks.1": 24, "up_blocks.2": 48, "up_blocks.3": 96}  # fmt: skip
"""Height of what each block's attentions see of a latent of 96^2."""


@torch.no_grad()
def full_size() -> UNet2DConditionModel:
    """In bf16, 1.7 GB, rows of weights as strong as is drawn for them: real draws of 866 million would take longer."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD21).bfloat16()
    unet.to_empty(device="cpu")
    source = torch.Generator().manual_seed(0)
    for weight in unet.parameters():
        strength = torch.rand(len(weight), *[1] * (weight.ndim - 1), generator=source)
        weight.copy_(strength.expand_as(weight))
    return unet


def test_sd21_at_80_percent_of_macs_is_counted_and_read_back_exactly(tmp_path: Path) -> None:
    small, architecture = magnitude.prune(full_size(), 0.8, 64, 77)
    assert count_macs(small, 64, 77) / WHOLE == pytest.approx(0.8, abs=0.01)

    # APTP's counter, place by place: each attention among n places (cross-attention too), and n^2 a head for softmax.
    extra = 0
    for name, kept in architecture.attentions.items():
        n = SIDES[name.partition(".attentions")[0]] ** 2
        heads, cross = len(kept), name.endswith("attn2")
        extra += heads * n**2 + cross * 2 * n * (n - 1) * heads * 64
    assert published_macs(small) == count_macs(small, 96, 1) + extra
    assert published_macs(small) / PUBLISHED > 0.81  # 80 % at 64^2 are more of its count at 96^2

    write_pruned(tmp_path, small, architecture)
    again, read = read_pruned(tmp_path)
    assert read == architecture
    assert same(again, small)
    assert 0.75e9 > sum(weight.numel() for weight in again.parameters()) > 0.65e9
    (tmp_path / "unet.safetensors").unlink()  # 1.4 GB
