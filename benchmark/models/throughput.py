"""Measures how many U-Net FLOPs per second a machine trains, to convert `--budget 2h` into reproducible FLOPs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmark import registry
from benchmark.json_types import Identity
from benchmark.records import provenance

if TYPE_CHECKING:
    from benchmark.api.testbed import Workbench
    from benchmark.models.pruned import Pruned
    from methods.base import State
    from prompts.concepts import Concept


WARM_UP, TIMED = 3, 10
"""Numbers of distillation steps for warm-up and for timing."""


class _Unsaved:
    """Saves no checkpoints, because a calibration is too short to be resumed."""

    def load(self) -> State | None:
        return None

    def save(self, state: State) -> None:
        return None


def flops_in(bench: Workbench, pruned: Pruned, concept: Concept, data: str, seconds: float) -> float:
    """Convert a training time in seconds to U-Net FLOPs on this machine, rounded to three digits.

    The speed is measured on distillation steps (Eq. 8 of the paper), once per machine and pruning, and stored in the
    runs folder. Repeating a command therefore gives the same FLOPs. The wall time of a run can differ from the
    requested time if the method's steps have a different speed from distillation, or the load of the machine changes.
    """
    speed = _speed(bench, pruned, concept, data)
    return float(f"{seconds * speed:.3g}")


def _speed(bench: Workbench, pruned: Pruned, concept: Concept, data: str) -> float:
    import torch
    from accelerate import PartialState

    from benchmark.parallel import agreed

    cuda = bench.device.type == "cuda"
    identity: Identity = {
        **pruned.identity(bench),
        "device": torch.cuda.get_device_name(bench.device) if cuda else bench.device.type,
        "threads": torch.get_num_threads(),
        "processes": PartialState().num_processes,
        **bench.precision_entry,
    }
    artefact = bench.store.find("speed", identity)
    [missing] = agreed([artefact is None])
    if missing:
        speed = _measure_speed(bench, pruned, concept, data)
        bench.progress.say(f"budget    an hour of training is {3600 * speed:.3g} U-Net FLOPs on this machine")
        if PartialState().is_main_process:
            with bench.store.make("speed", identity, provenance.collect()) as folder:
                (folder / "speed.json").write_text(json.dumps({"flops_per_second": speed}))
        PartialState().wait_for_everyone()
    if artefact is None:
        artefact = bench.store.get("speed", identity)
    return float(json.loads(artefact.path("speed.json").read_text())["flops_per_second"])


def _measure_speed(bench: Workbench, pruned: Pruned, concept: Concept, data: str) -> float:
    from methods.base import Context, configure
    from methods.budget import Budget, Ledger

    method = configure(registry.load("methods", "distilled"), log_every=1)
    student = pruned.load(bench)[0].float()
    materials = bench.testbed.materials(bench, concept, data, method.uses_concept_images)
    with bench.progress.stage("calibrate the budget", WARM_UP + TIMED, "steps") as stage:
        for steps in (WARM_UP, TIMED):
            ledger = Ledger()
            context = Context(
                _Unsaved(),
                ledger,
                lambda *_progress: stage.advance(),
                bench.device,
                bench.precision,
                workers=bench.workers,
            )
            student = method.fit(student, materials, concept, Budget(iterations=steps), context, 0)
    spent = ledger.total()
    return spent.flops / spent.wall_seconds
