"""`bench campaign`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.options import Runs, refuse_unread
from benchmark.errors import UsageError
from benchmark.store.paths import home

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest
    from benchmark.jobs.references import Line


class Place(StrEnum):
    """Where the jobs of a campaign run."""

    slurm = "slurm"
    local = "local"


class Format(StrEnum):
    """Output of `bench campaign --status`."""

    table = "table"
    json = "json"


def campaign(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="Text file: each line holds the options of one `bench run`, # starts a comment, and {0,1,2} "
            "stands for one run per value."
        ),
    ],
    lanes: Annotated[
        int,
        typer.Option(help="Number of runs that execute in parallel, each with an equal share of the CPU cores.", min=1),
    ] = 1,
    runs: Runs = None,
    on: Annotated[
        Place | None,
        typer.Option(
            help="Write one script per run to <runs>/campaign/<name>/. `slurm` submits them with sbatch; `local` "
            "executes them on this machine, --lanes at a time.",
            show_default="run without scripts",
        ),
    ] = None,
    job: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="With --on: an option of sbatch for all jobs, such as partition=gpu, account=lab, time=8:00:00 or "
            "mem=64G. It replaces what the estimate says. May be repeated.",
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            help="With --on: GPUs of each job. accelerate starts one process for each if there are several; 0 runs on "
            "the CPU.",
            min=0,
            show_default="0 on testbed mini, else 1",
        ),
    ] = None,
    hardware: Annotated[
        str,
        typer.Option(
            help="With --on: GPU that the jobs run on, such as H100, or cpu. Their time limits are estimated for it.",
            show_default="this machine's, else the slowest that `bench estimate` has",
        ),
    ] = "",
    rehearsal: Annotated[
        Path | None,
        typer.Option(
            "--from", help="With --on: file that `bench rehearse --out` wrote: estimate with the speeds it measured."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --on: only write the scripts, and print their paths.")
    ] = False,
    status: Annotated[
        bool,
        typer.Option(
            "--status",
            help="Show the state of each job: waiting, running, done, failed with its last line, and hours spent.",
        ),
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel all jobs of this campaign that are waiting or running.")
    ] = False,
    format: Annotated[Format, typer.Option(help="Output of --status.")] = Format.table,
) -> None:
    """Execute many `bench run` commands that a text file lists.

    A campaign that was interrupted resumes where it stopped, and finished runs are skipped. If a run fails, the error
    is reported, the other runs continue, and the exit code is 1. With several --lanes each run uses fewer threads,
    which changes the last digits of trained weights.

    With --on slurm, each run is a Slurm job. GPUs, time and memory are estimated. A reference that several runs need is
    trained first, by one job. A job that reaches its time limit or is preempted is queued again and resumes. The same
    command again submits what failed or was cancelled, and leaves finished, waiting and running jobs alone.

    \b
    Examples:
      bench campaign results/mini/campaign.txt --runs runs --lanes 2
      bench campaign paper.txt --runs /shared/runs --on slurm --hardware H100 --job partition=gpu
      bench campaign paper.txt --runs /shared/runs --status
      bench campaign paper.txt --runs /shared/runs --cancel
      bench campaign paper.txt --on local --lanes 2
    """
    from benchmark.experiments.campaign import conduct, read_plan
    from benchmark.jobs.folder import campaign_folder
    from benchmark.jobs.sbatch_options import parse_options

    bench_run: Any = ctx.find_root().command
    _check_options(ctx, on, status, cancel)
    home_folder = runs or home()
    options = parse_options(job or [])
    plan = read_plan(file, partial(_check, bench_run.commands["run"], ctx.find_root()))
    if on is None and not (status or cancel):
        if conduct(plan, home_folder, lanes):
            raise typer.Exit(1)
        return
    from benchmark.cli import campaign_jobs, campaign_status

    chosen = campaign_jobs.JobOptions(
        runs=home_folder,
        folder=campaign_folder(home_folder, file),
        read_line=partial(_line, bench_run.commands["run"], ctx.find_root(), home_folder),
        is_slurm=on == Place.slurm,
        lanes=lanes,
        options=options,
        gpus=gpus,
        hardware=hardware,
        rehearsal=rehearsal,
        dry_run=dry_run,
    )
    if status:
        campaign_status.print_statuses(campaign_status.status_of(chosen, plan), format == Format.json)
    elif cancel:
        print(f"{len(campaign_status.cancel(chosen, plan))} jobs cancelled")
    elif not campaign_jobs.run_jobs(chosen, plan):
        raise typer.Exit(1)


def _check_options(ctx: typer.Context, on: Place | None, status: bool, cancel: bool) -> None:
    """Raise UsageError for options that contradict each other or would not be read."""
    of_jobs = {
        "job": "--job",
        "gpus": "--gpus",
        "hardware": "--hardware",
        "rehearsal": "--from",
        "dry_run": "--dry-run",
    }
    if status and cancel:
        raise UsageError("--status and --cancel are two commands: give only one of them.")
    if status or cancel:
        which = "--status" if status else "--cancel"
        refuse_unread(ctx, {**of_jobs, "on": "--on", "lanes": "--lanes"}, f"{which} starts no jobs")
    elif on is None:
        refuse_unread(ctx, of_jobs, "the runs are no jobs without --on")
    if not status:
        refuse_unread(ctx, {"format": "--format"}, "it is the output of --status")
    if on == Place.slurm:
        refuse_unread(ctx, {"lanes": "--lanes"}, "Slurm decides how many jobs run at a time")


_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""click's UsageError, from the click that this version of typer uses."""


def _check(command: Any, ctx: Any, words: list[str]) -> None:
    """Parse the options of one `bench run` as the run will.

    Raises:
        UsageError: the run would refuse them, or they contain an option such as --help that runs nothing.
    """
    if idle_words := [word for word in words if word in command.get_help_option_names(ctx)]:
        raise UsageError(f"{idle_words[0]} only prints a help text: leave it out.")
    _requests(command, ctx, words, Path("runs"))


def _requests(command: Any, ctx: Any, words: Sequence[str], runs: Path) -> list[RunRequest]:
    from benchmark.cli.run_options import RunOptions

    try:
        with command.make_context("run", list(words), parent=ctx) as run_context:
            if run_context.params["dry_run"]:
                raise UsageError("--dry-run runs nothing: leave it out.")
            own = {field.name: run_context.params[field.name] for field in fields(RunOptions)}
            return RunOptions(**{**own, "runs": runs}).requests()
    except _CLICK_ERROR as error:
        raise UsageError(str(error).rstrip(".") + ".") from error


def _line(command: Any, ctx: Any, runs: Path, words: tuple[str, ...]) -> Line:
    """Return a run of the campaign with its requests."""
    from benchmark.jobs.references import Line

    return Line(words, tuple(_requests(command, ctx, words, runs)))
