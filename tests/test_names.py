"""Variables are named after what they hold: eight vague names are not used anywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmark", "methods", "metrics", "prompts")
VAGUE = {"found", "told", "said", "asked", "one", "each", "other", "known"}
OWN_CONTRACTS = {"testbed", "suite", "method", "objective", "first", "definition", "artist", "plan.method"}


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names that a module binds, with their lines."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, line
        elif isinstance(node, ast.arg):
            yield node.arg, line
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, line
        elif isinstance(node, ast.alias):
            yield node.asname or node.name, line
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name, line


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_no_variable_has_a_vague_name() -> None:
    assert len(modules()) > 150
    vague = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in modules()
        for name, line in bound_names(ast.parse(path.read_text()))
        if name in VAGUE
    ]
    assert not vague


@pytest.mark.parametrize(
    "code",
    [
        "found = 1", "for one in (): pass", "[each for each in ()]", "with open('x') as told: pass", "(said := 1)",
        "def asked(): pass", "class known: pass", "lambda other: 0", "import json as found", "def f(*, one): pass",
        "try: pass\nexcept OSError as told: pass", "(found, x), y = z", "found: int = 1",
    ],
)  # fmt: skip
def test_every_way_to_bind_a_name_is_detected(code: str) -> None:
    assert VAGUE & {name for name, _ in bound_names(ast.parse(code))}


def test_no_contract_is_probed_for_attributes() -> None:
    """`getattr` with a default and `hasattr` are for other people's objects, never for our contracts."""
    probes = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3):
                owner = ast.unparse(node.args[0])
                if owner.removeprefix("bench.") in OWN_CONTRACTS or owner.endswith((".testbed", ".method", ".suite")):
                    probes.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    assert not probes


def test_untyped_json_dicts_are_few() -> None:
    """`benchmark/json_types.py` names JSON objects; what is left are arguments of other people's functions."""
    assert sum(path.read_text().count("dict[str, Any]") for path in modules()) <= 40
