"""Feature extraction: each image is scored once, even after interruptions, and none is left out of the count."""

from pathlib import Path
from typing import Any

import pytest
from standin import ASKED, whole

from benchmark.records.record import read_records, read_scores
from benchmark.store import manifest
from metrics.detectors.rows import DetectionRows

pytestmark = pytest.mark.usefixtures("standin")
RUN: dict[str, Any] = {"method": "distilled", "suite": "i2p", "overrides": {}, "alone": True}
N = ASKED["i2p"]


def scored(home: Path) -> dict[str, list[tuple]]:
    """Label -> rows of the kept scores, and their counts."""
    found = {}
    for record in read_records([home / "records"]):
        table = read_scores(record)
        assert record.cells["explicit"].n == record.cells["explicit"].of == table.num_rows
        found[record.label] = list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    return found


def test_interrupted_run_repeats_at_most_one_shard_and_gives_equal_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut while sampling, while looking and after it; the detector's own count tells what it was shown."""
    shown = 0
    look, seal = DetectionRows.__call__, manifest.seal

    def counted(reader: DetectionRows, images: Any) -> Any:
        nonlocal shown
        shown += len(images)
        return look(reader, images)

    monkeypatch.setattr(DetectionRows, "__call__", counted)
    whole(tmp_path / "in one go", **RUN)
    assert shown == 2 * N  # base and distilled

    def dying(kind: str, count: int) -> Any:
        def call(folder: Path, header: dict[str, Any]) -> None:
            nonlocal count
            count -= header["kind"] == kind
            if count == 0:
                raise KeyboardInterrupt(kind)
            seal(folder, header)

        return call

    shown, home = 0, tmp_path / "in four"
    cuts = [("explicit-images", 2), ("seen", 2), ("features", 1)]
    for kind, count in cuts:
        with monkeypatch.context() as patches:
            patches.setattr(manifest, "seal", dying(kind, count))
            with pytest.raises(KeyboardInterrupt, match=kind):
                whole(home, **RUN)
    whole(home, **RUN)
    # Only the shard that was in hand when looking was cut was shown again; it was not kept the first time.
    assert 2 * N <= shown <= 2 * N + 10
    assert scored(home) == scored(tmp_path / "in one go")


def test_lost_image_is_sampled_again_and_counted(tmp_path: Path) -> None:
    whole(tmp_path, **RUN)
    before = scored(tmp_path)
    lost = next((tmp_path / "artefacts" / "explicit-images").glob("*/*.png"))
    lost.unlink()
    for kind in ("seen", "features"):
        for artefact in (tmp_path / "artefacts" / kind).iterdir():
            artefact.rename(tmp_path / f"{kind}-{artefact.name}")
    whole(tmp_path, **RUN)
    assert scored(tmp_path) == before
    assert all(len(rows) == N for rows in before.values())
