"""`bench campaign --on local` executes the same scripts as processes, and finds what runs share."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli import answer, bench

from benchmark.api.request import RunRequest
from benchmark.cli.run_options import RunOptions
from benchmark.errors import StoreError
from benchmark.jobs import script
from benchmark.jobs.references import Line, reference_request, words_of
from benchmark.jobs.stages import Order, orders
from benchmark.pipeline import run_cache
from benchmark.store import shared_folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a campaign whose runs append their method to the file `executed` and fail for `uce`."""

    def command(words, runs, gpus) -> list[str]:
        method = words[list(words).index("--method") + 1]
        return ["bash", "-c", f"echo {method} >> executed; echo error: {method}; [ {method} != uce ]"]

    monkeypatch.setattr(run_cache, "find", lambda request: None)
    monkeypatch.setattr(run_cache, "keeps_receipts", lambda request: False)  # a job that succeeded is finished
    monkeypatch.setattr(script, "command", command)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.txt").write_text("--method {bilevel,uce,esd} --suite artists\n")
    return tmp_path


def executed(place: Path) -> list[str]:
    return (place / "executed").read_text().split()


def states() -> dict[str, tuple[str, str]]:
    rows = json.loads(bench("campaign", "plan.txt", "--runs", "runs", "--status", "--format", "json").stdout)
    return {row["script"].split("-")[-2]: (row["state"], row["details"]) for row in rows}


def test_local_jobs_run_after_their_reference_and_a_repeated_campaign_runs_the_failed_ones(place) -> None:
    result = bench("campaign", "plan.txt", "--runs", "runs", "--on", "local", "--lanes", "2")
    assert result.exit_code == 1
    assert "✗ 003-uce-artists.sh: error: uce" in result.stderr
    assert executed(place)[0] == "distilled"
    assert sorted(executed(place)) == ["bilevel", "distilled", "esd", "uce"]
    assert states() == {
        "distilled": ("done", ""),
        "bilevel": ("done", ""),
        "uce": ("failed", "error: uce"),
        "esd": ("done", ""),
    }
    assert bench("campaign", "plan.txt", "--runs", "runs", "--on", "local").exit_code == 1
    assert executed(place)[4:] == ["uce"]


def test_runs_whose_reference_failed_are_not_started(place, monkeypatch) -> None:
    monkeypatch.setattr(script, "command", lambda words, runs, gpus: ["bash", "-c", "echo x >> executed; exit 3"])
    result = bench("campaign", "plan.txt", "--runs", "runs", "--on", "local")
    assert result.exit_code == 1
    assert executed(place) == ["x"]
    assert result.stderr.count("not started, because 001-distilled-artists.sh failed") == 3


