"""Commands that refuse an empty value and an option that is given twice.

An empty value often comes from an unset shell variable, which should not silently select a default. If an option is
given twice, one of the two values would be dropped silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from typer.core import TyperCommand

from benchmark.errors import UsageError


class CheckedCommand(TyperCommand):
    """Base class of all commands: refuses empty options and arguments of any type, and options that are given twice.

    Empty values are refused before they are converted, because a converter could accept them: an empty path would
    become the working folder, and an empty list the default list.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values, _, given_parameters = self.make_parser(ctx).parse_args(args=list(args))
        refuse_empty(values, self.get_params(ctx))
        refuse_repeated(given_parameters)
        return super().parse_args(ctx, args)


def refuse_empty(values_by_name: Mapping[str, Any], parameters: list[Any]) -> None:
    """Raise UsageError, naming the option or argument, if a value is empty or blank."""
    for parameter in parameters:
        value = values_by_name.get(parameter.name)
        values = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(text, str) and not text.strip() for text in values):
            option = max(parameter.opts, key=len)
            name = option if option.startswith("-") else f"The argument {option.upper()}"
            remedy = "give it a value" if parameter.required else "give it a value, or leave it out"
            raise UsageError(f"{name} is empty: {remedy} (is a shell variable unset?).")


def refuse_repeated(given_parameters: Sequence[Any]) -> None:
    """Raise UsageError, naming the option, if an option with a single value was given more than once.

    A repeated flag is accepted, because both say the same.
    """
    for parameter, count in Counter(given_parameters).items():
        if count > 1 and not (parameter.multiple or parameter.is_flag):
            raise UsageError(f"{max(parameter.opts, key=len)} is given {count} times: give it once.")
