"""Which testbed is meant: an installed one by name, or one that a TOML file defines. Torch-free until it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from inspect import isclass
from pathlib import Path
from typing import Any

from benchmark import registry
from benchmark.api.testbed import Testbed
from benchmark.errors import DataError, UsageError
from benchmark.json_types import NetworkConfig
from prompts.artists import Artist


def artists_of(testbed: str) -> tuple[Artist, ...]:
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
    """Names of the public prompt lists that suites use on a testbed once they are added; empty for a testbed that has
    only prompts of its own. Only a testbed of another package is loaded to answer this."""
    if definition_of(testbed) is not None:
        from benchmark.testbeds.stable_diffusion.prompts import PUBLIC, TITLES

        by_suite = [*PUBLIC.values(), *TITLES.values()]
    elif registry.home_of("testbeds", testbed) == "benchmark":
        return ()
    else:
        factory = _installed(testbed)
        by_suite = [*factory.public.values(), *factory.titles.values()]
    return tuple(dict.fromkeys(name for names in by_suite for name in names))


def is_file(testbed: str) -> bool:
    """Whether this names a TOML file; the file need not exist."""
    return testbed.endswith(".toml")


def name_of(testbed: str) -> str:
    """The testbed's name in records and tables. DataError for a file with errors."""
    return definition_of(testbed).name if is_file(testbed) else testbed


def sampling_of(testbed: str) -> NetworkConfig:
    """The sampling settings in a testbed's file, as records hold them; empty for a testbed that is not a file."""
    if not is_file(testbed):
        return {}
    definition = definition_of(testbed)
    return {"scheduler": definition.scheduler, "steps": definition.steps, "guidance": definition.guidance}


def load(testbed: str) -> Callable[..., Any]:
    """A function of `device` that makes the testbed. UsageError or DataError for a testbed that does not exist."""
    if not is_file(testbed):
        return _installed(testbed)
    from benchmark.testbeds.stable_diffusion.testbed import StableDiffusion

    return partial(StableDiffusion, definition_of(testbed))


def _installed(testbed: str) -> Any:
    """What makes an installed testbed. UsageError for a class that is not a `Testbed`."""
    factory = registry.load("testbeds", testbed)
    if isclass(factory) and not issubclass(factory, Testbed):
        raise UsageError(f"{factory.__name__} is not a testbed: let it inherit from Testbed of benchmark.api.")
    return factory


def definition_of(testbed: str) -> Any:
    """The definition of a testbed that a file describes, shipped or the user's own; None for one written in code."""
    from benchmark.testbeds.stable_diffusion.definition import SHIPPED, read

    shipped = SHIPPED / f"{testbed}.toml"
    if is_file(testbed) or shipped.exists():
        return read(Path(testbed).expanduser() if is_file(testbed) else shipped)
    return None
