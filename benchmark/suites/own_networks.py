"""Checks the networks that suites and metrics bring, and names their features in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.errors import UsageError
from benchmark.suites import plugins

if TYPE_CHECKING:
    from torch import Tensor

    from metrics.encoders import Encoder

TEXT = "text"
"""Key of the prompts' features in `Evidence`, which no network may have as its job."""


class OwnNetwork:
    """A network of a suite or a metric, as an encoder whose features are checked.

    Args:
        network: the network itself.
        where: names the suite or the metric in messages.
        code: checksum of the file that defines the network; empty if it is installed. It is part of the name, so that
            stored features of an older version of the file are not used.
    """

    def __init__(self, network: Encoder, where: str, code: str) -> None:
        self._network, self._where = network, where
        self.name = f"{network.name}-code-{code[:8]}" if code else network.name
        self.size = network.size

    def __call__(self, images: Tensor) -> Tensor:
        """Map pictures (N, 3, H, W) uint8 to features (N, d) float32 on the CPU.

        Raises:
            UsageError: the network fails, or returns no tensor of this shape, or a value that is not finite.
        """
        import torch

        features: Any = plugins.guarded(self._where, lambda: self._network(images))
        expected = (len(images), self.size)
        if not isinstance(features, torch.Tensor) or features.shape != expected:
            returned = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
            raise UsageError(
                f"{self._where}: its network '{self._network.name}' returned {returned} for {len(images)} pictures: "
                f"return a tensor of shape {expected}, one row per picture."
            )
        if not features.isfinite().all():
            raise UsageError(
                f"{self._where}: its network '{self._network.name}' returned features that are not finite (NaN or "
                "infinity)."
            )
        return features.detach().to("cpu", torch.float32)


def own_networks(networks: Any, where: str, code: str) -> dict[str, Encoder]:
    """Return the networks of a suite or a metric by job, as encoders that check their features.

    Raises:
        UsageError: the networks are not a dictionary, a network is not an encoder with a name and a size, or a job is
            "text".
    """
    if not isinstance(networks, Mapping):
        raise UsageError(f"{where}: networks must return a dictionary from jobs to networks, not {networks!r}.")
    for job, network in networks.items():
        try:
            is_encoder = bool(network.name) and network.size >= 1 and callable(network)
        except (AttributeError, TypeError):
            is_encoder = False
        if not is_encoder:
            raise UsageError(
                f"{where}: the network for {job!r} must be callable, and have a `name` and a `size`, the number of "
                "features per picture; see metrics/encoders.py."
            )
        if not isinstance(job, str) or not job or job == TEXT:
            raise UsageError(f"{where}: {job!r} cannot be the job of a network: choose a different name.")
    return {job: OwnNetwork(network, where, code) for job, network in networks.items()}


def merged(sources: Sequence[tuple[str, Mapping[str, Encoder]]]) -> dict[str, Encoder]:
    """Return the networks of a suite and of its metrics by job, from pairs of a name for messages and networks.

    Raises:
        UsageError: two sources have different networks for the same job.
    """
    networks: dict[str, Encoder] = {}
    owners: dict[str, str] = {}
    for source, own in sources:
        for job, network in own.items():
            if job in networks and networks[job].name != network.name:
                raise UsageError(
                    f"{owners[job]} and {source} have different networks for '{job}': give the jobs different names."
                )
            networks[job], owners[job] = networks.get(job, network), owners.get(job, source)
    return networks
