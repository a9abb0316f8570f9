"""What a class assigns in its body, read from source text: its own assignments and those it inherits.

Nothing is imported: `bench list` and the check of a preset are fast, and see plug-ins that cannot be imported, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint

DEEPEST = 12
"""Parents that are followed, in case classes inherit in a circle."""


@dataclass(frozen=True)
class ClassSource:
    """A class in the source text of its module."""

    module: ast.Module
    body: ast.ClassDef

    def value(self, name: str, depth: int = 0) -> ast.expr | None:
        """The expression that the class, or else the nearest parent that can be read, assigns to `name`."""
        if (own_value := _assigned(self.body, name)) is not None or depth > DEEPEST:
            return own_value
        for base in self.body.bases:
            parent = find_class(self.module, ast.unparse(base))
            if parent is not None and (value := parent.value(name, depth + 1)) is not None:
                return value
        return None

    def parents(self, depth: int = 0) -> Iterator[ClassSource]:
        """The classes that it inherits from, as far as they can be read, nearest first."""
        for base in self.body.bases if depth < DEEPEST else ():
            if parent := find_class(self.module, ast.unparse(base)):
                yield parent
                yield from parent.parents(depth + 1)

    def text(self, name: str) -> str:
        """The text that is assigned to `name`; empty if it is no literal."""
        value = self.value(name)
        return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""

    def keys(self, name: str) -> list[str]:
        """The keys of the dict that is assigned to `name`, as far as they are literals or those of another class."""
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
    """The keys, as far as they can be read, of the dict that a plug-in's class assigns to `attribute` or inherits."""
    module = read_module(point.module)
    owner = find_class(module, point.attr) if module else None
    return owner.keys(attribute) if owner else []


def find_source(module: str) -> ModuleSpec | None:
    """Where a module's source lies. Unlike `importlib.util.find_spec`, it imports no parent package."""
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
    """The parsed source of a module; None where it has none or cannot be parsed."""
    spec = find_source(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    with open(spec.origin, encoding="utf-8-sig") as source:
        try:
            return ast.parse(source.read())
        except (SyntaxError, ValueError):
            return None


def find_class(module: ast.Module, name: str, depth: int = 0) -> ClassSource | None:
    """The class that a module calls `name` ("Mini", "testbed.Mini"), defined in it or imported; None if not found."""
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
    """Dots of a relative import, which is not followed."""
    return node.level if isinstance(node, ast.ImportFrom) else 0


def _assigned(body: ast.ClassDef, name: str) -> ast.expr | None:
    """What a class body assigns to `name`, alone or in a tuple: `name, summary = "mine", "what it does"`."""
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
