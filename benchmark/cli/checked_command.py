"""Commands that refuse an empty value and an option that is given twice.

An empty value often comes from an unset shell variable, which should not silently select a default. If an option is
given twice, one of the two values would be dropped silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from benchmark.errors import UsageError


class CheckedCommand(TyperCommand):
    """Base class of all commands: refuses empty options and arguments of any type, and options that are given twice.

    Empty values are refused before they are converted, because a converter could accept them: an empty path would
    become the working folder, and an empty list the default list.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values: Mapping[str, Any] = {}
        try:
            values, _, given_parameters = self.make_parser(ctx).parse_args(args=list(args))
            refuse_empty(values, self.get_params(ctx))
            refuse_repeated(given_parameters)
            return super().parse_args(ctx, args)
        except CLICK_ERROR as error:
            if is_help(error):
                raise
            raise UsageError(one_sentence(error, ctx, values)) from error


CLICK_ERROR: type[Any] = typer.BadParameter.__mro__[1]
"""click's UsageError, from the click that this version of typer uses."""


def is_help(error: Exception) -> bool:
    """Return whether a command was called without any argument, and its help is shown."""
    return type(error).__name__ == "NoArgsIsHelpError"


def one_sentence(error: Any, ctx: Any, values: Mapping[str, Any]) -> str:
    """Return an error of click, which prints several lines, as one sentence that names the command's help.

    Args:
        error: click's error.
        ctx: the context of the command.
        values: the values of the command line by parameter, as texts.
    """
    path = ctx.command_path.split()[1:]
    command = " ".join(["bench", *(path[path.index("run") :] if "run" in path else path)])  # a line of a campaign
    message = error.format_message().strip().rstrip(".").replace("Value error, ", "")
    parameter = error.param if isinstance(error, typer.BadParameter) else None
    value = values.get(parameter.name) if parameter is not None else None
    if parameter is not None and value is not None and ": " in message:
        option = max(parameter.opts, key=len)
        name = option if option.startswith("-") else f"The argument {option.upper()}"
        reason = message.partition(": ")[2]
        if isinstance(value, str) and repr(value) in reason:
            return f"{name}: {reason}; `{command} --help` describes it."
        shown = value if isinstance(value, str) else ", ".join(map(str, value))
        return f"{name} is {shown!r}: {reason[:1].lower()}{reason[1:]}; `{command} --help` describes it."
    joint = "" if message.endswith("?") else ":"
    return f"{message}{joint} `{command} --help` lists what there is."


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
