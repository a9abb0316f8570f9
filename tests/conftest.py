"""Stand-ins made once a session: mini on tiny weights, a testbed in real formats; nothing heavy before it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reliability import World


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-in weights; read only."""
    from standin import write_weights

    return write_weights(tmp_path_factory.mktemp("weights"))


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

    home = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patches:
        install(weights, patches.setattr)
        whole(home)
    return home


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A testbed file, `tiny.toml`, with miniatures in real formats beside it; read only."""
    from miniature import write_testbed

    return write_testbed(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def world(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """What the trials of test_reliability_*.py start from, and what undisturbed commands leave."""
    from reliability import World

    return World(tmp_path_factory.mktemp("world"), weights)
