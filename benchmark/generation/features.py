"""Computes and stores the features of a suite's pictures, once per shard and while the next shard is sampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from benchmark.api.model import Model
from benchmark.api.testbed import Workbench
from benchmark.errors import DataError, StoreError
from benchmark.generation.shards import Shard, kind_of, read_shard, shard_identity, shards
from benchmark.json_types import Identity
from benchmark.store.artefacts import key_of

if TYPE_CHECKING:
    from torch import Tensor

    from benchmark.api.suite import Suite
    from metrics.encoders import Encoder
    from prompts.lists import Prompt


_NETWORKS_LOCK = Lock()
"""Held while features are computed, because networks are loaded at first use and loading is not thread-safe."""


class Look(Protocol):
    """Schedules the features of a shard whose pictures have just been sampled."""

    def __call__(self, shard: Shard) -> None: ...


def _networks(bench: Workbench, suite: Suite) -> dict[str, str]:
    """Return the networks that the suite needs and the testbed has, and its own: job -> back end."""
    names = {job: name for job, name in bench.testbed.networks.items() if job in suite.encoders}
    return names | {job: network.name for job, network in _own_networks(bench, suite).items()}


def _own_networks(bench: Workbench, suite: Suite) -> Mapping[str, Encoder]:
    return suite.networks(str(bench.device))


def features_identity(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> Identity:
    """Return the key of a suite's features in the store: its pictures, and the networks that compute the features."""
    return {
        "images": [key_of(kind_of(suite), shard_identity(bench, model, shard)) for shard in shards(prompts)],
        "encoders": _networks(bench, suite),
    }


def _find_shard(bench: Workbench, model: Model, shard: Shard, suite: Suite) -> dict[str, Tensor] | None:
    """Return the features of a shard from the store; None if the store lacks them."""
    from safetensors.torch import load_file

    artefact = bench.store.find("seen", features_identity(bench, model, shard, suite))
    return None if artefact is None else load_file(artefact.path("seen.safetensors"))


def _compute_shard(bench: Workbench, model: Model, shard: Shard, suite: Suite) -> dict[str, Tensor]:
    """Return the features of a shard whose pictures exist: from the store, or computed and then stored."""
    from safetensors.torch import save_file

    with _NETWORKS_LOCK:
        stored_features = _find_shard(bench, model, shard, suite)
        if stored_features is not None:
            return stored_features
        artefact = bench.store.find(kind_of(suite), shard_identity(bench, model, shard))
        if artefact is None:
            raise StoreError(
                f"Pictures of {model.label} were damaged or removed while their features were computed: run again."
            )
        pictures = read_shard(artefact.folder, len(shard))
        names, own = _networks(bench, suite), _own_networks(bench, suite)
        features_by_job = {
            job: _by_size(own[job] if job in own else bench.testbed.encoder(job), pictures) for job in names
        }
        _check_finite(features_by_job, names)
        with bench.store.make("seen", features_identity(bench, model, shard, suite)) as folder:
            save_file(features_by_job, folder / "seen.safetensors")
        return features_by_job


def _check_finite(features_by_job: Mapping[str, Tensor], networks: Mapping[str, str]) -> None:
    """Raise DataError if features are not finite. Rows of the detector are lists of detections and not checked."""
    for job, rows in features_by_job.items():
        if job != "detector" and not rows.isfinite().all():
            raise DataError(
                f"The network that scores '{job}' ({networks[job]}) gives features that are not finite (NaN or "
                "infinity): its weights are damaged or those of a different network; give different weights in the "
                "testbed's file."
            )


def _by_size(encoder: Encoder, pictures: Sequence[Tensor]) -> Tensor:
    """Return one row of features per picture, in order. Pictures of equal size are encoded in one batch."""
    import torch

    groups: dict[Any, list[int]] = {}
    for k, picture in enumerate(pictures):
        groups.setdefault(picture.shape, []).append(k)
    rows = torch.cat([encoder(torch.stack([pictures[k] for k in places])) for places in groups.values()])
    return rows[torch.tensor([k for places in groups.values() for k in places]).argsort()]


@contextmanager
def beside(bench: Workbench, model: Model, suite: Suite) -> Iterator[Look]:
    """Compute features in a separate thread while further shards are sampled.

    The context manager yields a function that takes a sampled shard. Leaving the block waits for the features of all
    shards; if the block raises, shards that have not been started are skipped.
    """
    pool = ThreadPoolExecutor(1, "look")
    looks: list[Future[Any]] = []
    try:
        yield lambda shard: looks.append(pool.submit(_compute_shard, bench, model, shard, suite))
        for look in looks:
            look.result()
    finally:
        pool.shutdown(cancel_futures=True)


def features(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> dict[str, Tensor]:
    """Return the features of a suite's pictures, from the store or computed from its stored pictures.

    They are stored, so tables can be created again without loading a network.

    Args:
        bench: testbed and store.
        model: the model that the pictures were sampled from.
        prompts: the suite's prompts, in the order of their shards.
        suite: the suite, which determines the networks.

    Returns:
        Features (N, d) by job of the network, and CLIP's text features of the prompts under "text".

    Raises:
        StoreError: if pictures are missing.
        DataError: if features are not finite.
    """
    import torch
    from safetensors.torch import load_file, save_file

    identity = features_identity(bench, model, prompts, suite)
    artefact = bench.store.find("features", identity)
    if artefact is not None:
        bench.progress.reuse(f"{model.label}: {suite.name}, {len(prompts)} pictures")
        return load_file(artefact.path("features.safetensors"))
    all_shards = shards(prompts)
    with bench.progress.stage(f"compute features of {model.label}: {suite.name}", len(prompts), "images") as stage:
        rows = []
        for shard in all_shards:
            rows.append(_compute_shard(bench, model, shard, suite))
            stage.advance(len(shard))
    suite_features = {job: torch.cat([row[job] for row in rows]) for job in rows[0]}
    suite_features["text"] = bench.testbed.clip.text([prompt.text for prompt in prompts])
    with bench.store.make("features", identity) as folder:
        save_file(suite_features, folder / "features.safetensors")
    return suite_features
