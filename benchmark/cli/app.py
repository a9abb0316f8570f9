"""The command `bench`. Only typer is imported at start-up; each command imports what it needs when it is called."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from benchmark import launcher
from benchmark.cli import standard_output, stop_signals
from benchmark.cli.attack import attack
from benchmark.cli.campaign import campaign
from benchmark.cli.checked_command import CLICK_ERROR, CheckedCommand, is_help, one_sentence
from benchmark.cli.clean import clean
from benchmark.cli.doctor import doctor
from benchmark.cli.estimate import estimate
from benchmark.cli.eval import evaluate
from benchmark.cli.export import export
from benchmark.cli.figure import figure
from benchmark.cli.footprint import footprint
from benchmark.cli.grid import grid
from benchmark.cli.list import show_list
from benchmark.cli.page import page
from benchmark.cli.prompts import prompts_app
from benchmark.cli.prune import prune_app
from benchmark.cli.rehearse import rehearse
from benchmark.cli.report import report
from benchmark.cli.run import run
from benchmark.cli.show import show
from benchmark.cli.speed import speed
from benchmark.cli.study import study
from benchmark.cli.table import compare, show_table
from benchmark.cli.testbed import testbed_app
from benchmark.errors import PalimpsestError, Stopped, UsageError, without_controls
from benchmark.store.durable import HOME_VARIABLE
from benchmark.store.paths import environment

VARIABLES = (HOME_VARIABLE, "TORCH_HOME", "RANK", "WORLD_SIZE", "OMP_NUM_THREADS")
"""Environment variables that the program reads. One that is set but empty is refused, like an empty option."""
LAUNCHERS = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": -1, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": 0}
"""Environment variables that launchers set for each process, with the smallest allowed value. They are checked only if
both RANK and WORLD_SIZE are set."""
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
GRACE = 10.0
"""Seconds that the other processes wait before they print an error, so that the first can report a shared error
once."""


def _complain(sentence: str) -> None:
    """Print an error.

    If all processes of a launch meet the same error, only the first prints it, and the launcher then ends the others. A
    process that is still alive after `GRACE` seconds has met an error that the first did not, and prints it.
    """
    if not launcher.is_first():
        time.sleep(GRACE)
        sentence = f"process {launcher.rank()} of {launcher.processes()}: {sentence}"
    print(without_controls(sentence), file=sys.stderr)


def _is_lost(error: RuntimeError) -> bool:
    """Whether one process could not reach another. gloo raises plain RuntimeErrors, so their text is searched."""
    phrases = ("closed by peer", "reset by peer", "Connection refused")
    return type(error).__name__.startswith("Dist") or any(phrase in str(error) for phrase in phrases)


class _Commands(TyperGroup):
    """Group of commands, listed under headings, that prints errors of the user as one sentence on standard error."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for group in COMMANDS.values() for name in group]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, self.commands))
        for heading, group in COMMANDS.items():
            with formatter.section(heading):
                limit = formatter.width - width - 6
                formatter.write_dl(
                    [(name.ljust(width), self.commands[name].get_short_help_str(limit)) for name in group]
                )

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except CLICK_ERROR as error:  # an option of `bench` itself
            if is_help(error):
                raise
            _complain(f"error: {one_sentence(error, ctx, {})}")
            raise typer.Exit(UsageError.exit_code) from None

    def invoke(self, ctx: Any) -> Any:
        try:
            for variable in VARIABLES:
                environment(variable)
            return super().invoke(ctx)
        except PalimpsestError as error:
            _complain(f"error: {error}")
            raise typer.Exit(error.exit_code) from None
        except CLICK_ERROR as error:  # no such command
            if is_help(error):
                raise
            _complain(f"error: {one_sentence(error, error.ctx or ctx, {})}")
            raise typer.Exit(UsageError.exit_code) from None
        except PermissionError as error:  # for a file that the user named, wherever it is first opened
            if error.filename is None:
                raise
            problem = f"{error.filename} cannot be used ({(error.strerror or 'no permission').lower()})"
            _complain(f"error: {problem}: change its permissions, or choose a different path.")
            raise typer.Exit(PalimpsestError.exit_code) from None
        except RuntimeError as error:
            if launcher.processes() > 1 and _is_lost(error):
                _complain("error: another process of this launch has ended; its own error message says why.")
                raise typer.Exit(PalimpsestError.exit_code) from None
            if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
                raise
            first_sentence = str(error).partition(". ")[0]
            _complain(f"error: {first_sentence}: try --precision bf16, or a different --device.")
            raise typer.Exit(2) from None
        except MemoryError:
            _complain("error: the main memory is full: close other programs, or give smaller files.")
            raise typer.Exit(PalimpsestError.exit_code) from None
        except KeyboardInterrupt as interruption:
            how, code = "interrupted", INTERRUPTED
            if isinstance(interruption, Stopped):
                how = f"stopped by {signal.Signals(interruption.number).name}"
                code = 128 + interruption.number
            if launcher.is_first():
                print(f"{how}; run the same command again to resume", file=sys.stderr)
            raise typer.Exit(code) from None


