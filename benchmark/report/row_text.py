"""Prints the facts of a row as text: `bench show`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from benchmark.api.suite import DESTINATION
from benchmark.json_types import JsonObject
from benchmark.records.record import BROUGHT

PHASES = ("phase", "iterations", "images", "flops", "wall_seconds", "peak_memory_bytes")
"""Columns of the ledger that are printed."""
HEADINGS = ("phase", "iterations", "images", "FLOPs", "seconds", "peak memory")


def text_of(facts: JsonObject) -> str:
    """Return the text for the result of `row_facts.facts_of`."""
    method, command = facts["method"], facts["command"]
    is_external = method["pruning"] == BROUGHT
    lines = [
        f"{facts['label']}  ({facts['source']} record)",
        "",
        *_pairs(
            {
                "testbed": facts["testbed"],
                "suites": ", ".join(facts["suites"]),
                "forgets": ", ".join(map(str, facts["forgets"].get("targets", []))) or facts["forgets"].get("kind"),
                "method": method["name"],
                "preset": "" if is_external else method["preset"],
                "changed settings": "" if method["changed"] == "default" else method["changed"],
                "pruning": _pruning(method),
                "budget": _joined({key: value for key, value in method["budget"].items() if key != "default"}),
                "seed": "" if is_external else method["seed"],
                "compared with": method["reference"],
                "model": facts["model"],
            }
        ),
        "",
        "Command" if command["stored"] else "Command (rebuilt from the settings, because the record is an old one)",
        f"  {command['text']}",
        *(f"  {remark}" for remark in command["remarks"]),
        "  With the code and the versions below, its results are equal to these up to rounding.",
        "",
        "Made by",
        *_pairs(_provenance(facts)),
        *_settings(facts["config"]),
        "",
        "Scores",
        *_scores(facts["scores"]),
        *_ledger(facts["ledger"]),
        "",
        "Files",
        *_files(facts["files"]),
    ]
    return "\n".join(lines)


def _pairs(entries: Mapping[str, object]) -> list[str]:
    shown = {key: str(value) for key, value in entries.items() if value not in (None, "", [])}
    width = max(map(len, shown), default=0)
    return [f"  {key.ljust(width)}  {value}" for key, value in shown.items()]


def _pruning(method: JsonObject) -> str:
    """Return how a model was pruned; it is unknown for an external checkpoint."""
    name = "external" if method["pruning"] == BROUGHT else method["pruning"]
    return "" if method["macs"] is None else f"{name}, {method['macs']:g} of the base's MACs"


def _joined(entries: Mapping[str, object]) -> str:
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in entries.items()
    )


def _provenance(facts: JsonObject) -> dict[str, object]:
    code = facts["code"]
    here = {True: ", the code that is installed here", False: ", which differs from the code here", None: ""}
    fingerprint = f"{code['sha256'][:16]}{here[code['same_here']]}" if code["sha256"] else ""
    changes = ", with changes that are not committed" if code["modified"] else ""
    plugins = [
        f"{entry['name']} of {entry['file']} ({entry['group']}), sha256 {entry['sha256'][:16]}: {entry['here']}"
        for entry in facts["plugins"]
    ]
    return {
        "time": facts["time"],
        "commit": f"{code['commit']}{changes}" if code["commit"] else "",
        "code": fingerprint,
        **{f"plug-in {k}" if len(plugins) > 1 else "plug-in": text for k, text in enumerate(plugins, 1)},
        "versions": ", ".join(f"{name} {version}" for name, version in facts["versions"].items()),
        "hardware": ", ".join(str(value) for value in facts["hardware"].values() if value),
    }


def _settings(config: JsonObject) -> list[str]:
    """Return the settings of the training and of the run, one a line."""
    lines: list[str] = []
    for title, key in (("Settings of the training", "model"), ("Settings of sampling and scoring", "run")):
        if settings := config.get(key):
            lines += ["", title, *_pairs(flattened(settings))]
    return lines


def flattened(settings: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return nested settings with joined names: {"sampler": {"steps": 25}} -> {"sampler.steps": "25"}."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flattened(value, f"{name}.")
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _scores(scores: Sequence[JsonObject]) -> list[str]:
    rows = [("suite", "score", "value", "95 % interval", "n", "unit", "network")]
    for score in scores:
        if not score["name"].startswith(DESTINATION):
            interval = f"{score['ci'][0]:.4g} to {score['ci'][1]:.4g}" if score["ci"] else ""
            count = str(score["n"]) if score["n"] == score["of"] else f"{score['n']}/{score['of']}"
            value = "none" if score["value"] is None else f"{score['value']:.4g}"
            rows.append((score["suite"], score["name"], value, interval, count, score["unit"], score["back_end"]))
    return _columns(rows)


def _ledger(ledger: Sequence[JsonObject]) -> list[str]:
    if not ledger:
        return []
    rows = [HEADINGS, *(tuple(_amount(phase.get(key)) for key in PHASES) for phase in ledger)]
    return ["", "Cost of the training, by phase", *_columns(rows)]


def _amount(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value or "")


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  " + "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _files(files: Sequence[JsonObject]) -> list[str]:
    rows = [
        (f"{file['what']} ({file['suite']})" if file["suite"] else file["what"], file["path"],
         "" if file["exists"] else "(not stored here)")
        for file in files
    ]  # fmt: skip
    return _columns(rows)
