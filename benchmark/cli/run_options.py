"""The options of `bench run`, in one place: every command that says something of such a run takes all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from benchmark.cli.options import (
    Alone,
    AsPublished,
    Budget,
    Captions,
    ComparedWith,
    Compiles,
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
    Targets,
    Testbed,
    artists_named,
    check_plugin,
    share_of_macs,
)
from benchmark.errors import UsageError
from benchmark.store.paths import home

if TYPE_CHECKING:
    from benchmark.api.request import RunRequest

ALL = "all"  # of the installed methods, or of the prunings in a table


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What `bench run` is given, each field under the name of its option and as it was typed."""

    method: Annotated[
        str, typer.Option(help="How to retrain and to forget: a name, path/to/file.py:Class, or all of them: all.")
    ]
    suite: Annotated[str, typer.Option(help="What to generate and score: a name, path/to/file.py:Class or my.toml.")]
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
    yes: Annotated[bool, typer.Option("--yes", help="Begin a run without asking, however long it will take.")] = False

    def requests(self) -> list[RunRequest]:
        """The runs that these options ask for, one a method and budget. PalimpsestError for a wrong option.

        Names are checked before the first import of torch.
        """
        from benchmark.api.request import RunRequest, parse_budgets, parse_settings

        for group, name in (("testbeds", self.testbed), ("suites", self.suite), ("prunings", self.pruning)):
            check_plugin(group, name)
        for name in self.metric or ():
            check_plugin("metrics", name)
        methods = _all_methods(self.preset, self.set_) if self.method == ALL else [self.method]
        if self.method != ALL:
            check_plugin("methods", self.method)
        budgets = parse_budgets(self.budget)
        request = RunRequest(
            method=methods[0],
            suite=self.suite,
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
            kept_names=self.kept_names,
            limit=self.limit,
            reference=str(self.reference),
            metrics=tuple(self.metric or ()),
        )
        return [
            replace(request, method=name, budget=single_budget, along=tuple(budgets[k + 1 :]))
            for name in methods
            for k, single_budget in enumerate(budgets)
        ]


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command, whose first parameter is a `RunOptions`, take each option of `bench run` and then its own.

    Typer reads the options from the signature that this gives to the command.
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
    """Every installed method but `distilled`, which is part of each run as the reference.

    Of second stages, that with the longest distillation comes first: the shorter ones lie on its way.
    """
    from benchmark import registry
    from methods.base import configure

    if settings or preset:
        raise UsageError("--set and --preset are one method's own: leave them out with --method all.")
    methods = [configure(registry.load("methods", name)) for name in registry.names("methods") if name != "distilled"]
    methods.sort(key=lambda method: method.own_share if method.start == "distilled" else -1.0)
    return [method.name for method in methods]
