"""Plug-ins in files: they import what lies beside them, and are known by all of it."""

import hashlib
import sys
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.errors import UsageError

PLUGIN = """
import helpers
from parts.inner import depth
from parts import outer


class Eraser:
    strength, depth, outer = helpers.STRENGTH, depth, outer.NAME

    def late(self):
        import late_helper

        return late_helper.VALUE
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plug-in with a sibling, a package of two levels, and a sibling that is imported late."""
    return write(tmp_path / "first", 1)


def write(folder: Path, strength: int) -> Path:
    (folder / "parts").mkdir(parents=True)
    (folder / "helpers.py").write_text(f"STRENGTH = {strength}\n")
    (folder / "late_helper.py").write_text("import helpers\nVALUE = 10 * helpers.STRENGTH\n")
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "inner.py").write_text("from .base import BASE\nfrom helpers import STRENGTH\ndepth = BASE\n")
    (folder / "parts" / "base.py").write_text(f"BASE = {strength} + 100\n")
    (folder / "parts" / "outer.py").write_text("NAME = __name__\n")
    (folder / "unrelated.py").write_text("raise RuntimeError\n")
    path = folder / "eraser.py"
    path.write_text(PLUGIN)
    return path


def test_plugin_imports_siblings_and_packages_early_and_late(plugin):
    eraser = registry.load("methods", f"{plugin}:Eraser")
    assert (eraser.strength, eraser.depth, eraser().late()) == (1, 101, 10)


def test_siblings_of_the_same_name_do_not_mix(plugin, tmp_path):
    first = registry.load("methods", f"{plugin}:Eraser")
    second = registry.load("methods", f"{write(tmp_path / 'second', 2)}:Eraser")
    assert (first.strength, first().late(), second.strength, second().late()) == (1, 10, 2, 20)
    assert not {"helpers", "parts", "late_helper"} & set(sys.modules)


@pytest.mark.parametrize("edited", ["helpers.py", "late_helper.py", "parts/__init__.py", "parts/base.py"])
def test_edited_sibling_is_another_plugin_and_is_loaded_again(plugin, edited):
    name = f"{plugin}:Eraser"
    code, eraser = registry.fingerprint(name), registry.load("methods", name)
    assert registry.load("methods", name) is eraser
    with (plugin.parent / edited).open("a") as file:
        file.write("STRENGTH = BASE = VALUE = 7\n")
    assert registry.fingerprint(name) != code
    assert registry.load("methods", name) is not eraser
    again = registry.load("methods", name)
    assert 7 in (again.strength, again.depth, again().late()) or edited == "parts/__init__.py"


def test_fingerprint_ignores_what_is_not_imported_and_where_the_folder_lies(plugin, tmp_path):
    code = registry.fingerprint(f"{plugin}:Eraser")
    (plugin.parent / "unrelated.py").write_text("pass\n")
    assert registry.fingerprint(f"{plugin}:Eraser") == code
    assert registry.fingerprint(f"{write(tmp_path / 'elsewhere', 1)}:Eraser") == code


def test_fingerprint_without_siblings_is_that_of_the_file(tmp_path):
    path = tmp_path / "alone.py"
    path.write_text("import json\nimport torch\nfrom benchmark.api import Method\nclass Alone: ...\n")
    (tmp_path / "json.py").write_text("")  # neither the standard library nor we are replaced
    (tmp_path / "benchmark").mkdir()
    (tmp_path / "benchmark" / "__init__.py").write_text("raise RuntimeError\n")
    (tmp_path / "torch").mkdir()  # a folder of data
    assert registry.fingerprint(f"{path}:Alone") == hashlib.sha256(path.read_bytes()).hexdigest()
    assert registry.load("methods", f"{path}:Alone").__name__ == "Alone"


def test_relative_import_of_a_sibling_works(tmp_path):
    (tmp_path / "helpers.py").write_text("from . import eraser\nSTRENGTH = 3\n")  # in a circle
    path = tmp_path / "eraser.py"
    path.write_text("from .helpers import STRENGTH\nclass Eraser:\n    strength = STRENGTH\n")
    assert registry.load("methods", f"{path}:Eraser").strength == 3
    assert registry.fingerprint(f"{path}:Eraser") != hashlib.sha256(path.read_bytes()).hexdigest()


def test_broken_sibling_is_refused_in_one_sentence(plugin):
    (plugin.parent / "helpers.py").write_text("class Half(:\n")
    before = set(sys.modules)
    with pytest.raises(UsageError, match=r"eraser.py cannot be loaded \(SyntaxError: .*helpers.py"):
        registry.load("methods", f"{plugin}:Eraser")
    assert not [name for name in set(sys.modules) - before if name.startswith("palimpsest_file_")]


def test_sibling_that_imports_an_old_place_is_refused_by_its_name(plugin):
    (plugin.parent / "helpers.py").write_text("import benchmark.workbench\nSTRENGTH = 1\n")
    with pytest.raises(UsageError, match=r"helpers.py was written for an older version of palimpsest"):
        registry.fingerprint(f"{plugin}:Eraser")


def test_dataclass_and_pydantic_model_of_a_sibling_find_their_module(tmp_path):
    (tmp_path / "helpers.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass, field\nfrom pydantic import BaseModel\n"
        "@dataclass\nclass Half:\n    parts: list[int] = field(default_factory=list)\n"
        "class Whole(BaseModel):\n    part: Part\nclass Part(BaseModel):\n    size: int = 2\n"
    )
    path = tmp_path / "eraser.py"
    path.write_text("from helpers import Half, Part, Whole\nclass Eraser:\n    whole = Whole(part=Part())\n")
    assert registry.load("methods", f"{path}:Eraser").whole.part.size == 2
