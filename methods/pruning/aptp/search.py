"""Search for APTP experts: gates, codes and router are trained together, while the U-Net is frozen.

At each step, every image of a batch is processed with the gates of its expert. In the first steps only the predictor
and the common start are trained, and the predictor's offsets are used directly. Afterwards, prompts are assigned to
codes.

Differences from APTP:

- Experts have fixed MAC budgets, evenly spaced around the mean, so that an expert can be requested by its MACs. In
  APTP, the budgets may spread freely around the mean.
- Depth gates open independently of each other. In APTP, they open from the outermost block inwards.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from benchmark.errors import TrainingError
from methods.base import Checkpointer
from methods.config_fields import identity
from methods.costs import CALIBRATION_IMAGES
from methods.pruning.aptp import losses
from methods.pruning.aptp.experts import Experts
from methods.pruning.aptp.relaxed import gumbel_sigmoid, straight_through
from methods.pruning.aptp.resuming import restore, state_of
from methods.pruning.aptp.router import Router, sinkhorn
from methods.pruning.costs import Costs
from methods.pruning.masked import masked
from methods.pruning.pictures import Pictures
from methods.pruning.threshold import check_fraction, check_reach
from methods.training.batches import BatchStream, generator
from methods.training.losses import Process, Weights, distillation_loss

RECIPE = 2
"""Version of the search; increase it when a code change changes results."""
Report = Callable[[int, dict[str, float]], None]
"""Progress callback, called with (steps done, losses)."""
CHECKPOINT_EVERY = 25
"""Steps between checkpoints."""


BATCH = 16
"""Default number of images per step."""


class Search(BaseModel):
    """Settings of a search, all of which change its result. The loss weights are those of APTP."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experts: int = identity(8, "Number of experts, each with a code.", ge=1, le=64)
    macs: float = identity(0.6, "Mean share of the base's MACs over the experts.")
    spread: float = identity(0.2, "Distance of the smallest and of the largest budget from the mean.", ge=0, lt=1)
    steps: int = identity(CALIBRATION_IMAGES["aptp"] // BATCH, "Total number of steps.", ge=1)
    alone: float = identity(
        0.2, "Share of the steps, from the first, that train the predictor without codes.", ge=0, lt=1
    )
    batch: int = identity(BATCH, "Images per step.", ge=2)
    rate: float = identity(0.05, "Adam's learning rate.", gt=0)
    diffusion: float = identity(1.0, "Weight of the diffusion loss.", ge=0)
    output: float = identity(0.2, "Weight of output distillation.", ge=0)
    feature: float = identity(0.2, "Weight of feature distillation.", ge=0)
    resource: float = identity(2.0, "Weight of the resource loss.", ge=0)
    contrastive: float = identity(100.0, "Weight of the contrastive loss.", ge=0)
    routing: float = identity(1.0, "Weight of the routing loss.", ge=0)
    seed: int = identity(0, "Seed of all random numbers.", ge=0)


def budgets(config: Search, least: float) -> Tensor:
    """Return the MAC budgets (experts,) of the experts in increasing order, as shares of the base with mean `macs`.

    Args:
        config: settings of the search.
        least: smallest share that the gates can reach.

    Raises:
        BudgetError: the mean is not above 0 and at most 1, or it is below `least`.
    """
    check_fraction(config.macs)
    check_reach(config.macs, least, "the gates")
    spread = max(0.0, min(config.spread, 1 - config.macs, config.macs - least)) if config.experts > 1 else 0.0
    return torch.linspace(config.macs - spread, config.macs + spread, config.experts)


def search(
    unet: UNet2DConditionModel,
    pictures: Pictures,
    embeddings: Tensor,
    config: Search,
    costs: Costs,
    report: Report = lambda done, terms: None,
    checkpoint: Checkpointer | None = None,
) -> Experts:
    """Search for experts of the base `unet`, whose weights do not change, and return them.

    Args:
        unet: the base.
        pictures: calibration images with their captions.
        embeddings: sentence embeddings (N, d) of the captions.
        config: settings of the search.
        costs: MACs of the base's architecture vectors.
        report: called after each step with the number of steps done and the losses.
        checkpoint: saves the state every `CHECKPOINT_EVERY` steps. An interrupted search resumes from the last state
            with bit-identical results, and reports earlier steps again.

    Raises:
        BudgetError: the mean MACs cannot be met.
        DataError: the checkpoint belongs to a different search.
        TrainingError: a loss is not finite.
    """
    shares, layout, device = budgets(config, costs.least()), costs.layout, next(unet.parameters()).device
    teacher, student = unet.eval().requires_grad_(False), copy.deepcopy(unet)
    process = Process(pictures.scheduler)
    weights = Weights(diffusion=config.diffusion, output=config.output, feature=config.feature)
    stream = BatchStream(
        name="aptp",
        seed=config.seed,
        data=pictures.data,
        null=pictures.null,
        batch=config.batch,
        timesteps=process.timesteps,
    )
    source = generator(config.seed, "aptp", "start")
    router = Router(layout, config.experts, embeddings.shape[1], embeddings.mean(0), source)
    logits_group: dict[str, Any] = {"params": [router.start, router.codes]}
    # A lower rate, because all rows of the predictor together change the offset of a prompt.
    predictor_group: dict[str, Any] = {"params": [router.predictor], "lr": config.rate / 10}
    optimiser = torch.optim.Adam([logits_group, predictor_group], lr=config.rate)
    predictor_steps = round(config.alone * config.steps)
    history = restore(checkpoint.load() if checkpoint else None, router, optimiser)
    for done, earlier_losses in enumerate(history, 1):
        report(done, earlier_losses)
    for step in range(len(history), config.steps):
        batch = stream.draw(step, device)
        read = router.read(embeddings[stream.indices(step)])
        offsets = router.offsets(read)
        terms: dict[str, Tensor] = {}
        if step < predictor_steps:
            logits, budget = router.start + offsets, torch.tensor(config.macs)
        else:
            similarity = router.similarity(offsets)
            assignment = sinkhorn(similarity)
            experts = assignment.argmax(1)
            logits, budget = router.logits()[experts], shares[experts]
            terms["routing"] = config.routing * losses.routing(similarity, assignment)
        soft = gumbel_sigmoid(logits, generator(config.seed, "aptp", "gates", step))
        vectors = straight_through(layout, soft)
        terms["contrastive"] = config.contrastive * losses.contrastive(offsets * router.scale, read)
        terms["resource"] = config.resource * losses.resource(costs.share(vectors), budget)
        with masked(student, vectors.to(device)):
            restoring, _ = distillation_loss(student, teacher, process, batch, weights)
        terms["restoring"] = restoring.cpu()  # router and gates are small, so they stay on the CPU
        loss: Any = sum(terms.values())
        if not bool(loss.isfinite()):
            raise TrainingError(
                f"The loss of the search for experts is not finite at step {step + 1}: use a lower learning rate."
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append({name: float(value.detach()) for name, value in {"loss": loss, **terms}.items()})
        report(step + 1, history[-1])
        if checkpoint and (step + 1) % CHECKPOINT_EVERY == 0:
            checkpoint.save(state_of(router, optimiser, history))
    return Experts.learnt(router, costs, shares)
