"""Text files with a UTF-8 byte order mark are read, and pipes are read once or refused."""

import codecs
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from public_lists import SECRET, table
from tiny import SCHEDULER, tiny_unet
from typer.testing import CliRunner

from benchmark import registry
from benchmark.cli.app import app
from benchmark.cost.estimate import Speeds
from benchmark.errors import DataError
from benchmark.experiments.campaign import read_plan
from benchmark.models.external_checkpoint import Checkpoint, load, locate
from benchmark.plugin_source.classes import read_module
from benchmark.suites.prompt_lists import find
from benchmark.testbeds.stable_diffusion.definition import read
from methods.pruning.architecture import Architecture, gates, read_pruned, width, write_pruned
from prompts.lists import read_prompts

MARK = codecs.BOM_UTF8


def marked(path: Path, text: str) -> Path:
    path.write_bytes(MARK + text.encode())
    return path


# a mark in front


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_testbed_file_with_a_byte_order_mark_is_read(end: str, tmp_path: Path) -> None:
    parent = marked(tmp_path / "parent.toml", f'like = "sd21"{end}steps = 7{end}')
    child = marked(tmp_path / "child.toml", f'like = "{parent.name}"{end}name = "mine"{end}')
    assert (read(child).name, read(child).steps) == ("mine", 7)


def test_campaign_plan_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    text = "--method uce --suite coco\r\n# more\r\n"
    assert read_plan(marked(tmp_path / "plan.txt", text)) == [["--method", "uce", "--suite", "coco"]]


def test_prompt_list_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = marked(tmp_path / "titles.csv", "id,text,seed,part\nx,a fish,7,kept\n")
    assert [prompt.text for prompt in read_prompts(path)] == ["a fish"]


def test_rehearsal_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    row = {"kind": "train", "error": None, "flops": 6e12, "seconds": 2.0}
    path = marked(tmp_path / "rehearsal.json", json.dumps({"rows": [row], "device": "X", "testbed": "sd21-rehearsal"}))
    assert Speeds.of_rehearsal(path).of("train") == 3e12


def test_model_files_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    base = tiny_unet(0)
    whole = Architecture.of(base, {name: range(width(gate)) for name, gate in gates(base).items()})
    theirs = tmp_path / "pruned"
    theirs.mkdir()
    write_pruned(theirs, base, whole)
    for name in ("config.json", "architecture.json"):
        marked(theirs / name, (theirs / name).read_text())
    assert read_pruned(theirs)[1].to_json() == whole.to_json()
    base.save_pretrained(tmp_path / "pipeline" / "unet")
    (tmp_path / "pipeline" / "scheduler").mkdir()
    marked(tmp_path / "pipeline" / "scheduler" / "scheduler_config.json", json.dumps(SCHEDULER))
    found = load(locate(str(tmp_path / "pipeline")), base, SCHEDULER)
    assert found.config["in_channels"] == 4
    cut = Checkpoint("diffusers", tmp_path / "pipeline" / "unet", architecture=theirs / "architecture.json")
    assert load(cut, base, SCHEDULER).config["in_channels"] == 4


def test_plugin_with_a_byte_order_mark_is_loaded_and_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = marked(tmp_path / "theirs.py", "class Hush:\n    presets = {'default': {}, 'harder': {}}\n")
    assert registry.load("methods", f"{path}:Hush").presets == {"default": {}, "harder": {}}
    monkeypatch.syspath_prepend(tmp_path)
    point = registry.EntryPoint("hush", "theirs:Hush", "palimpsest.methods")
    assert read_module(point.module) is not None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("like = 5", "'like' is 5, but must be a string"),
        ('networks = "clip"', "'networks' is 'clip', and should be a table"),
    ],
)
def test_testbed_value_of_wrong_type_is_refused(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"{line}\n" if line.startswith("like") else f'like = "sd21"\n{line}\n')
    with pytest.raises(DataError, match=told):
        read(path)


# pipes


def piped(path: Path, data: bytes) -> threading.Thread:
    """A named pipe that gives these bytes to the first who reads it, and nothing to a second."""
    os.mkfifo(path)

    def write() -> None:
        path.write_bytes(data)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("command", ["check", "add"])
def test_prompt_list_is_read_from_a_pipe(command: str, tmp_path: Path) -> None:
    """As bash gives it: `bench prompts add i2p <(gunzip -c list.csv.gz)`."""
    home = tmp_path / "runs"
    listed = tmp_path / "list.csv"
    listed.write_text(table("i2p"))
    code = "import sys; from benchmark.cli.app import main; sys.argv[0] = 'bench'; main()"
    words = ["prompts", command, "i2p", "/dev/fd/0", *(["--testbed", "sd21"] if command == "add" else [])]
    with subprocess.Popen(["cat", str(listed)], stdout=subprocess.PIPE) as source:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], stdin=source.stdout, capture_output=True, text=True, check=False,
            env=os.environ | {"PALIMPSEST_HOME": str(home)}, cwd=Path(__file__).parents[1],
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("i2p: 4 rows")
    assert SECRET not in done.stdout + done.stderr
    if command == "add":
        assert len(find(home, "i2p").rows) == 4


def test_campaign_plan_is_read_from_a_pipe(tmp_path: Path) -> None:
    piped(tmp_path / "plan", b"--method uce --suite coco\n")
    assert read_plan(tmp_path / "plan") == [["--method", "uce", "--suite", "coco"]]


def test_weights_or_architecture_from_a_pipe_are_refused(tmp_path: Path) -> None:
    base = tiny_unet(0)
    base.save_pretrained(tmp_path / "unet")
    os.mkfifo(tmp_path / "pipe.json")
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(DataError, match=r"pipe\.safetensors is a named pipe or a device file: copy its contents"):
        locate(str(tmp_path / "pipe.safetensors"))
    cut = Checkpoint("diffusers", tmp_path / "unet", architecture=tmp_path / "pipe.json")
    with pytest.raises(DataError, match=r"pipe\.json is a named pipe or a device file: copy its contents"):
        load(cut, base, SCHEDULER)


def test_rehearsal_is_read_from_a_pipe(tmp_path: Path) -> None:
    row = {"kind": "train", "error": None, "flops": 6e12, "seconds": 2.0}
    data = json.dumps({"rows": [row], "device": "X", "testbed": "sd21-rehearsal"}).encode()
    piped(tmp_path / "rehearsal.json", data)
    words = ["estimate", "--method", "distilled", "--suite", "coco", "--testbed", "sd21", "--from"]
    result = CliRunner().invoke(app, [*words, str(tmp_path / "rehearsal.json")])
    assert result.exit_code == 0, result.output
    assert "X, measured by `bench rehearse` on sd21-rehearsal" in result.output
