"""Writes results/reliability.md from results/reliability.jsonl: `uv run python tests/reliability_page.py`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from trials import ROOT, read, results

from benchmark.stats import proportion_interval

PAGE = ROOT / "results" / "reliability.md"
KILLS, DAMAGE, REST = (f"tests/test_reliability_{name}.py" for name in ("kills", "damage", "circumstances"))
PARTS = {
    "kill": ("SIGKILL at a random moment; the command is run again", KILLS, "killed_command"),
    "SIGTERM": ("SIGTERM at a random moment: exit code 143, one sentence; run again", KILLS, "stopped and SIGTERM"),
    "SIGHUP": ("SIGHUP at a random moment: exit code 129, one sentence; run again", KILLS, "stopped and SIGHUP"),
    "damage": ("a damaged file: noticed, set aside, made again, or refused in one sentence", DAMAGE, "damaged_file"),
    "disk": ("a full or read-only disk from a random moment on: one sentence; run again", REST, "disk"),
    "clock": ("killed, then the clock is set back by 1 hour to 9 years; run again", REST, "clock"),
    "moved": ("killed, then the runs folder is moved; run again", REST, "moved"),
    "together": ("two identical commands at once on one runs folder", REST, "together"),
    "three": ("one of three processes killed, the others ended; one process runs again", REST, "three"),
}
"""What happens in each part, the file of its tests, and the words that choose them."""


def newest(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each trial: of the newest code that it was carried out with, a failure before a success."""
    code = {(line["part"], line["number"]): line["code"] for line in lines}
    chosen: dict[tuple[str, int], dict[str, Any]] = {}
    for line in lines:
        key = (line["part"], line["number"])
        if line["code"] == code[key] and chosen.get(key, {}).get("outcome") != "failed":
            chosen[key] = line
    return [chosen[key] for key in sorted(chosen)]


def table(head: list[str], rows: list[list[str]]) -> str:
    marks = ["---" if heading in ("what happens", "command") else "---:" for heading in head]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, marks, *rows])


def bound(failures: int, count: int) -> str:
    return f"{100 * proportion_interval(failures, count)[1]:.1f} %"


def page(lines: list[dict[str, Any]]) -> str:
    """Return the page; `lines` are all outcomes, the newest last."""
    trials = newest(lines)
    rows, by_command = [], Counter((line["part"], line.get("command", "")) for line in trials)
    for part, (what, file, words) in PARTS.items():
        outcomes = [line["outcome"] for line in trials if line["part"] == part]
        failures, choice = outcomes.count("failed"), f"'{words}'" if " " in words else words
        numbers = [str(len(outcomes)), str(failures), bound(failures, len(outcomes)) if outcomes else "·"]
        rows.append([what, *numbers, f"`uv run pytest -m campaign {file} -k {choice}`"])
    commands = sorted({command for _, command in by_command if command})
    columns = [part for part in PARTS if any(line["part"] == part for line in trials)]
    counts = [[f"`bench {c}`", *(str(by_command[part, c] or "·") for part in columns)] for c in commands]
    failed = [line for line in trials if line["outcome"] == "failed"]
    mended = {(line["part"], line["number"]) for line in lines if line["outcome"] == "failed"}
    mended -= {(line["part"], line["number"]) for line in failed}
    listed = [
        f"- {line['part']} {line['number']}: {line.get('what', '')}: {line.get('problem', '')}" for line in failed
    ]
    listed += [f"{len(mended)} trials failed with earlier code and pass with the newest."] if mended else []
    codes = Counter(f"`{line['commit'].rstrip('+')}` (code {line['code']})" for line in trials)
    return TEMPLATE.format(
        parts=table(["what happens", "trials", "failures", "at most", "command"], rows),
        counts=table(["command", *columns], counts),
        failed="\n".join(listed) or "None.",
        codes=", ".join(f"{count} at {code}" for code, count in sorted(codes.items())),
        hours=f"{sum(line['seconds'] for line in trials) / 3600:.1f}",
    )


TEMPLATE = """# Reliability

Commands are disturbed at random moments, then run again to their end. A trial passes if the table, all records, scores,
pictures and weights are equal to those of an undisturbed run, and no temporary file, claim or partial result is left.
All trials use the stand-in of testbed mini, which has the same code and untrained weights.

`uv run pytest -m campaign tests/test_reliability_*.py` carries out the trials that
[reliability.jsonl](reliability.jsonl) does not have yet for the present code. That file has one line for each trial:
its seed, what was done, the outcome, the time, the commit. `uv run python tests/reliability_page.py` writes this page
from it. With `RELIABILITY=/tmp/new.jsonl` before a command below, its trials are carried out anew.

"At most" is the upper end of Wilson's 95 % interval of the share of failures.

{parts}

## Trials by command

{counts}

The trials took {hours} hours: {codes}.

## Failures

{failed}

## Limits

- A kill is not a loss of power. What was written, but not flushed to the disk, survives a kill.
- Modules are imported before a command starts, so that no kill falls into an import.
- A flipped bit in the JSON file of a record can go unnoticed until the run is repeated: records have no checksum of
  their own. git notices it in committed records. Scores, pictures, features and weights have checksums.
- The clock is that of Python's functions. The time of the file system is simulated by times of files in the future.
- The processes of a distributed run are started without the launcher, with the variables that it sets.
"""


if __name__ == "__main__":
    PAGE.write_text(page(read(results())), "utf-8")
    print(PAGE.relative_to(ROOT))
