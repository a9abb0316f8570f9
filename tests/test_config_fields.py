import subprocess
import sys

import pytest
from pydantic import BaseModel

from benchmark import registry
from benchmark.cli.list_plugins import listing
from benchmark.errors import UsageError
from methods.base import configure
from methods.bilevel.config import BilevelConfig
from methods.bilevel.method import Bilevel
from methods.config_fields import check_classified, identity, identity_of, runtime
from methods.distilled import Distilled, DistilledConfig


class Inner(BaseModel):
    rate: float = identity(0.5, "Rate.", gt=0)
    workers: int = runtime(2, "Workers.")


class Outer(BaseModel):
    inner: Inner = identity(Inner(), "Nested.")
    device: str = runtime("cpu", "Device.")


def test_runtime_fields_are_not_part_of_the_identity() -> None:
    assert identity_of(Outer(device="cuda", inner=Inner(workers=9))) == {"inner": {"rate": 0.5}}


def test_an_unclassified_field_is_refused_by_name() -> None:
    class Forgetful(BaseModel):
        rate: float = 1.0

    with pytest.raises(UsageError, match="'rate' of Forgetful"):
        check_classified(Forgetful)


@pytest.mark.parametrize("method", [Distilled, Bilevel])
def test_method_fields_are_classified_and_presets_are_valid(method: type) -> None:
    check_classified(method.Config)
    for preset in method.presets:
        configure(method, preset)
    assert "default" in method.presets


def test_invalid_preset_field_or_value_gives_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"Unknown \w+ preset 'papr'\. Did you mean 'paper'"):
        configure(Bilevel, "papr")
    with pytest.raises(UsageError, match=r"setting 'upper_rat'\. Did you mean 'upper_rate'"):
        configure(Bilevel, upper_rat=1.0)
    with pytest.raises(UsageError, match="setting 'lower_steps'"):
        configure(Bilevel, lower_steps=0)


def test_presets_match_the_paper_and_its_released_code() -> None:
    paper, released = configure(Bilevel, "paper").config, configure(Bilevel, "released").config
    assert (paper.lower_steps, paper.penalty, paper.features, paper.warm_up, paper.batch) == (20, 100.0, "sum", 250, 64)
    assert (released.lower_steps, released.penalty, released.features, released.caption_dropout) == (10, 0, "mean", 0)
    assert {c.lower_rate for c in (paper, released)} == {1e-6}
    assert {c.upper_rate for c in (paper, released)} == {5e-6}
    assert (BilevelConfig().lower_steps, DistilledConfig().batch) == (20, 32)


def test_importing_methods_does_not_import_torch() -> None:
    code = "import sys, methods.bilevel, methods.budget; print(sorted({'torch', 'diffusers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_listing_names_every_preset() -> None:
    for name, line in listing("methods"):
        known = registry.load("methods", name).presets
        assert line.endswith(f" (presets: {', '.join(known)})"), line
