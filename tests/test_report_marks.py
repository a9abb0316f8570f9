"""Leaderboards of a report mark models whose images lost contents."""

import re
from pathlib import Path

from record_examples import cell, record, write
from test_report import made


def test_a_broken_model_is_marked_and_stays_last(tmp_path: Path) -> None:
    def model(method: str, clip: float, content: float, **more: str) -> None:
        values = {
            "clip": cell("clip", clip),
            "content_kept": cell("content_kept", content, ci=(content - 0.02, content + 0.02)),
        }
        write(tmp_path / "records", record(method, values=values, reference_key="d" * 64, **more))

    model("distilled", 79.0, 0.94, model_key="d" * 64)
    model("a-broken-one", 20.0, 0.1, model_key="a" * 64)
    model("bilevel", 55.0, 0.93, model_key="b" * 64)
    page = made(tmp_path, tmp_path / "out")
    table = page.source.split('<table id="board-artists-0:main">')[1].split("</table>")[0]
    labels = re.findall(r'<tr( data-unranked)?><th scope="row".*?<a [^>]*>([^<]*)</a>', table, re.DOTALL)
    assert labels == [("", "distilled"), ("", "bilevel"), (" data-unranked", "a-broken-one")]
    assert table.count("†") == 1
    assert "a-broken-one, with content, kept 0.100 (distilled: 0.920…0.960)" in page.text
    assert '"unranked" in left.row.dataset' in page.source
