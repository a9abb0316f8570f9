"""Writes the script of a job: plain bash with `#SBATCH` lines, for `sbatch` and for `bash`.

The script starts `bench run`, writes the job's history (`benchmark.jobs.events`), and queues the job again when its
time is nearly over. It contains everything that the job needs, so that a user can read, keep and submit it without
`bench campaign`.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import UsageError, without_controls
from benchmark.jobs.sbatch_options import Resources, directives

MARK = "# bench run "
"""Begin of the line with the options of the run; `benchmark.jobs.folder` recognises the script by this line."""
RESTARTS = 50
"""Number of restarts after which a job that reaches its time limit again counts as failed."""


def command(words: Sequence[str], runs: Path, gpus: int) -> list[str]:
    """Return the command of a run, with accelerate's launcher if it uses several GPUs."""
    start = [sys.executable, "-m"]
    if gpus > 1:
        launch = ["--multi_gpu", "--num_machines", "1", "--num_processes", str(gpus), "--mixed_precision", "no"]
        start += ["accelerate.commands.launch", *launch, "--dynamo_backend", "no", "--main_process_port", "0", "-m"]
    device = [] if gpus > 1 else ["--device", "cuda" if gpus else "cpu"]
    confirmed = [] if "--yes" in words else ["--yes"]
    return [*start, "benchmark", "run", *words, "--runs", str(runs), *device, *confirmed]


def text(words: Sequence[str], name: str, script: Path, runs: Path, folder: Path, resources: Resources) -> str:
    """Return the script of a job.

    Args:
        words: the options of `bench run`.
        name: name of the job.
        script: path of the script. History and log are next to it, with the suffixes .state and .log.
        runs: the runs folder.
        folder: working folder, which relative paths of `words` start from.
        resources: what the job asks Slurm for.

    All three paths are absolute.

    Raises:
        UsageError: an option contains a line break, or Slurm cannot write to the path of the log.
    """
    if any("\n" in word or "\r" in word for word in words):  # they would end the comment with the options
        raise UsageError(f"The options of run {name} contain a line break: write each option on one line.")
    lines = directives(name, script.with_suffix(".log"), resources)
    values = {
        "mark": MARK + shlex.join(words),
        "basis": " ".join(without_controls(resources.basis).split()),  # a line break would end the comment
        "directives": "\n".join(f"#SBATCH --{line}" for line in lines),
        "state": shlex.quote(str(script.with_suffix(".state"))),
        "log": shlex.quote(str(script.with_suffix(".log"))),
        "folder": shlex.quote(str(folder)),
        "threads": resources.options.get("cpus-per-task", str(resources.cpus)),
        "command": shlex.join(command(words, runs, resources.gpus)),
        "restarts": str(RESTARTS),
    }
    return re.sub(r"<(\w+)>", lambda match: values[match[1]], _TEMPLATE)


_TEMPLATE = r"""#!/bin/bash
<mark>
#
# `sbatch FILE` submits this file, and `bash FILE` runs it on this machine. It may be edited: `bench campaign` writes it
# again only when it submits this run again. Time and memory: <basis>.
<directives>

state=<state>  # history of this job: time, event, job, details
log=<log>
job=${SLURM_JOB_ID:-local-$(hostname)-$$}
[ -n "$SLURM_JOB_ID" ] || exec >> "$log" 2>&1

event() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >> "$state"; }
last_line() { tail -c 65536 "$log" | tr '\r' '\n' | grep '[^[:space:]]' | tail -n 1 | cut -c 1-500; }
end() {  # end CODE: write how the run ended
    if [ "$1" -eq 0 ]; then event "done" "$job"; else event failed "$job" "$1 $(last_line)"; fi
    exit "$1"
}
stop_run() { kill -TERM "$run" 2> /dev/null; wait "$run"; }
queue_again() {  # Slurm sends USR1 before the time limit. The next attempt resumes from the runs folder.
    trap '' USR1
    trap 'exit 0' TERM
    stop_run && end 0
    if [ "${SLURM_RESTART_COUNT:-0}" -ge <restarts> ]; then
        event failed "$job" "1 the time limit was reached after <restarts> restarts: ask for more time"
        exit 1
    fi
    event requeued "$job" the time limit is near
    if scontrol requeue "$SLURM_JOB_ID"; then sleep 600 & wait "$!"; fi  # Slurm ends this script
    event failed "$job" "1 the time limit is near, and Slurm does not queue the job again: submit it again"
    exit 1
}
stop() {  # Slurm sends TERM when the job is cancelled or preempted
    trap '' TERM INT
    event stopped "$job"
    stop_run
    exit 143
}
trap queue_again USR1
trap stop TERM INT

# An earlier attempt that was killed could not write its end: its last line in the log was written about then.
case $(grep -v ' submitted ' "$state" 2> /dev/null | tail -n 1) in
    *' started '*) echo "$(date -u -r "$log" +%Y-%m-%dT%H:%M:%SZ) lost $job" >> "$state" ;;
esac
event started "$job" "$(hostname)"
cd <folder> || end 1
export OMP_NUM_THREADS=<threads>
<command> < /dev/null &
run=$!
wait "$run"
end "$?"
"""
