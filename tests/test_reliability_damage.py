"""100 damaged files: each is noticed and made again, or refused in one sentence; no figure ever changes.

A file is damaged by a flipped bit, by truncation, by loss of its contents, by a foreign file in its place, or as a
manifest of which only a part was written. What is computed from the damaged artefact is removed first, so that the
command has to read it.

Not covered: a flipped bit in the JSON file of a record. Records have no checksum of their own (they may be edited by
hand), so a digit that became another one is not noticed before the run is repeated. git notices it in committed ones.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from forked import Ended, Fault, Job, run
from reliability import World, left_over
from trials import Trial, numbers, recorded

FILE = Path(__file__).name
pytestmark = pytest.mark.timeout(3600)  # the first trial makes what others start from
HTML = b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n"
CHAIN = ("pruned", "latents", "model", "images", "seen", "features")
"""Kinds of artefacts; each is computed from kinds before it."""
STORED = (*CHAIN, "cost", "experts", "images", "features")
"""Kinds that are damaged in turn; pictures and features, of which there are most, more often."""


def flip(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "a flipped bit": flip,
    "truncation": lambda data, rng: data[: rng.randrange(1, max(2, len(data)))],
    "loss of its contents": lambda data, rng: b"",
    "a foreign file": lambda data, rng: HTML,
}


def damage(path: Path, rng: random.Random, facts: dict[str, Any], top: Path, but: str = "") -> None:
    """Damage a file in one of the ways of `DAMAGES` except `but`, and note it in `facts`."""
    name = rng.choice([name for name in DAMAGES if name != but])
    data = path.read_bytes()
    harmed = DAMAGES[name](data, rng)
    assert harmed != data
    path.chmod(0o644)
    path.write_bytes(harmed)
    what = "half of a manifest" if path.name == "artefact.json" and name == "truncation" else name
    facts["what"] = f"{what} in {path.relative_to(top)}"


def one_sentence(ended: Ended, *words: str) -> None:
    """Fail unless the command was refused in one sentence that contains one of the words."""
    assert ended.code == 2, (ended.code, ended.err[-2000:])
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, ended.err
    assert "Traceback" not in ended.err
    assert any(word in lines[0] for word in words), lines[0]


def stored(world: World, folder: Path, rng: random.Random, facts: dict[str, Any]) -> None:
    """An artefact of the store is set aside with one line, and computed again."""
    kind = STORED[rng.randrange(len(STORED))]
    harmed(world, folder, rng, facts, kind)


def harmed(world: World, folder: Path, rng: random.Random, facts: dict[str, Any], kind: str) -> None:
    name = facts["command"] = "prune aptp" if kind == "experts" else "run"
    shutil.copytree(world.finished(name), folder, symlinks=True)
    home = folder / "runs"
    files = [path for path in sorted((home / "artefacts" / kind).glob("*/**/*")) if path.is_file()]
    path = rng.choice(files)
    damage(path, rng, facts, home)
    later = CHAIN[CHAIN.index(kind) + 1 :] if kind in CHAIN else CHAIN[2:] if kind == "cost" else ()
    for computed in (*(f"artefacts/{later_kind}" for later_kind in later), "records", "images"):
        shutil.rmtree(home / computed, ignore_errors=True)
    ended = run(world.job(name, folder))
    key = path.relative_to(home / "artefacts" / kind).parts[0]
    lines = [line for line in ended.err.splitlines() if "damaged" in line]
    assert len(lines) == 1, ended.err[-3000:]
    assert f"{kind}/{key}" in lines[0]
    assert [aside.name for aside in (home / "damaged").iterdir()] == [f"{kind}-{key}-1"]
    shutil.rmtree(home / "damaged")
    world.check(name, folder, ended)


def record(world: World, folder: Path, rng: random.Random, facts: dict[str, Any]) -> None:
    """A damaged record is refused in one sentence by commands that show it, and the run writes it again."""
    facts["command"] = "run"
    shutil.copytree(world.finished("run"), folder, symlinks=True)
    records = folder / "runs" / "records"
    is_json = rng.random() < 0.5
    paths = sorted(records.glob("*.record.json") if is_json else records.glob("mini-[bd][ai]s*.parquet"))
    path = rng.choice(paths)
    damage(path, rng, facts, folder / "runs", but="a flipped bit" if is_json else "")
    words = ("table",) if is_json else ("compare", "base", "distilled")
    shown = run(Job((*words, "--records", "runs/records"), folder, world.weights, name="shown"))
    one_sentence(shown, path.name)
    world.check("run", folder, run(world.job("run", folder)))


def exported(world: World, folder: Path, rng: random.Random, facts: dict[str, Any]) -> None:
    """A damaged file of an exported pipeline is refused in one sentence, or plays no part in the figures."""
    facts["command"] = "eval"
    shutil.copytree(world.finished("eval"), folder, symlinks=True)
    files = [path for path in sorted((folder / "exported").rglob("*")) if path.is_file()]
    weights = [path for path in files if path.suffix == ".safetensors"]
    damage(rng.choice(weights if rng.random() < 0.5 else files), rng, facts, folder)
    ended = run(world.job("eval", folder))
    if ended.code == 0:
        world.check("eval", folder, ended)
    else:
        one_sentence(ended, "exported", "theirs")


def checkpoint(world: World, folder: Path, rng: random.Random, facts: dict[str, Any]) -> None:
    """A damaged checkpoint of a training is not used; the one before is."""
    facts["command"] = "run"
    shutil.copytree(interrupted(world), folder, symlinks=True)
    newest = max(folder.glob("runs/scratch/model/*/checkpoint-*"), key=lambda path: path.name)
    damage(rng.choice([path for path in sorted(newest.rglob("*")) if path.is_file()]), rng, facts, folder / "runs")
    ended = run(world.job("run", folder))
    assert len([line for line in ended.err.splitlines() if "damaged" in line]) == 1, ended.err[-3000:]
    shutil.rmtree(folder / "runs" / "damaged", ignore_errors=True)
    world.check("run", folder, ended)


def interrupted(world: World) -> Path:
    """A runs folder of a training that was killed after its second checkpoint."""
    folder = world.folder / "interrupted"
    if folder.exists():
        return folder
    events = world.undisturbed("run")[1].events
    for event in range(events // 8, events, 6):
        tried = world.copy("run", world.folder / f"interrupted-{event}")
        run(world.job("run", tried, Fault(event=event)))
        if len(list(tried.glob("runs/scratch/model/*/checkpoint-*"))) == 2:
            return tried.rename(folder)
    raise AssertionError("there is no moment with two checkpoints")


def shipped_weights(world: World, folder: Path, rng: random.Random, facts: dict[str, Any]) -> None:
    """A damaged file of the testbed's weights is refused in one sentence before anything is computed."""
    facts["command"] = "prune aptp"
    world.copy("prune aptp", folder)
    weights = folder / "weights"
    shutil.copytree(world.weights, weights)
    files = [path for path in sorted(weights.rglob("*")) if path.is_file()]
    damage(rng.choice(files), rng, facts, folder)
    ended = run(replace(world.job("prune aptp", folder), weights=weights))
    one_sentence(ended, "weights are damaged")
    assert "search" not in ended.err
    assert left_over(folder) == []


TARGETS = (stored, record, stored, exported, stored, stored, checkpoint, stored, record, shipped_weights)
FAST = (partial(harmed, kind="experts"), shipped_weights)
"""What the usual test suite does."""


@pytest.mark.parametrize(("number", "recording"), numbers(100, usual=2))
def test_damaged_file_is_noticed_and_changes_no_figure(
    number: int, recording: bool, world: World, tmp_path: Path
) -> None:
    trial, target = Trial("damage", number), (TARGETS if recording else FAST)[number % len(TARGETS)]
    test = f"{FILE}::test_damaged_file_is_noticed_and_changes_no_figure[trial-{number:03d}]"
    with recorded(trial, test, recording):
        target(world, tmp_path / "trial", trial.rng, trial.facts)
