"""`bench doctor`: checks what a testbed needs on this machine, or whether a plug-in works as its interface requires."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.cli.options import Runs, Testbed, check_plugin, refuse_unread
from benchmark.errors import PalimpsestError
from benchmark.store.paths import home

MARKS = {"there": "✓", "without": "!", "lacking": "✗", "kept": "✓", "untried": "!", "broken": "✗"}


def doctor(
    ctx: typer.Context,
    testbed: Testbed = "mini",
    runs: Runs = None,
    online: Annotated[
        bool,
        typer.Option("--online", help="Also check that the Hugging Face Hub offers the models that the testbed names."),
    ] = False,
    method: Annotated[
        str, typer.Option(help="Check this method on a tiny model instead: my.py:Class.", show_default="none")
    ] = "",
    objective: Annotated[
        str,
        typer.Option(help="Check this upper objective of bilevel instead: my.py:Class.", show_default="none"),
    ] = "",
    pruning: Annotated[str, typer.Option(help="Check this pruning instead: my.py:function.", show_default="none")] = "",
    suite: Annotated[
        str, typer.Option(help="Check this suite on --testbed instead: my.py:Class or my.toml.", show_default="none")
    ] = "",
    concept: Annotated[
        str,
        typer.Option(
            help="Check the file of a concept of your own on --testbed instead: my.toml.", show_default="none"
        ),
    ] = "",
    metric: Annotated[
        str, typer.Option(help="Check this metric on --testbed instead: my.py:Class.", show_default="none")
    ] = "",
) -> None:
    """Check what a testbed needs on this machine, or check a plug-in.

    Each line is one requirement: ✓ available, ! missing but not needed by every run, ✗ missing and required, with what
    to do about it. The exit code is 1 if a required part is missing, or a check of a plug-in fails.
    A method is run on a tiny U-Net with random weights, in about a minute. The checks are whether it has the required
    attributes and functions, whether a short training works and stays within its budget, whether a second training
    gives the same weights, and whether an interrupted training resumes. A suite or a metric is run on random features,
    in seconds. Of a concept's file, the prompts, training captions and judge are checked.

    \b
    Examples:
      bench doctor --testbed sd21
      bench doctor --testbed my.toml --online
      bench doctor --method my/eraser.py:Eraser
      bench doctor --suite my/suite.py:Suite --metric my/metric.py:Metric
      bench doctor --concept boat.toml
    """
    plugins = [("methods", method), ("objectives", objective), ("prunings", pruning)]
    scoring_plugins = [("suites", suite), ("concepts", concept), ("metrics", metric)]
    if any(name for _, name in (*plugins, *scoring_plugins)):
        options = {"runs": "--runs", "online": "--online"}
        if not (suite or concept or metric):
            options["testbed"] = "--testbed"
        refuse_unread(ctx, options, "a plug-in is checked without it")
        _try([*plugins, *scoring_plugins], testbed)
        return
    check_plugin("testbeds", testbed)
    from benchmark.console import Progress
    from benchmark.doctor import examine

    missing_count, runs_folder = 0, runs or home()
    with Progress() as progress:
        for finding in examine(testbed, runs_folder, online, _needed(testbed, runs_folder), progress):
            print(f"{MARKS[finding.state]} {finding.subject.ljust(24)} {finding.message}")
            missing_count += finding.state == "lacking"
    if missing_count:
        raise typer.Exit(1)


def _needed(testbed: str, runs_folder: Path) -> float | None:
    """Return the estimated bytes that the README's run writes; None if the testbed's costs are not known."""
    from benchmark.api.request import RunRequest
    from benchmark.cost import devices
    from benchmark.cost.estimate import Speeds, estimate

    request = RunRequest("bilevel", "artists", testbed=testbed, runs=runs_folder)
    try:
        return estimate(request, Speeds.of_device(devices.SLOWEST)).disk
    except PalimpsestError:
        return None


def _check_concept_file(path: str) -> None:
    """Report a mistake in the file of a concept or its CSV, with exit code 1, before anything heavy is imported."""
    from benchmark.suites.load import load_concept

    try:
        load_concept(path)
    except PalimpsestError as error:
        print(f"{MARKS['broken']} {'concept'.ljust(24)} {error}")
        raise typer.Exit(1) from None


def _try(plugins: list[tuple[str, str]], testbed: str) -> None:
    """Check the plug-ins that are named. Exit code 1 if a check fails.

    `plugins` are pairs of a group and a name, which may be empty. Suites and metrics are checked on `testbed`.
    """
    chosen = [(group, name) for group, name in plugins if name]
    check_plugin("testbeds", testbed)
    for group, name in chosen:
        if group != "concepts":  # a mistake in the file of a concept is reported as a check
            check_plugin(group, name)
    for group, name in chosen:
        if group == "concepts":
            _check_concept_file(name)
    from benchmark.console import quiet_libraries
    from benchmark.plugin_checks.method import MethodChecks
    from benchmark.plugin_checks.objective import ObjectiveChecks
    from benchmark.plugin_checks.pruning import PruningChecks
    from benchmark.plugin_checks.suite import ConceptChecks, MetricChecks, SuiteChecks

    quiet_libraries()
    checks: dict[str, Callable[[str], Any]] = {
        "methods": MethodChecks,
        "objectives": ObjectiveChecks,
        "prunings": PruningChecks,
        "suites": lambda name: SuiteChecks(name, testbed),
        "concepts": lambda name: ConceptChecks(name, testbed),
        "metrics": lambda name: MetricChecks(name, testbed),
    }
    broken_count = 0
    for group, name in chosen:
        if len(chosen) > 1:
            print(name)
        for line in checks[group](name).lines():
            print(f"{MARKS[line.state]} {line.subject.ljust(24)} {line.message}", flush=True)
            broken_count += line.state == "broken"
    if broken_count:
        raise typer.Exit(1)
