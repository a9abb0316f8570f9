"""Loads the suite of a run, by name or from a Python or TOML file, with the metrics that score it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from inspect import isclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import registry
from benchmark.api.declarations import Column, Use
from benchmark.api.suite import Evidence, Scores, Suite
from benchmark.errors import UsageError
from benchmark.json_types import Identity, JsonObject
from benchmark.records.plugin_code import plugins_named
from benchmark.suites import plugins
from benchmark.suites.concept_suite import ConceptSuite, is_concept
from benchmark.suites.own_networks import merged, own_networks
from benchmark.suites.toml_suite import ListSuite, TomlSuite, read_toml

if TYPE_CHECKING:
    from benchmark.api.testbed import Testbed
    from metrics.encoders import Encoder
    from prompts.concepts import Concept
    from prompts.lists import Prompt


def is_toml(suite: str) -> bool:
    """Return whether this is the path of a TOML file; the file need not exist."""
    return suite.endswith(".toml")


def is_file(suite: str) -> bool:
    """Return whether this is a TOML file or `path/to/file.py:Class`."""
    return is_toml(suite) or registry.is_file(suite)


def name_of(suite: str) -> str:
    """Return the suite's name in records and tables. Raises the errors of `load` if the suite is a file."""
    return load(suite).name if is_file(suite) else suite


def load(suite: str) -> Suite:
    """Load a suite by name, from `path/to/file.py:Class` or from the TOML file of a suite or a concept.

    Raises:
        UsageError: the suite does not exist or is incomplete, or a file uses the name of an installed suite.
        DataError: the TOML file or its list of prompts is invalid.
    """
    where = f"Suite '{suite}'"
    made: Any
    if is_toml(suite):
        path = Path(suite).expanduser()
        made = ConceptSuite(path) if is_concept(path) else TomlSuite(path)
    else:
        kind = registry.load("suites", suite)
        if not (isclass(kind) and issubclass(kind, Suite)):
            raise UsageError(f"{where} is not a suite: its class must inherit from Suite of benchmark.api.")
        made = plugins.guarded(where, kind)
    plugins.check_suite(made, where)
    if not is_file(suite) and made.name != suite:
        raise UsageError(f"{where} has the name '{made.name}' in its class: give entry point and class the same name.")
    taken = {name.casefold(): name for name in registry.names("suites")}.get(made.name.casefold())
    if is_file(suite) and taken:
        raise UsageError(
            f"{where} has the name of installed suite '{taken}', so results of both would be mixed: choose a different "
            f"name, such as my-{taken}."
        )
    return made


def load_concept(path: str) -> ConceptSuite:
    """Load the file of `--concept`. UsageError if it is no TOML file; also the errors of `load`."""
    if not is_toml(path):
        raise UsageError(f"--concept takes a TOML file, such as my.toml; '{path}' is none.")
    read_toml(Path(path).expanduser(), "concept")  # its messages name the concept, not a suite
    suite = load(path)
    if not isinstance(suite, ConceptSuite):
        raise UsageError(f"{path} defines a suite, but no concept to forget: use it with --suite.")
    return suite


def in_run(suite: str, metrics: Sequence[str] = ()) -> SuiteInRun:
    """Load a suite together with its own metrics and the additional `metrics` of the run.

    Raises:
        UsageError: a metric cannot be used, or two metrics write the same cell. Also the errors of `load`.
    """
    loaded = load(suite)
    folder = Path(suite.rpartition(".py:")[0] or suite).expanduser().parent if is_file(suite) else Path()
    uses = [use if isinstance(use, Use) else Use(use) for use in loaded.metrics]
    own = [replace(use, metric=_located(use.metric, folder)) for use in uses]
    scored_by = [AppliedMetric(use) for use in [*own, *map(Use, metrics)]]
    first_metrics: dict[str, str] = {}
    for applied in scored_by:
        for column in applied.columns:
            if column.cell_name in first_metrics:
                raise UsageError(
                    f"Suite '{loaded.name}': metrics '{first_metrics[column.cell_name]}' and '{applied.use.metric}' "
                    f"both write cell '{column.cell_name}': leave one of them out, or name its cell with Use."
                )
            first_metrics[column.cell_name] = applied.use.metric
    return SuiteInRun(loaded, suite, scored_by)


def _located(metric: str, folder: Path) -> str:
    """Return the path of a metric's file, which is relative to the suite's folder; a name is returned unchanged."""
    return str(folder / metric) if registry.is_file(metric) and not metric.startswith("~") else metric


