"""The options of `bench run`, which every command about such a run, for example `bench estimate`, takes as well."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from benchmark.cli.command_words import command_words
from benchmark.cli.options import (
    Alone,
    AsPublished,
    Budget,
    Captions,
    ComparedWith,
    Compiles,
    ConceptFile,
    Device,
    KeptNames,
    Limit,
    Macs,
    Metrics,
    Precision,
    Preset,
    Pruning,
    Reference,
    Reveal,
    Runs,
    Seed,
    Settings,
    Suite,
    Targets,
    Testbed,
    Workers,
    artists_named,
    check_plugin,
    share_of_macs,
    suite_asked,
)
from benchmark.errors import UsageError
from benchmark.store.paths import home

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest

ALL = "all"  # all installed methods, or all prunings of a table


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of `bench run` as they were typed; each field has the name of its option."""

    method: Annotated[
        str,
        typer.Option(
            help="Erasing method: a name from `bench list methods`, a class of yours as "
            "path/to/file.py:Class, or `all` for every installed method."
        ),
    ]
    suite: Suite = ""
    concept: ConceptFile = ""
    testbed: Testbed = "mini"
    pruning: Pruning = "magnitude"
    macs: Macs = None
    targets: Targets = ""
    seed: Seed = 0
    preset: Preset = ""
    set_: Settings = None
    budget: Budget = "default"
    data: Captions = "plain"
    kept_names: KeptNames = "all"
    limit: Limit = None
    alone: Alone = False
    metric: Metrics = None
    runs: Runs = None
    device: Device = "auto"
    reference: ComparedWith = Reference.distilled
    reveal: Reveal = False
    as_published: AsPublished = False
    precision: Precision = ""
    compiles: Compiles = False
    workers: Workers = None
    yes: Annotated[
        bool, typer.Option("--yes", help="Start without asking for confirmation, even if the run takes long.")
    ] = False

    def command(self, method: str, budget: str) -> tuple[str, ...]:
        """Return the `bench run` of one of the requested runs, without the options that have their defaults."""
        return command_words("run", RunOptions, {**vars(self), "method": method, "budget": budget})

    def requests(self) -> list[RunRequest]:
        """Return the requested runs, one per method and budget.

        Names are checked before torch is imported, so that mistakes are reported at once.

        Raises:
            PalimpsestError: an option is wrong.
        """
        from benchmark.api.request import RunRequest, parse_budgets, parse_settings

        suite = suite_asked(self.suite, self.concept, self.targets)
        for group, name in (("testbeds", self.testbed), ("suites", suite), ("prunings", self.pruning)):
            check_plugin(group, name)
        for name in self.metric or ():
            check_plugin("metrics", name)
        methods = _all_methods(self.preset, self.set_) if self.method == ALL else [self.method]
        if self.method != ALL:
            check_plugin("methods", self.method)
        budgets = parse_budgets(self.budget)
        request = RunRequest(
            method=methods[0],
            suite=suite,
            testbed=self.testbed,
            pruning=self.pruning,
            macs=share_of_macs(self.pruning, self.macs),
            preset=self.preset,
            overrides=parse_settings(self.set_ or []),
            targets=artists_named(self.testbed, self.targets),
            seed=self.seed,
            budget=budgets[0],
            data=self.data,
            runs=self.runs or home(),
            device=self.device,
            alone=self.alone,
            reveal=self.reveal,
            as_published=self.as_published,
            precision=self.precision,
            compiles=self.compiles,
            workers=self.workers,
            kept_names=self.kept_names,
            limit=self.limit,
            reference=str(self.reference),
            metrics=tuple(self.metric or ()),
        )
        return [
            replace(
                request,
                method=name,
                budget=single_budget,
                along=tuple(budgets[k + 1 :]),
                command=self.command(name, single_budget),
            )
            for name in methods
            for k, single_budget in enumerate(budgets)
        ]


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command whose first parameter is a `RunOptions`: it takes all options of `bench run` and its own.

    Typer reads options from a command's signature, so the decorated command gets a signature with all of them.
    """
    _, *own_parameters = inspect.signature(command).parameters.values()
    own_types = get_type_hints(command, include_extras=True)
    run_types = get_type_hints(RunOptions, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        *(
            signed.replace(annotation=run_types[name])
            for name, signed in inspect.signature(RunOptions).parameters.items()
        ),
        *(own.replace(kind=keyword, annotation=own_types[own.name]) for own in own_parameters),
    ]

    @wraps(command)
    def taking(**values: Any) -> None:
        options = RunOptions(**{field.name: values.pop(field.name) for field in fields(RunOptions)})
        command(options, **values)

    del taking.__wrapped__
    taking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    taking.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return taking


def _all_methods(preset: str, settings: list[str] | None) -> list[str]:
    """Return all installed methods except `distilled`, which every run trains as the reference.

    Methods that start from a distilled model are sorted by the length of that distillation, the longest first, because
    its checkpoints include the shorter ones.
    """
    from benchmark import registry
    from methods.base import configure

    if settings or preset:
        raise UsageError("--set and --preset belong to a single method: leave them out with --method all.")
    methods = [configure(registry.load("methods", name)) for name in registry.names("methods") if name != "distilled"]
    methods.sort(key=lambda method: method.own_share if method.start == "distilled" else -1.0)
    return [method.name for method in methods]
