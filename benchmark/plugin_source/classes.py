"""Reads the attributes of classes, own and inherited, from source text.

Nothing is imported. So `bench list` and the check of a preset are fast, and work for plug-ins that cannot be imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint

DEEPEST = 12
"""Maximal number of parents that are followed, in case classes inherit in a circle."""


@dataclass(frozen=True)
class ClassSource:
    """A class and the parsed source of its module."""

    module: ast.Module
    body: ast.ClassDef

    def value(self, name: str, depth: int = 0) -> ast.expr | None:
        """Return the expression assigned to `name` in the class, or in its nearest parent; None if there is none."""
        if (own_value := _assigned(self.body, name)) is not None or depth > DEEPEST:
            return own_value
        for base in self.body.bases:
            parent = find_class(self.module, ast.unparse(base))
            if parent is not None and (value := parent.value(name, depth + 1)) is not None:
                return value
        return None

    def parents(self, depth: int = 0) -> Iterator[ClassSource]:
        """Yield the classes that it inherits from, nearest first, as far as their source is available."""
        for base in self.body.bases if depth < DEEPEST else ():
            if parent := find_class(self.module, ast.unparse(base)):
                yield parent
                yield from parent.parents(depth + 1)

    def text(self, name: str) -> str:
        """Return the string assigned to `name`; empty if it is not a string literal."""
        value = self.value(name)
        return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""

    def keys(self, name: str) -> list[str]:
        """Return the keys of the dict assigned to `name`: literals, and keys taken from a dict of another class."""
        return list(dict.fromkeys(self._keys(self.value(name), 0)))

    def _keys(self, value: ast.expr | None, depth: int) -> list[str]:
        if depth > DEEPEST:
            return []
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):  # Parent.presets | {...}
            return [*self._keys(value.left, depth + 1), *self._keys(value.right, depth + 1)]
        if isinstance(value, ast.Attribute):  # Parent.presets
            parent = find_class(self.module, ast.unparse(value.value))
            return parent._keys(parent.value(value.attr), depth + 1) if parent else []
        if not isinstance(value, ast.Dict):
            return []
        names: list[str] = []
        for key, item in zip(value.keys, value.values, strict=True):
            if key is None:  # {**Parent.presets}
                names += self._keys(item, depth + 1)
            elif isinstance(key, ast.Constant):
                names.append(str(key.value))
        return names


def literal_keys(point: EntryPoint, attribute: str) -> list[str]:
    """Return the keys of the dict that a plug-in's class assigns to `attribute`; empty if it cannot be read."""
    module = read_module(point.module)
    owner = find_class(module, point.attr) if module else None
    return owner.keys(attribute) if owner else []


def find_source(module: str) -> ModuleSpec | None:
    """Find the source file of a module. Unlike `importlib.util.find_spec`, this imports no parent package."""
    path: list[str] | None = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:depth]), path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    return spec


def read_module(name: str) -> ast.Module | None:
    """Return the parsed source of a module; None if it has no source or cannot be parsed."""
    spec = find_source(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    with open(spec.origin, encoding="utf-8-sig") as source:
        return _parse(source.read())


@lru_cache(maxsize=64)
def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def find_class(module: ast.Module, name: str, depth: int = 0) -> ClassSource | None:
    """Return the class `name` ("Mini", "testbed.Mini") that a module defines or imports; None if there is none."""
    first, _, rest = name.partition(".")
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return ClassSource(module, node)
        if depth > DEEPEST or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            if (alias.asname or alias.name) not in (first, name.rpartition(".")[0]):
                continue
            if isinstance(node, ast.Import):
                source, wanted = alias.name, name.removeprefix(alias.asname or alias.name).removeprefix(".")
            elif rest:  # from package import module
                source, wanted = f"{node.module}.{alias.name}", rest
            else:
                source, wanted = node.module or "", alias.name
            if not node_level(node) and wanted and (parent := read_module(source)):
                return find_class(parent, wanted, depth + 1)
    return None


def node_level(node: ast.Import | ast.ImportFrom) -> int:
    """Return the number of dots of a relative import. Relative imports are not followed."""
    return node.level if isinstance(node, ast.ImportFrom) else 0


def _assigned(body: ast.ClassDef, name: str) -> ast.expr | None:
    """Return the expression that a class body assigns to `name`, also in a tuple: `name, summary = "mine", "..."`."""
    for node in body.body:
        targets = (
            [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        for target in targets:
            if isinstance(target, ast.Name) and target.id == name:
                return value
            if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
                for part, part_value in zip(target.elts, value.elts, strict=False):
                    if isinstance(part, ast.Name) and part.id == name:
                        return part_value
    return None
