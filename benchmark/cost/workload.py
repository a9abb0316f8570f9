"""Splits a run into its parts and counts FLOPs, memory and disk of each, as `bench run` needs on an empty store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmark.api.testbed import SHARD_SIZE
from benchmark.cost.network_costs import SCORING
from benchmark.cost.testbed_facts import TestbedFacts
from benchmark.models.plan import planned
from benchmark.records.record import REFERENCE_SEED
from benchmark.store.disk import PNG, checkpoints, weights
from benchmark.testbeds.stable_diffusion.definition import DECODED
from methods.budget import Budget
from methods.config_fields import settings_of
from methods.costs import CALIBRATION_IMAGES, Terms, lower, pruning_flops, spent

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest
    from benchmark.models.plan import Plan


FP32 = 4
UNET = {"fp32": 4, "bf16": 2}
"""Bytes per weight of the teacher and of a sampling U-Net, by precision."""
TRAINED = {"fp32": 1.0, "bf16": 0.75}
"""Memory of the activations of a training step relative to fp32. This is an estimate: autocast leaves norms and their
inputs in fp32, so that 10 of 12 bytes remain in a resnet and about half in a transformer."""
KNOWN = (*CALIBRATION_IMAGES, "magnitude", "blocks", "random", "scratch")
"""Prunings whose cost is known. Those that are not in CALIBRATION_IMAGES only read the weights."""
AT_ONCE = 16
"""Batch size of prunings."""
DETECTOR = 0.07
"""Seconds per image of NudeNet, which runs only on the CPU."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a run, with one kind of computation."""

    what: str
    """Name for display."""
    kind: str
    """Kind of computation: "lower", "upper", "esd", "conceptprune", "prune", "sample", "decode", "encode", "score"."""
    count: int
    unit: str
    """What `count` counts: "steps" or "images"."""
    flops: float
    memory: float = 0.0
    """Peak memory in bytes."""
    least: float = 0.0
    """Peak memory in bytes with one image at a time."""
    batch: int = 1
    """Images in memory at once."""
    disk: float = 0.0
    """Bytes that are written."""
    seconds: float = 0.0
    """Time in addition to that of the FLOPs."""


def plans(request: RunRequest, facts: TestbedFacts, rate: float) -> list[Plan]:
    """Return plans of the models that a run trains, in order: the reference, the method's first stage, the method.

    The reference is left out if it is the base, and the first stage is left out if the training of the reference
    contains it. `rate` is the FLOP/s that convert budgets given in hours.
    """

    def flops_in(pruned: Any, seconds: float) -> float:
        return seconds * rate

    plain = replace(request, method="distilled", preset="", overrides={}, seed=REFERENCE_SEED)
    reference, plan = (
        planned(run_request, facts.concept, facts.flops, flops_in, facts.preset) for run_request in (plain, request)
    )
    if request.reference == "base":
        return [plan] if plan.first is None else [plan.first, plan]
    trained = [reference]
    if plan.first is not None and not is_contained(plan.first, reference):
        trained.append(plan.first)
    return trained if _is_same(plan, reference) else [*trained, plan]


def _is_same(first: Plan, second: Plan) -> bool:
    """Return whether two plans train the same model."""

    def settings(plan: Plan) -> tuple:
        return (plan.name, plan.method.config, plan.pruned, plan.data, plan.flops, plan.iterations, plan.seed)

    return settings(first) == settings(second)


def is_contained(first: Plan, reference: Plan) -> bool:
    """Return whether the reference's training contains this first stage: the same distillation, or a shorter one."""
    shorter = first.flops is not None and reference.flops is not None and first.flops <= reference.flops
    return _is_same(replace(first, flops=reference.flops) if shorter else first, reference)


