"""Writes the command line of a run, for its records, from the values of its options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from typer.models import OptionInfo

LEFT_OUT = ("runs", "yes")
"""Options that records do not state: the runs folder, because records can be moved, and the consent to a long run."""


def command_words(command: str, declared: Callable[..., Any], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a command line: `("bench", "run", "--method", "uce", "--suite", "artists", "--set", "rate=2")`.

    Args:
        command: name of the command, such as "run".
        declared: the function or dataclass that declares the options of this command, with their defaults.
        values: the values of its options by parameter name. Those that equal their default are left out.
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(declared).parameters.items()}
    words = ["bench", command]
    for name, kind in get_type_hints(declared, include_extras=True).items():
        if name not in defaults or name not in values or name in LEFT_OUT:
            continue
        option = next((entry for entry in getattr(kind, "__metadata__", ()) if isinstance(entry, OptionInfo)), None)
        if option is not None:
            words += _words(_option_name(name, option), values[name], defaults[name])
    return tuple(words)


def _option_name(name: str, option: OptionInfo) -> str:
    """Return the option of a parameter: the one that it declares, or else typer's, `kept_names` -> `--kept-names`."""
    declared = [text for text in (option.default, *(option.param_decls or ())) if isinstance(text, str)]
    return next((text for text in declared if text.startswith("--")), "--" + name.strip("_").replace("_", "-"))


def _words(option: str, value: Any, default: Any) -> Sequence[str]:
    if value == default or (not value and (default is None or default is inspect.Parameter.empty)):
        return ()
    if isinstance(value, bool):
        return (option,) if value else ()
    if isinstance(value, list | tuple):
        return [word for entry in value for word in (option, _text(entry))]
    return option, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return str(value) if isinstance(value, str | Path | int) else repr(value)
