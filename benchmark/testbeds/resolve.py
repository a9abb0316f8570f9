"""Which testbed is meant: an installed one by name, or one that a TOML file defines. Torch-free until it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from benchmark import registry
from benchmark.errors import DataError


def artists_of(testbed: str) -> tuple:
    """The `ARTISTS` of the testbed's own `artists.py`, beside its class; empty if it has none.

    DataError if no such testbed is installed, or for a file that is not a testbed.
    """
    if is_file(testbed):
        from benchmark.testbeds.stable_diffusion.artists import artists

        return artists(definition_of(testbed).artists)
    for point in entry_points(group="palimpsest.testbeds", name=testbed):
        package = point.module.rpartition(".")[0]
        if registry.find_source(f"{package}.artists") is None:
            return ()
        from importlib import import_module

        return tuple(import_module(f"{package}.artists").ARTISTS)
    raise DataError(f"No testbed '{testbed}' is installed; `bench list testbeds` shows those that are.")


def default_targets(testbed: str) -> tuple[str, ...]:
    """Names of the artists that are erased unless `--targets` says otherwise.

    Empty for a testbed that is only a name in records, as one defined by a file is.
    """
    if not entry_points(group="palimpsest.testbeds", name=testbed):
        return ()
    return tuple(artist.name for artist in artists_of(testbed) if artist.part == "target")


def public_lists(testbed: str) -> tuple[str, ...]:
    """Names of the public prompt lists that suites ask on a testbed, once they were added; none for one that has
    prompts of its own alone. Only a testbed that another package brings is loaded for it."""
    if definition_of(testbed) is not None:
        from benchmark.testbeds.stable_diffusion.prompts import PUBLIC, TITLES

        by_suite = [*PUBLIC.values(), *TITLES.values()]
    elif registry.home_of("testbeds", testbed) == "benchmark":
        return ()
    else:
        made = load(testbed)
        by_suite = [names for kind in ("public", "titles") for names in getattr(made, kind, {}).values()]
    return tuple(dict.fromkeys(name for names in by_suite for name in names))


def is_file(asked: str) -> bool:
    """Whether a file is meant, be it there or not."""
    return asked.endswith(".toml")


def name_of(asked: str) -> str:
    """What records and tables call it. DataError for a file that is wrong."""
    return definition_of(asked).name if is_file(asked) else asked


def sampling_of(asked: str) -> dict[str, Any]:
    """What a testbed's file says of sampling, as records have it; empty for a testbed that is no file."""
    if not is_file(asked):
        return {}
    definition = definition_of(asked)
    return {"scheduler": definition.scheduler, "steps": definition.steps, "guidance": definition.guidance}


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
