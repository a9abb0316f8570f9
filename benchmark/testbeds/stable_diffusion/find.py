"""Where a testbed's weights lie: a folder or file of one's own, what was downloaded before, or the Hub."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlparse

from benchmark import hub
from benchmark.errors import DataError
from benchmark.store.listing import visible
from metrics.networks.weights import stored

PIPELINE = ("unet", "vae", "text_encoder")
READ = ["*/config.json", "*/*.safetensors", "tokenizer/*", "scheduler/scheduler_config.json"]
"""Files of a pipeline whose checksums are its own."""
BESIDE = ["model_index.json", "feature_extractor/*.json", "tokenizer/*", "scheduler/scheduler_config.json"]
"""Files that are downloaded beside the networks, so that diffusers' own pipeline loads the folder too."""


NETWORKS: dict[str, tuple[str, ...]] = {
    "clip": ("open_clip_config.json", "open_clip_model.safetensors"),
    "style": ("*.safetensors", "*.bin", "*.pth"),
    "features": ("*.safetensors", "*.pth"),
}
"""What a folder or a Hub repository of a network that scores must hold; the first of several forms is read."""


def model(places: Sequence[str], ask: bool = True) -> Path:
    """The folder of the first pipeline that can be had; the Hub is only asked if `ask`.

    DataError, before anything is loaded, if none is whole.
    """
    reasons = []
    for place in places:
        try:
            folder = Path(place) if os.path.isabs(place) else _downloaded(place, _of_pipeline, ask)
            _check_whole(folder)
            return folder
        except DataError as error:
            reasons.append(str(error))
    raise DataError(f"No model: {'; '.join(reasons)}. {_remedy('model')}")


def network(place: str, job: str, ask: bool = True) -> Path:
    """The file of weights (or, for open_clip, the folder) of a network that scores. DataError if it cannot be had."""
    patterns = NETWORKS[job]
    remedy = _remedy(f"[networks] {job}")
    try:
        if os.path.isabs(place):
            found = Path(place)
            if not found.exists():
                raise DataError(f"there is no {found}")
        elif place.startswith("https://"):
            found = _address(place, ask)
        else:
            found = _downloaded(place, lambda files: _of_network(files, patterns), ask)
        return found if found.is_file() else _chosen(found, patterns)
    except DataError as error:
        raise DataError(f"No network for '{job}': {error}. {remedy}") from None


def checksums(folder: Path, known_sums: Mapping[str, str]) -> dict[str, str]:
    """sha256 of every file of a pipeline that shapes results, by name; DataError for another than is known of it."""
    sums = {name: sha256(folder / name) for name in _shaping(folder)}
    _check_known(folder, known_sums, sums)
    return sums


def check_known(folder: Path, known_sums: Mapping[str, str]) -> None:
    """DataError for the first file of a pipeline with another sha256 than is known of it; no other file is read."""
    _check_known(folder, known_sums, {name: sha256(folder / name) for name in _shaping(folder) if name in known_sums})


def _shaping(folder: Path) -> list[str]:
    """Files of a pipeline that shape results, by their names below its folder."""
    files = {file for pattern in READ for file in visible(folder, pattern) if not _left(file)}
    return [file.relative_to(folder).as_posix() for file in sorted(files)]


def _check_known(folder: Path, known_sums: Mapping[str, str], sums: Mapping[str, str]) -> None:
    for name, wanted in known_sums.items():
        if name not in sums:
            raise DataError(
                f"[sha256] in the testbed's file names {name!r}, and {folder} has no such file that is read: mend the "
                "name, or take the line out."
            )
        if sums.get(name) != wanted:
            raise DataError(
                f"{folder / name} is not the file that the testbed names (its sha256 is {sums.get(name)}, not "
                f"{wanted}): it is another model or damaged; download it again, or mend [sha256] in the testbed's file."
            )


def fingerprint(sums: Mapping[str, str], part: str = "") -> str:
    """One checksum of a pipeline, or of one part of it, such as "vae"."""
    chosen = sorted(pair for pair in sums.items() if pair[0].startswith(part))
    return hashlib.sha256(repr(chosen).encode()).hexdigest()[:20]


