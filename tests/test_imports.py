"""Code layout: import directions, the order of rooms, file lengths, and modules that import without heavy packages.

A room is a folder one level below a package (deeper folders belong to it) or a module directly in a package.
"""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "benchmark": {"benchmark", "methods", "metrics", "prompts"},
    "methods": {"methods", "prompts"},
    "metrics": {"metrics"},
    "prompts": {"prompts"},
}
LEAVES = {
    "benchmark.errors",
    "benchmark.json_types",
    "benchmark.moved_modules",
    "benchmark.plugin_source",
    "benchmark.plugin_source.classes",
    "benchmark.plugin_source.files",
    "benchmark.plugin_source.installed",
    "benchmark.registry",
}
"""What all packages may import: how to fail, what JSON objects are called, and how a name becomes code."""
FLOORS = (
    "benchmark.errors benchmark.json_types benchmark.moved_modules benchmark.plugin_source benchmark.launcher "
    "benchmark.parallel "
    "benchmark.stats metrics.base metrics.encoders prompts.parquet",
    "benchmark.registry benchmark.hardware benchmark.console prompts.concepts prompts.tables prompts.artists "
    "prompts.decoys prompts.figures methods.budget methods.config_fields methods.objective methods.sampling_steps "
    "methods.quantization "
    "metrics.networks "
    "metrics.detectors metrics.clip metrics.cp metrics.csd metrics.drift metrics.fid metrics.kid metrics.oracle",
    "prompts.lists prompts.sources methods.costs methods.sampling benchmark.hub",
    "prompts.rows prompts.texts methods.base",
    "prompts.public methods.kept_names methods.training methods.uce benchmark.store",
    "methods.pruning methods.uce_captions benchmark.records benchmark.contact_sheet benchmark.tracking",
    "methods.distilled methods.esd methods.conceptprune benchmark.api",
    "methods.bilevel benchmark.models benchmark.suites benchmark.testbeds",
    "methods.esd_kd benchmark.generation benchmark.tables benchmark.doctor benchmark.plugin_checks",
    "benchmark.pipeline benchmark.figures",
    "benchmark.cost benchmark.experiments benchmark.export benchmark.jobs benchmark.report",
    "benchmark.cli",
    "benchmark.__main__ benchmark.library",
)
"""The order of the rooms, lowest floor first. A room imports from lower floors alone; CONTRIBUTING.md draws it."""
SOURCES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))
LONGEST, USUAL, FLAT = 400, 110, 16
"""Lines of the longest file, at most; of the median file; Python files that lie flat in benchmark/."""
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


def imported(path: Path) -> set[str]:
    """Names of our modules that a file imports anywhere: at its top, late, or for type checkers alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            names |= {full[name] if full[name] in MODULES else str(node.module) for name in full}
    return names & MODULES.keys()


LAZY = {"benchmark", "metrics"}
"""Packages that name their public functions and import them at their first use."""
GRAPH = {name: set() if name in LAZY else imported(path) - {name} for name, path in MODULES.items()}


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}


@pytest.mark.parametrize("module", GRAPH)
def test_packages_import_one_way(module):
    outside = {name for name in GRAPH[module] if name.split(".")[0] not in ALLOWED[module.split(".")[0]]}
    assert outside <= LEAVES


def test_leaves_import_only_each_other():
    for leaf in LEAVES:
        assert GRAPH[leaf] <= LEAVES


def test_imports_have_no_cycles():
    TopologicalSorter(GRAPH).prepare()  # CycleError names the circle


def test_every_room_is_assigned_to_a_floor():
    assert {room_of(module) for module in MODULES if "." in module} == FLOOR_OF.keys()


@pytest.mark.parametrize("module", [module for module in GRAPH if "." in module])
def test_rooms_import_only_from_lower_floors(module):
    room = room_of(module)
    others = {room_of(name): name for name in GRAPH[module] if room_of(name) != room}
    assert {name for other, name in others.items() if FLOOR_OF[other] >= FLOOR_OF[room]} == set()


def test_every_room_folder_has_a_docstring():
    folders = {path.parent for path in SOURCES if len(path.relative_to(ROOT).parts) == 3}
    assert {
        str(folder) for folder in folders if not ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    } == set()


def test_late_and_type_checking_imports_are_collected(tmp_path):
    file = tmp_path / "late.py"
    file.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from benchmark.cli import app\n"
        "def late():\n    import benchmark.pipeline.run\n    from benchmark.store import paths\n"
    )
    assert imported(file) == {"benchmark.cli.app", "benchmark.pipeline.run", "benchmark.store.paths"}


def test_diagram_in_contributing_matches_the_floors():
    drawn = re.search(r"```text\n( *floor .*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    assert drawn
    head, *lines = [line.split("│") for line in drawn[1].splitlines()]
    floors: list[set[str]] = []
    for number, *cells in lines:
        if number.strip():
            floors.append(set())
        for package, cell in zip(head[1:], cells, strict=True):
            floors[-1] |= {f"{package.strip()}.{room}" for room in cell.split()}
    assert floors[::-1] == [set(rooms.split()) for rooms in FLOORS]


def test_errors_module_imports_nothing():
    tree = ast.parse(MODULES["benchmark.errors"].read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not GRAPH["benchmark"]


@pytest.mark.parametrize(
    "module",
    [
        "benchmark.cli.app",
        "benchmark.store.checkpoints",
        "benchmark.store.paths",
        "benchmark.records.provenance",
        "benchmark.records.record",
        "benchmark.registry",
        "benchmark.store.artefacts",
        "prompts.concepts",
        "prompts.lists",
    ],
)
def test_light_modules_avoid_heavy_imports(module):
    code = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def lines_of(paths) -> dict[str, int]:
    return {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}


@pytest.mark.parametrize("folder", [*ALLOWED, "tests"])
def test_no_file_is_too_long(folder):
    lines = lines_of((ROOT / folder).rglob("*.py"))
    assert {path: count for path, count in lines.items() if count > LONGEST} == {}


def test_the_median_file_is_short():
    assert median(lines_of(path for path in SOURCES if path.name != "__init__.py").values()) <= USUAL


def test_benchmark_package_has_few_top_level_modules():
    assert len(list((ROOT / "benchmark").glob("*.py"))) <= FLAT


def tracked() -> list[Path]:
    """Files that are in git or would be, by `git add`; all in our folders where this is no checkout."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [path for folder in (*ALLOWED, "tests", "results") for path in (ROOT / folder).rglob("*") if path.is_file()]


def test_tracked_files_contain_no_machine_paths():
    paths = re.compile(r"(?<![\w.:/])/(?:home|Users|root|work|mnt|scratch)/\w|[A-Z]:\\Users\\")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights, pictures
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in paths.finditer(text)]
    assert found == []


def test_source_never_loads_pickles():
    # Some checkpoints are published as .pth alone: torch reads their tensors without running what else is in them.
    banned = re.compile(
        r"\bimport pickle\b|\btorch\.load\((?!.*weights_only=True)|\btorch\.save\(|allow_pickle=True|\bimport joblib\b"
    )
    found = [
        f"{name}: {match.group()}" for name, path in MODULES.items() for match in banned.finditer(path.read_text())
    ]
    assert found == []
