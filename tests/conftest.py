"""Stand-ins made once, by one of the test processes: mini on tiny weights, a testbed in real formats, a warm Python.

Nothing heavy is imported before a test needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from reliability import World


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that `make` fills in the first of the test processes that needs it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not Path(f"{folder}.made").exists():
            folder.mkdir()
            make(folder)
            Path(f"{folder}.made").touch()
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-in weights; read only."""
    from standin import write_weights

    return made_once(tmp_path_factory, "weights", write_weights)


@pytest.fixture
def standin(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Whoever asks for testbed `mini` gets the stand-in; its weights' folder."""
    from standin import install

    install(weights, monkeypatch.setattr)
    return weights


@pytest.fixture(scope="session")
def finished(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of one uninterrupted run on the stand-in; copy it before changing anything."""
    from standin import install, whole

    with pytest.MonkeyPatch.context() as patches:
        install(weights, patches.setattr)
        return made_once(tmp_path_factory, "finished", whole)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A testbed file, `tiny.toml`, with miniatures in real formats beside it; read only."""
    from miniature import write_testbed

    return made_once(tmp_path_factory, "tiny", write_testbed) / "tiny.toml"


@pytest.fixture(scope="session")
def world(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """What the trials of test_reliability_*.py start from, and what undisturbed commands leave."""
    from reliability import World

    return World(tmp_path_factory.mktemp("world"), weights)


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Path of an executable in the place of `sys.executable`, in which large packages are imported already."""
    import warm_python

    executable, process = made_once(tmp_path_factory, "warm", lambda folder: None) / "python", None
    with FileLock(f"{executable}.lock"):
        try:
            connection = warm_python.join(executable)
        except OSError:  # not started yet, or all test processes that needed it have ended
            connection, process = warm_python.start(executable)
    with closing(connection):
        yield str(executable)
    if process:
        process.wait()
