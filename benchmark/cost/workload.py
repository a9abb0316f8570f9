"""A run as pieces of work, each with its FLOPs, memory and disk: what `bench run` would do on an empty store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmark.api.testbed import SHARD_SIZE
from benchmark.cost.network_costs import SCORING
from benchmark.cost.testbed_facts import Ground
from benchmark.models.plan import REFERENCE_SEED, planned
from benchmark.store.disk import PNG, checkpoints, weights
from methods.budget import Budget
from methods.config_fields import settings_of
from methods.costs import CALIBRATION_IMAGES, Terms, choosing, lower, spent

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest
    from benchmark.models.plan import Plan


FP32 = 4
UNET = {"fp32": 4, "bf16": 2}
"""Bytes of a weight of the teacher, and of a U-Net that samples."""
TRAINED = {"fp32": 1.0, "bf16": 0.75}
"""Activations of a training step over those in fp32, by reckoning: autocast keeps norms and their inputs in fp32, which
leaves 10 bytes of 12 in a resnet and about half in a transformer."""
DECODED = 8
"""Pictures that the VAE has in hand at once."""
KNOWN = (*CALIBRATION_IMAGES, "magnitude", "blocks", "random", "scratch")
"""Prunings of which it is known what they look at; the others than CALIBRATION_IMAGES at nothing but weights."""
AT_ONCE = 16
"""Of those, in hand at once."""
DETECTOR = 0.07
"""Seconds a picture that NudeNet takes; it runs on the CPU alone."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Work of one kind."""

    what: str
    kind: str
    """As a rehearsal: "lower", "upper", "esd", "conceptprune", "prune", "sample", "decode", "encode", "score"."""
    count: int
    unit: str
    flops: float
    memory: float = 0.0
    """Bytes, the most at once."""
    least: float = 0.0
    """Bytes with one image at a time."""
    batch: int = 1
    """Images in hand at once."""
    disk: float = 0.0
    seconds: float = 0.0
    """Beside what the FLOPs take."""


def plans(request: RunRequest, ground: Ground, rate: float) -> list[Plan]:
    """What is trained, in order: the reference, then what the method starts from unless it is there, then the method.

    Where the reference is the base, it is the last two of them.
    `rate` is the FLOP/s that budgets told in hours are converted with.
    """

    def flops_in(pruned: Any, seconds: float) -> float:
        return seconds * rate

    plain = replace(request, method="distilled", preset="", overrides={}, seed=REFERENCE_SEED)
    reference, plan = (planned(one, ground.concept, ground.flops, flops_in, ground.preset) for one in (plain, request))
    if request.reference == "base":
        return [plan] if plan.first is None else [plan.first, plan]
    found = [reference]
    if plan.first is not None and not _on_the_way(plan.first, reference):
        found.append(plan.first)
    return found if _same(plan, reference) else [*found, plan]


def _same(one: Plan, other: Plan) -> bool:
    def told(plan: Plan) -> tuple:
        return (plan.name, plan.method.config, plan.pruned, plan.data, plan.flops, plan.iterations, plan.seed)

    return told(one) == told(other)


def _on_the_way(first: Plan, reference: Plan) -> bool:
    """Whether the reference's training passes it: a shorter distillation, or the same one."""
    shorter = first.flops is not None and reference.flops is not None and first.flops <= reference.flops
    return _same(replace(first, flops=reference.flops) if shorter else first, reference)


def terms(plan: Plan, ground: Ground) -> Terms:
    """What its method's steps cost here; the pruned U-Net is taken to have exactly the MACs asked for."""
    base = ground.sizes.call(ground.size)
    return Terms(
        base=round(base),
        student=round(base * plan.pruned.macs),
        steps=ground.steps,
        calls=ground.calls,
        guided=ground.guidance > 1,
        kind=ground.concept.kind,
        contrast=ground.contrast,
    )


