"""What the networks see in a suite's pictures: a shard is looked at once, beside the sampling of the next."""

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


_LOOKING = Lock()
"""Held while features are computed: networks are loaded on first use, which is safe for one thread at a time."""


class Look(Protocol):
    """Takes a shard whose pictures have just been made."""

    def __call__(self, shard: Shard) -> None: ...


def _networks(bench: Workbench, suite: Suite) -> dict[str, str]:
    """The suite's networks, as far as the testbed has them: job -> back end."""
    return {job: name for job, name in bench.testbed.networks.items() if job in suite.encoders}


def features_identity(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> Identity:
    """What makes a suite's features: its pictures and the networks that look at them."""
    return {
        "images": [key_of(kind_of(suite), shard_identity(bench, model, shard)) for shard in shards(prompts)],
        "encoders": _networks(bench, suite),
    }


def _seen(bench: Workbench, model: Model, shard: Shard, suite: Suite) -> dict[str, Tensor] | None:
    """Return this shard's features from the store, if they are there."""
    from safetensors.torch import load_file

    artefact = bench.store.find("seen", features_identity(bench, model, shard, suite))
    return None if artefact is None else load_file(artefact.path("seen.safetensors"))


def _look(bench: Workbench, model: Model, shard: Shard, suite: Suite) -> dict[str, Tensor]:
    """Return the features of a shard whose pictures exist: from the store, or computed and then stored."""
    from safetensors.torch import save_file

    with _LOOKING:
        stored_features = _seen(bench, model, shard, suite)
        if stored_features is not None:
            return stored_features
        artefact = bench.store.find(kind_of(suite), shard_identity(bench, model, shard))
        if artefact is None:
            raise StoreError(f"Pictures of {model.label} were damaged or taken away as they were looked at: run again.")
        pictures = read_shard(artefact.folder, len(shard))
        features_by_job = {job: _by_size(bench.testbed.encoder(job), pictures) for job in _networks(bench, suite)}
        _check_finite(features_by_job, bench.testbed.networks)
        with bench.store.make("seen", features_identity(bench, model, shard, suite)) as folder:
            save_file(features_by_job, folder / "seen.safetensors")
        return features_by_job


def _check_finite(features_by_job: Mapping[str, Tensor], networks: Mapping[str, str]) -> None:
    """DataError for features that no metric can compare; rows of detections have gaps."""
    for job, rows in features_by_job.items():
        if job != "detector" and not rows.isfinite().all():
            raise DataError(
                f"The network that scores '{job}' ({networks[job]}) gives features that are not finite (NaN or "
                "infinity): it is damaged or another network; name another in the testbed's file."
            )


def _by_size(encoder: Encoder, pictures: Sequence[Tensor]) -> Tensor:
    """Rows of all pictures, in order; those of one size, which are most often all, are looked at together."""
    import torch

    groups: dict[Any, list[int]] = {}
    for k, picture in enumerate(pictures):
        groups.setdefault(picture.shape, []).append(k)
    rows = torch.cat([encoder(torch.stack([pictures[k] for k in places])) for places in groups.values()])
    return rows[torch.tensor([k for places in groups.values() for k in places]).argsort()]


@contextmanager
def beside(bench: Workbench, model: Model, suite: Suite) -> Iterator[Look]:
    """Give a function that takes fresh shards, and look at them in a thread of its own while others are sampled.

    At the block's end all are waited for; if it raises, what has not been begun is left for later.
    """
    pool = ThreadPoolExecutor(1, "look")
    looks: list[Future[Any]] = []
    try:
        yield lambda shard: looks.append(pool.submit(_look, bench, model, shard, suite))
        for look in looks:
            look.result()
    finally:
        pool.shutdown(cancel_futures=True)


def features(bench: Workbench, model: Model, prompts: Sequence[Prompt], suite: Suite) -> dict[str, Tensor]:
    """What each network sees in the suite's pictures, (N, d) each, and under "text" what CLIP reads in its prompts.

    The pictures have been made. Kept, so that none is looked at twice, and a table is made again without a network.
    Raises StoreError if pictures are gone.
    """
    import torch
    from safetensors.torch import load_file, save_file

    identity = features_identity(bench, model, prompts, suite)
    artefact = bench.store.find("features", identity)
    if artefact is not None:
        bench.progress.reuse(f"{model.label}: {suite.name}, {len(prompts)} pictures")
        return load_file(artefact.path("features.safetensors"))
    all_shards = shards(prompts)
    with bench.progress.stage(f"look at {model.label}: {suite.name}", len(prompts), "images") as stage:
        rows = []
        for shard in all_shards:
            rows.append(_look(bench, model, shard, suite))
            stage.advance(len(shard))
    suite_features = {job: torch.cat([row[job] for row in rows]) for job in rows[0]}
    suite_features["text"] = bench.testbed.clip.text([prompt.text for prompt in prompts])
    with bench.store.make("features", identity) as folder:
        save_file(suite_features, folder / "features.safetensors")
    return suite_features
