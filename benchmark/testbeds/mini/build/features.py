"""Trains the feature network for FID, KID and drift, without labels (SimCLR, Chen et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmark.testbeds.mini.build.loop import Job, pixels, train
from benchmark.testbeds.mini.nets import FEATURE_SIZE, Embedder, feature_network

BATCH, TEMPERATURE = 96, 0.2


def agreement(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the NT-Xent loss: each view must be matched with its partner among all other views of the batch."""
    views = F.normalize(torch.cat([first, second]).float(), dim=1)
    logits = views @ views.T / temperature
    logits.fill_diagonal_(-1e4)
    n = len(first)
    partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(logits, partner)


def view(picture: Tensor, g: Generator) -> Tensor:
    """Return random views of pictures: cropped to 60-100 %, possibly flipped, slightly recoloured."""
    n = len(picture)
    scale = 0.6 + 0.4 * torch.rand(n, generator=g)
    shift = (torch.rand(n, 2, generator=g) * 2 - 1) * (1 - scale)[:, None]
    flip = torch.where(torch.rand(n, generator=g) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    theta = torch.stack(
        [torch.stack([scale * flip, zero, shift[:, 0]], 1), torch.stack([zero, scale, shift[:, 1]], 1)], 1
    )
    crop = F.grid_sample(picture, F.affine_grid(theta, list(picture.shape), align_corners=False), align_corners=False)
    gain = 1 + 0.25 * (torch.rand(n, 3, 1, 1, generator=g) * 2 - 1)
    offset = 0.12 * (torch.rand(n, 3, 1, 1, generator=g) * 2 - 1)
    return crop * gain + offset


def build(images: Tensor, job: Job) -> Embedder:
    """Train on pictures (N, 3, 64, 64) uint8; features (N, 128) are the output before the projection head."""
    torch.manual_seed(job.seed)
    model = feature_network()
    projector = nn.Sequential(nn.SiLU(), nn.Linear(FEATURE_SIZE, FEATURE_SIZE))

    def loss(step: int, g: Generator) -> Tensor:
        picture = pixels(images[torch.randint(len(images), (BATCH,), generator=g)])
        views = torch.cat([view(picture, g), view(picture, g)]).to(job.device)
        first, second = projector(model(views)).cpu().chunk(2)
        return agreement(first, second, TEMPERATURE)

    train(
        "features",
        nn.ModuleList([model, projector]),
        loss,
        job,
        rate=1e-3,
    )
    return model
