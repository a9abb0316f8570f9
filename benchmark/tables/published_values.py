"""Reads the values that the paper reports."""

from __future__ import annotations

import json

from benchmark.json_types import JsonObject
from benchmark.tables import select


def published() -> JsonObject:
    """Return the content of `results/paper.json`: the paper's values with the settings that they were measured in."""
    return dict(json.loads((select.RESULTS / "paper.json").read_text("utf-8")))


def quotes(paper: JsonObject | None, number: int) -> dict[str, dict[str, float]]:
    """Return the paper's values in its table `number`, as method -> column key -> value."""
    values_by_method: dict[str, dict[str, float]] = {}
    for quote in (paper or {}).get("figures", []):
        if quote["table"] == number:
            values_by_method.setdefault(quote["method"], {})[quote["cell"]] = quote["value"]
    return values_by_method
