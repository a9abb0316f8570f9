"""Finds a testbed by name, or in a TOML or Python file.

Torch is not imported before a testbed is loaded, except for testbeds in Python files.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import isclass
from pathlib import Path
from typing import Any

from benchmark import registry
from benchmark.api.testbed import Testbed
from benchmark.errors import DataError, UsageError
from benchmark.json_types import NetworkConfig
from benchmark.plugin_source.classes import find_source
from benchmark.plugin_source.installed import entry_points
from benchmark.testbeds.toml_files import parents
from prompts.artists import Artist


def artists_of(testbed: str) -> tuple[Artist, ...]:
    """Return the artists of a testbed; empty if it has none.

    DataError if no such testbed is installed, or if the file is not a testbed.
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
    """Return the names of the artists that are erased by default.

    Empty for a testbed that is not installed, for example one from a file: records contain only its name, so its
    artists cannot be looked up.
    """
    if not entry_points(group="palimpsest.testbeds", name=testbed):
        return ()
    return tuple(artist.name for artist in artists_of(testbed) if artist.part == "target")


def public_lists(testbed: str) -> tuple[str, ...]:
    """Return the names of the public prompt lists that suites use on a testbed; empty if it only has its own prompts.

    The testbed is loaded only if a package other than `benchmark` provides it.
    """
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
    """Return whether this is the path of a TOML file; the file need not exist."""
    return testbed.endswith(".toml")


def is_like_mini(testbed: str) -> bool:
    """Return whether this is a TOML file that inherits from mini. DataError if the file cannot be read."""
    return is_file(testbed) and parents(Path(testbed).expanduser())[-1:] == ["mini"]


def name_of(testbed: str) -> str:
    """Return the testbed's name in records and tables. UsageError or DataError if its file is invalid."""
    if registry.is_file(testbed):
        from benchmark.testbeds.python_files import load_class

        return load_class(testbed).name
    return (mini_definition(testbed) or definition_of(testbed)).name if is_file(testbed) else testbed


def inherited_by(testbed: str) -> list[str]:
    """Return what a testbed inherits from, nearest first.

    For a TOML file these are the files and names in its setting `like`, and in theirs; for a class, the testbeds of
    its parent classes.
    """
    if is_file(testbed):
        return parents(Path(testbed).expanduser())
    if registry.is_file(testbed):
        from benchmark.testbeds.python_files import inherited_from, load_class

        return inherited_from(load_class(testbed))
    return []


def summary_of(testbed: str) -> str:
    """Return the one-line description of a testbed from a file."""
    if registry.is_file(testbed):
        from benchmark.testbeds.python_files import load_class

        return load_class(testbed).summary
    return str((mini_definition(testbed) or definition_of(testbed)).summary)


def sampling_of(testbed: str) -> NetworkConfig:
    """Return the sampling settings of a testbed, with the names that records use; empty if it is not a TOML file."""
    if not is_file(testbed):
        return {}
    if definition := mini_definition(testbed):
        return {"steps": definition.steps, "guidance": definition.guidance}
    definition = definition_of(testbed)
    return {"scheduler": definition.scheduler, "steps": definition.steps, "guidance": definition.guidance}


def load(testbed: str) -> Callable[..., Any]:
    """Return a function of `device` that creates the testbed. UsageError or DataError if it does not exist."""
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
    """Return the class or function of an installed testbed. UsageError if it is a class but not a `Testbed`."""
    factory = registry.load("testbeds", testbed)
    if isclass(factory) and not issubclass(factory, Testbed):
        raise UsageError(f"{factory.__name__} is not a testbed: it must inherit from Testbed of benchmark.api.")
    return factory


def mini_definition(testbed: str) -> Any:
    """Read the definition of a testbed from a TOML file that is like mini; None for all other testbeds."""
    if not is_like_mini(testbed):
        return None
    from benchmark.testbeds.mini.definition import read

    return read(Path(testbed).expanduser())


def definition_of(testbed: str) -> Any:
    """Read the definition of a Stable Diffusion testbed from a shipped or user-provided TOML file.

    None for a testbed that is defined in Python, or that is like mini.
    """
    from benchmark.testbeds.stable_diffusion.definition import SHIPPED, read

    if is_like_mini(testbed) or registry.is_file(testbed):
        return None
    shipped = SHIPPED / f"{testbed}.toml"
    if is_file(testbed) or shipped.exists():
        return read(Path(testbed).expanduser() if is_file(testbed) else shipped)
    return None
