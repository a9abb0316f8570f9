"""Downloads from the Hugging Face Hub only those files of a repository that are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from glob import escape
from pathlib import Path
from typing import Any

from benchmark.errors import DataError

Choose = Callable[[Sequence[str]], Sequence[str]]
"""Takes the names of a repository's files, and returns those to download."""


def download(name: str, choose: Choose, ask: bool = True) -> Path:
    """Return the local folder of a repository, with the files that `choose` selects.

    `org/model@revision` names a commit, a tag or a branch of a repository; without it, the default branch is used.
    If the Hub must not be queried or cannot be reached, the folder of an earlier download is returned.

    Args:
        name: Hub id of the repository, with or without a revision.
        choose: selects the files to download.
        ask: whether to query the Hub; HF_HUB_OFFLINE overrides it.

    Raises:
        OSError, ValueError: raised by huggingface_hub, if the repository is not available.
    """
    import huggingface_hub
    from huggingface_hub import constants

    name, at = split_revision(name)
    files = _list_files(name, at) if ask and not constants.HF_HUB_OFFLINE else None
    if files is None:
        return Path(huggingface_hub.snapshot_download(name, local_files_only=True, **at))
    patterns = [escape(file) for file in choose(files)]
    return Path(huggingface_hub.snapshot_download(name, allow_patterns=patterns, **at))


def split_revision(name: str) -> tuple[str, dict[str, Any]]:
    """Split `org/model@revision` into the id and {"revision": revision}; the second is empty without a revision.

    Raises:
        ValueError: if nothing follows the @.
    """
    repository, mark, revision = name.partition("@")
    if mark and not revision:
        raise ValueError(f"{name} names no revision after @")
    return repository, {"revision": revision} if mark else {}


def origin(path: Path) -> str:
    """Return the repository and the commit that a file or folder in the Hub's cache was downloaded from.

    Returns:
        `org/model@commit`; empty for all other paths.
    """
    parts = path.parts
    for repository, folder, commit in zip(parts, parts[1:], parts[2:], strict=False):
        if folder == "snapshots" and repository.startswith("models--") and re.fullmatch("[0-9a-f]{40}", commit):
            return f"{repository.removeprefix('models--').replace('--', '/')}@{commit}"
    return ""


def network(files: Sequence[str], folder: str) -> list[str]:
    """Select the files of a network in a repository: config, weights in safetensors, and the index of their shards.

    Args:
        files: all files of the repository.
        folder: folder of the network; "" for the top folder.

    Returns:
        The files with the default weights, or those of the only variant if there are no default ones.
    """
    from metrics.networks.weights import stored

    prefix = f"{folder}/" if folder else ""
    inside = [file.removeprefix(prefix) for file in files if file.startswith(prefix)]
    inside = [file for file in inside if "/" not in file]
    weights = stored(inside, folder or "the repository")[1]
    index = [file for file in inside if ".safetensors.index." in file and len(weights) > 1]
    return [f"{prefix}{file}" for file in inside if file == "config.json" or file in weights or file in index]


def first(files: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the files in the top folder that match the first pattern with any match.

    Raises:
        DataError: if no file matches.
    """
    for pattern in patterns:
        if matching := [file for file in files if "/" not in file and fnmatch(file, pattern)]:
            return matching
    raise DataError(f"the Hub has none of {', '.join(patterns)}")


def _list_files(name: str, at: Mapping[str, Any]) -> list[str] | None:
    """List the files of a repository; return None if the Hub cannot be reached."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return list(huggingface_hub.list_repo_files(name, **at))
    except (HfHubHTTPError, HFValidationError):
        raise  # the Hub has answered that the repository is not available
    except Exception:  # network errors, whose classes depend on the version of the client
        return None
