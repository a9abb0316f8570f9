"""palimpsest: a benchmark of concept erasure in pruned diffusion models.

The Python interface is `run`, `evaluate` and `load_records`. They are imported at first use, so that the command line
starts fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.library import evaluate, load_records, run

__all__ = ["evaluate", "load_records", "run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
    from benchmark import library

    return vars(library)[name]
