"""Small records for tests of tables and of the command line: figures are made up, forms are real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.records.record import Cell, Record, scores_table, write_record

TARGETS = ["Vincent van Gogh", "Claude Monet", "Pablo Picasso"]
SAMPLER = {"scheduler": "pndm", "steps": 25, "guidance": 4.0}
UNITS = {"clip": ("100 cos", "mini-clip-b"), "cp": ("%", "mini-clip-b"), "csd": ("100 cos", "mini-style")}
UNITS |= {"fid": ("feature²", "mini-features"), "target_style": ("probability", "mini-oracle")}
DIRECTIONS = {
    "artists": {"clip": False, "cp": True, "csd": False, "target_style": False, "kept_style": True},
    "coco": {"fid": False, "clip": True},
}
"""By suite and cell, whether higher is better."""


def cell(
    name: str, value: float | None, n: int = 150, of: int | None = None, suite: str = "artists", **more: Any
) -> Cell:
    unit, back_end = UNITS.get(name, ("", "mini-oracle"))
    told = {"unit": unit, "back_end": back_end, "higher_is_better": DIRECTIONS.get(suite, {}).get(name)} | more
    return Cell(value=value, n=n, of=n if of is None else of, **told)


def record(method: str, suite: str = "artists", **more: Any) -> Record:
    """A record of mini with default settings but for what is given; `values` become its cells."""
    values = more.pop(
        "values", {"artists": {"clip": 26.28, "cp": 97.3, "csd": 39.04}, "coco": {"fid": 22.24, "clip": 29.19}}
    )
    values = values.get(suite, {}) if "artists" in values or "coco" in values else values
    seed = more.get("seed", 0)
    told: dict[str, Any] = {
        "label": method if seed == 0 else f"{method} (seed {seed})",
        "testbed": "mini",
        "pruning": "none" if method == "base" else "magnitude",
        "macs": 1.0 if method == "base" else 0.8,
        "method": method,
        "concept": {"kind": "style", "targets": TARGETS, "anchor": "a painting", "neighbours": []},
        "data": "plain",
        "budget": {"flops": 1e15, "default": True},
        "suite": suite,
        "seed": seed,
        "recipe": 1,
        "sampler": SAMPLER,
        "reference": "distilled",
        "cells": {
            name: each if isinstance(each, Cell) else cell(name, each, suite=suite) for name, each in values.items()
        },
        "ledger": [],
        "made": {"time": "2026-01-01T00:00:00+00:00"},
    }
    return Record(**(told | more))


def write(folder: Path, *records: Record) -> None:
    """Write records with a table of scores of no images."""
    for each in records:
        write_record(folder, each, scores_table([], [], [], [], {}))
