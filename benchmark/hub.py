"""Downloads from the Hugging Face Hub: of a repository the files that are read, and no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from glob import escape
from pathlib import Path

from benchmark.errors import DataError

Choose = Callable[[Sequence[str]], Sequence[str]]
"""Gives, of a repository's files, those that are wanted."""


def download(name: str, choose: Choose, ask: bool = True) -> Path:
    """A repository's folder on this machine, with those of its files that `choose` names.

    The Hub is asked if `ask`, HF_HUB_OFFLINE is not set and it can be reached; else what was downloaded before is
    found. OSError or ValueError, huggingface_hub's own, where neither is.
    """
    import huggingface_hub
    from huggingface_hub import constants

    files = _listed(name) if ask and not constants.HF_HUB_OFFLINE else None
    if files is None:
        return Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    return Path(huggingface_hub.snapshot_download(name, allow_patterns=[escape(file) for file in choose(files)]))


def network(files: Sequence[str], folder: str) -> list[str]:
    """Config and weights of the network in a repository's folder ("" for its top), and the index of its shards.

    Weights are in safetensors: the usual ones, else those of the only variant.
    """
    from metrics.networks.weights import stored

    prefix = f"{folder}/" if folder else ""
    inside = [file.removeprefix(prefix) for file in files if file.startswith(prefix)]
    inside = [file for file in inside if "/" not in file]
    weights = stored(inside, folder or "the repository")[1]
    index = [file for file in inside if ".safetensors.index." in file and len(weights) > 1]
    return [f"{prefix}{file}" for file in inside if file == "config.json" or file in weights or file in index]


def first(files: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Files at the top that match the first of the patterns that any matches: one form of the same weights."""
    for pattern in patterns:
        if matching := [file for file in files if "/" not in file and fnmatch(file, pattern)]:
            return matching
    raise DataError(f"the Hub has none of {', '.join(patterns)}")


def _listed(name: str) -> list[str] | None:
    """The files of a repository; None where the Hub cannot be reached."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return list(huggingface_hub.list_repo_files(name))
    except (HfHubHTTPError, HFValidationError):
        raise  # the Hub's own answer
    except Exception:  # of the network below it, which differ by the client's version
        return None
