"""A run that is killed with `kill -9` at one of four moments resumes to the same result."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from standin import whole
from test_run import same, without

VICTIM = """
import os, signal, sys
from pathlib import Path

import standin
from benchmark.store import durable, manifest

weights, homes = Path(sys.argv[1]), Path(sys.argv[2])


def killing(function, moment, count):
    def call(*args, **kwargs):
        nonlocal count
        count -= moment(*args)
        if count == 0:
            print("dying", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return call


MOMENTS = {
    # the tensors of the third checkpoint are written, its seal is not
    "checkpoint": (manifest, "seal", lambda folder, header: header["kind"] == "checkpoint", 3),
    # the pictures of the second shard are written, their seal is not
    "shard": (manifest, "seal", lambda folder, header: header["kind"] == "images", 2),
    # what the networks see in the second shard is written, its seal is not
    "look": (manifest, "seal", lambda folder, header: header["kind"] == "seen", 2),
    # the scores of the second record are written, the record is not
    "record": (durable, "write_bytes", lambda path, data: path.name.endswith(".record.json"), 2),
}
standin.install(weights)
for name, (owner, function, moment, count) in MOMENTS.items():
    child = os.fork()  # imports are paid for once; no thread has been started yet
    if child == 0:
        setattr(owner, function, killing(getattr(owner, function), moment, count))
        standin.whole(homes / name, alone=True)
        os._exit(0)
    print(name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
MOMENTS = ("checkpoint", "shard", "look", "record")


@pytest.fixture(scope="module")
def homes(weights: Path, finished: Path, warm_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs folders of killed runs, one a moment; base and reference were there before."""
    homes = tmp_path_factory.mktemp("killed")
    for moment in MOMENTS:
        without(finished, homes / moment)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTHONWARNINGS": "ignore"}
    command = [warm_python, "-c", VICTIM, str(weights), str(homes)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line != "dying"]
    assert said == [f"{moment} {-signal.SIGKILL}" for moment in MOMENTS], done.stderr
    return homes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_run_resumes_to_the_same_table_and_images(moment: str, homes: Path, finished: Path) -> None:
    home = homes / moment
    left = {
        "checkpoint": list(home.glob("scratch/model/*/checkpoint-*")),
        "shard": list(home.glob("tmp/*/*.png")),
        "look": [*home.glob("tmp/*/seen.safetensors"), *home.glob("artefacts/seen/*")],
        "record": list(home.glob("records/*.parquet")),
    }
    assert len(left[moment]) >= 2  # it was killed where it should be
    whole(home, alone=True)
    same(home, finished)
