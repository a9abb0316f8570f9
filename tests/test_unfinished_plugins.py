"""An unfinished plug-in is told what it lacks in one sentence, whatever it lacks."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.cli.list_plugins import summary_of
from benchmark.errors import UsageError
from benchmark.plugin_source.classes import literal_keys
from methods.base import configure
from methods.bilevel.config import check_objective

WHOLE = """
from dataclasses import dataclass
from pydantic import BaseModel
from benchmark.api import Method
from methods.config_fields import identity

class Settings(BaseModel):
    rate: float = identity(1.0, "Rate.")

@dataclass
class Data:
    rate: float = 1.0

class Eraser(Method):
    name, summary, start = "eraser", "erases", "pruned"
    Config = Settings
    presets = {"default": {}, "fast": {"rate": 2.0}}

    def fit(self, student, materials, concept, budget, context, seed):
        return student
"""


def load(tmp_path: Path, old: str = "", new: str = "", more: str = "") -> type:
    path = tmp_path / "eraser.py"
    assert old in WHOLE
    path.write_text(WHOLE.replace(old, new) + more)
    return registry.load("methods", f"{path}:Eraser")


def test_whole_method_is_configured(tmp_path):
    assert configure(load(tmp_path), "fast").config.rate == 2.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(Method)", "", "Eraser is not a method: it must inherit from Method of benchmark.api."),
        ("name, summary, start =", "name, _, start =", "Eraser is not a complete method: it lacks summary: see"),
        ('"erases"', '""', "its summary must be a string of one line, not ''"),
        ("name, summary, start =", "name, summary, other =", "it lacks start"),
        ("def fit(", "def train(", "it lacks fit"),
        ("budget, context, seed", "budget", "its fit cannot be called as fit(self, student, materials,"),
        ("budget, context", "context, budget", "its fit has 'context' in a different position than fit(self, student,"),
        ("Config = Settings", "Config = {'rate': 1.0}", "its Config must be a pydantic model"),
        ("Config = Settings", "Config = Data", "its Config must be a pydantic model"),
        ("Config = Settings", "strength = 'size'; Config = Settings", "its strength must be a field of its Config"),
        ('"rate": 2.0', '"rat": 2.0', "Unknown eraser setting 'rat'. Did you mean 'rate'?"),
        ('"default": {}, ', "", 'its presets must be a dict of presets with "default" among them'),
        ('{"rate": 2.0}', "2.0", 'its presets must be a dict of presets with "default" among them'),
        ('identity(1.0, "Rate.")', "1.0", "Field 'rate' of Settings is declared neither as identity nor as runtime"),
        ("Config = Settings", "recipe, Config = '2', Settings", "its recipe must be an integer, not '2'"),
        ("Config = Settings", "erases, Config = 'no', Settings", "its erases must be True or False"),
    ],
)  # fmt: skip
def test_what_a_method_lacks_is_named(tmp_path, old, new, message):
    with pytest.raises(UsageError) as caught:
        configure(load(tmp_path, old, new))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def __init__(self, config):\n        1 / 0", "raises ZeroDivisionError: division by zero."),
        ("def __init__(self):\n        pass", "Eraser(config) raises TypeError: "),
        ("def __init__(self, config):\n        pass", "call super().__init__(config)"),
        ("@property\n    def own_share(self):\n        return 20", "own_share must be a share from 0 to 1, not 20"),
    ],
)
def test_method_that_cannot_be_made_is_refused(tmp_path, body, message):
    with pytest.raises(UsageError) as caught:
        configure(load(tmp_path, more=f"\n    {body}\n"))
    assert message in str(caught.value)


OBJECTIVE = """
from benchmark.api import UpperObjective

class Forget(UpperObjective):
    name, summary, asks = "forget", "answers nothing", ("null",)

    @staticmethod
    def target(answers, eta):
        return answers["null"]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(UpperObjective)", "", "is not an upper objective: it must inherit"),
        ("summary", "_", "it lacks summary"),
        ("def target", "def aim", "it lacks target"),
        ('("null",)', '"null"', "its asks must be a tuple of text, null, anchor"),
        ('("null",)', '("nul",)', "its asks must be a tuple of text, null, anchor"),
        ("    @staticmethod\n    def target(answers, eta)", "    def target(self, answers, eta)", "as a @staticmethod"),
    ],
)
def test_what_an_objective_lacks_is_named(tmp_path, old, new, message):
    path = tmp_path / "forget.py"
    path.write_text(OBJECTIVE)
    check_objective(f"{path}:Forget")
    assert old in OBJECTIVE
    path.write_text(OBJECTIVE.replace(old, new))
    with pytest.raises(UsageError) as caught:
        check_objective(f"{path}:Forget")
    assert message in str(caught.value)


INSTALLED = """
from parents_of_plugin import Parent as Elder
import parents_of_plugin
from methods.esd import Esd

class Tuple(Elder):
    name, summary, start = "t", "in a tuple", "pruned"
    presets = {**Elder.presets, "mine": {}}

class Child(Tuple):
    name = "c"

class Grandchild(parents_of_plugin.Parent):
    presets = parents_of_plugin.Parent.presets | {"more": {}}

class OfOurs(Esd): ...
"""


def test_list_reads_tuples_and_what_is_inherited(tmp_path, monkeypatch):
    (tmp_path / "parents_of_plugin.py").write_text(
        'class Parent:\n    summary: str = "of the parent"\n    presets = {"default": {}, "old": {}}\n'
    )
    (tmp_path / "installed_plugin.py").write_text(INSTALLED)
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint(name, f"installed_plugin:{name}", "palimpsest.methods")
              for name in ("Tuple", "Child", "Grandchild", "OfOurs")]  # fmt: skip
    assert [summary_of(point) for point in points[:3]] == ["in a tuple", "in a tuple", "of the parent"]
    assert summary_of(points[3]).startswith("negative guidance on the distilled model")
    assert [literal_keys(point, "presets") for point in points] == [
        ["default", "old", "mine"], ["default", "old", "mine"], ["default", "old", "more"],
        ["default", "paper", "released"],
    ]  # fmt: skip


def test_list_goes_on_where_a_plugin_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin.py").write_text("class Half(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("half", "broken_plugin:Half", "palimpsest.methods")
    assert summary_of(point) == "cannot be read: broken_plugin is not Python source"
    assert literal_keys(point, "presets") == []
