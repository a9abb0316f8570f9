"""`bench list runs`: prints what a runs folder contains."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.store.paths import size

if TYPE_CHECKING:
    from benchmark.json_types import JsonObject
    from benchmark.records.stored_runs import Inventory, StoredRun

STAGES = {
    "pruned": "pruned networks",
    "experts": "experts of a search",
    "latents": "training data",
    "explicit-latents": "explicit training data",
    "features": "features of real pictures",
    "seen": "features of removed pictures",
    "speed": "measured speeds",
    "checkpoints": "unfinished stages",
}
"""Names of stages for display, by the kind of the artefacts."""


def age(seconds: float) -> str:
    """Format an age in its largest unit: "40 s", "12 min", "5 h", "3 d"."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def print_runs(home: Path, as_json: bool) -> None:
    """Print a line for each run, and for each kind of stage that runs share."""
    from benchmark.records.stored_runs import read_inventory, stage_sizes

    inventory, now = read_inventory(home), time.time()
    if as_json:
        print(json.dumps(_as_json(inventory, now), indent=1))
    else:
        rows = [("id", "run", "age", "size", "records")]
        rows += [(run.id, run.label, age(now - run.written), size(run.bytes), _remark(run)) for run in inventory.runs]
        for kind, (count, bytes_, written) in sorted(stage_sizes(inventory.stages).items()):
            name = f"{STAGES.get(kind, kind)} ({count})"
            rows.append(("", name, age(now - written), size(bytes_), "shared stage"))
        count = len(inventory.runs)
        rows.append(("", f"{count} run{'s' * (count != 1)}", "", size(_total(inventory)), f"in {home}"))
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        for number, label, written_ago, bytes_text, remark in rows:
            line = f"{number:{widths[0]}}  {label:{widths[1]}}  {written_ago:>{widths[2]}}  {bytes_text:>{widths[3]}}"
            print(f"{line}  {remark}".rstrip())
    for sentence in inventory.broken:
        print(f"warning: {sentence}", file=sys.stderr)


def _remark(run: StoredRun) -> str:
    """Return the suites of a run's records, whether it can be resumed, and how many other runs need it."""
    remarks = [", ".join(sorted({record.suite for record in run.records}))]
    if run.is_partial:
        remarks.append(f"unfinished training, resumes after step {run.step}")
    elif not run.records:
        remarks.append("no records")
    if run.needed_by:
        remarks.append(f"needed by {len(run.needed_by)} other run{'s' * (len(run.needed_by) != 1)}")
    return "; ".join(filter(None, remarks))


def _total(inventory: Inventory) -> int:
    return sum(part.bytes for part in inventory.stages) + sum(run.bytes for run in inventory.runs)


def _as_json(inventory: Inventory, now: float) -> JsonObject:
    from benchmark.records.stored_runs import stage_sizes

    return {
        "runs": [
            {
                "id": run.id,
                "key": run.key,
                "label": run.label,
                "age_seconds": round(now - run.written, 1),
                "bytes": run.bytes,
                "unfinished": run.is_partial,
                "step": run.step if run.is_partial else None,
                "needed_by": [key[:8] for key in run.needed_by],
                "records": [str(path) for path in run.record_files],
                "suites": sorted({record.suite for record in run.records}),
            }
            for run in inventory.runs
        ],
        "stages": [
            {"kind": kind, "count": count, "bytes": bytes_, "age_seconds": round(now - written, 1)}
            for kind, (count, bytes_, written) in sorted(stage_sizes(inventory.stages).items())
        ],
        "bytes": _total(inventory),
    }
