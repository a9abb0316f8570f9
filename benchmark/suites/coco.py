"""Defines suite `coco`, which measures retention on plain captions."""

from __future__ import annotations

from benchmark.api.suite import Evidence, Scores, Suite
from benchmark.api.testbed import PictureFiles
from benchmark.suites.scoring import make_metric, score_contents, score_pairs


class Coco(Suite):
    """Measures retention on plain captions that are unrelated to the erased concept."""

    name = "coco"
    summary = "retention on plain captions: FID, KID, CLIP, content and drift (1,000 captions on mini)"
    encoders = ("clip", "features", "oracle")
    brings = ()

    def score(self, evidence: Evidence) -> Scores:
        scores, own, names = Scores(len(evidence.prompts)), evidence.own, evidence.testbed.networks
        n = len(evidence.prompts)
        rows = list(range(n))
        score_pairs(scores, "clip", names["clip"], rows, own["clip"], own["text"], "kept")
        real = evidence.testbed.real(evidence.store)
        if isinstance(evidence.testbed, PictureFiles):
            scores.world["real"] = evidence.testbed.picture_checksum(evidence.store, "val")
        for name in ("fid", "kid"):
            metric = make_metric(name, names["features"], real.shape[1])
            metric.update(real, real=True)
            metric.update(own["features"], real=False)
            error = metric.standard_error(*([own["features"]] if name == "fid" else []))
            scores.add(name, metric, "kept", n, n, error=float(error))
        drift = make_metric("drift", names["features"])
        drift.update(own["features"], evidence.base["features"])
        scores.add("drift", drift, "kept", n, n, rows)
        if "oracle" in names:
            score_contents(scores, evidence, {"content_plain": ("retention",)})
        return scores
