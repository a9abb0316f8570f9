"""Stand-ins for Slurm's commands: executables that read and write small files in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

SBATCH = """#!/bin/bash
if [ -e "$FAKE_SLURM/refusal" ]; then cat "$FAKE_SLURM/refusal" >&2; exit 1; fi
id=$(( $(cat "$FAKE_SLURM/last") + 1 ))
echo "$id" > "$FAKE_SLURM/last"
echo "$id $*" >> "$FAKE_SLURM/submitted"
name=$(sed -n 's/^#SBATCH --job-name=//p' "${@: -1}")
echo "$id|$name|PENDING|Priority" >> "$FAKE_SLURM/queue"
echo "$id"
"""
SQUEUE = """#!/bin/bash
if [ -s "$FAKE_SLURM/down" ]; then
    sed -i 1d "$FAKE_SLURM/down"
    echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2
    exit 1
fi
cat "$FAKE_SLURM/queue"
"""
SCONTROL = """#!/bin/bash
echo "$*" >> "$FAKE_SLURM/called"
if [ "$1" = requeue ]; then exit 0; fi
if [ ! -e "$FAKE_SLURM/ended-$3" ]; then echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; fi
cat "$FAKE_SLURM/ended-$3"
"""
SCANCEL = """#!/bin/bash
echo "$*" >> "$FAKE_SLURM/cancelled"
: > "$FAKE_SLURM/queue"
"""


class FakeSlurm:
    """The folder that the executables share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def queue(self, *lines: str) -> None:
        """Let squeue print these lines: `id|name|state|reason`."""
        (self.folder / "queue").write_text("".join(f"{line}\n" for line in lines))

    def submitted(self) -> list[str]:
        """Return the id and the arguments of each call of sbatch."""
        return self._lines("submitted")

    def cancelled(self) -> list[str]:
        """Return the arguments of each call of scancel."""
        return self._lines("cancelled")

    def called(self) -> list[str]:
        """Return the arguments of each call of scontrol."""
        return self._lines("called")

    def _lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Put the executables first on PATH."""
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "scontrol": SCONTROL, "scancel": SCANCEL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "last").write_text("100")
    (folder / "queue").write_text("")
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    return FakeSlurm(folder)
