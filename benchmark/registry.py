"""Finds code by name: built-in and third-party plug-ins are both Python entry points `palimpsest.<group>`.

A plug-in is imported only by `load`, so listing names and refusing a wrong one take no time.
"""

import difflib
import traceback
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from inspect import isclass
from pathlib import Path
from typing import Any

from benchmark.errors import UsageError
from benchmark.json_types import Settings
from benchmark.moved_modules import moved_imports
from benchmark.plugin_source import files as plugin_files
from benchmark.plugin_source.classes import find_source

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
    """The names known in `group`, sorted. Raises UsageError where two packages claim one name."""
    return sorted(entry_points_of(group))


def load(group: str, name: str) -> Any:
    """What `name` stands for in `group`; `path/to/file.py:Class` loads a class from a file, such as a method or a
    testbed, and `path/to/file.py:function` a pruning.

    Raises UsageError for an unknown name ("did you mean"), and for code that cannot be imported.
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


def home_of(group: str, name: str) -> str:
    """The top package that provides `name`, such as "methods"; empty for a name that is not installed."""
    point = entry_points_of(group).get(name)
    return point.module.partition(".")[0] if point else ""


def fingerprint(name: str) -> str | None:
    """Return the sha256 of a plug-in's file and of all that it imports from its folder; None for an installed plug-in.

    It is part of the identity of code from a file, because users try things out without raising its recipe version. It
    is that of the file alone if the file imports nothing from its folder.
    """
    return plugin_files.digest(_file(name)[0]) if is_file(name) else None


def resolved(settings: Mapping[str, Any]) -> Settings:
    """Settings with the fingerprint in place of each name of a file: what is in it counts, not where it lies."""
    return {
        key: f"sha256:{code}" if isinstance(value, str) and (code := fingerprint(value)) else value
        for key, value in settings.items()
    }


def check_imports(*paths: str | Path | None) -> None:
    """UsageError for a Python file that imports what has moved, naming the new places. Also imports that run late."""
    for path in paths:
        try:
            changes = moved_imports(Path(path).read_text(encoding="utf-8-sig")) if path else {}
        except (OSError, ValueError, SyntaxError):
            continue  # whatever loads the file says what is wrong with it
        if changes:
            replacements = "; ".join(f"{old_name} is now {new_name}" for old_name, new_name in changes.items())
            raise UsageError(f"{path} was written for an older palimpsest, change its imports: {replacements}.")


def _files_of(error: BaseException) -> list[str]:
    """Files that an error came through, the innermost first."""
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
    """The entry points of a group by name. Raises UsageError where two packages claim one name."""
    if group not in GROUPS:
        raise ValueError(f"no such group: {group!r}")
    points_by_name: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"palimpsest.{group}"):
        first_point = points_by_name.setdefault(point.name, point)
        if first_point.value != point.value:
            raise UsageError(
                f"Two installed packages bring a {GROUPS[group]} {point.name!r} ({first_point.value} and "
                f"{point.value}): uninstall one of them."
            )
    return points_by_name


def _suggestion(name: str, candidates: list[str]) -> str:
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(name.casefold(), list(by_folded), n=1)
    return f" Did you mean {by_folded[close[0]]!r}?" if close else ""


def is_file(name: str) -> bool:
    """Whether a name stands for something in a user's file."""
    return name.endswith(".py") or ".py:" in name


def _file(name: str) -> tuple[Path, str]:
    text, _, attribute = name.rpartition(".py:")
    if not text or not attribute:
        raise UsageError(f"{name!r} names a file but nothing in it: write path/to/file.py:Name.")
    path = Path(text + ".py").expanduser()
    if not path.is_file():
        raise UsageError(f"There is no file {path} to load {attribute!r} from.")
    check_imports(path, *plugin_files.siblings(path))
    return path, attribute


def _load_file(name: str, kind: str) -> Any:
    path, attribute = _file(name)
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
