"""Metrics, one per file. Every metric is a `torchmetrics.Metric` over features instead of images.

Metrics can be used on their own, for example `from metrics import CSD`. A name is imported at its first use, because
torch and torchmetrics take seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metrics.clip import CLIPSimilarity as CLIP
    from metrics.cp import CPScore as CP
    from metrics.csd import StyleSimilarity as CSD
    from metrics.drift import Drift
    from metrics.fid import FrechetDistance as FID
    from metrics.kid import KernelDistance as KID
    from metrics.oracle import ClassProbability

__all__ = ["CLIP", "CP", "CSD", "FID", "KID", "ClassProbability", "Drift"]
PLACES = {
    "CLIP": "metrics.clip:CLIPSimilarity",
    "CP": "metrics.cp:CPScore",
    "CSD": "metrics.csd:StyleSimilarity",
    "FID": "metrics.fid:FrechetDistance",
    "KID": "metrics.kid:KernelDistance",
    "ClassProbability": "metrics.oracle:ClassProbability",
    "Drift": "metrics.drift:Drift",
}


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module 'metrics' has no attribute {name!r}")
    module, _, attribute = PLACES[name].partition(":")
    return vars(import_module(module))[attribute]
