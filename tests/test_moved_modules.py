"""Plug-ins written for an older layout get one sentence that names the new import paths."""

import ast
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark import registry
from benchmark.api.request import Runtime
from benchmark.cli.app import app
from benchmark.console import Progress
from benchmark.errors import UsageError
from benchmark.moved_modules import MOVED, moved_imports
from benchmark.pipeline.setup import workbench_for

ROOT = Path(__file__).parents[1]
OLD = """
from methods.distilled import DistilledConfig
from methods.objectives import unlearning
from methods.training import Phase, freeze


class Hush:
    def fit(self, *given):
        from methods.views import noised
"""


def file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def names_in(path: Path) -> set[str]:
    names = set()
    for node in ast.parse(path.read_text()).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        names |= {sub.id for target in targets if target for sub in ast.walk(target) if isinstance(sub, ast.Name)}
        names |= {node.name} if hasattr(node, "name") else set()
    return names


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_new_paths_exist_and_old_ones_do_not(old: str, new: str) -> None:
    module, _, name = new.rpartition(".")
    assert file_of(new) or name in names_in(file_of(module))
    if path := file_of(old):
        assert path.name == "__init__.py"
        assert not names_in(path)


def test_old_name_of_a_workbench_property_is_refused_with_the_new_one(tmp_path: Path) -> None:
    bench = workbench_for(Runtime(device="cpu"), tmp_path, Progress())
    with pytest.raises(UsageError, match=r"^Workbench\.stated is now Workbench\.precision_entry: use the new name"):
        _ = bench.stated


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("import methods.views", {"methods.views": "methods.training.noising"}),
        ("from methods import views", {"methods.views": "methods.training.noising"}),
        ("from methods.training import train", {"methods.training.train": "methods.training.loop.train"}),
        ("from benchmark.suites import Artists", {"benchmark.suites.Artists": "benchmark.suites.artists.Artists"}),
        ("from benchmark.suites import Suite", {"benchmark.suites.Suite": "benchmark.api.suite.Suite"}),
        ("from methods.training import loop, losses\nimport methods.training\nfrom methods import esd", {}),
        ("try:\n    from methods.views import noised\nexcept ImportError:\n    noised = None", {}),
    ],
)
def test_moved_imports_are_found(source: str, changes: dict[str, str]) -> None:
    assert moved_imports(source) == changes


def test_method_file_of_the_old_layout_is_refused_with_the_new_paths(tmp_path: Path) -> None:
    file = tmp_path / "hush.py"
    file.write_text(OLD)
    result = CliRunner().invoke(
        app, ["run", "--method", f"{file}:Hush", "--suite", "artists", "--runs", str(tmp_path / "runs")]
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"error: {file} was written for an older version of palimpsest; change its imports: "
        "methods.objectives is now methods.training.losses; "
        "methods.training.Phase is now methods.training.loop.Phase; "
        "methods.training.freeze is now methods.training.loop.freeze; "
        "methods.views is now methods.training.noising.\n"
    )
    assert not (tmp_path / "runs" / "artefacts").exists()


@pytest.mark.parametrize("text", [OLD, "from older_parts import Hush", "import older_parts"])
def test_installed_plugin_of_the_old_layout_is_refused_with_the_new_paths(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "older_plugin.py").write_text(text)
    (tmp_path / "older_parts.py").write_text(OLD)
    info = tmp_path / "older_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: older-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[palimpsest.methods]\nolder = older_plugin:Hush\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("older_plugin", "older_parts"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(UsageError, match=r"older_\w+\.py was .* methods\.views is now methods\.training\.noising\.$"):
        registry.load("methods", "older")
