"""Collects everything that is known about a row: how it was made, its scores, its cost, and where its files are."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import PalimpsestError
from benchmark.json_types import JsonObject
from benchmark.records.command import command_of
from benchmark.records.plugin_code import plugin
from benchmark.records.provenance import code_fingerprint
from benchmark.records.record import BROUGHT, SUFFIX, Plugin, Record
from benchmark.report.find_row import NamedRow
from benchmark.report.stored_pictures import folder_of
from benchmark.store import manifest
from benchmark.testbeds.resolve import default_targets

SOURCES = {"reference": "committed", "local": "own", "both": "own, equal to a committed record"}


def facts_of(row: NamedRow, runs: Path, options: tuple[str, ...] = ()) -> JsonObject:
    """Return the facts of a row as JSON: what `bench show --format json` prints.

    Args:
        row: the row, as `find_row.find_rows` returns it.
        runs: the runs folder.
        options: options that the command needs to find the same runs folder, such as `--runs other`.
    """
    record = row.records[0]
    command = command_of(record, usual_targets=default_targets(record.testbed))
    own_options = options if row.source != "reference" else ()
    run_settings = record.config.get("run")
    return {
        "label": row.label,
        "source": SOURCES[row.source],
        "testbed": record.testbed,
        "suites": [entry.suite for entry in row.records],
        "forgets": record.concept,
        "model": record.model_key or record.model_id,
        "method": {
            "name": record.method, "preset": record.preset, "changed": record.variant, "recipe": record.recipe,
            "pruning": record.pruning, "macs": None if record.own_sampler else record.macs, "data": record.data,
            "budget": record.budget, "seed": record.seed, "reference": record.reference,
        },
        "command": {
            "text": " ".join([command.text, *own_options]), "stored": bool(record.command),
            "remarks": list(command.remarks),
        },
        "config": record.config,
        "code": {
            "commit": record.made.get("commit"), "modified": record.made.get("modified"),
            "sha256": record.code or None, "same_here": record.code == code_fingerprint() if record.code else None,
        },
        "plugins": [{**entry.model_dump(), "here": _state(entry)} for entry in record.plugins],
        "versions": record.made.get("versions", {}),
        "hardware": {
            "platform": record.made.get("platform"), "python": record.made.get("python"),
            "device": run_settings.get("device") if isinstance(run_settings, dict) else None,
        },
        "time": record.made.get("time"),
        "scores": [
            {"suite": entry.suite, "name": name, **cell.model_dump(mode="json")}
            for entry in row.records
            for name, cell in entry.cells.items()
        ],
        "ledger": record.ledger,
        "files": _files(row, runs),
    }  # fmt: skip


def _state(entry: Plugin) -> str:
    """Return whether a plug-in's code is "unchanged", "changed" or "not found" on this machine."""
    name = f"{entry.file}:{entry.name}" if entry.file.endswith(".py") else entry.file
    if ":" in entry.file:  # an installed plug-in
        name = entry.name
    try:
        here = plugin(entry.group, name)
    except (PalimpsestError, OSError):
        here = None
    if here is None:
        return "not found"
    return "unchanged" if here.sha256 == entry.sha256 else "changed"


def _files(row: NamedRow, runs: Path) -> list[JsonObject]:
    """Return the files of a row with whether they exist. Those of a committed row, except its record and scores, are
    looked for in `runs`, because a run of the same model stores them there."""
    folder = row.records[0].folder
    home = folder.parent if folder and row.source != "reference" and folder.name == "records" else runs
    return [file for entry in row.records for file in _record_files(entry, home)] + _model_files(row.records[0], home)


def _record_files(record: Record, home: Path) -> list[JsonObject]:
    """Return the files of one record: record, scores and pictures."""
    assert record.folder is not None  # it was read from a file
    files = [_file("record", record.suite, record.folder / (record.stem + SUFFIX))]
    if record.scores:
        files.append(_file("scores", record.suite, record.folder / record.scores.file))
    if record.images:
        pictures = folder_of(record, home) or home / record.images
        files.append(_file("pictures", record.suite, pictures))
    return files


def _model_files(record: Record, home: Path) -> list[JsonObject]:
    """Return contact sheet and checkpoint. Only trained models have a checkpoint in the runs folder."""
    files = [_file("contact sheet", record.suite, _sheet(record, home))] if record.images else []
    if record.model_key and record.method != "base" and record.pruning != BROUGHT:
        folder = home / "artefacts" / "model" / record.model_key
        files.append({**_file("checkpoint", "", folder), "exists": (folder / manifest.MANIFEST).is_file()})
    return files


def _sheet(record: Record, home: Path) -> Path:
    """Return the contact sheet of a model: as the run names it, from the folder of the pictures."""
    parts = Path(record.images or "").parts
    return home / "pictures" / f"{record.suite}-{parts[1] if len(parts) > 1 else ''}.png"


def _file(what: str, suite: str, path: Path) -> JsonObject:
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path
    return {"what": what, "suite": suite, "path": str(shown), "exists": path.exists()}