def test_local_campaign_is_cancelled_with_its_processes(place) -> None:
    """The campaign is a process of its own; its run would last a minute."""
    code = (
        "from benchmark.jobs import script\n"
        "from benchmark.cli.app import main\n"
        "script.command = lambda *_: ['bash', '-c', 'echo begun; exec sleep 60']\n"
        "main()\n"
    )
    (place / "plan.txt").write_text("--method uce --suite artists --seed {5,6} --reference base\n")
    words = ["campaign", "plan.txt", "--runs", "runs", "--on", "local"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 120
        while not any("begun" in log.read_text() for log in place.glob("runs/campaign/plan/*.log")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        rows = json.loads(bench("campaign", "plan.txt", "--runs", "runs", "--status", "--format", "json").stdout)
        assert [row["state"] for row in rows] == ["running", "waiting"]
        assert bench("campaign", "plan.txt", "--runs", "runs", "--cancel").stdout == "2 jobs cancelled\n"
        assert process.wait(60) == 128 + signal.SIGTERM
    rows = json.loads(bench("campaign", "plan.txt", "--runs", "runs", "--status", "--format", "json").stdout)
    assert [row["state"] for row in rows] == ["cancelled", "cancelled"]


def line(*words: str) -> Line:
    options = shlex.split(" ".join(words))
    values: dict = {"method": "", "suite": "artists"}
    pairs = zip(options[::2], options[1::2], strict=True)
    values |= {key.removeprefix("--").replace("-", "_"): value for key, value in pairs}
    values["seed"] = int(values.get("seed", 0))
    return Line(tuple(options), tuple(RunOptions(**values).requests()))


def test_a_reference_is_a_job_only_if_two_runs_need_it() -> None:
    one, other = line("--method bilevel"), line("--method esd --seed 3")
    assert orders([one]) == ([], {})
    assert orders([one, line("--method esd --reference base")]) == ([], {})
    assert orders([one, line("--method esd --budget 50it")]) == ([], {})
    reference = ("--method", "distilled", "--suite", "artists")
    assert orders([one, other]) == ([reference], {one.words: Order(reference), other.words: Order(reference)})


def test_a_line_of_the_campaign_that_trains_the_reference_is_the_reference_job() -> None:
    distilled, one = line("--method distilled"), line("--method bilevel")
    assert orders([one, distilled]) == ([], {one.words: Order(distilled.words)})
    assert orders([one, line("--method esd")], [distilled]) == ([], {})  # it is finished


def test_runs_that_start_from_the_same_distillation_follow_the_first_of_them() -> None:
    lines = [line(f"--method {name} --seed 1 --reference base") for name in ("uce", "uce-captions", "esd", "bilevel")]
    assert orders(lines)[1] == {lines[1].words: Order(None, lines[0].words)}
    distilled = line("--method distilled --seed 1 --reference base")
    followed = orders([*lines, distilled])[1]
    assert followed == {line.words: Order(None, distilled.words) for line in lines[:2]}


def test_references_that_differ_only_in_prompts_train_their_model_once() -> None:
    names = ("artists", "coco")
    lines = [line(f"--method {name} --suite {suite}") for suite in names for name in ("bilevel", "esd")]
    references, order = orders(lines)
    assert [words[3] for words in references] == ["artists", "coco"]
    assert order[references[1]] == Order(None, references[0])
    assert references[0] not in order


@pytest.mark.parametrize(
    "words",
    [
        "--method esd --preset paper --seed 4 --budget 1e15 --precision bf16",
        '--method bilevel --targets "Katsushika Hokusai" --data all-but-targets',
        "--method uce --kept-names half:1 --testbed sd21 --pruning taylor",
    ],
)
def test_reference_job_requests_the_reference_of_its_runs(words) -> None:
    request = reference_request(line(words))
    assert request is not None
    again = line(shlex.join(words_of(request)))
    assert again.requests == (request,)
    assert (request.method, request.seed, request.preset, request.overrides) == ("distilled", 0, "", {})


def test_flags_are_options_of_the_reference_job() -> None:
    request = RunRequest(
        "distilled", "i2p", alone=True, reveal=True, compiles=True, limit=3, macs=0.55, metrics=("kid",)
    )
    words = " ".join(words_of(request))
    assert words == "--method distilled --suite i2p --macs 0.55 --limit 3 --metric kid --alone --reveal --compile"


def test_runs_with_a_budget_in_hours_share_no_reference() -> None:
    """Each machine measures what it can compute in an hour, so the models differ."""
    assert reference_request(line("--method bilevel --budget 2h")) is None


@pytest.mark.parametrize("need", list(shared_folder.CHECKS))
def test_a_file_system_that_lacks_a_need_is_refused_in_one_sentence(need, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(shared_folder.CHECKS, need, lambda probe: False)
    with pytest.raises(StoreError, match=f"The file system of --runs .* does not {need}, so several jobs"):
        shared_folder.check(tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_file_system_without_locks_or_links_is_refused_with_the_reason(place, monkeypatch) -> None:
    shared_folder.check(place / "runs")  # this one is fit
    assert list((place / "runs").iterdir()) == []

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    told = answer(bench("campaign", "plan.txt", "--runs", "runs", "--on", "local"))
    assert "does not support symbolic links (operation not supported), so several jobs cannot share the folder" in told
    assert not (place / "executed").exists()


def test_a_lock_that_only_its_own_process_sees_is_found(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shared_folder, "_IS_LOCKED", "pass")
    with pytest.raises(StoreError, match="show one process the lock of another"):
        shared_folder.check(tmp_path)
