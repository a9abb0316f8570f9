"""Loads the scoring networks of a testbed from the paths in its definition."""

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
"""Back-end names of the scoring networks that the paper uses."""
CLIP = ("open_clip_config.json", "open_clip_model.safetensors", "tokenizer*", "vocab*", "merges*", "special_tokens*")
"""Files in open_clip's layout that affect features: weights, the config with the activations, and the tokenizer."""


def located(networks: Networks) -> dict[str, Path]:
    """Return the path of each network's weights, downloaded if necessary.

    Raises:
        DataError: if a network is not available; the message names the first.
    """
    return {job: find.network(networks.by_job[job], job) for job in find.NETWORKS}


def names(networks: Networks, places: dict[str, Path]) -> dict[str, str]:
    """Return the back-end name of each network: its published name or file name, and the start of its checksum.

    The checksum is included because the weights behind a Hub id, an address or a path can be replaced.
    """
    paper = read(SHIPPED / "sd21.toml").networks
    back_ends = {}
    for job, place in places.items():
        published = networks.by_job[job] == paper.by_job[job]
        back_ends[job] = f"{PUBLISHED[job] if published else place.stem}-{_checksum(place)[:8]}"
    return {**back_ends, "detector": f"nudenet-{version('nudenet')}-320n"}


def _checksum(place: Path) -> str:
    """Return the sha256 of a file of weights, or of all files that open_clip reads from a folder."""
    if place.is_file():
        return find.sha256(place)
    files = sorted(file for pattern in CLIP for file in visible(place, pattern))
    return hashlib.sha256("\n".join(f"{file.name}|{find.sha256(file)}" for file in files).encode()).hexdigest()


def load(job: str, place: Path, name: str, device: str) -> Encoder:
    """Load the encoder for a job: "clip", "style" or "features"."""
    if job == "clip":
        return clip(place, name, device)
    if job == "style":
        from metrics.networks.csd import csd

        return csd(place, name, device)
    from metrics.networks.inception import inception

    return inception(place, name, device)


def clip(folder: Path, name: str, device: str) -> OpenClipEncoder:
    """Load image and text tower of an open_clip model from a folder in open_clip's layout.

    Raises:
        DataError: if the folder cannot be loaded, or its weights are broken.
    """
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
    except Exception as error:  # tokenizers raises bare Exception, e.g. for merges that do not fit the vocabulary
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"The CLIP in {folder} cannot be loaded ({first}): download it again.") from error


def detector() -> Encoder:
    """Load NudeNet behind the interface of encoders."""
    from metrics.detectors.nudenet import NudeNet
    from metrics.detectors.rows import DetectionRows

    return DetectionRows(NudeNet())
