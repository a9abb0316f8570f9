"""Store keys do not change when code moves, so existing artefacts, shipped or local, are still found.

A change of results raises a `recipe` number and so changes the keys below; CHANGELOG.md then lists the changed values.
"""

import json
import re
from pathlib import Path

import pytest

from benchmark.api import RunRequest, Workbench
from benchmark.api.request import Runtime
from benchmark.console import Progress
from benchmark.models.fitted import Base, Fitted
from benchmark.models.plan import plan_of
from benchmark.pipeline.setup import workbench_for
from benchmark.store.artefacts import key_of

MODELS = {
    "distilled": "fb164fc1f3890aeb064f",
    "bilevel": "4cd19acb1b2384ad5fb3",
    "esd": "3ee6abdfd96ebc60e506",
    "esd+kd": "87950ec3fe1810817c27",
    "uce": "220d58369ade187b66d0",
    "conceptprune": "7b405ef8519f553c35af",
}
"""Keys of the default models on `mini` at commit b429e60, before its modules moved."""


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return workbench_for(Runtime(device="cpu"), tmp_path, Progress())


def identity_of(bench: Workbench, method: str) -> dict:
    plan = plan_of(bench, RunRequest(method, "artists"), bench.testbed.concept(()))
    return Fitted(bench, plan).identity


@pytest.mark.parametrize("method", MODELS)
def test_model_keys_are_unchanged(method: str, bench: Workbench) -> None:
    assert key_of("model", identity_of(bench, method)) == MODELS[method]


def test_identities_contain_no_module_paths(bench: Workbench) -> None:
    for identity in (Base(bench).identity, *(identity_of(bench, method) for method in MODELS)):
        assert not re.search(r"\b(benchmark|methods|metrics|prompts)[./]\w", json.dumps(identity))


def test_prebuilt_cost_of_the_reference_is_found(bench: Workbench) -> None:
    assert bench.store.find("cost", identity_of(bench, "distilled"))
    assert not (bench.store.home / "artefacts").exists()
