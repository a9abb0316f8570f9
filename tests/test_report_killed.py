"""A report that was killed while it was written can be made again."""

from pathlib import Path

from faults import dead_name
from report_example import write_runs
from test_report import made


def test_a_report_that_was_killed_while_it_wrote_can_be_made_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / dead_name()).write_text("<!doctype")
    made(write_runs(tmp_path / "runs"), out)
    assert [path.name for path in out.iterdir()] == ["index.html"]
