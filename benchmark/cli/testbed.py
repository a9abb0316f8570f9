"""`bench testbed`: trains the networks of a testbed from scratch, checks them, and writes testbed files."""

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
    """Rebuild, check or define a testbed."""


@testbed_app.command(cls=CheckedCommand)
def build(
    testbed: Annotated[str, typer.Argument(help="Which testbed; see `bench list testbeds`.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the weights.", show_default="<runs>/testbeds/<testbed>")
    ] = None,
    only: Annotated[str, typer.Option(help='Stages to build: "vae,unet".', show_default="all")] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Train all networks of a testbed from scratch.

    An interrupted build resumes where it stopped. Building mini takes just under three hours on two CPU cores and up to
    2.3 GB of disk. To use the result, replace the folder benchmark/testbeds/mini/weights by it. `bench testbed check`
    measures its quality in any folder.

    \b
    Examples:
      bench testbed build mini
      bench testbed build mini --out weights --only vae,unet
    """
    module = _module_of_testbed(testbed, "build")
    from benchmark.console import Progress

    folder = outputs.check_folder(out or home() / "testbeds" / testbed)
    with Progress() as progress:
        module.build(folder, progress, names(only, "--only"), device)


@testbed_app.command(cls=CheckedCommand)
def check(
    testbed: Annotated[str, typer.Argument(help="Which testbed; see `bench list testbeds`.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report.", show_default="<runs>/testbeds/<testbed>-card")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of weights to measure.", show_default="the shipped weights")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Measure the quality of a testbed's networks.

    Classifiers trained on the testbed's pictures score sampled images. The command writes a quality card, with all
    numbers, and a contact sheet.

    \b
    Examples:
      bench testbed check mini --out results/mini
      bench testbed check mini --weights runs/testbeds/mini
    """
    module = _module_of_testbed(testbed, "check")
    if weights is not None and not weights.is_dir():
        state = "is not a folder" if weights.exists() else "does not exist"
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
    """Compute the scores that are shipped with a testbed.

    These are the scores of the base model and of the distilled reference, so that runs need not compute them again.

    \b
    Example:
      bench testbed prebuild mini
    """
    name = check_plugin("testbeds", testbed)
    if testbed != "mini":  # this code imports the pipeline, so it cannot be a module of the testbed's package
        raise _not_buildable(name, "prebuild")
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
    """Write a testbed file from a pipeline's own configuration.

    The file states resolution, scheduler and default budget. Prediction type, noise schedule and text length are noted
    in comments, because each run reads them from the pipeline.

    \b
    Examples:
      bench testbed new --from models/sd15 sd15.toml --captions data/coco2017
      bench testbed new --from runs/testbeds/mini my-mini.toml
    """
    from benchmark.testbeds.new_file import write_new

    print(write_new(source.expanduser(), out.expanduser(), captions, name), end="")
    print(f"# written to {out}; `bench doctor --testbed {out}` checks whether anything else is missing")


def _module_of_testbed(testbed: str, module: str) -> Any:
    """Import a module from the testbed's package, such as `build` from `benchmark.testbeds.mini`."""
    from importlib import import_module
    from importlib.metadata import entry_points

    name = check_plugin("testbeds", testbed)
    for point in entry_points(group="palimpsest.testbeds", name=testbed):  # empty for a user's testbed file
        with suppress(ModuleNotFoundError):
            return import_module(f"{point.module.rpartition('.')[0]}.{module}")
    raise _not_buildable(name, module)


def _not_buildable(name: str, command: str) -> UsageError:
    return UsageError(f"Testbed '{name}' has no `bench testbed {command}`: use it with mini, which is built here.")
