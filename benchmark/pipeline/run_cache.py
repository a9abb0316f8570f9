"""Returns the records of a repeated run at once, before torch and diffusers are imported.

Each run writes a receipt under the runs folder. Its file name is a checksum of everything that could change the
result: the request, the code and prompts of this repository, the shipped weights, and the versions of the libraries.
If any of these, or a record or the number of pictures, has changed, the run is repeated, with the results that are in
the store.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from benchmark import launcher, registry
from benchmark.api.metric import Metric
from benchmark.api.request import Outcome, RunRequest
from benchmark.errors import PalimpsestError
from benchmark.json_types import JsonObject
from benchmark.records import provenance
from benchmark.records.provenance import OURS, ROOT
from benchmark.records.record import PROVENANCE, SUFFIX, Record, read_record
from benchmark.store import durable, manifest
from benchmark.store.listing import visible
from benchmark.suites.feature_metrics import FEATURE_METRICS
from benchmark.suites.load import is_toml, load
from benchmark.suites.plugins import metric_class
from benchmark.suites.toml_suite import ListSuite

READ = (".py", ".csv", ".toml", "manifest.json")


def find(request: RunRequest) -> Outcome | None:
    """Return the outcome of an earlier run of the same request if its results are unchanged; else None."""
    name = _receipt_path(request)
    if name is None:
        return None
    home = request.runs
    try:
        receipt = json.loads((home / name).read_bytes())
        records = [read_record(home / file) for file in receipt["records"]]
        is_valid = (
            [_record_checksum(record) for record in records] == list(receipt["records"].values())
            and all(_count_pictures(home / folder) == count for folder, count in receipt["pictures"].items())
            and all((home / path).exists() for path in receipt["paths"].values())
        )
        return Outcome(records, {what: home / path for what, path in receipt["paths"].items()}) if is_valid else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, PalimpsestError):
        return None  # a damaged receipt is ignored, and the run is repeated


def keeps_receipts(request: RunRequest) -> bool:
    """Return whether a run of this request in a single process writes a receipt."""
    return _receipt_path(request) is not None


def keep(request: RunRequest, outcome: Outcome) -> None:
    """Write the receipt of a run that has just ended."""
    name = _receipt_path(request)
    if name is None or not outcome.records:
        return
    home = request.runs
    receipt = {
        "records": {
            str(_record_path(record).relative_to(home)): _record_checksum(record) for record in outcome.records
        },
        "pictures": {
            record.images: _count_pictures(home / record.images) for record in outcome.records if record.images
        },
        "paths": {what: str(path.relative_to(home)) for what, path in outcome.paths.items()},
    }
    durable.write_bytes(home / name, (json.dumps(receipt, indent=1) + "\n").encode())


def _record_path(record: Record) -> Path:
    assert record.folder is not None  # it has just been written
    return record.folder / (record.stem + SUFFIX)


def _record_checksum(record: Record) -> str:
    """Return a checksum of a record without its provenance, and of its file of scores."""
    assert record.folder is not None
    assert record.scores is not None
    scores_checksum = hashlib.sha256((record.folder / record.scores.file).read_bytes()).hexdigest()
    facts = record.model_dump_json(exclude=set(PROVENANCE))
    return hashlib.sha256(f"{facts}\0{scores_checksum}".encode()).hexdigest()


def _count_pictures(folder: Path) -> int:
    """Count the pictures under the folder, without broken links into the store."""
    return sum(path.is_file() for path in visible(folder, "**/*.png"))


def _receipt_path(request: RunRequest) -> str | None:
    """Return the receipt's path under the runs folder; None for runs with several processes or third-party plug-ins,
    for which there are no receipts."""
    plugins = {"testbeds": request.testbed}
    files: JsonObject = {}
    if is_toml(request.suite):
        suite = load(request.suite)
        if not isinstance(suite, ListSuite) or not suite.repeatable:
            return None
        if not all(use in FEATURE_METRICS for use in suite.metrics):
            return None
        own_checksum = hashlib.sha256(Path(request.suite).expanduser().read_bytes()).hexdigest()
        files["suites"] = [own_checksum, suite.checksum, *suite.checksums().values()]
    else:  # suites from Python files have no receipt, because it is not known from which files they read prompts
        plugins["suites"] = request.suite
    if codes := [registry.fingerprint(metric) for metric in request.metrics]:
        files["metrics"] = codes
    if any(metric_class(metric).networks is not Metric.networks for metric in request.metrics):
        return None  # networks of a metric can read files that are not known here
    if not all(code or name in FEATURE_METRICS for code, name in zip(codes, request.metrics, strict=True)):
        return None
    for group, name in (("methods", request.method), ("prunings", request.pruning)):
        if code := registry.fingerprint(name):
            files[group] = code
        else:
            plugins[group] = name
    if not all(registry.home_of(group, name) in OURS for group, name in plugins.items()):
        return None
    if not (ROOT / "benchmark" / "testbeds" / request.testbed / "weights" / "manifest.json").exists():
        return None  # the testbed's weights are not in this repository
    if launcher.processes() > 1:
        return None
    without_effect = ("runs", "device", "along", "command")
    settings = {key: value for key, value in asdict(request).items() if key not in without_effect}
    settings["overrides"] = registry.resolved(request.overrides)
    settings |= {"targets": list(request.targets), "metrics": list(request.metrics)}
    text = manifest.canonical(
        {"asked": settings, "files": files, "code": _code_checksum(), "versions": provenance.versions()}
    )
    return f"receipts/{hashlib.sha256(text.encode()).hexdigest()[:20]}.json"


def _code_checksum() -> str:
    """Return a checksum of our code, prompts and the manifests of the shipped weights."""
    digest = hashlib.sha256()
    for top in OURS:
        for path in visible(ROOT / top, "**/*"):
            if path.name.endswith(READ) and path.is_file():
                digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
