"""Which testbed is meant: an installed one by name, or one that a TOML file defines. Torch-free until it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmark import registry


def is_file(asked: str) -> bool:
    """Whether a file is meant, be it there or not."""
    return asked.endswith(".toml")


def name_of(asked: str) -> str:
    """What records and tables call it. DataError for a file that is wrong."""
    return _definition(asked).name if is_file(asked) else asked


def artists_of(asked: str) -> tuple:
    """The painters of a testbed that a file defines."""
    from benchmark.testbeds.stable_diffusion.artists import artists

    return artists(_definition(asked).artists)


def load(asked: str) -> Callable[..., Any]:
    """What makes the testbed, given `device`. UsageError or DataError for one that there is not."""
    if not is_file(asked):
        return registry.load("testbeds", asked)
    from benchmark.testbeds.stable_diffusion.testbed import StableDiffusion

    return partial(StableDiffusion, _definition(asked))


def _definition(asked: str) -> Any:
    from benchmark.testbeds.stable_diffusion.definition import read

    return read(Path(asked).expanduser())
