"""mini on stand-in weights, made once a session; nothing heavy is imported before a test asks for it."""

from pathlib import Path

import pytest


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
