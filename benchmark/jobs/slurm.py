"""Calls Slurm's commands: sbatch, squeue, scontrol and scancel. Many clusters have no accounting: sacct is not used."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UsageError

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel")
TRIES, PAUSE = 5, 3.0
"""How often a question to the controller is repeated while it does not answer, and the seconds in between."""
_SECONDS = 120.0
_NO_ANSWER = (
    "unable to contact slurm controller",
    "connection refused",
    "socket timed out",
    "zero bytes were transmitted",
)
_UNKNOWN_JOB = "invalid job id"


@dataclass(frozen=True)
class Queued:
    """A job that Slurm's queue lists."""

    name: str
    state: str
    """Such as PENDING, RUNNING or COMPLETING."""
    reason: str
    """Why it is waiting, such as Priority or Dependency."""

    @property
    def waits(self) -> bool:
        """Whether it is in the queue and not on a node."""
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")


def check_installed() -> None:
    """Raise UsageError if one of Slurm's commands is missing."""
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        raise UsageError(
            f"Slurm's command {missing[0]} is not on this machine's PATH: run `bench campaign` on a login node of the "
            "cluster, or use --on local."
        )


def submit(script: Path, after_success: Sequence[str] = (), after_end: Sequence[str] = ()) -> str:
    """Submit a script, and return the id of its job.

    Args:
        script: the script.
        after_success: ids of jobs that must succeed first.
        after_end: ids of jobs that must have ended first, in any way.

    Raises:
        UsageError: Slurm refuses the job.
    """
    kinds = {"afterok": after_success, "afterany": after_end}
    dependencies = ",".join(":".join((kind, *ids)) for kind, ids in kinds.items() if ids)
    option = [f"--dependency={dependencies}"] if dependencies else []
    done = _call(["sbatch", "--parsable", *option, str(script)])
    if done.returncode:
        raise UsageError(
            f"sbatch refused {script} ({_reason(done)}): change what the jobs ask for with --job, and run the same "
            "command again."
        )
    identifier = (done.stdout.split() or [""])[-1].partition(";")[0]
    if not identifier.isdecimal():
        raise UsageError(f"sbatch printed no job id for {script}, but '{done.stdout.strip()}': check it with squeue.")
    return identifier


def queue(ids: Iterable[str]) -> dict[str, Queued]:
    """Return those of these jobs that are waiting or running, by id.

    Raises:
        UsageError: the controller does not answer.
    """
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    done = _ask(["squeue", "--noheader", f"--jobs={','.join(wanted)}", "--format=%i|%j|%T|%r"])
    jobs = {}
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        identifier, name, state, reason = (field.strip() for field in [*line.split("|", 3), "", "", ""][:4])
        jobs[identifier] = Queued(name, state, reason)
    return jobs


def ending(identifier: str) -> str:
    """Return how a job ended, such as "TIMEOUT" or "CANCELLED (Dependency)"; empty if Slurm has forgotten it.

    Without accounting, Slurm forgets a job some minutes after its end (`MinJobAge`).
    """
    done = _ask(["scontrol", "show", "job", identifier, "--oneliner"])
    fields = dict(re.findall(r"(\w+)=(\S*)", done.stdout)) if done.returncode == 0 else {}
    state, reason = fields.get("JobState", ""), fields.get("Reason", "None")
    return f"{state} ({reason})" if state and reason not in ("None", "") else state


def cancel(ids: Sequence[str]) -> None:
    """Cancel jobs. Jobs that have ended are ignored.

    Raises:
        UsageError: Slurm refuses.
    """
    done = _ask(["scancel", *ids])
    if done.returncode:
        raise UsageError(f"scancel failed ({_reason(done)}): run the same command again.")


def _ask(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Call a command that can be repeated, and repeat it while the controller does not answer.

    Returns:
        The finished process; its exit code is not 0 only if a job is not known.

    Raises:
        UsageError: the controller does not answer, or the command failed for a different reason.
    """
    for attempt in range(TRIES):
        done = _call(command)
        if done.returncode == 0 or _UNKNOWN_JOB in done.stderr.lower():
            return done
        if not any(text in done.stderr.lower() for text in _NO_ANSWER):
            break
        if attempt + 1 < TRIES:
            time.sleep(PAUSE)
    raise UsageError(
        f"{command[0]} failed ({_reason(done)}): check that Slurm is running, and run the same command again."
    )


def _call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    check_installed()
    try:
        return subprocess.run(list(command), capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UsageError(
            f"{command[0]} did not answer within {_SECONDS:.0f} s: check that Slurm is running, and run the same "
            "command again."
        ) from error
    except OSError as error:
        raise UsageError(
            f"{command[0]} cannot be started ({error.strerror}): check the installation of Slurm."
        ) from error


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of an error output without the program's name and a final full stop."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return (
        re.sub(r"^(\w+: )?((error|fatal): )*", "", lines[-1]).rstrip(".") if lines else f"exit code {done.returncode}"
    )
