"""`bench list`: lists what is installed, one line each. Source files are parsed, so that nothing heavy is imported."""

from __future__ import annotations

import ast
from importlib.metadata import EntryPoint, entry_points

from benchmark.plugin_source.classes import find_class, find_source, literal_keys, read_module
from benchmark.registry import is_file, unknown
from benchmark.testbeds import resolve
from prompts.artists import Artist

KINDS = ("methods", "objectives", "suites", "testbeds", "metrics", "prunings", "artists")
"""Kinds that can be listed: the plug-in groups, and the artists of a testbed."""


def listing(kind: str, testbed: str = "mini") -> list[tuple[str, str]]:
    """Return (name, description) pairs for one of the KINDS, in alphabetical order; artists in their testbed's order.

    A method's description ends with its presets, and a testbed's with what it inherits from. `testbed` is the testbed
    whose artists are listed; a testbed from a file follows the installed ones.
    """
    if kind == "artists":
        return [(artist.name, _artist_line(artist)) for artist in resolve.artists_of(testbed)]
    if kind not in KINDS:
        raise unknown("kind", kind, [*KINDS, "runs"])
    points = {point.name: point for point in entry_points(group=f"palimpsest.{kind}")}
    summaries = [(name, summary_of(points[name])) for name in sorted(points)]
    if kind == "testbeds":
        return [(name, line + _like(points[name])) for name, line in summaries] + testbed_file(testbed)
    if kind != "methods":
        return summaries
    presets = {name: literal_keys(points[name], "presets") for name in points}
    return [
        (name, line + (f" (presets: {', '.join(presets[name])})" if presets[name] else "")) for name, line in summaries
    ]


def testbed_file(testbed: str) -> list[tuple[str, str]]:
    """Return the line of a testbed from a file; empty for an installed testbed."""
    if not (is_file(testbed) or resolve.is_file(testbed)):
        return []
    like = ", ".join(resolve.inherited_by(testbed))
    return [(resolve.name_of(testbed), resolve.summary_of(testbed) + (f" (like {like})" if like else ""))]


def _like(point: EntryPoint) -> str:
    """Return a note on the testbeds that an installed testbed inherits from; empty if there are none."""
    module = read_module(point.module)
    owner = find_class(module, point.attr) if module else None
    names = [parent.text("name") for parent in owner.parents()] if owner else []
    names = [name for name in dict.fromkeys(names) if name and name != point.name]
    return f" (like {', '.join(names)})" if names else ""


def summary_of(point: EntryPoint) -> str:
    """Return the `summary` of an entry point's class, or else the first paragraph of its or its module's docstring."""
    if find_source(point.module) is None:
        return f"cannot be read: no module {point.module}"
    if (module := read_module(point.module)) is None:
        return f"cannot be read: {point.module} is not Python source"
    name = point.attr.partition(".")[0]
    if (owner := find_class(module, name)) and (text := owner.text("summary")):
        return text
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
    documented_nodes: list[ast.ClassDef | ast.FunctionDef | ast.Module] = [*functions, module]
    for documented in [owner.body, *documented_nodes] if owner else documented_nodes:
        if doc := ast.get_docstring(documented):
            return " ".join(doc.split("\n\n")[0].split())
    return ""


def _artist_line(artist: Artist) -> str:
    near = f", close to {artist.neighbour_of}" if artist.neighbour_of else ""
    return f"{artist.part}{near}" + (f"; signature subject: {artist.subject}" if artist.subject else "")