class AppliedMetric:
    """A metric as a suite uses it: limited to some parts of the prompts, and with the cell name of its `Use`."""

    def __init__(self, use: Use) -> None:
        self.use, self.kind = use, plugins.metric_class(use.metric)
        self.where = f"Metric '{use.metric}'"
        self.columns = [self._shown(column) for column in self.kind.columns]
        plugins.check_columns(self.columns, self.where)
        self._networks: dict[str, dict[str, Encoder]] = {}  # by device

    def networks(self, device: str) -> Mapping[str, Encoder]:
        """Return the metric's own networks by job. They are created once. UsageError if they are not encoders."""
        if device not in self._networks:
            created = plugins.guarded(self.where, lambda: self.kind().networks(device))
            code = registry.fingerprint(self.use.metric) or ""
            self._networks[device] = own_networks(created, self.where, code)
        return self._networks[device]

    def _shown(self, column: Column) -> Column:
        """Return the column with the key, cell and header that the `Use` sets."""
        prefix, heading = self.use.cell, self.use.header
        if len(self.kind.columns) > 1:
            key, cell = (f"{prefix}_{name}" if prefix and name else name for name in (column.key, column.cell))
            header = f"{heading}, {column.header}" if heading else column.header
        else:
            key, cell = (prefix or name for name in (column.key, column.cell))
            header = heading or column.header
        return replace(column, key=key, cell=cell, header=header)

    def rows(self, prompts: Sequence[Prompt]) -> list[int]:
        """Return the indices of the prompts whose pictures the metric scores."""
        return [row for row, prompt in enumerate(prompts) if not self.use.parts or prompt.part in self.use.parts]

    def add(self, scores: Scores, evidence: Evidence) -> None:
        """Compute the metric and add its cells to the scores. UsageError if a value is not a finite number."""
        metric, rows = self.kind(), self.rows(evidence.prompts)
        plugins.guarded(self.where, lambda: metric.update(evidence, rows))
        values = plugins.guarded(self.where, lambda: dict(metric.per_image()))
        computed = plugins.guarded(self.where, metric.compute)
        means = {key: sum(column) / len(column) for key, column in values.items() if len(column)}
        figures = {**means, **computed} if isinstance(computed, Mapping) else computed
        intervals = plugins.guarded(self.where, metric.intervals)
        plugins.check_figures(figures, values, len(rows), [column.key for column in metric.columns], self.where)
        for column in metric.columns:
            cell = self._shown(column).cell_name
            if cell in scores.cells:
                raise UsageError(f"{self.where} writes cell '{cell}', which its suite also writes: leave it out.")
            pictures = [float(value) for value in values.get(column.key, ())]
            if pictures:
                scores.keep(cell, rows, pictures)
            scores.put(
                cell, float(figures[column.key]), len(rows), len(rows), column.unit, column.higher_is_better,
                self._back_end(evidence.testbed), pictures, interval=intervals.get(column.key),
            )  # fmt: skip

    def _back_end(self, testbed: Testbed) -> str:
        """Return the names of the metric's networks and, if it comes from a file, the checksum of its code.

        Values of different back ends get separate columns.
        """
        networks = [testbed.networks[job] for job in self.kind.encoders]
        networks += [network.name for network in self.networks("cpu").values()]
        code = registry.fingerprint(self.use.metric)
        return "+".join([*networks, *([f"code-{code[:8]}"] if code else [])])


