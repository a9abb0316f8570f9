"""Finds code by name: built-in and third-party plug-ins are both Python entry points `palimpsest.<group>`.

Only `load` imports a plug-in, so listing names and reporting an unknown one take no time.
"""

import ast
import difflib
import sys
import traceback
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from inspect import isclass
from pathlib import Path
from typing import Any

from benchmark.errors import UsageError
from benchmark.json_types import Settings
from benchmark.moved_modules import moved_imports
from benchmark.plugin_source import files as plugin_files
from benchmark.plugin_source.classes import find_class, find_source
from benchmark.plugin_source.installed import entry_points

GROUPS = {
    "methods": "method",
    "objectives": "upper objective",
    "metrics": "metric",
    "prunings": "pruning",
    "suites": "suite",
    "testbeds": "testbed",
}
FROM_FILES = {
    "methods": "class",
    "metrics": "class",
    "objectives": "class",
    "prunings": "function",
    "suites": "class",
    "testbeds": "class",
}
"""Groups whose plug-ins can also be loaded from a user's file, and what the file must define."""


def names(group: str) -> list[str]:
    """Return the names of all plug-ins in `group`, sorted.

    Raises:
        UsageError: two packages define the same name.
    """
    return sorted(entry_points_of(group))


def load(group: str, name: str) -> Any:
    """Load the plug-in `name` of `group`.

    The name can also be `path/to/file.py:Class`, or for a pruning `path/to/file.py:function`.

    Raises:
        UsageError: the name is unknown (with a suggestion), or the code cannot be imported.
    """
    if group in FROM_FILES and is_file(name):
        return _load_file(name, FROM_FILES[group])
    points = entry_points_of(group)
    if name not in points:
        raise unknown(GROUPS[group], name, sorted(points))
    point = points[name]
    spec = find_source(point.module)
    check_imports(spec.origin if spec else None)
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        check_imports(*_files_of(error))
        raise UsageError(f"The {GROUPS[group]} {name!r} cannot be loaded from {point.value} ({error}).") from error


def declared(group: str, name: str, attribute: str, default: Any) -> Any:
    """Return a class attribute of the plug-in that a record names, without running code that the user did not name.

    An installed plug-in is loaded. A file is only parsed, because records can be from other people and can name any
    file of this machine: the value of the attribute must then be a literal in the class, or in a parent class that can
    be found without importing anything.

    Raises:
        UsageError: the plug-in is not installed, or its file does not exist.
    """
    if not is_file(name):
        return getattr(load(group, name), attribute, default)
    path, class_name = _split_name(name)
    sys.path.insert(0, str(path.parent))  # parent classes can be in the files beside it
    try:
        source = find_class(ast.parse(path.read_text(encoding="utf-8-sig")), class_name)
        value = source.value(attribute) if source else None
    except (OSError, ValueError, SyntaxError, RecursionError):
        return default
    finally:
        sys.path.remove(str(path.parent))
    return value.value if isinstance(value, ast.Constant) else default


def home_of(group: str, name: str) -> str:
    """Return the top-level package that provides `name`, such as "methods"; empty if the name is not installed."""
    point = entry_points_of(group).get(name)
    return point.module.partition(".")[0] if point else ""


def fingerprint(name: str) -> str | None:
    """Return the sha256 of a plug-in's file and of all files that it imports from its folder.

    It is None for an installed plug-in. For code from a file it is part of the identity, because users change such
    files without raising the version number `recipe`.
    """
    return plugin_files.digest(_split_name(name)[0]) if is_file(name) else None


def load_function(name: str) -> Any:
    """Load a function of a user's file by `path/to/file.py:function`.

    Raises:
        UsageError: the name does not refer to a file, the file has no such function, or it cannot be imported.
    """
    if not is_file(name):
        raise UsageError(f"{name!r} is not a function in a file: write path/to/file.py:function.")
    return _load_file(name, "function")


def resolved(settings: Mapping[str, Any]) -> Settings:
    """Return settings in which the fingerprint of each plug-in file replaces its path, as only its content matters."""
    return {
        key: f"sha256:{code}" if isinstance(value, str) and (code := fingerprint(value)) else value
        for key, value in settings.items()
    }


def check_imports(*paths: str | Path | None) -> None:
    """Check that Python files import nothing that has moved, not even inside functions.

    Raises:
        UsageError: a file imports something that has moved; the message has the new names.
    """
    for path in paths:
        try:
            changes = moved_imports(Path(path).read_text(encoding="utf-8-sig")) if path else {}
        except (OSError, ValueError, SyntaxError):
            continue  # loading the file reports what is wrong with it
        if changes:
            replacements = "; ".join(f"{old_name} is now {new_name}" for old_name, new_name in changes.items())
            raise UsageError(
                f"{path} was written for an older version of palimpsest; change its imports: {replacements}."
            )


def _files_of(error: BaseException) -> list[str]:
    """Return the source files in the traceback of an error, the innermost first."""
    return [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]


MANY = 12
"""If there are more names than this, an error that suggests a similar name does not list them all."""


def unknown(kind: str, name: str, available: list[str]) -> UsageError:
    """Return the UsageError for an unknown name, with a suggestion or a list of what is available.

    It is also used for names that are not entry points: artists, presets, columns.
    """
    suggestion = _suggestion(name, available)
    listed = "" if suggestion and len(available) > MANY else f" Available: {', '.join(available) or 'none'}."
    return UsageError(f"Unknown {kind} {name!r}.{suggestion}{listed}")


def entry_points_of(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name.

    Raises:
        UsageError: two packages define the same name.
    """
    if group not in GROUPS:
        raise ValueError(f"no such group: {group!r}")
    points_by_name: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"palimpsest.{group}"):
        first_point = points_by_name.setdefault(point.name, point)
        if first_point.value != point.value:
            raise UsageError(
                f"Two installed packages define the {GROUPS[group]} {point.name!r} ({first_point.value} and "
                f"{point.value}): uninstall one of them."
            )
    return points_by_name


def _suggestion(name: str, candidates: list[str]) -> str:
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=1)
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""


def is_file(name: str) -> bool:
    """Return whether a name refers to code in a user's file."""
    return name.endswith(".py") or ".py:" in name


def short_name(name: str) -> str:
    """Return the name of a plug-in in labels: the class or function of a file, `my/own.py:Ridge` -> `Ridge`."""
    return name.rpartition(":")[2] if ".py:" in name else name


def _split_name(name: str) -> tuple[Path, str]:
    """Split path/to/file.py:Name into the path and the name."""
    text, _, attribute = name.rpartition(".py:")
    if not text or not attribute:
        raise UsageError(f"{name!r} names a file, but no class or function in it: write path/to/file.py:Name.")
    path = Path(text + ".py").expanduser()
    if not path.is_file():
        raise UsageError(f"The file {path} to load {attribute!r} from does not exist.")
    check_imports(path, *plugin_files.siblings(path))
    return path, attribute


def _load_file(name: str, kind: str) -> Any:
    path, attribute = _split_name(name)
    try:
        module = plugin_files.load_module(path)
    except Exception as error:
        check_imports(*_files_of(error))
        raise UsageError(f"The file {path} cannot be loaded ({type(error).__name__}: {error}).") from error
    is_wanted = isclass if kind == "class" else lambda value: callable(value) and not isclass(value)
    candidates = {key: value for key, value in vars(module).items() if is_wanted(value)}
    own_names = [key for key, value in candidates.items() if getattr(value, "__module__", None) == module.__name__]
    if attribute not in candidates:
        raise unknown(f"{kind} in {path}", attribute, own_names)
    return candidates[attribute]
