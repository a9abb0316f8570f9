"""Collects the provenance of a record: versions, commit, Python, platform and time.

It contains no host names, user names or paths.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmark.json_types import JsonObject
from benchmark.store.listing import visible

PACKAGES = (
    "palimpsest", "torch", "torchvision", "diffusers", "transformers", "tokenizers", "accelerate", "open_clip_torch",
    "torchmetrics", "nudenet", "safetensors", "numpy", "scipy", "pillow", "pyarrow",
)  # fmt: skip


ROOT = Path(__file__).resolve().parents[2]
OURS = ("benchmark", "methods", "metrics", "prompts")
"""The packages of this project, which are folders in `ROOT`."""


def collect() -> JsonObject:
    """Return the provenance of a result computed now, ready for JSON.

    Keys: `versions` (by package), `commit` (hexadecimal, or None outside a git checkout), `modified` (whether tracked
    files differ from the commit, or None), `python`, `platform` and `time` (UTC).
    """
    commit, modified = _commit(ROOT)
    return {
        "versions": versions(),
        "commit": commit,
        "modified": modified,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def versions() -> dict[str, str]:
    """Return the installed versions of the packages that results depend on."""
    versions_by_package = {}
    for name in PACKAGES:
        try:
            versions_by_package[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions_by_package


def code_fingerprint(root: Path = ROOT) -> str:
    """Return the SHA-256 of all .py files of this project under `root`: their relative paths and contents.

    It is equal wherever the same code is installed, also without git. Plug-ins are not part of it.
    """
    digest = hashlib.sha256()
    for top in OURS:
        for path in visible(root / top, "**/*.py"):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _commit(root: Path) -> tuple[str | None, bool | None]:
    """Return the commit that is checked out in `root`, and whether tracked files were changed since.

    (None, None) if `root` is not the top of a git checkout.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:  # e.g. installed inside another project's repository
        return None, None
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit, None if commit is None or changes is None else bool(changes)


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of a git command in `root`, or None if it fails; `GIT_*` variables are ignored."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
