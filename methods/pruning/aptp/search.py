"""The search: gates, codes and router are learnt together while the U-Net stays as it is.

At each step every picture of a batch runs under its own expert's gates. First the predictor learns alone, its offsets
being used as they are; then prompts are assigned to codes. Each expert has a MAC budget of its own, evenly spaced
around the mean, so that the benchmark can ask for one by its MACs. (APTP lets budgets spread by themselves around the
mean.) Depth gates are as free as the others. (APTP's open from the outermost block inwards.)
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
"""Goes up when the search's code changes results."""
Report = Callable[[int, dict[str, float]], None]
"""(steps done, figures)."""
CHECKPOINT_EVERY = 25
"""Steps."""


class Search(BaseModel):
    """How experts are searched; all of it decides what comes out. Weights of losses are APTP's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experts: int = identity(8, "Experts, and codes.", ge=1, le=64)
    macs: float = identity(0.6, "Mean share of the base's MACs over the experts.")
    spread: float = identity(0.2, "How far the smallest and the largest budget are from the mean.", ge=0, lt=1)
    steps: int = identity(600, "Steps in all.", ge=1)
    alone: float = identity(0.2, "First part of them in which the predictor learns without codes.", ge=0, lt=1)
    batch: int = identity(16, "Pictures a step.", ge=2)
    rate: float = identity(0.05, "Adam's rate.", gt=0)
    diffusion: float = identity(1.0, "Weight of the diffusion loss.", ge=0)
    output: float = identity(0.2, "Weight of output distillation.", ge=0)
    feature: float = identity(0.2, "Weight of feature distillation.", ge=0)
    resource: float = identity(2.0, "Weight of the resource loss.", ge=0)
    contrastive: float = identity(100.0, "Weight of the contrastive loss.", ge=0)
    routing: float = identity(1.0, "Weight of the routing loss.", ge=0)
    seed: int = identity(0, "Of everything that is drawn.", ge=0)


def budgets(config: Search, least: float) -> Tensor:
    """Return the experts' shares of MACs (experts,), rising, with mean `macs`.

    Raises:
        BudgetError: the mean is no fraction, or below what the gates can reach.
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
    report: Report = lambda done, figures: None,
    checkpoint: Checkpointer | None = None,
) -> Experts:
    """Return experts of the base `unet`, which is left as it is.

    Args:
        embeddings: sentence embeddings (N, d) of the pictures' captions.
        checkpoint: what keeps a search that may be stopped; it goes on from there to the same bits, and steps that were
            made before are reported again.

    Raises:
        BudgetError: the mean MACs cannot be met.
        DataError: the checkpoint is of another search.
        TrainingError: a loss is no longer finite.
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
    quick: dict[str, Any] = {"params": [router.start, router.codes]}
    slow: dict[str, Any] = {
        "params": [router.predictor],
        "lr": config.rate / 10,
    }  # all its rows move a prompt's offset together
    optimiser = torch.optim.Adam([quick, slow], lr=config.rate)
    learning_alone = round(config.alone * config.steps)
    told = restore(checkpoint.load() if checkpoint else None, router, optimiser)
    for done, shown in enumerate(told, 1):
        report(done, shown)
    for step in range(len(told), config.steps):
        draw = stream.draw(step, device)
        read = router.read(embeddings[stream.indices(step)])
        offsets = router.offsets(read)
        figures: dict[str, Tensor] = {}
        if step < learning_alone:
            logits, budget = router.start + offsets, torch.tensor(config.macs)
        else:
            similarity = router.similarity(offsets)
            assignment = sinkhorn(similarity)
            chosen = assignment.argmax(1)
            logits, budget = router.logits()[chosen], shares[chosen]
            figures["routing"] = config.routing * losses.routing(similarity, assignment)
        soft = gumbel_sigmoid(logits, generator(config.seed, "aptp", "gates", step))
        vectors = straight_through(layout, soft)
        figures["contrastive"] = config.contrastive * losses.contrastive(offsets * router.scale, read)
        figures["resource"] = config.resource * losses.resource(costs.share(vectors), budget)
        with masked(student, vectors.to(device)):
            restoring, _ = distillation_loss(student, teacher, process, draw, weights)
        figures["restoring"] = restoring.cpu()  # router and gates are small, and stay where their noise is drawn
        loss: Any = sum(figures.values())
        if not bool(loss.isfinite()):
            raise TrainingError(f"The search for experts lost its way at step {step + 1}: the loss is not finite.")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        told.append({name: float(value.detach()) for name, value in {"loss": loss, **figures}.items()})
        report(step + 1, told[-1])
        if checkpoint and (step + 1) % CHECKPOINT_EVERY == 0:
            checkpoint.save(state_of(router, optimiser, told))
    return Experts.learnt(router, costs, shares)
