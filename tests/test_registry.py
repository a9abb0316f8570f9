"""Registry: names are resolved to code lazily, and wrong names get a helpful error."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.errors import UsageError
from benchmark.plugin_source import installed

METHOD = """
from dataclasses import dataclass

@dataclass
class Eraser:
    strength: float = 1.0

class Other:
    pass
"""


@pytest.fixture
def points(monkeypatch):
    """Install the given entry points in place of the real ones."""

    def install(*pairs: tuple[str, str]) -> None:
        found = [EntryPoint(name, value, "palimpsest.methods") for name, value in pairs]
        monkeypatch.setattr(registry, "entry_points", lambda group: found if group == "palimpsest.methods" else [])

    return install


def test_installed_packages_are_read_once_for_each_search_path(monkeypatch, tmp_path):
    real, calls = installed.metadata.entry_points, []
    monkeypatch.setattr(installed.metadata, "entry_points", lambda: calls.append(1) or real())
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert "esd" in registry.names("methods")
    assert "clip" in registry.names("metrics")
    assert len(calls) == 1
    info = tmp_path / "more" / "theirs-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[palimpsest.methods]\ntheirs = theirs:Method\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "more")])
    assert "theirs" in registry.names("methods")
    assert len(calls) == 2


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my eraser.py"
    path.write_text(METHOD)
    return path


def test_built_in_plugins_are_registered():
    assert {"distilled", "bilevel"} <= set(registry.names("methods"))
    assert "artists" in registry.names("suites")
    assert "mini" in registry.names("testbeds")
    assert "fid" in registry.names("metrics")
    assert "magnitude" in registry.names("prunings")


def test_unknown_name_gets_a_suggestion_and_the_full_list(points):
    points(("distilled", "x:X"), ("bilevel", "x:Y"))
    with pytest.raises(UsageError) as caught:
        registry.load("methods", "Bilevle")
    assert str(caught.value) == "Unknown method 'Bilevle'. Did you mean 'bilevel'? Available: bilevel, distilled."
    assert caught.value.exit_code == 2


def test_suggestion_is_given_only_for_a_similar_name():
    error = registry.unknown("artist", "zzz", ["Claude Monet"])
    assert str(error) == "Unknown artist 'zzz'. Available: Claude Monet."
    assert "Did you mean 'Claude Monet'?" in str(registry.unknown("artist", "claude monnet", ["Claude Monet"]))


def test_listing_names_imports_no_plugin(points):
    points(("broken", "no_such_module_anywhere:X"))
    assert registry.names("methods") == ["broken"]
    with pytest.raises(UsageError, match="Unknown"):
        registry.load("methods", "wrong")
    with pytest.raises(UsageError, match=r"'broken' cannot be loaded from no_such_module_anywhere:X \(No module"):
        registry.load("methods", "broken")


def test_registered_name_is_loaded(points):
    points(("path", "pathlib:Path"))
    assert registry.load("methods", "path") is Path


def test_name_registered_by_two_packages_is_refused(points):
    points(("eraser", "a:X"), ("eraser", "b:X"))
    with pytest.raises(UsageError, match=r"Two installed packages define the method 'eraser' \(a:X and b:X\)"):
        registry.names("methods")
    points(("eraser", "a:X"), ("eraser", "a:X"))  # one package, found twice on the path
    assert registry.names("methods") == ["eraser"]


def test_unknown_group_raises_value_error():
    with pytest.raises(ValueError, match="no such group"):
        registry.names("method")


def test_a_method_is_loaded_from_a_file_without_installing_it(file):
    method = registry.load("methods", f"{file}:Eraser")
    assert method().strength == 1.0


def test_files_of_the_same_name_load_as_separate_modules(file, tmp_path):
    other = tmp_path / "deeper" / file.name
    other.parent.mkdir()
    other.write_text(METHOD.replace("1.0", "2.0"))
    first, second = (registry.load("methods", f"{path}:Eraser") for path in (file, other))
    assert (first().strength, second().strength) == (1.0, 2.0)
    assert first.__module__ != second.__module__


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{file}:Erasor", "Unknown class in {file} 'Erasor'. Did you mean 'Eraser'? Available: Eraser, Other."),
        ("{file}", "'{file}' names a file, but no class or function in it: write path/to/file.py:Name."),
        ("{file}:", "'{file}:' names a file, but no class or function in it: write path/to/file.py:Name."),
        ("no/such.py:Eraser", "The file no/such.py to load 'Eraser' from does not exist."),
    ],
)
def test_missing_file_or_class_gives_one_sentence(file, name, message):
    with pytest.raises(UsageError) as caught:
        registry.load("methods", name.format(file=file))
    assert str(caught.value) == message.format(file=file)


@pytest.mark.parametrize("source", ["class Eraser(:\n", "import no_such_module_anywhere\n", "1 / 0\n"])
def test_file_that_fails_to_import_gives_one_sentence(file, source):
    file.write_text(source)
    before = set(sys.modules)
    with pytest.raises(UsageError, match=r"cannot be loaded \((SyntaxError|ModuleNotFoundError|ZeroDivisionError): "):
        registry.load("methods", f"{file}:Eraser")
    assert not {name for name in set(sys.modules) - before if name.startswith("palimpsest_file_")}


@pytest.mark.parametrize("group", sorted(set(registry.GROUPS) - {"prunings"}))
def test_classes_of_every_group_are_loaded_from_files(group, file):
    assert registry.load(group, f"{file}:Eraser")().strength == 1.0


def test_prunings_must_be_functions_and_methods_classes(file):
    file.write_text(METHOD + "from functools import partial\n\ndef cut(): ...\n\nseeded, LIMIT = partial(cut), 3\n")
    assert callable(registry.load("prunings", f"{file}:cut"))
    assert callable(registry.load("prunings", f"{file}:seeded"))
    for name in ("Eraser", "LIMIT", "cutt"):
        with pytest.raises(UsageError, match=f"Unknown function in .* '{name}'.* Available: cut"):
            registry.load("prunings", f"{file}:{name}")
    with pytest.raises(UsageError, match=r"Unknown class in .* 'cut'.* Available: Eraser, Other"):
        registry.load("methods", f"{file}:cut")


def test_editing_a_file_changes_its_fingerprint(file):
    before = registry.fingerprint(f"{file}:Eraser")
    assert before == registry.fingerprint(f"{file}:Other")
    file.write_text(METHOD + "# tried something\n")
    assert registry.fingerprint(f"{file}:Eraser") != before
    assert registry.fingerprint("bilevel") is None


def test_listing_every_group_needs_no_torch():
    code = (
        "import sys; from benchmark import registry; [registry.names(group) for group in registry.GROUPS]; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
