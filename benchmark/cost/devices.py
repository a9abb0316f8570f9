"""Speeds of GPUs, and the device of this machine. This module does not import torch, because that takes seconds."""

from __future__ import annotations

from benchmark import registry
from benchmark.hardware import Device, cpu, cuda_of_torch, gpus

# From NVIDIA's data sheets. The name that the driver reports matches the first entry whose name it contains.
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
"""Share of the peak rate that training and sampling are assumed to reach if no rehearsal has measured it."""


def here(device: str = "auto") -> tuple[Device, bool]:
    """Return the device that `--device` selects on this machine, and whether it is in the table.

    A GPU that is not in the table counts as the slowest one.
    """
    names = gpus() if device != "cpu" and (device != "auto" or cuda_of_torch()) else []
    if not names:
        return cpu(), True
    match = next((gpu for gpu in GPUS if gpu.name.replace("-", " ") in names[0].replace("-", " ")), None)
    return match or SLOWEST, match is not None


def named(name: str) -> Device:
    """Return the device called `name`, which is not case-sensitive.

    Raises:
        UsageError: there is no such device; the message suggests a similar name.
    """
    devices = {gpu.name.casefold(): gpu for gpu in GPUS} | {"cpu": cpu()}
    if name.casefold() not in devices:
        raise registry.unknown("device", name, ["cpu", *(gpu.name for gpu in GPUS)])
    return devices[name.casefold()]
