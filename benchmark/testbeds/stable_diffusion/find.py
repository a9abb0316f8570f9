"""Locates a testbed's weights: a local folder or file, an earlier download, or a new download from the Hub."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlparse

from benchmark import hub
from benchmark.errors import DataError
from benchmark.store.listing import visible
from metrics.networks.weights import stored

PIPELINE = ("unet", "vae", "text_encoder")
READ = ["*/config.json", "*/*.safetensors", "tokenizer/*", "scheduler/scheduler_config.json"]
"""Files of a pipeline that affect its results, and whose checksums identify it."""
BESIDE = ["model_index.json", "feature_extractor/*.json", "tokenizer/*", "scheduler/scheduler_config.json"]
"""Files that are downloaded in addition to the networks, so that diffusers can load the folder as a pipeline."""


NETWORKS: dict[str, tuple[str, ...]] = {
    "clip": ("open_clip_config.json", "open_clip_model.safetensors"),
    "style": ("*.safetensors", "*.bin", "*.pth"),
    "features": ("*.safetensors", "*.pth"),
}
"""Files that a folder or Hub repository of a scoring network must hold. For "style" and "features", the first pattern
that matches is read."""


def model(places: Sequence[str], ask: bool = True) -> Path:
    """Return the folder of the first available pipeline.

    Args:
        places: folders or Hub ids, in order of preference.
        ask: whether to download from the Hub; if False, only earlier downloads are used.

    Raises:
        DataError: if no pipeline is available and complete.
    """
    reasons = []
    for place in places:
        try:
            folder = Path(place) if os.path.isabs(place) else _download(place, _select_pipeline_files, ask)
            _check_complete(folder)
            return folder
        except DataError as error:
            reasons.append(str(error))
    raise DataError(f"No model: {'; '.join(reasons)}. {_remedy('model')}")


def network(place: str, job: str, ask: bool = True) -> Path:
    """Return the file of weights (for open_clip, the folder) of a scoring network.

    Args:
        place: a file or folder, an https address, or a Hub id.
        job: a key of `NETWORKS`.
        ask: whether to download it; if False, only earlier downloads are used.

    Raises:
        DataError: if it is not available.
    """
    patterns = NETWORKS[job]
    remedy = _remedy(f"[networks] {job}")
    try:
        if os.path.isabs(place):
            location = Path(place)
            if not location.exists():
                raise DataError(f"{location} does not exist")
        elif place.startswith("https://"):
            location = _download_url(place, ask)
        else:
            location = _download(place, lambda files: _select_network_files(files, patterns), ask)
        return location if location.is_file() else _choose_file(location, patterns)
    except DataError as error:
        raise DataError(f"No network for '{job}': {error}. {remedy}") from None


def checksums(folder: Path, expected: Mapping[str, str]) -> dict[str, str]:
    """Return the sha256, by name, of every file of a pipeline that affects results.

    Raises:
        DataError: if a file has a different checksum from `expected`, or a file in `expected` does not exist.
    """
    sums = {name: sha256(folder / name) for name in _list_files(folder)}
    _compare(folder, expected, sums)
    return sums


def check_expected(folder: Path, expected: Mapping[str, str]) -> None:
    """Check the files of a pipeline that `expected` names, without reading other files.

    Raises:
        DataError: if one has a different sha256 or does not exist.
    """
    _compare(folder, expected, {name: sha256(folder / name) for name in _list_files(folder) if name in expected})


def _list_files(folder: Path) -> list[str]:
    """Return the names of a pipeline's files that affect results, relative to its folder."""
    files = {file for pattern in READ for file in visible(folder, pattern) if not _is_other_variant(file)}
    return [file.relative_to(folder).as_posix() for file in sorted(files)]


def _compare(folder: Path, expected: Mapping[str, str], sums: Mapping[str, str]) -> None:
    for name, wanted in expected.items():
        if name not in sums:
            raise DataError(
                f"[sha256] in the testbed's file names {name!r}, but {folder} has no such file, or it is not used: "
                "correct the name, or remove the line."
            )
        if sums.get(name) != wanted:
            raise DataError(
                f"{folder / name} is not the file that the testbed expects (its sha256 is {sums.get(name)}, not "
                f"{wanted}): it is damaged or of a different model; download it again, or correct [sha256] in the "
                "testbed's file."
            )


def fingerprint(sums: Mapping[str, str], part: str = "") -> str:
    """Combine checksums of a pipeline into one, over all files or those whose name starts with `part`, e.g. "vae/"."""
    chosen = sorted(pair for pair in sums.items() if pair[0].startswith(part))
    return hashlib.sha256(repr(chosen).encode()).hexdigest()[:20]


