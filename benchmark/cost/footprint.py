"""`bench footprint`: measures a model's size and speed next to the base's, on this machine and in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmark.cost.timing import now
from benchmark.json_types import JsonObject
from benchmark.stats import median_interval

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmark.api.testbed import Workbench


STEPS, WARM_UP = 4, 1
"""Sampling steps that are timed together, and rounds that are not timed."""


@dataclass(frozen=True)
class Footprint:
    """Size and speed of a U-Net."""

    label: str
    parameters: int
    bytes: int
    """Size of its weights in a file in float32; half of it in float16."""
    macs: int
    """MACs of one call for one picture."""
    milliseconds: float
    """Median time of a sampling step for one batch, with its calls for guidance."""
    low: float
    high: float
    """Quartiles of the times."""
    time_ratio: float
    """Median over rounds of its time divided by that of the first U-Net in the same round, which cancels slow load."""
    time_ratio_interval: tuple[float, float] | None
    """95 % interval of that median; None for fewer than 6 rounds. It contains 1 if no difference was measured."""
    memory: int | None
    """Peak of the allocated bytes while it samples alone on a CUDA device; None on other devices."""


def measure(bench: Workbench, unets: Mapping[str, UNet2DConditionModel], batch: int, rounds: int) -> list[Footprint]:
    """Measure U-Nets in turns: each round times every U-Net once, in alternating order, so that all meet the same load.

    Args:
        bench: testbed, device and precision.
        unets: U-Nets by label, in fp32.
        batch: pictures that are sampled together.
        rounds: number of timed rounds.
    """
    from benchmark.generation.images import ready
    from methods.pruning.macs import count_macs

    size, length = bench.testbed.sampler.latent_size, bench.testbed.text_length
    counts = {label: count_macs(unet, size, length) for label, unet in unets.items()}
    networks = {label: ready(bench, unet) for label, unet in unets.items()}
    peaks = {label: _peak(bench, networks, label, batch) for label in networks}
    times: dict[str, list[float]] = {label: [] for label in networks}
    with bench.progress.stage("time sampling steps", rounds, "rounds") as stage:
        for number in range(WARM_UP + rounds):
            for label in list(networks)[:: -1 if number % 2 else 1]:
                began = now(bench.device)
                _sample(bench, networks[label], batch)
                if number >= WARM_UP:
                    times[label].append(1000 * (now(bench.device) - began) / STEPS)
            stage.advance(number >= WARM_UP)
    rows = []
    first = next(iter(times.values()))
    for label, unet in unets.items():
        ratios = [own / base for own, base in zip(times[label], first, strict=True)]
        ratio, interval = statistics.median(ratios), median_interval(ratios)
        low, median, high = _quartiles(times[label])
        parameters = sum(weight.numel() for weight in unet.parameters())
        weights = sum(weight.numel() for weight in unet.state_dict().values())
        rows.append(
            Footprint(
                label, parameters, 4 * weights, counts[label], median, low, high, ratio, interval, peaks[label]
            )
        )  # fmt: skip
    return rows


def _quartiles(times: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile."""
    if len(times) == 1:
        return times[0], times[0], times[0]
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return low, median, high


def _sample(bench: Workbench, unet: UNet2DConditionModel, batch: int) -> None:
    """Take `STEPS` sampling steps with the testbed's sampler; the text states are zeros, which take the same time."""
    import torch

    from methods.sampling import initial_noise, sample

    testbed = bench.testbed
    size, channels = testbed.sampler.latent_size, testbed.sampler.latent_channels
    text = torch.zeros(batch, testbed.text_length, unet.config["cross_attention_dim"], device=bench.device)
    noise = initial_noise(range(batch), (channels, size, size))
    sample(unet, testbed.scheduler, text, text[0], noise, testbed.sampler, stop=STEPS)


def _peak(bench: Workbench, networks: Mapping[str, UNet2DConditionModel], label: str, batch: int) -> int | None:
    """Return the peak memory of one U-Net that samples while all others are on the CPU; None without CUDA."""
    import torch

    if bench.device.type != "cuda":
        return None
    for network in networks.values():
        network.to("cpu")  # type: ignore[arg-type]
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(bench.device)
    networks[label].to(bench.device)  # type: ignore[arg-type]
    torch.cuda.reset_peak_memory_stats(bench.device)
    _sample(bench, networks[label], batch)
    peak = torch.cuda.max_memory_allocated(bench.device) - before
    for network in networks.values():
        network.to(bench.device)  # type: ignore[arg-type]
    return peak


def report(bench: Workbench, rows: Sequence[Footprint], batch: int, rounds: int) -> JsonObject:
    """Return the measurement as a JSON object, with each value's `ratio` to the first row's; for times, see
    `time_ratio`."""
    base = rows[0]
    ratios = {
        row.label: {
            name: value / reference
            for name in ("parameters", "bytes", "macs", "memory")
            if (value := asdict(row)[name]) is not None and (reference := asdict(base)[name])
        }
        | {"milliseconds": row.time_ratio}
        for row in rows
    }
    return {
        "testbed": bench.testbed.name,
        "device": str(bench.device),
        "precision": bench.precision,
        "batch": batch,
        "rounds": rounds,
        "rows": [{**asdict(row), "ratio": ratios[row.label]} for row in rows],
    }
