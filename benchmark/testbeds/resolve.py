"""Which testbed is meant: an installed one by name, or one that a TOML or Python file defines. Torch-free until it is
loaded, but for Python files."""

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
from benchmark.plugin_source.classes import find_source
from benchmark.testbeds.toml_files import parents
from prompts.artists import Artist


def artists_of(testbed: str) -> tuple[Artist, ...]:
    """The `ARTISTS` of the testbed's own `artists.py`, beside its class; empty if it has none.

    DataError if no such testbed is installed, or for a file that is not a testbed.
    """
    if registry.is_file(testbed):
        from benchmark.testbeds.python_files import artists_of_class, load_class

        return artists_of_class(load_class(testbed))
    if is_like_mini(testbed):
        from dataclasses import replace

        from benchmark.testbeds.mini.artists import ARTISTS
        from benchmark.testbeds.mini.prompts import style_concept

        if not (targets := mini_definition(testbed).targets):
            return ARTISTS
        concept = style_concept(tuple(targets))
        parts: dict[str, Any] = {
            **dict.fromkeys(concept.neighbours, "neighbour"),
            **dict.fromkeys(concept.targets, "target"),
        }
        return tuple(replace(artist, part=parts.get(artist.name, "kept")) for artist in ARTISTS)
    if is_file(testbed):
        from benchmark.testbeds.stable_diffusion.artists import artists

        return artists(definition_of(testbed).artists)
    for point in entry_points(group="palimpsest.testbeds", name=testbed):
        package = point.module.rpartition(".")[0]
        if find_source(f"{package}.artists") is None:
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
    if is_like_mini(testbed):
        return ()
    if definition_of(testbed) is not None:
        from benchmark.testbeds.stable_diffusion.prompts import PUBLIC, TITLES

        by_suite = [*PUBLIC.values(), *TITLES.values()]
    elif registry.home_of("testbeds", testbed) == "benchmark":
        return ()
    else:
        factory: Any = load(testbed)
        by_suite = [*factory.public.values(), *factory.titles.values()]
    return tuple(dict.fromkeys(name for names in by_suite for name in names))


def is_file(testbed: str) -> bool:
    """Whether this names a TOML file; the file need not exist."""
    return testbed.endswith(".toml")


def is_like_mini(testbed: str) -> bool:
    """Whether this names a TOML file that inherits from mini. DataError for a file that cannot be read."""
    return is_file(testbed) and parents(Path(testbed).expanduser())[-1:] == ["mini"]


def name_of(testbed: str) -> str:
    """The testbed's name in records and tables. UsageError or DataError for a file with errors."""
    if registry.is_file(testbed):
        from benchmark.testbeds.python_files import load_class

        return load_class(testbed).name
    return (mini_definition(testbed) or definition_of(testbed)).name if is_file(testbed) else testbed


def inherited_by(testbed: str) -> list[str]:
    """What a testbed inherits from, nearest first: files and names that a TOML file is `like`, or the testbeds whose
    classes a class inherits from."""
    if is_file(testbed):
        return parents(Path(testbed).expanduser())
    if registry.is_file(testbed):
        from benchmark.testbeds.python_files import inherited_from, load_class

        return inherited_from(load_class(testbed))
    return []


def summary_of(testbed: str) -> str:
    """One line about a testbed from a file."""
    if registry.is_file(testbed):
        from benchmark.testbeds.python_files import load_class

        return load_class(testbed).summary
    return str((mini_definition(testbed) or definition_of(testbed)).summary)


def sampling_of(testbed: str) -> NetworkConfig:
    """The sampling settings in a testbed's file, as records hold them; empty for a testbed that is not a TOML file."""
    if not is_file(testbed):
        return {}
    if definition := mini_definition(testbed):
        return {"steps": definition.steps, "guidance": definition.guidance}
    definition = definition_of(testbed)
    return {"scheduler": definition.scheduler, "steps": definition.steps, "guidance": definition.guidance}


def load(testbed: str) -> Callable[..., Any]:
    """A function of `device` that makes the testbed. UsageError or DataError for a testbed that does not exist."""
    if registry.is_file(testbed):
        from benchmark.testbeds.python_files import load_class

        return load_class(testbed)
    if not is_file(testbed):
        return _installed(testbed)
    if definition := mini_definition(testbed):
        from benchmark.testbeds.mini.from_file import MiniFromFile

        return partial(MiniFromFile, definition)
    from benchmark.testbeds.stable_diffusion.testbed import StableDiffusion

    return partial(StableDiffusion, definition_of(testbed))


def _installed(testbed: str) -> Any:
    """What makes an installed testbed. UsageError for a class that is not a `Testbed`."""
    factory = registry.load("testbeds", testbed)
    if isclass(factory) and not issubclass(factory, Testbed):
        raise UsageError(f"{factory.__name__} is not a testbed: let it inherit from Testbed of benchmark.api.")
    return factory


def mini_definition(testbed: str) -> Any:
    """The definition of a testbed in a TOML file that is like mini; None for every other testbed."""
    if not is_like_mini(testbed):
        return None
    from benchmark.testbeds.mini.definition import read

    return read(Path(testbed).expanduser())


def definition_of(testbed: str) -> Any:
    """The definition of a testbed of the Stable Diffusion family that a TOML file describes, shipped or the user's own;
    None for one written in code, and for one that is like mini."""
    from benchmark.testbeds.stable_diffusion.definition import SHIPPED, read

    if is_like_mini(testbed) or registry.is_file(testbed):
        return None
    shipped = SHIPPED / f"{testbed}.toml"
    if is_file(testbed) or shipped.exists():
        return read(Path(testbed).expanduser() if is_file(testbed) else shipped)
    return None
