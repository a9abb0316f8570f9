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
    return definition_of(asked).name if is_file(asked) else asked


def artists_of(asked: str) -> tuple:
    """The painters of a testbed that a file defines."""
    from benchmark.testbeds.stable_diffusion.artists import artists

    return artists(definition_of(asked).artists)


def load(asked: str) -> Callable[..., Any]:
    """What makes the testbed, given `device`. UsageError or DataError for one that there is not."""
    if not is_file(asked):
        return registry.load("testbeds", asked)
    from benchmark.testbeds.stable_diffusion.testbed import StableDiffusion

    return partial(StableDiffusion, definition_of(asked))


def definition_of(asked: str) -> Any:
    """The definition of a testbed that a file makes, shipped or one's own; None for one that is all code."""
    from benchmark.testbeds.stable_diffusion.definition import SHIPPED, read

    shipped = SHIPPED / f"{asked}.toml"
    if is_file(asked) or shipped.exists():
        return read(Path(asked).expanduser() if is_file(asked) else shipped)
    return None