SETTLED = 2 * 10**9
"""Nanoseconds after its last change from which a file's checksum is kept. A file could change again unnoticed within
the resolution of its times."""


def sha256(file: Path) -> str:
    """Return the sha256 of a file's contents; computed once in a process as long as the file does not change."""
    status = file.stat()
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return _read_sha256(str(file), state) if time.time_ns() - changed > SETTLED else _read_sha256.__wrapped__(str(file))


@lru_cache(maxsize=256)
def _read_sha256(file: str, state: tuple[int, ...] = ()) -> str:
    """Compute the sha256 of a file; `state` changes whenever the file does."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _is_other_variant(file: Path) -> bool:
    return any(word in file.name for word in ("fp16", "bf16", "non_ema"))


def _check_complete(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"the folder {folder} does not exist")
    wanted = ["scheduler/scheduler_config.json", *(f"{part}/config.json" for part in PIPELINE)]
    missing = [name for name in wanted if not (folder / name).is_file()]
    missing += [
        f"{p}/*.safetensors"
        for p in PIPELINE
        if not [f for f in visible(folder, f"{p}/*.safetensors") if not _is_other_variant(f)]
    ]
    missing += [] if visible(folder, "tokenizer/*.json") else ["tokenizer/*.json"]
    if missing:
        raise DataError(f"{folder} is not a pipeline in diffusers' layout with safetensors: it lacks {missing[0]}")
    for part in PIPELINE:
        stored([file.name for file in visible(folder / part, "*")], str(folder / part))


def _select_pipeline_files(files: Sequence[str]) -> list[str]:
    """Select the files of a pipeline's repository to download: configs and weights of its three networks (with the
    index of shards), and those matching `BESIDE`."""
    networks = [file for part in PIPELINE for file in hub.network(files, part) if not _is_other_variant(Path(file))]
    return networks + [file for file in files if any(fnmatch(file, pattern) for pattern in BESIDE)]


def _select_network_files(files: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Select the files of a scoring network's repository to download: all that a network with a config needs, or else
    the matches of the first pattern that matches."""
    if patterns[0].endswith(".json"):
        return [file for file in files if file in patterns]
    return hub.first(files, patterns)


def _download(name: str, choose: hub.Choose, ask: bool) -> Path:
    """Return the local folder of a Hub repository, downloaded first if `ask` allows it."""
    from huggingface_hub import constants

    try:
        return hub.download(name, choose, ask)
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        why = {
            "GatedRepoError": f"request access at https://huggingface.co/{name}, then run `hf auth login`",
            "RepositoryNotFoundError": "the Hub has no repository of that name, or it is private",
            "HFValidationError": "it is neither an existing folder nor a Hub id",
        }.get(kind)
        if why is None:
            why = "the Hub cannot be reached"
            if not ask or constants.HF_HUB_OFFLINE:
                why = "it has not been downloaded" + (", and HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "")
        raise DataError(f"{name} ({why}; searched in {constants.HF_HUB_CACHE})") from error


def _download_url(url: str, ask: bool) -> Path:
    """Download a file into torch's folder of downloads, unless it is there already, and return its path."""
    from huggingface_hub import constants

    # The same folder as torch.hub uses, without importing torch, which takes seconds.
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()
    file = home / "hub" / "checkpoints" / Path(urlparse(url).path).name
    if file.exists():
        return file
    if not ask or constants.HF_HUB_OFFLINE:
        raise DataError(f"{file} does not exist; it is downloaded from {url}")
    import torch

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        start = file.stem.rpartition("-")[2]  # names of such files end with the start of their checksum
        torch.hub.download_url_to_file(url, str(file), hash_prefix=start, progress=False)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{url} cannot be downloaded to {file} ({error})") from error
    return file


def _choose_file(folder: Path, patterns: Sequence[str]) -> Path:
    """Return the file in a folder that matches the first possible pattern, or the folder if a config is needed too."""
    matches = {pattern: visible(folder, pattern) for pattern in patterns}
    if patterns[0].endswith(".json"):
        if missing := [pattern for pattern, files in matches.items() if not files]:
            raise DataError(f"{folder} has no {missing[0]}")
        return folder
    for files in matches.values():
        if len(files) > 1:
            listed = ", ".join(file.name for file in files[:3])
            raise DataError(f"{folder} has several files of weights ({listed}), give the path of one of them")
        if files:
            return files[0]
    raise DataError(f"{folder} has none of {', '.join(patterns)}")


def _remedy(setting: str) -> str:
    return (
        "Download it on a machine with internet access, or give the path of your copy in your own testbed file: "
        f'like = "sd21", {setting} = "<folder or file>".'
    )
