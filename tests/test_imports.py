"""The shape of the house: which way imports go, how long files are, what starts quickly."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "benchmark": {"benchmark", "methods", "metrics", "prompts"},
    "methods": {"methods", "prompts"},
    "metrics": {"metrics"},
    "prompts": {"prompts"},
}
LEAVES = {"benchmark.errors", "benchmark.registry"}
"""What anyone may import: how to fail, and how a name becomes code."""
SOURCES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))
LONGEST = 450
HEAVY = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "accelerate",
    "open_clip",
    "torchmetrics",
    "nudenet",
    "scipy",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in SOURCES}


def imported(path: Path, everywhere: bool = True) -> set[str]:
    """Names of our modules that a file imports: anywhere in it, or only when it is itself imported."""
    nodes = list(ast.parse(path.read_text(encoding="utf-8")).body)
    found = set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif everywhere or not (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            nodes += list(ast.iter_child_nodes(node))
    return {name for name in found if name in MODULES or (name.split(".")[0] in ALLOWED and name.count(".") == 0)}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_one_way(path):
    mine = name_of(path).split(".")[0]
    upward = {name for name in imported(path) if name.split(".")[0] not in ALLOWED[mine]}
    assert upward <= {*LEAVES, "benchmark"}
    assert LEAVES & upward or not upward


def test_leaves_import_nothing_but_each_other():
    for leaf in LEAVES:
        assert imported(MODULES[leaf]) <= {*LEAVES, "benchmark"}


def test_there_are_no_circles():
    graph = {name: imported(path, everywhere=False) - {name} for name, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_the_error_tree_imports_nothing():
    tree = ast.parse(MODULES["benchmark.errors"].read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not imported(MODULES["benchmark"])


@pytest.mark.parametrize(
    "module",
    [
        "benchmark.cli",
        "benchmark.checkpoints",
        "benchmark.paths",
        "benchmark.provenance",
        "benchmark.records",
        "benchmark.registry",
        "benchmark.store",
        "prompts.concepts",
        "prompts.lists",
    ],
)
def test_what_answers_at_once_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("folder", [*ALLOWED, "tests"])
def test_no_file_is_a_house_of_its_own(folder):
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST} == {}


def tracked() -> list[Path]:
    """Files that are in git or would be, by `git add`; all in our folders where this is no checkout."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [path for folder in (*ALLOWED, "tests", "results") for path in (ROOT / folder).rglob("*") if path.is_file()]


def test_no_tracked_file_knows_whose_machine_it_was_written_on():
    paths = re.compile(r"(?<![\w.:/])/(?:home|Users|root|work|mnt|scratch)/\w|[A-Z]:\\Users\\")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights, pictures
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in paths.finditer(text)]
    assert found == []


def test_nothing_is_ever_unpickled():
    # Some checkpoints are published as .pth alone: torch reads their tensors without running what else is in them.
    banned = re.compile(
        r"\bimport pickle\b|\btorch\.load\((?!.*weights_only=True)|\btorch\.save\(|allow_pickle=True|\bimport joblib\b"
    )
    found = [
        f"{name}: {match.group()}" for name, path in MODULES.items() for match in banned.finditer(path.read_text())
    ]
    assert found == []