def sha256(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _left(file: Path) -> bool:
    return any(word in file.name for word in ("fp16", "bf16", "non_ema"))


def _check_whole(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    wanted = ["scheduler/scheduler_config.json", *(f"{part}/config.json" for part in PIPELINE)]
    missing = [name for name in wanted if not (folder / name).is_file()]
    missing += [
        f"{p}/*.safetensors" for p in PIPELINE if not [f for f in visible(folder, f"{p}/*.safetensors") if not _left(f)]
    ]
    missing += [] if visible(folder, "tokenizer/*.json") else ["tokenizer/*.json"]
    if missing:
        raise DataError(f"{folder} is no pipeline in diffusers' layout with safetensors, it lacks {missing[0]}")
    for part in PIPELINE:
        stored([file.name for file in visible(folder / part, "*")], str(folder / part))


def _of_pipeline(files: Sequence[str]) -> list[str]:
    """What is loaded of a pipeline's repository: three networks with their configs (and the index of shards), and what
    is `BESIDE` them."""
    networks = [file for part in PIPELINE for file in hub.network(files, part) if not _left(Path(file))]
    return networks + [file for file in files if any(fnmatch(file, pattern) for pattern in BESIDE)]


def _of_network(files: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """What is loaded of a repository with a network that scores: all of `patterns`, or the first of several forms."""
    if patterns[0].endswith(".json"):
        return [file for file in files if file in patterns]
    return hub.first(files, patterns)


def _downloaded(name: str, choose: hub.Choose, ask: bool) -> Path:
    """A Hub repository's folder on this machine, downloaded if it may be."""
    from huggingface_hub import constants

    try:
        return hub.download(name, choose, ask)
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        why = {
            "GatedRepoError": f"access to it must be asked for at https://huggingface.co/{name}, then `hf auth login`",
            "RepositoryNotFoundError": "the Hub has nothing of that name, or it is private",
            "HFValidationError": "it is neither a folder here nor a Hub id",
        }.get(kind)
        if why is None:
            why = "the Hub cannot be reached"
            if not ask or constants.HF_HUB_OFFLINE:
                why = "it was not downloaded before" + (
                    ", and HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else ""
                )
        raise DataError(f"{name} ({why}; looked for in {constants.HF_HUB_CACHE})") from error


def _address(url: str, ask: bool) -> Path:
    """A file of the web, kept where torch keeps such files."""
    from huggingface_hub import constants

    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"  # as torch.hub has it, which takes seconds to import
    home = Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()
    kept = home / "hub" / "checkpoints" / Path(urlparse(url).path).name
    if kept.exists():
        return kept
    if not ask or constants.HF_HUB_OFFLINE:
        raise DataError(f"{kept} is not there; it comes from {url}")
    import torch

    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        start = kept.stem.rpartition("-")[2]  # such files are named by the start of their checksum
        torch.hub.download_url_to_file(url, str(kept), hash_prefix=start, progress=False)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{url} cannot be downloaded to {kept} ({error})") from error
    return kept


def _chosen(folder: Path, patterns: Sequence[str]) -> Path:
    """The file of the first pattern that a folder has; the folder itself where a configuration is needed as well."""
    there = {pattern: visible(folder, pattern) for pattern in patterns}
    if patterns[0].endswith(".json"):
        if missing := [pattern for pattern, files in there.items() if not files]:
            raise DataError(f"{folder} has no {missing[0]}")
        return folder
    for files in there.values():
        if len(files) > 1:
            listed = ", ".join(file.name for file in files[:3])
            raise DataError(f"{folder} has several files of weights ({listed}), name one of them")
        if files:
            return files[0]
    raise DataError(f"{folder} has none of {', '.join(patterns)}")


def _remedy(setting: str) -> str:
    return (
        "Download it where there is a network, or name your copy in a testbed file of your own: "
        f'like = "sd21", {setting} = "<folder or file>".'
    )
