"""What a folder holds, without what file managers and notebooks leave in it."""

from __future__ import annotations

from pathlib import Path


def visible(folder: Path, pattern: str) -> list[Path]:
    """What matches `pattern` in `folder`, sorted, without what is hidden below it.

    Hidden are names that begin with a dot: the `._*` and `.DS_Store` that macOS leaves beside files, and folders such
    as `.ipynb_checkpoints`, which hold copies.
    """
    return sorted(
        path for path in folder.glob(pattern) if not any(n.startswith(".") for n in path.relative_to(folder).parts)
    )
