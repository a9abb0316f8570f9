"""Collects what all records of a run state about how they were made: command, settings, code and plug-ins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import launcher
from benchmark.json_types import JsonObject
from benchmark.records.plugin_code import plugins_named
from benchmark.records.portable_paths import portable
from benchmark.records.provenance import code_fingerprint

if TYPE_CHECKING:
    from benchmark.api.model import Model
    from benchmark.api.request import RunRequest
    from benchmark.api.testbed import Workbench
    from benchmark.records.record import Plugin
    from benchmark.suites.load import SuiteInRun
    from prompts.concepts import Concept


@dataclass(frozen=True)
class RunFacts:
    """What the records of a run have in common. It is collected before any training, because files can change then."""

    command: tuple[str, ...]
    """The command line; empty if the run was not started by a command or by a function of `benchmark.library`."""
    settings: JsonObject
    """The settings of sampling and scoring, with their resolved values."""
    code: str
    """Fingerprint of this package's code."""
    plugins: list[Plugin]
    """The testbed, if it is a plug-in."""

    @classmethod
    def of(cls, request: RunRequest, bench: Workbench, suites: Sequence[SuiteInRun], concept: Concept) -> RunFacts:
        """Collect the facts of a run from its request and from what the request was resolved to."""
        settings = {
            "testbed": request.testbed,
            "suites": [suite.named for suite in suites],
            "metrics": list(request.metrics),
            "targets": list(concept.targets),
            "reference": request.reference,
            "limit": request.limit,
            "as_published": request.as_published,
            "sampler": bench.testbed.sampler.model_dump(mode="json"),
            "precision": bench.precision,
            "compiles": request.compiles,
            "device": _device(bench),
            "processes": launcher.processes(),
        }
        plugins = plugins_named([("testbeds", request.testbed)])
        return cls(request.command, settings, code_fingerprint(), plugins)

    def entries(self, model: Model, suite: SuiteInRun) -> JsonObject:
        """Return the fields of the record of a model on a suite, by name."""
        plugins = [entry.model_dump() for entry in (*self.plugins, *suite.plugins, *model.plugins())]
        return {
            "command": portable(list(self.command)),
            "config": portable({"run": self.settings, "model": model.config()}),
            "code": self.code,
            "plugins": portable([entry for k, entry in enumerate(plugins) if entry not in plugins[:k]]),
        }


def _device(bench: Workbench) -> str:
    """Return the device of a run, with the model name of a GPU: "cpu", "cuda:0 (NVIDIA H100 80GB HBM3)"."""
    import torch

    if bench.device.type != "cuda":
        return str(bench.device)
    return f"{bench.device} ({torch.cuda.get_device_name(bench.device)})"
