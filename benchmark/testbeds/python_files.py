"""Loads a testbed from a user-provided Python file, `path/to/file.py:Class`."""

from __future__ import annotations

from importlib import import_module
from inspect import isclass, signature
from typing import Any

from benchmark import registry
from benchmark.api.testbed import Testbed
from benchmark.errors import PalimpsestError, UsageError
from benchmark.json_types import Identity
from benchmark.plugin_source.classes import find_source
from benchmark.testbeds.toml_files import check_name
from prompts.artists import Artist


def load_class(place: str) -> type[Testbed]:
    """Load the class of `place`, and add the checksum of its code to its identity.

    Raises:
        UsageError: it is not a testbed, is incomplete, or cannot be created with a device.
        DataError: an installed testbed has the same name.
    """
    written: Any = registry.load("testbeds", place)
    check_testbed(written)
    check_name(place, written.name)
    code = registry.fingerprint(place)

    def __init__(self: Any, device: str = "cpu") -> None:
        try:
            written.__init__(self, device=device)
        except PalimpsestError:
            raise
        except Exception as error:  # raised by the plug-in's own code
            raise UsageError(
                f"The testbed {place} cannot be created: {written.__name__}(device={device!r}) raises "
                f"{type(error).__name__}: {error}."
            ) from error

    def identity(self: Any) -> Identity:
        identity = dict(written.identity(self))
        # Tables distinguish versions of a testbed by `data`.
        return identity | {"testbed": self.name, "data": f"{identity.get('data', '')} {code}".strip()}

    return type(written.__name__, (written,), {"__init__": __init__, "identity": identity, "__doc__": written.__doc__})


def check_testbed(factory: Any) -> None:
    """Raise UsageError if a class from a file does not implement `Testbed`; the message names what is missing."""
    class_name = factory.__name__ if isclass(factory) else repr(factory)
    if not (isclass(factory) and issubclass(factory, Testbed)):
        raise UsageError(f"{class_name} is not a testbed: it must inherit from Testbed of benchmark.api.")
    declared = {name for parent in factory.__mro__ if parent not in (Testbed, object) for name in vars(parent)}
    if missing := [name for name in NEEDED if name not in declared]:
        raise UsageError(
            f"{class_name} is not a complete testbed: it lacks {', '.join(missing)}. Define them (see "
            "benchmark/api/testbed.py), or inherit from a complete one, such as "
            "benchmark.testbeds.mini.testbed.Mini."
        )
    if not isinstance(name := factory.name, str):
        raise UsageError(f"{class_name} is not a complete testbed: its name must be a string, not {name!r}.")
    try:
        signature(factory).bind(device="cpu")
    except TypeError as error:
        raise UsageError(
            f"{class_name} is not a complete testbed: {class_name}(device='cpu') must be a valid call ({error})."
        ) from error


NEEDED = (
    "name", "identity", "concept", "prompts", "base", "encode", "decode", "encoder", "clip", "materials", "erase_cost",
    "real", "networks",
)  # fmt: skip
"""Attributes that every testbed must define or inherit from a complete testbed. All others have a default or are set in
`__init__`."""


def artists_of_class(factory: type[Testbed]) -> tuple[Artist, ...]:
    """Return the artists that a testbed's class declares, else those of `artists.py` in its or a parent's package."""
    if factory.artists:
        return tuple(factory.artists)
    for parent in factory.__mro__:
        package = parent.__module__.rpartition(".")[0]
        if parent is Testbed:
            break
        if package and not package.startswith("palimpsest_file_") and find_source(f"{package}.artists"):
            return tuple(import_module(f"{package}.artists").ARTISTS)
    return ()


def inherited_from(factory: type[Testbed]) -> list[str]:
    """Return the names of the testbeds that a class inherits from, nearest first."""
    names: list[str] = []
    for parent in factory.__mro__[1:]:
        name = vars(parent).get("name") if issubclass(parent, Testbed) else None
        if isinstance(name, str) and name not in (factory.name, *names):
            names.append(name)
    return names
