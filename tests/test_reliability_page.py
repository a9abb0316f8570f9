"""The page of the reliability campaign is what its command writes from the outcomes."""

import json
from pathlib import Path

import reliability_page
import trials


def line(number: int, outcome: str = "ok", code: str = "a") -> dict:
    return {"part": "kill", "number": number, "outcome": outcome, "code": code, "commit": "c", "seconds": 36}


def test_committed_page_is_written_from_the_committed_outcomes() -> None:
    lines = trials.read(trials.ROOT / "results" / "reliability.jsonl")
    assert reliability_page.PAGE.read_text("utf-8") == reliability_page.page(lines)
    assert len({(line["part"], line["number"]) for line in reliability_page.newest(lines)}) == len(
        reliability_page.newest(lines)
    )


def test_failures_of_the_newest_code_count_also_if_the_trial_passed_again() -> None:
    lines = [line(0, "failed", "old"), line(0), line(1, "failed"), line(1), *(line(k) for k in range(2, 100))]
    assert [kept["outcome"] for kept in reliability_page.newest(lines)] == ["ok", "failed", *["ok"] * 98]
    text = reliability_page.page(lines)
    assert "| 100 | 1 | 5.4 % |" in text
    assert "- kill 1: " in text
    assert "1 trials failed with earlier code" in text


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(json.dumps(line(0)) + "\n" + json.dumps(line(1))[:20])
    assert [kept["number"] for kept in trials.read(file)] == [0]
