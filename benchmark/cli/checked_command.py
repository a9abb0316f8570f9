"""Commands that refuse an empty value and an option that is given twice.

An unset shell variable must not stand for a default, and of two values one must not be dropped in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from typer.core import TyperCommand

from benchmark.errors import UsageError


class CheckedCommand(TyperCommand):
    """A command none of whose options and arguments may be an empty string, whatever their type, or be given twice.

    Every command of the command line is one. An empty value is refused here, before its type can read it as something
    else: an empty path as the working folder, an empty list as the default list.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values, _, given_parameters = self.make_parser(ctx).parse_args(args=list(args))
        refuse_empty(values, self.get_params(ctx))
        refuse_repeated(given_parameters)
        return super().parse_args(ctx, args)


def refuse_empty(values_by_name: Mapping[str, Any], parameters: list[Any]) -> None:
    """UsageError that names the first option or argument whose text is empty or blank."""
    for parameter in parameters:
        value = values_by_name.get(parameter.name)
        values = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(text, str) and not text.strip() for text in values):
            option = max(parameter.opts, key=len)
            name = option if option.startswith("-") else f"The argument {option.upper()}"
            remedy = "give it a value" if parameter.required else "give it a value, or leave it out"
            raise UsageError(f"{name} is empty: {remedy} (is a shell variable unset?).")


def refuse_repeated(given_parameters: Sequence[Any]) -> None:
    """UsageError that names the first option with a single value that was given more than once.

    A flag that is given twice says the same twice, and passes.
    """
    for parameter, count in Counter(given_parameters).items():
        if count > 1 and not (parameter.multiple or parameter.is_flag):
            raise UsageError(f"{max(parameter.opts, key=len)} is given {count} times: give it once.")
