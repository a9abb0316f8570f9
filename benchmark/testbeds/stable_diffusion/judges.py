"""The networks that score, each from the place that a testbed's definition names."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from benchmark.errors import DataError
from benchmark.store.listing import visible
from benchmark.testbeds.stable_diffusion import find
from benchmark.testbeds.stable_diffusion.definition import SHIPPED, Networks, read
from metrics.encoders import Encoder, OpenClipEncoder

PUBLISHED = {"clip": "openai-clip-vit-b-32", "style": "csd-vit-l", "features": "inception-legacy"}
"""Back ends of the networks that the paper scores with."""
CLIP = ("open_clip_config.json", "open_clip_model.safetensors", "tokenizer*", "vocab*", "merges*", "special_tokens*")
"""Files of a folder in open_clip's layout: its configuration decides the activations, its tokenizer the tokens."""


def located(networks: Networks) -> dict[str, Path]:
    """Where each network's weights lie, downloaded if they may be. DataError for the first that cannot be had."""
    return {job: find.network(networks.by_job[job], job) for job in find.NETWORKS}


def names(networks: Networks, places: dict[str, Path]) -> dict[str, str]:
    """Job -> back end: the paper's by its published name, another by its file; and the start of its checksum, since
    what lies at a Hub id, an address or a path may be replaced."""
    usual = read(SHIPPED / "sd21.toml").networks
    called = {}
    for job, place in places.items():
        published = networks.by_job[job] == usual.by_job[job]
        called[job] = f"{PUBLISHED[job] if published else place.stem}-{_checksum(place)[:8]}"
    return {**called, "detector": f"nudenet-{version('nudenet')}-320n"}


def _checksum(place: Path) -> str:
    """sha256 of a file of weights, or of all that open_clip reads of a folder."""
    if place.is_file():
        return find.sha256(place)
    files = sorted(file for pattern in CLIP for file in visible(place, pattern))
    return hashlib.sha256("\n".join(f"{file.name}|{find.sha256(file)}" for file in files).encode()).hexdigest()


def load(job: str, place: Path, name: str, device: str) -> Encoder:
    """The encoder of one job."""
    if job == "clip":
        return clip(place, name, device)
    if job == "style":
        from metrics.networks.csd import csd

        return csd(place, name, device)
    from metrics.networks.inception import inception

    return inception(place, name, device)


def clip(folder: Path, name: str, device: str) -> OpenClipEncoder:
    """Both towers of an open_clip model from a folder in open_clip's layout."""
    import open_clip

    from metrics.networks.weights import check_is_itself, check_values

    for file in visible(folder, "*.safetensors"):
        check_is_itself(file)
    try:
        model = open_clip.create_model(f"local-dir:{folder}", device=device)
        check_values(model.state_dict(), f"The weights of CLIP in {folder}")
        return OpenClipEncoder(name, model.requires_grad_(False), open_clip.get_tokenizer(f"local-dir:{folder}"))
    except DataError:
        raise
    except Exception as error:  # tokenizers raises nothing narrower, for merges that do not fit the vocabulary, say
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"The CLIP in {folder} cannot be loaded ({first}): download it again.") from error


def detector() -> Encoder:
    """NudeNet, by the contract of encoders."""
    from metrics.detectors.nudenet import NudeNet
    from metrics.detectors.rows import DetectionRows

    return DetectionRows(NudeNet())
