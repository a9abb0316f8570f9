"""How fast known devices are, and what is in this machine. Torch is not imported: it takes seconds."""

from __future__ import annotations

from benchmark import registry
from benchmark.hardware import Device, cpu, cuda_of_torch, gpus

# NVIDIA's data sheets. The first whose name is part of what the driver says is meant.
GPUS = (
    Device("H200", 141, 989, 67),
    Device("H100 PCIe", 80, 756, 51),
    Device("H100", 80, 989, 67),
    Device("A100-SXM4-40GB", 40, 312, 19.5),
    Device("A100", 80, 312, 19.5),
    Device("L40S", 48, 362, 91.6),
    Device("RTX 6000 Ada", 48, 364, 91.1),
    Device("RTX A6000", 48, 155, 38.7),
    Device("A10", 24, 125, 31.2),
    Device("L4", 24, 121, 30.3),
    Device("RTX 4090", 24, 165, 82.6),
    Device("RTX 3090", 24, 71, 35.6),
)
SLOWEST = min(GPUS, key=lambda gpu: gpu.fp32)


UTILISATION = 0.5
"""Share of the best rate that training and sampling are assumed to reach where nothing was rehearsed."""


def here(asked: str = "auto") -> tuple[Device, bool]:
    """What `--device` means on this machine, and whether the table knows it; an unknown GPU counts as the slowest."""
    told = gpus() if asked != "cpu" and (asked != "auto" or cuda_of_torch()) else []
    if not told:
        return cpu(), True
    found = next((gpu for gpu in GPUS if gpu.name.replace("-", " ") in told[0].replace("-", " ")), None)
    return found or SLOWEST, found is not None


def named(name: str) -> Device:
    """A device of the table, in any case. UsageError with a suggestion for another."""
    called = {gpu.name.casefold(): gpu for gpu in GPUS} | {"cpu": cpu()}
    if name.casefold() not in called:
        raise registry.unknown("device", name, ["cpu", *(gpu.name for gpu in GPUS)])
    return called[name.casefold()]
