"""The paper's own figures."""

from __future__ import annotations

import json

from benchmark.json_types import JsonObject
from benchmark.tables import select


def published() -> JsonObject:
    """The paper's own figures, by table and method, with the setting they were measured in."""
    return dict(json.loads((select.RESULTS / "paper.json").read_text("utf-8")))


def quotes(paper: JsonObject | None, number: int) -> dict[str, dict[str, float]]:
    """method -> column key -> the paper's value in its table of this number."""
    values_by_method: dict[str, dict[str, float]] = {}
    for quote in (paper or {}).get("figures", []):
        if quote["table"] == number:
            values_by_method.setdefault(quote["method"], {})[quote["cell"]] = quote["value"]
    return values_by_method
