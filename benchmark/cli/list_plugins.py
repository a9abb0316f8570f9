"""`bench list`: lists what is installed, one line each. Source files are parsed, so that nothing heavy is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from benchmark.registry import assigned, literal_keys, parsed, unknown
from benchmark.testbeds.resolve import artists_of
from prompts.artists import Artist

KINDS = ("methods", "objectives", "suites", "testbeds", "metrics", "prunings", "artists")
"""Kinds that can be listed: the plug-in groups, and the artists of a testbed."""


def listing(kind: str, testbed: str = "mini") -> list[tuple[str, str]]:
    """Return (name, description) pairs for one of the KINDS, in alphabetical order; artists in their testbed's order.

    A method's description ends with its presets.
    """
    if kind == "artists":
        return [(artist.name, _artist_line(artist)) for artist in artists_of(testbed)]
    if kind not in KINDS:
        raise unknown("kind", kind, list(KINDS))
    points = {point.name: point for point in entry_points(group=f"palimpsest.{kind}")}
    summaries = [(name, summary_of(points[name])) for name in sorted(points)]
    if kind != "methods":
        return summaries
    presets = {name: literal_keys(kind, name, "presets") for name in points}
    return [
        (name, line + (f" (presets: {', '.join(presets[name])})" if presets[name] else "")) for name, line in summaries
    ]


def summary_of(point: EntryPoint) -> str:
    """Return the `summary` of an entry point's class, or else the first paragraph of its or its module's docstring."""
    module = parsed(point)
    if module is None:
        return f"cannot be read: no module {point.module}"
    named = [node for node in module.body if getattr(node, "name", None) == point.attr.partition(".")[0]]
    for node in named:
        if isinstance(node, ast.ClassDef) and (text := _literal_text(node.body, "summary")):
            return text
    documented = [node for node in named if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    for owner in [*documented, module]:
        if doc := ast.get_docstring(owner):
            return " ".join(doc.split("\n\n")[0].split())
    return ""


def _literal_text(body: Iterable[ast.stmt], name: str) -> str:
    """Return the string literal that a class body assigns to `name`; empty if there is none."""
    value = assigned(body, name)
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _artist_line(artist: Artist) -> str:
    near = f", close to {artist.neighbour_of}" if artist.neighbour_of else ""
    return f"{artist.part}{near}" + (f"; signature subject: {artist.subject}" if artist.subject else "")