class SuiteInRun(Suite):
    """A suite with all metrics that score it in a run.

    Args:
        suite: the suite itself.
        named: name or path of the suite, as given by the user.
        scored_by: metrics of the suite and additional metrics of the run.
    """

    def __init__(self, suite: Suite, named: str, scored_by: Sequence[AppliedMetric]) -> None:
        self.suite, self.named, self.scored_by = suite, named, scored_by
        self.name, self.summary, self.brings = suite.name, suite.summary, suite.brings
        self.forgets, self.explicit, self.metrics, self.columns = (
            suite.forgets, suite.explicit, suite.metrics, suite.columns
        )  # fmt: skip
        self.encoders = tuple(dict.fromkeys([*suite.encoders, *(job for m in scored_by for job in m.kind.encoders)]))
        self.concept = suite.concept
        self.is_built_in = not is_file(named) and registry.home_of("suites", named) == "benchmark"
        self.code = _code_of(named)
        self.plugins = plugins_named([("suites", named), *(("metrics", m.use.metric) for m in scored_by)])
        self.other_checksums = self._guarded(suite.checksums)
        self._prompts_checksum = ""
        self._networks: dict[str, dict[str, Encoder]] = {}  # by device

    def concept_on(self, testbed: Testbed, targets: tuple[str, ...]) -> Concept:
        """Return the concept to erase: the one that the suite brings, or else the testbed's with these targets.

        Raises:
            UsageError: the suite brings its concept and `targets` are given, or the testbed cannot train on it, or the
                suite has no prompts of its own. Also the errors of `Testbed.concept`.
        """
        if self.concept is None:
            return testbed.concept(targets, self.forgets)
        if targets:
            raise UsageError(f"--targets names artists, but suite '{self.named}' brings its own targets: leave it out.")
        if not testbed.takes_concepts:
            raise UsageError(
                f"Testbed '{testbed.name}' has no training captions for a concept of your own: use mini or a testbed "
                "like sd21, or see Testbed.takes_concepts in benchmark/api/testbed.py."
            )
        if self.concept.held_out:
            return self.concept
        prompts = self.prompts(testbed, self.concept)
        if prompts is None:
            raise UsageError(f"Suite '{self.named}' brings a concept but no prompts: let `prompts` return a list.")
        return replace(self.concept, held_out=frozenset(prompt.text for prompt in prompts))

    def networks(self, device: str) -> Mapping[str, Encoder]:
        """Return the networks of the suite and of its metrics by job. They are created once.

        Raises:
            UsageError: they are not encoders, or two of them have the same job.
        """
        if device not in self._networks:
            where, code = f"Suite '{self.named}'", "" if is_toml(self.named) else self.code
            own = own_networks(self._guarded(lambda: self.suite.networks(device)), where, code)
            of_metrics = [(applied.where, applied.networks(device)) for applied in self.scored_by]
            self._networks[device] = merged([(where, own), *of_metrics])
        return self._networks[device]

    def check(self, testbed: Testbed, prompts: Sequence[Prompt]) -> None:
        """Raise UsageError if the testbed lacks a metric's network, or if a metric would score no picture, or if the
        suite's own check fails."""
        for applied in self.scored_by:
            for job in applied.kind.encoders:
                if job not in testbed.networks:
                    raise UsageError(
                        f"{applied.where} reads network '{job}', which testbed '{testbed.name}' does not have: leave "
                        f"the metric out. Available: {', '.join(testbed.networks)}."
                    )
            if not applied.rows(prompts):
                parts = ", ".join(dict.fromkeys(prompt.part for prompt in prompts))
                raise UsageError(
                    f"{applied.where} is limited to parts {', '.join(applied.use.parts)}, but suite '{self.name}' only "
                    f"has parts {parts}: choose among these."
                )
        self._guarded(lambda: self.suite.check(testbed, prompts))
        if taken := sorted(set(self.networks("cpu")) & set(testbed.networks)):
            raise UsageError(
                f"Suite '{self.named}' or one of its metrics has a network for '{taken[0]}', which testbed "
                f"'{testbed.name}' also has: give its job a different name."
            )

    def prompts(self, testbed: Testbed, concept: Concept) -> Sequence[Prompt] | None:
        where = f"Suite '{self.named}'"
        own = self._guarded(lambda: self.suite.prompts(testbed, concept))
        if own is None:
            return None
        prompts = plugins.check_prompts(own, where)
        if isinstance(self.suite, ListSuite):
            self._prompts_checksum = self.suite.checksum
        else:
            text = json.dumps([asdict(prompt) for prompt in prompts])
            self._prompts_checksum = hashlib.sha256(text.encode()).hexdigest()
        return prompts

    def score(self, evidence: Evidence) -> Scores:
        scores = self._guarded(lambda: self.suite.score(evidence))
        if not isinstance(scores, Scores):
            raise UsageError(f"Suite '{self.named}': its score must return Scores, not {type(scores).__name__}.")
        for applied in self.scored_by:
            applied.add(scores, evidence)
        return scores

    def _guarded(self, call: Callable[[], Any]) -> Any:
        return call() if self.is_built_in else plugins.guarded(f"Suite '{self.named}'", call)

    @property
    def world(self) -> Identity:
        """Return the suite's entry in a record's `world`: checksums of its file, its own prompts and its other files.

        Empty for a built-in suite. The checksum of the prompts is missing until `prompts` has been called.
        """
        facts = {"code": self.code, "prompts": self._prompts_checksum, **self.other_checksums}
        stated = {name: f"sha256:{checksum}" for name, checksum in facts.items() if checksum}
        return {"suite": stated} if stated else {}

    @property
    def shown(self) -> JsonObject:
        """Return the suite's entry in a record's `made`: its columns and the suites that it also runs.

        Tables read it instead of loading the plug-in. Empty for a built-in suite without additional metrics.
        """
        columns_by_cell = {column.cell_name: column for column in self.columns}
        for applied in self.scored_by:
            for column in applied.columns:
                columns_by_cell.setdefault(column.cell_name, column)
        columns = [asdict(column) for column in columns_by_cell.values()]
        files = {m.use.metric: code for m in self.scored_by if (code := registry.fingerprint(m.use.metric))}
        if self.is_built_in and not columns:
            return {}
        # Folders are left out, because they can contain a user name.
        metrics = {Path(name).name: f"sha256:{code}" for name, code in files.items()}
        facts: JsonObject = {"columns": columns, "brings": list(self.brings)}
        facts |= {"metrics": metrics} if metrics else {}
        return {"suite": facts | ({"brings_concept": True} if self.concept else {})}


def _code_of(suite: str) -> str:
    """Return the checksum of a suite's file; empty for an installed suite."""
    if is_toml(suite):
        return hashlib.sha256(Path(suite).expanduser().read_bytes()).hexdigest()
    return registry.fingerprint(suite) or ""
