"""Imports user-provided files of plug-ins, together with the modules in their folder.

A module or package in the folder of a plug-in's file is a *sibling*. Siblings are found by reading import statements,
so no code is run to find them. They are imported under private names, so that plug-ins in different folders can have
siblings of the same name. As for a script, a sibling takes precedence over an installed package of the same name. The
standard library and the packages of this project take precedence over siblings.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

PRIVATE = "palimpsest_file_"
"""Prefix of the names under which folders of plug-ins are imported as packages."""
OURS = ("benchmark", "methods", "metrics", "prompts")


def siblings(path: Path) -> list[Path]:
    """Return the files in a plug-in's folder that it imports, directly or indirectly, sorted, without the file itself.

    Import statements inside functions are included. Modules with computed names (`importlib`) and data files are not.
    """
    folder = path.resolve().parent
    imported_files: set[Path] = set()
    waiting = [path.resolve()]
    while waiting:
        file = waiting.pop()
        for name in _imported_names(file.read_bytes(), _package_of(file, folder)):
            new_files = set(_files_of(folder, name)) - imported_files
            imported_files |= new_files
            waiting += new_files
    return sorted(imported_files - {path.resolve()})


def digest(path: Path) -> str:
    """Return the sha256 of a plug-in.

    It is that of the file if it has no siblings, else that of the checksums of the file and all siblings, with the
    siblings' paths relative to the folder.
    """
    text, folder = path.read_bytes(), path.resolve().parent
    files = siblings(path)
    if not files:
        return hashlib.sha256(text).hexdigest()
    parts = [hashlib.sha256(text).hexdigest()]
    parts += [
        f"{file.relative_to(folder).as_posix()} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def load_module(path: Path) -> ModuleType:
    """Import a plug-in's file with its siblings, unless they are imported already and unchanged.

    Exceptions that the file raises are passed on.
    """
    folder = path.resolve().parent
    key = hashlib.sha256(f"{path.resolve()}\0{digest(path)}".encode()).hexdigest()[:16]
    package_name = f"{PRIVATE}{key}"
    module_name = f"{package_name}.{path.stem.replace('.', '_')}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    if not any(isinstance(finder, _SiblingFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _SiblingFinder())
    package = ModuleType(package_name)
    package.__path__ = [str(folder)]
    package.__spec__ = ModuleSpec(package_name, None, is_package=True)
    sys.modules[package_name] = package
    loader = _Loader(module_name, str(path))
    spec = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    assert spec is not None  # true of every .py path
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # pydantic and dataclasses look up the module by name
    try:
        loader.exec_module(module)
    except BaseException:
        for name in [name for name in sys.modules if name == package_name or name.startswith(f"{package_name}.")]:
            del sys.modules[name]
        raise
    return module


class _SiblingFinder:
    """Finds modules under the private names of folders."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not name.startswith(PRIVATE):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader) and spec.origin:
            spec.loader = _Loader(name, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    """Runs a file so that its import statements, including those in functions, find siblings first."""

    def get_code(self, fullname: str) -> Any:
        # No cached bytecode: a file edited twice within a second can have the same size and time as the cached version.
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        package_name = module.__name__.partition(".")[0]
        folder = Path(sys.modules[package_name].__path__[0])

        def import_(
            name: str,
            globals: Mapping[str, Any] | None = None,
            locals: Mapping[str, Any] | None = None,
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> ModuleType:
            if level or not _is_sibling(folder, name.partition(".")[0]):
                return builtins.__import__(name, globals, locals, fromlist or (), level)
            private_name = f"{package_name}.{name}"
            if fromlist:
                return builtins.__import__(private_name, globals, locals, fromlist, 0)
            importlib.import_module(private_name)
            return sys.modules[f"{package_name}.{name.partition('.')[0]}"]

        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": import_}
        super().exec_module(module)


def _is_sibling(folder: Path, top_name: str) -> bool:
    """Return whether a module of this name is imported from the folder."""
    if not top_name or top_name in OURS or top_name in sys.stdlib_module_names:
        return False
    if (folder / f"{top_name}.py").is_file() or (folder / top_name / "__init__.py").is_file():
        return True
    if not any((folder / top_name).glob("*.py")):
        return False
    installed = PathFinder.find_spec(top_name)  # a folder without __init__.py comes after installed packages
    return installed is None or installed.origin is None


def _files_of(folder: Path, name: str) -> Iterator[Path]:
    """Yield the files that importing `name` ("a.b.c", "a.*") from the folder runs; none if it is not a sibling."""
    parts = name.split(".")
    if not _is_sibling(folder, parts[0]):
        return
    path = folder
    for part in parts:
        if part == "*":
            yield from path.glob("*.py")
            return
        path = path / part
        if (path / "__init__.py").is_file():
            yield path / "__init__.py"
        elif path.with_name(f"{part}.py").is_file():
            yield path.with_name(f"{part}.py")
            return
        elif not path.is_dir():
            return


def _package_of(file: Path, folder: Path) -> tuple[str, ...]:
    """Return the package of a file relative to the folder, from which its relative imports start."""
    return file.relative_to(folder).parts[:-1]


@lru_cache(maxsize=256)
def _imported_names(source: bytes, package: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dotted names in import statements that can be modules; empty if the source cannot be parsed."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return ()  # the error is reported when the file is loaded
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level > len(package) + 1:
                continue
            start = package[: len(package) + 1 - node.level] if node.level else ()
            module = (*start, *(node.module.split(".") if node.module else ()))
            names += [".".join((*module, alias.name)) for alias in node.names]
    return tuple(names)
