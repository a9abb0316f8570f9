"""Commands that refuse a value which is given but empty: an unset shell variable must not stand for a default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typer.core import TyperCommand

from benchmark.errors import UsageError


class CheckedCommand(TyperCommand):
    """A command none of whose options and arguments may be an empty string, whatever their type.

    Every command of the command line is one. An empty value is refused here, before its type can read it as something
    else: an empty path as the working folder, an empty list as the default list.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        refuse_empty(values, self.get_params(ctx))
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
