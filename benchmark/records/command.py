"""Returns the command that makes a record: the one that it states, or one rebuilt from its settings."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from benchmark import registry
from benchmark.json_types import Settings
from benchmark.records.portable_paths import shell_text
from benchmark.records.record import BROUGHT, Record

SETTING = re.compile(r",(?=[A-Za-z_]\w*=)")
"""The commas between the settings of a variant. Commas inside a value, such as a list, are not followed by `key=`."""
_DEFAULT_PRUNING = ("magnitude", 0.8)
_EXPLICIT_SUITE = "i2p"
"""Suite that trains the models whose only record is of plain captions after explicit content was erased."""


class Command(NamedTuple):
    """A command line, and sentences about what the record does not contain."""

    text: str
    remarks: tuple[str, ...]


def settings_of(record: Record) -> tuple[Settings, str]:
    """Return the settings of a method that differ from its preset, and the value of `--kept-names`.

    A variant holds Python values: `"rate=0.0003,sizes=[1, 2]"` -> `({"rate": 0.0003, "sizes": [1, 2]}, "all")`.
    """
    settings: Settings = {}
    kept_names = "all"
    for word in [] if record.variant == "default" else SETTING.split(record.variant):
        key, _, value = word.partition("=")
        if key == "kept_names":
            kept_names = value
        else:
            settings[key] = _value(value)
    return settings, kept_names


def _value(text: str) -> object:
    """Return the value that Python prints as `text`; a text that is no literal, such as a name, is itself."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float | list | dict) or value is None else text


def command_of(
    record: Record,
    *,
    suite: str = "",
    reference: Record | None = None,
    usual_targets: Sequence[str] = (),
    usual_preset: str = "",
) -> Command:
    """Return the command that makes a record: the one that it states, or for an old record one that is rebuilt.

    The rebuilt command is for the current code: `bench run`, or `bench eval` for an external checkpoint. The base model
    is scored by every run, so its command is that of the reference that its scores are relative to.

    Args:
        record: the record.
        suite: the suite to run, if not the record's: suites `i2p` and others also write the record of `coco`.
        reference: the record of the reference model, which tells how it was pruned. Used for the base model only.
        usual_targets: the testbed's default targets, which need no option.
        usual_preset: the testbed's default preset, which needs no option.
    """
    if record.command and suite in ("", record.suite):
        return _stored(record)
    explicit = record.concept.get("kind") == "explicit"
    suite = suite or (_EXPLICIT_SUITE if explicit and record.suite == "coco" else record.suite)
    words = ["bench"]
    remarks: list[str] = []
    if record.pruning == BROUGHT:
        words += ["eval", "--checkpoint", "CHECKPOINT", "--suite", suite, "--name", record.method]
        words += _brought_options(record)
        checksum = str(record.counted.get("checkpoint", ""))
        remarks.append(
            "CHECKPOINT stands for the file or folder of the weights"
            + (f", whose SHA-256 begins with {checksum[:12]}." if checksum else ".")
        )
    else:
        trained = record if record.method != "base" else reference
        words += ["run", "--method", record.method if record.method != "base" else "distilled", "--suite", suite]
        words += _training_options(trained, usual_preset) if trained else []
    if record.testbed != "mini":
        words += ["--testbed", record.testbed]
    targets = [str(target) for target in _list(record.concept.get("targets"))]
    if not explicit and targets and targets != list(usual_targets):
        words += ["--targets", ",".join(targets)]
    words += _scoring_options(record)
    remarks += _missing_files(record)
    return Command(shlex.join(words), tuple(remarks))


def _stored(record: Record) -> Command:
    """Return the command that a record states, with a remark if it is that of a different model of the same run."""
    words = record.command
    method = words[words.index("--method") + 1] if "--method" in words[:-1] else ""
    name = registry.short_name(method)  # without folders: the record's method may be an absolute path
    is_beside = record.pruning != BROUGHT and name != registry.short_name(record.method)
    scored = name or "a model that `bench eval` scored"
    remarks = (f"This row was made beside {scored}, as its base or reference.",) if is_beside else ()
    return Command(shell_text(words), remarks)


def _training_options(record: Record, usual_preset: str) -> list[str]:
    words: list[str] = []
    settings, kept_names = settings_of(record)
    if record.preset != (usual_preset or "default"):
        words += ["--preset", record.preset]
    for key, value in settings.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    if (record.pruning, record.macs) != _DEFAULT_PRUNING:
        words += ["--pruning", record.pruning]
        words += [] if record.pruning == "none" else ["--macs", f"{record.macs:.12g}"]
    if record.budget.get("default") is False:
        words += ["--budget", _budget(record)]
    if record.data != "plain":
        words += ["--data", record.data]
    if kept_names != "all":
        words += ["--kept-names", kept_names]
    return [*words, *(["--seed", str(record.seed)] if record.seed else [])]


def _budget(record: Record) -> str:
    if iterations := record.budget.get("iterations"):
        return f"{iterations}it"
    return repr(float(str(record.budget["flops"]))).removesuffix(".0")


def _brought_options(record: Record) -> list[str]:
    words = ["--parts", "unet"] if record.counted.get("parts") == "unet" else []
    rounded = record.counted.get("weights")
    return [*words, *(["--weights", str(rounded)] if rounded else [])]


def _scoring_options(record: Record) -> list[str]:
    """Return the options that decide how pictures are sampled and scored."""
    words = ["--reference", "base"] if record.reference == "base" else []
    if precision := record.sampler.get("precision"):
        words += ["--precision", str(precision)]
    if record.sampler.get("as_published"):
        words.append("--as-published")
    if limit := record.sampler.get("limit"):
        words += ["--limit", str(limit)]
    for name in _added_metrics(record):
        words += ["--metric", name]
    return words


def _added_metrics(record: Record) -> list[str]:
    """Return the metrics that `--metric` added. The metrics of a plug-in's suite belong to the suite."""
    facts = record.made.get("suite")
    if not isinstance(facts, dict) or "suite" in record.world:
        return []
    files = facts.get("metrics")
    columns = [column.get("key") for column in _list(facts.get("columns")) if isinstance(column, dict)]
    installed = registry.names("metrics")
    return [*(files if isinstance(files, dict) else {}), *(str(key) for key in columns if key in installed)]


def _missing_files(record: Record) -> list[str]:
    """Return remarks on files that the record names without their folders, or not at all."""
    remarks = []
    if "suite" in record.world and record.suite not in registry.names("suites"):
        remarks.append(f"The record does not name the file of suite '{record.suite}': write its path after --suite.")
    if record.testbed not in registry.names("testbeds"):
        remarks.append(f"The record does not name the file of testbed '{record.testbed}': write it after --testbed.")
    if any(map(registry.is_file, _added_metrics(record))):
        remarks.append("The record names the files of its metrics without their folders.")
    return remarks


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