def terms(plan: Plan, facts: TestbedFacts) -> Terms:
    """Return the costs of the U-Nets' calls that a method's steps consist of.

    The pruned U-Net is assumed to have exactly the requested share of MACs.
    """
    base = facts.sizes.call(facts.size)
    return Terms(
        base=round(base),
        student=round(base * plan.pruned.macs),
        steps=facts.steps,
        calls=facts.calls,
        guided=facts.guidance > 1,
        kind=facts.concept.kind,
        contrast=facts.contrast,
    )


def training(plan: Plan, costs: Terms, images: float) -> Iterator[Piece]:
    """Yield the phases of a training, as in its FLOPs ledger, without memory and disk.

    Args:
        plan: the model to train.
        costs: costs of the U-Nets' calls.
        images: FLOPs that sampling the concept images takes from the plan's budget.
    """
    steps = plan.method.cycle(costs)
    if steps is None:  # the method does not state its costs: assume steps of Eq. 8
        batch = int(settings_of(plan.method.config).get("batch", 32))
        step_flops = lower(batch, costs.base, costs.student).flops
        step_count = plan.own_iterations if plan.own_flops is None else int(plan.own_flops // step_flops)
        yield _phase(plan, "lower", step_count or 0, step_flops, batch)
        return
    flops, iterations = plan.own_flops, plan.own_iterations
    budget = Budget(iterations=iterations) if flops is None else Budget(flops=flops - images)
    step_counts = spent(steps, budget)
    for step in steps:
        if step_counts[step.name]:
            yield _phase(plan, step.name, step_counts[step.name], step.cost.flops, step.batch)


def _phase(plan: Plan, name: str, steps: int, flops: float, batch: int) -> Piece:
    what = f"train {plan.name}" if name in ("lower", plan.name) else f"train {plan.name}: {name}"
    return Piece(what=what, kind=name, count=steps, unit="steps", flops=steps * flops, batch=batch)


def pieces(request: RunRequest, facts: TestbedFacts, rate: float) -> list[Piece]:
    """Return all parts of a run. `rate` is the FLOP/s that convert budgets given in hours.

    Raises:
        BudgetError: a budget is too small for one step.
    """
    sizes, trained = facts.sizes, plans(request, facts, rate)
    call, student = sizes.call(facts.size), sizes.call(facts.size) * trained[0].pruned.macs
    bytes_per_weight, parameters = UNET[facts.precision], sizes.parameters
    frozen_bytes = bytes_per_weight * parameters["unet"] + FP32 * (parameters["vae"] + parameters["text"])
    student_bytes = FP32 * parameters["unet"] * trained[0].pruned.macs
    copy_bytes = 0.0 if bytes_per_weight == FP32 else student_bytes / 2  # autocast's copy of the weights
    activation_bytes = TRAINED[facts.precision] * sizes.memory["training"]
    calls_per_step = 2 if facts.guidance > 1 else 1
    per_image = calls_per_step * sizes.memory["sampling"] * bytes_per_weight / FP32
    sampling: dict[str, Any] = {"memory": frozen_bytes + SHARD_SIZE * per_image, "least": frozen_bytes + per_image}
    work = []
    if facts.encoded:
        disk = facts.encoded * 2 * 4 * facts.size**2 * 2
        work.append(_vae("encode training pictures", "encode", facts.encoded, sizes.encode, frozen_bytes, facts, disk))
    work += _pruning(request, facts, frozen_bytes)
    concept_image_flops = 0.0
    if any(plan.method.uses_concept_images for plan in trained):
        concept_image_flops = facts.erasing * calls_per_step * facts.calls * call
        work.append(
            Piece(what="sample concept images", kind="sample", count=facts.erasing, unit="images",
                  flops=concept_image_flops, batch=SHARD_SIZE * calls_per_step, **sampling)
        )  # fmt: skip
    for plan in trained:
        own_image_flops = concept_image_flops if plan.method.uses_concept_images else 0.0
        for k, piece in enumerate(training(plan, terms(plan, facts), own_image_flops)):
            # Teacher, VAE and text encoder; the student's weights, gradients and two optimiser moments; autocast copy.
            weight_bytes, batch = frozen_bytes + 4 * student_bytes + copy_bytes, piece.batch
            if not piece.flops:
                weight_bytes, batch = frozen_bytes + student_bytes, 0
            disk_bytes = 0.0 if k else weights(facts.parameters * plan.pruned.macs, facts.half)
            if plan is trained[0] and not k:  # count once: a training's checkpoints are removed before the next one
                disk_bytes += checkpoints(facts.parameters * plan.pruned.macs)
            least = weight_bytes + min(batch, 1) * activation_bytes
            work.append(replace(piece, memory=weight_bytes + batch * activation_bytes, least=least, disk=disk_bytes))
    drawn_count = sum(piece.count * piece.batch for piece in work if piece.kind == "lower")
    if drawn_count and not facts.encoded:
        work.append(_vae("encode in training steps", "encode", drawn_count, sizes.encode, frozen_bytes, facts, 0))
    scored_count = 1 if request.reference == "base" or len(trained) == 1 else 2  # the method and, if any, the reference
    call_flops = [call] + [student] * scored_count  # U-Net FLOPs of the base and of the scored models
    for suite, count in facts.prompt_counts.items():
        image_count = count * len(call_flops)
        flops = count * calls_per_step * facts.calls * sum(call_flops)
        work.append(
            Piece(what=f"sample {suite}", kind="sample", count=image_count, unit="images", flops=flops,
                  batch=SHARD_SIZE * calls_per_step, disk=image_count * facts.pixels * PNG, **sampling)
        )  # fmt: skip
    image_count = sum(facts.prompt_counts.values()) * len(call_flops)
    work.append(_vae("decode pictures", "decode", image_count, sizes.decode, frozen_bytes, facts, 0))
    if facts.name != "mini":
        flops = image_count * sum(SCORING.values()) + facts.real * SCORING["features"]
        seconds = DETECTOR * image_count if facts.concept.kind == "explicit" else 0.0
        work.append(Piece(what="score", kind="score", count=image_count, unit="images", flops=flops, seconds=seconds))
    return work


def _pruning(request: RunRequest, facts: TestbedFacts, frozen_bytes: float) -> Iterator[Piece]:
    """Yield the calibration of a pruning, before it removes weights.

    APTP's search runs the base and a gated copy of it, and trains the weights of neither.
    """
    count = CALIBRATION_IMAGES.get(request.pruning, 0)
    if not count or (request.pruning == "aptp" and facts.experts):
        return
    sizes, searches = facts.sizes, request.pruning == "aptp"
    if facts.shown:
        disk = facts.shown * 2 * 4 * facts.size**2 * 2
        yield _vae("encode calibration images", "encode", facts.shown, sizes.encode, frozen_bytes, facts, disk)
    else:
        yield _vae("encode calibration images", "encode", count, sizes.encode, frozen_bytes, facts, 0)
    unet_bytes = FP32 * sizes.parameters["unet"]
    weight_bytes = frozen_bytes + (unet_bytes if searches else 2 * unet_bytes)
    per_image = sizes.memory["training"]  # prunings compute in fp32 for every precision of the run
    yield Piece(
        what="search for experts" if searches else f"gradients of {request.pruning}", kind="prune", count=count,
        unit="images", flops=pruning_flops(request.pruning, sizes.call(facts.size)), batch=AT_ONCE,
        memory=weight_bytes + AT_ONCE * per_image, least=weight_bytes + (AT_ONCE if searches else 1) * per_image,
    )  # fmt: skip


def _vae(
    what: str, kind: str, count: int, flops: float, weight_bytes: float, facts: TestbedFacts, disk: float
) -> Piece:
    per_image = facts.sizes.memory["decoding"]
    return Piece(
        what=what, kind=kind, count=count, unit="images", flops=count * flops, batch=DECODED, disk=disk,
        memory=weight_bytes + DECODED * per_image, least=weight_bytes + per_image,
    )  # fmt: skip