# Plain help texts: importing rich costs 0.17 s at start-up, and examples in its boxes cannot be copied.
_STYLE: dict[str, Any] = {"rich_markup_mode": None, "no_args_is_help": True, "add_completion": False}
app = typer.Typer(cls=_Commands, pretty_exceptions_enable=False, **_STYLE)

COMMANDS: dict[str, dict[str, Callable[..., Any] | typer.Typer]] = {
    "Run": {"run": run, "eval": evaluate, "campaign": campaign, "study": study, "estimate": estimate},
    "Results": {
        "table": show_table,
        "show": show,
        "compare": compare,
        "figure": figure,
        "grid": grid,
        "page": page,
        "report": report,
        "export": export,
        "footprint": footprint,
    },
    "Testbeds and prompts": {
        "list": show_list,
        "doctor": doctor,
        "prompts": prompts_app,
        "testbed": testbed_app,
        "prune": prune_app,
        "attack": attack,
    },
    "Maintenance": {"rehearse": rehearse, "speed": speed, "clean": clean},
}
"""Commands by their heading in `bench --help`, in the order in which it lists them."""
SHARED = ("run", "eval", "study")
"""Commands that several processes of a launcher execute together."""
SINGLE = ("campaign", "prune", "attack", "testbed", "rehearse", "speed", "footprint", "grid")
"""Commands that run in a single process and refuse a launcher. All other commands only read and write small files,
which the first process of a launch does alone."""

for command_group in COMMANDS.values():
    for name, command in command_group.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, cls=CheckedCommand)(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"palimpsest {version('palimpsest')}")
        raise typer.Exit


def _check_launcher(command: str | None) -> None:
    """Check a launcher's environment variables; all processes except the first exit unless the command is in `SHARED`.

    Raises:
        UsageError: a variable has an impossible value, or a command of `SINGLE` was started in several processes.
    """
    if {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        for variable, least in LAUNCHERS.items():
            text = os.environ.get(variable, str(least))
            if not (text.removeprefix("-").isdecimal() and int(text) >= least):
                raise UsageError(
                    f"The environment variable {variable} is '{text}', and should be a whole number of at least "
                    f"{least}: unset RANK and WORLD_SIZE, or let torchrun or accelerate set all of them."
                )
        if launcher.rank() >= launcher.processes() > 1:
            raise UsageError(
                f"RANK is {launcher.rank()}, which must be less than WORLD_SIZE, {launcher.processes()}: unset "
                "both, or let torchrun or accelerate set them."
            )
    if launcher.processes() == 1 or command in SHARED:
        return
    if command in SINGLE:
        raise UsageError(
            f"`bench {command}` runs in one process, and a launcher started {launcher.processes()}: call it without "
            f"the launcher. Only {', '.join(SHARED)} use several processes."
        )
    if not launcher.is_first():
        raise typer.Exit


@app.callback()
def bench(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Benchmark concept erasure in pruned text-to-image diffusion models.

    `bench` prunes a model, restores its quality, erases concepts from it, and measures what is forgotten, what is
    preserved and what this costs. A testbed is a base model with its training data, prompts and scoring networks. The
    default testbed, mini, is a small Stable Diffusion that ships with the code.

    \b
    Start here (about 5 minutes on two CPU cores, no download):
      bench run --method bilevel --suite artists
      bench table
      bench list methods
    """
    _check_launcher(ctx.invoked_subcommand)


def main() -> None:
    """Entry point of the console script."""
    try:
        standard_output.refuse_closed()
        standard_output.install()
        stop_signals.install()
        try:
            app()
        finally:
            sys.stdout.flush()  # so that a full disk raises here and not when the interpreter exits
    except PalimpsestError as error:
        print(f"error: {error}", file=sys.stderr)
        standard_output.drop()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        standard_output.drop()
        sys.exit(1)
    except Stopped as stop:  # before the command has begun, or after it has ended
        sys.exit(128 + stop.number)