def training(plan: Plan, given: Terms, images: float) -> Iterator[Piece]:
    """The phases of a fit as its ledger will have them, without memory and disk.

    Args:
        images: FLOPs that the concept images take from its budget.
    """
    steps = plan.method.cycle(given)
    if steps is None:  # the method does not state its costs: Eq. 8's steps in the place of its own
        batch = int(settings_of(plan.method.config).get("batch", 32))
        each = lower(batch, given.base, given.student).flops
        many = plan.own_iterations if plan.own_flops is None else int(plan.own_flops // each)
        yield _phase(plan, "lower", many or 0, each, batch)
        return
    flops, iterations = plan.own_flops, plan.own_iterations
    budget = Budget(iterations=iterations) if flops is None else Budget(flops=flops - images)
    count = spent(steps, budget)
    for step in steps:
        if count[step.name]:
            yield _phase(plan, step.name, count[step.name], step.cost.flops, step.batch)


def _phase(plan: Plan, name: str, steps: int, flops: float, batch: int) -> Piece:
    told = f"train {plan.name}" if name in ("lower", plan.name) else f"train {plan.name}: {name}"
    return Piece(what=told, kind=name, count=steps, unit="steps", flops=steps * flops, batch=batch)


def pieces(request: RunRequest, ground: Ground, rate: float) -> list[Piece]:
    """Everything that the run does. BudgetError for a budget that cannot be met."""
    sizes, trained = ground.sizes, plans(request, ground, rate)
    call, student = sizes.call(ground.size), sizes.call(ground.size) * trained[0].pruned.macs
    wide, parameters = UNET[ground.precision], sizes.parameters
    whole = wide * parameters["unet"] + FP32 * (parameters["vae"] + parameters["text"])
    small = FP32 * parameters["unet"] * trained[0].pruned.macs
    copied = 0.0 if wide == FP32 else small / 2  # autocast's copy of the weights
    learning = TRAINED[ground.precision] * sizes.memory["training"]
    guided = 2 if ground.guidance > 1 else 1
    one = guided * sizes.memory["sampling"] * wide / FP32
    sampling: dict[str, Any] = {"memory": whole + SHARD_SIZE * one, "least": whole + one}
    found = []
    if ground.encoded:
        disk = ground.encoded * 2 * 4 * ground.size**2 * 2
        found.append(_vae("encode training pictures", "encode", ground.encoded, sizes.encode, whole, ground, disk))
    found += _pruning(request, ground, whole)
    images = 0.0
    if any(plan.method.uses_concept_images for plan in trained):
        images = ground.erasing * guided * ground.calls * call
        told: dict[str, Any] = {"what": "sample concept images", "kind": "sample", "unit": "images"}
        found.append(Piece(**told, count=ground.erasing, flops=images, batch=SHARD_SIZE * guided, **sampling))
    for plan in trained:
        own = images if plan.method.uses_concept_images else 0.0
        for k, piece in enumerate(training(plan, terms(plan, ground), own)):
            # Teacher, VAE and text tower; the student's weights, gradients and two moments; what backward passes need.
            held, batch = whole + 4 * small + copied, piece.batch
            if not piece.flops:
                held, batch = whole + small, 0
            kept = 0.0 if k else weights(ground.parameters * plan.pruned.macs, ground.half)
            if plan is trained[0] and not k:  # the checkpoints of one training go before those of the next
                kept += checkpoints(ground.parameters * plan.pruned.macs)
            least = held + min(batch, 1) * learning
            found.append(replace(piece, memory=held + batch * learning, least=least, disk=kept))
    drawn = sum(piece.count * piece.batch for piece in found if piece.kind == "lower")
    if drawn and not ground.encoded:
        found.append(_vae("encode in the step", "encode", drawn, sizes.encode, whole, ground, 0))
    scored = 1 if request.reference == "base" or len(trained) == 1 else 2  # the method's and the reference's pictures
    rows = [call] + [student] * scored
    for suite, count in ground.asked.items():
        made = count * len(rows)
        flops = count * guided * ground.calls * sum(rows)
        found.append(
            Piece(what=f"sample {suite}", kind="sample", count=made, unit="images", flops=flops,
                  batch=SHARD_SIZE * guided, disk=made * ground.pixels * PNG, **sampling)
        )  # fmt: skip
    made = sum(ground.asked.values()) * len(rows)
    found.append(_vae("decode pictures", "decode", made, sizes.decode, whole, ground, 0))
    if ground.name != "mini":
        flops = made * sum(SCORING.values()) + ground.real * SCORING["features"]
        slow = DETECTOR * made if ground.concept.kind == "explicit" else 0.0
        found.append(Piece(what="score", kind="score", count=made, unit="images", flops=flops, seconds=slow))
    return found


def _pruning(request: RunRequest, ground: Ground, whole: float) -> Iterator[Piece]:
    """What a pruning looks at before it cuts. A search asks the base and a gated copy, and neither's weights move."""
    looks = CALIBRATION_IMAGES.get(request.pruning, 0)
    if not looks or (request.pruning == "aptp" and ground.experts):
        return
    sizes, searches = ground.sizes, request.pruning == "aptp"
    if ground.shown:
        disk = ground.shown * 2 * 4 * ground.size**2 * 2
        yield _vae("encode pictures to prune by", "encode", ground.shown, sizes.encode, whole, ground, disk)
    else:
        yield _vae("encode pictures to prune by", "encode", looks, sizes.encode, whole, ground, 0)
    weights = FP32 * sizes.parameters["unet"]
    held = whole + (weights if searches else 2 * weights)
    each = sizes.memory["training"]  # in fp32, whatever the run's precision is
    yield Piece(
        what="search for experts" if searches else f"gradients of {request.pruning}", kind="prune", count=looks,
        unit="images", flops=choosing(request.pruning, sizes.call(ground.size)), batch=AT_ONCE,
        memory=held + AT_ONCE * each, least=held + (AT_ONCE if searches else 1) * each,
    )  # fmt: skip


def _vae(what: str, kind: str, count: int, flops: float, held: float, ground: Ground, disk: float) -> Piece:
    each = ground.sizes.memory["decoding"]
    told: dict[str, Any] = {"what": what, "kind": kind, "count": count, "unit": "images", "disk": disk}
    return Piece(**told, flops=count * flops, memory=held + DECODED * each, least=held + each, batch=DECODED)
