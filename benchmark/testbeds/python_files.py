"""A testbed in a Python file of the user, `path/to/file.py:Class`: a subclass of `Testbed`."""

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
    """The class that `place` names, with the code of its file in its identity.

    Raises:
        UsageError: it is not a testbed, lacks something, or cannot be made with a device.
        DataError: its name is that of an installed testbed.
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
        except Exception as error:  # of the plug-in's own code
            raise UsageError(
                f"The testbed {place} cannot be made, {written.__name__}(device={device!r}) raises "
                f"{type(error).__name__}: {error}."
            ) from error

    def identity(self: Any) -> Identity:
        identity = dict(written.identity(self))
        # `data` is what rows of tables tell versions of a testbed apart by.
        return identity | {"testbed": self.name, "data": f"{identity.get('data', '')} {code}".strip()}

    return type(written.__name__, (written,), {"__init__": __init__, "identity": identity, "__doc__": written.__doc__})


def check_testbed(factory: Any) -> None:
    """UsageError, naming what is missing or wrong, for a class from a file that does not keep `Testbed`'s contract."""
    class_name = factory.__name__ if isclass(factory) else repr(factory)
    if not (isclass(factory) and issubclass(factory, Testbed)):
        raise UsageError(f"{class_name} is not a testbed: let it inherit from Testbed of benchmark.api.")
    declared = {name for parent in factory.__mro__ if parent not in (Testbed, object) for name in vars(parent)}
    if missing := [name for name in NEEDED if name not in declared]:
        raise UsageError(
            f"{class_name} is not a testbed yet, it lacks {', '.join(missing)}: see benchmark/api/testbed.py, Testbed, "
            "or inherit from a testbed that has them, such as Mini of benchmark.testbeds.mini.testbed."
        )
    if not isinstance(name := factory.name, str):
        raise UsageError(f"{class_name} is not a testbed yet, its name must be a text, not {name!r}.")
    try:
        signature(factory).bind(device="cpu")
    except TypeError as error:
        raise UsageError(
            f"{class_name} is not a testbed yet, it cannot be made as {class_name}(device='cpu') ({error})."
        ) from error


NEEDED = (
    "name", "identity", "concept", "prompts", "base", "encode", "decode", "encoder", "clip", "materials", "erase_cost",
    "real", "networks",
)  # fmt: skip
"""What every testbed declares itself, or inherits from another testbed; the rest has a default or is set when it is
made."""


def artists_of_class(factory: type[Testbed]) -> tuple[Artist, ...]:
    """The artists that a testbed's class declares, else those of the `artists.py` beside it or its nearest parent."""
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
    """Names of the testbeds that a class inherits from, nearest first."""
    names: list[str] = []
    for parent in factory.__mro__[1:]:
        name = vars(parent).get("name") if issubclass(parent, Testbed) else None
        if isinstance(name, str) and name not in (factory.name, *names):
            names.append(name)
    return names
