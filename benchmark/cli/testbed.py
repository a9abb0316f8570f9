"""`bench testbed`: build a testbed's weights from nothing, check them, and write a testbed file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.checked_command import CheckedCommand
from benchmark.cli.options import Runs, check_plugin, names
from benchmark.errors import UsageError
from benchmark.store import outputs
from benchmark.store.paths import home

testbed_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, add_completion=False)


@testbed_app.callback()
def testbeds() -> None:
    """Build a testbed's weights, check them, or write a testbed file."""


@testbed_app.command(cls=CheckedCommand)
def build(
    testbed: Annotated[str, typer.Argument(help="Which testbed; see `bench list testbeds`.")],
    out: Annotated[Path | None, typer.Option(help="Where to.", show_default="<runs>/testbeds/<testbed>")] = None,
    only: Annotated[str, typer.Option(help='Stages to build, "vae,unet".', show_default="all")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Build every weight of a testbed from nothing.

    Interrupted, it goes on where it stopped.
    mini takes just under three hours on two CPU cores, by the sum of its stages, and 2.3 GB until it is done. To run on
    what was built, put it in the place of benchmark/testbeds/mini/weights; `bench testbed check` measures it anywhere.

    \b
    Examples:
      bench testbed build mini
      bench testbed build mini --out weights --only vae,unet
    """
    module = _beside_testbed(testbed, "build")
    from benchmark.console import Progress

    folder = outputs.check_folder(out or home() / "testbeds" / testbed)
    with Progress() as progress:
        module.build(folder, progress, names(only, "--only"), device)


@testbed_app.command(cls=CheckedCommand)
def check(
    testbed: Annotated[str, typer.Argument(help="Which testbed; see `bench list testbeds`.")],
    out: Annotated[Path | None, typer.Option(help="Where to.", show_default="<runs>/testbeds/<testbed>-card")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights to measure.", show_default="those shipped")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Measure a testbed's quality by its oracles.

    Writes a card of figures and a contact sheet.

    \b
    Examples:
      bench testbed check mini --out results/mini
      bench testbed check mini --weights runs/testbeds/mini
    """
    module = _beside_testbed(testbed, "check")
    if weights is not None and not weights.is_dir():
        state = "is not a folder" if weights.exists() else "is not there"
        raise UsageError(f"--weights {weights} {state}: name the folder that `bench testbed build` wrote.")
    from benchmark.console import Progress

    folder = outputs.check_folder(out or home() / "testbeds" / f"{testbed}-card")
    with Progress() as progress:
        module.check(folder, progress, weights, device)


@testbed_app.command(cls=CheckedCommand)
def prebuild(
    testbed: Annotated[str, typer.Argument(help="Which testbed; see `bench list testbeds`.")],
    runs: Runs = None,
) -> None:
    """Make the scores that ship with a testbed.

    They are those of the base and of the distilled reference.

    \b
    Example:
      bench testbed prebuild mini
    """
    name = check_plugin("testbeds", testbed)
    if testbed != "mini":  # it runs the pipeline, so it cannot lie beside the testbed
        raise _not_made_here(name, "prebuild")
    from benchmark.console import Progress
    from benchmark.experiments.prebuild_mini import prebuild as prebuild_mini

    with Progress() as progress:
        prebuild_mini(runs or home() / "testbeds" / f"{testbed}-prebuilt", progress)


@testbed_app.command(cls=CheckedCommand)
def new(
    out: Annotated[Path, typer.Argument(help="The file to write, my.toml.")],
    source: Annotated[
        Path, typer.Option("--from", help="Folder of a pipeline in diffusers' layout, or of weights like mini's.")
    ],
    captions: Annotated[
        Path | None, typer.Option(help="Folder of captioned pictures.", show_default="that of sd21")
    ] = None,
    name: Annotated[str, typer.Option(help="The testbed's name.", show_default="that of the file")] = "",
) -> None:
    """Write a testbed file from a pipeline's own configurations.

    Resolution, scheduler and default budget are written; prediction type, noise schedule and text length are noted, and
    read from the pipeline in each run.

    \b
    Examples:
      bench testbed new --from models/sd15 sd15.toml --captions data/coco2017
      bench testbed new --from runs/testbeds/mini my-mini.toml
    """
    from benchmark.testbeds.new_file import write_new

    print(write_new(source.expanduser(), out.expanduser(), captions, name), end="")
    print(f"# written to {out}; `bench doctor --testbed {out}` says what it still needs")


def _beside_testbed(testbed: str, module: str) -> Any:
    """The module of this name in the testbed's own package: `benchmark.testbeds.mini` + `build`."""
    from importlib import import_module
    from importlib.metadata import entry_points

    name = check_plugin("testbeds", testbed)
    for point in entry_points(group="palimpsest.testbeds", name=testbed):  # none for a user's testbed file
        with suppress(ModuleNotFoundError):
            return import_module(f"{point.module.rpartition('.')[0]}.{module}")
    raise _not_made_here(name, module)


def _not_made_here(name: str, command: str) -> UsageError:
    return UsageError(f"Testbed '{name}' has no `bench testbed {command}`: it is not made here.")
