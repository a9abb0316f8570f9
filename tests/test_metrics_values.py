"""Every metric against its slow reference, on one process and on two, with splits of any shape."""

import json
import warnings

import numpy as np
import pytest
import torch
from reference import metrics as reference

from metrics.clip import CLIPSimilarity
from metrics.cp import CPScore
from metrics.csd import StyleSimilarity
from metrics.drift import Drift
from metrics.fid import FrechetDistance
from metrics.kid import KernelDistance
from metrics.oracle import ClassProbability

N, D, CLASSES = 23, 5, 4


def data():
    """Features of N images, of their references, texts and reals; probabilities and asked classes; two CP ties."""
    random = np.random.RandomState(0)
    image, other, text = (random.randn(N, D).astype(np.float32) for _ in range(3))
    other[[3, 17]] = image[[3, 17]]
    logits = random.randn(N, CLASSES)
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    real = (1.5 * random.randn(N, D) + 0.3).astype(np.float32)
    names = ("image", "other", "text", "real", "probabilities")
    tensors = dict(zip(names, map(torch.from_numpy, (image, other, text, real, probabilities)), strict=True))
    return tensors | {"asked": torch.from_numpy(random.randint(CLASSES, size=N))}


def measure(parts):
    """All figures of all metrics, fed with `parts`: a list of batches, each a dict as `data()` gives."""
    clip, cp, csd, drift = CLIPSimilarity("t"), CPScore("t"), StyleSimilarity("t"), Drift("t")
    fid, kid, oracle = FrechetDistance("t", D), KernelDistance("t", D), ClassProbability("t", CLASSES)
    for part in parts:
        clip.update(part["image"], part["text"])
        cp.update(part["image"], part["other"], part["text"])
        csd.update(part["image"], part["other"])
        drift.update(part["image"], part["other"])
        oracle.update(part["probabilities"], part["asked"])
        for metric in (fid, kid):
            metric.update(part["image"], real=False)
            metric.update(part["real"], real=True)
    figures = {metric.name: metric.compute().item() for metric in (clip, cp, csd, drift, fid, kid, oracle)}
    figures |= {f"{metric.name} rows": metric.per_image().tolist() for metric in (clip, cp, csd, drift, oracle)}
    destinations = oracle.destinations()
    return figures | {
        "ties": cp.ties,
        "kid error": kid.standard_error().item(),
        "probability": destinations.probability.tolist(),
        "share": destinations.share.tolist(),
        "accuracy": oracle.accuracy(),
        "fid mean": fid.stats(real=False)[0].tolist(),
    }


def expected(tensors):
    image, other, text, real, probabilities, asked = (tensor.numpy() for tensor in tensors.values())
    clip, csd = reference.similarity(image, text), reference.similarity(image, other)
    (cp, ties), drift = reference.cp(image, other, text), reference.drift(image, other)
    oracle, probability, share, accuracy = reference.oracle(probabilities, asked)
    # Images are dealt to as many blocks as leave two in each, ten at most.
    figures = {"fid": reference.fid(image, real), "kid": reference.kid(image, real), "kid error": None}
    figures["kid error"] = reference.kid_error(image, real, blocks=min(10, N // 2))
    figures |= {"cp": cp, "ties": ties, "oracle": oracle, "probability": probability, "share": share}
    figures |= {"accuracy": accuracy, "fid mean": reference.covariance(image)[0].tolist()}
    figures |= {"oracle rows": [float(row[right]) for row, right in zip(probabilities, asked, strict=True)]}
    figures |= {"cp rows": [100.0 * (a < b) for a, b in zip(clip, reference.similarity(other, text), strict=True)]}
    for name, rows in (("clip", clip), ("csd", csd), ("drift", drift)):
        figures |= {name: sum(rows) / N, f"{name} rows": rows}
    return figures


def check(figures, tensors):
    wanted = expected(tensors)
    assert figures.keys() == wanted.keys()
    for name in wanted:
        assert figures[name] == pytest.approx(wanted[name], rel=1e-5, abs=1e-6), name


def slices(tensors, edges):
    starts = [0, *edges]
    stops = [*edges, N]
    pairs = zip(starts, stops, strict=True)
    return [{name: tensor[a:b] for name, tensor in tensors.items()} for a, b in pairs]


@pytest.mark.parametrize("edges", [[], [1], [7, 8, 20], [0, 23]], ids=str)
def test_values_match_the_reference_for_any_split_into_batches(edges):
    check(measure(slices(data(), edges)), data())


EDGES = [12, 5, 23, 0]  # where the second process's share begins: equal, unequal, everything, nothing


def process(rank, folder):
    warnings.simplefilter("error")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    figures = [measure([slices(data(), [edge])[rank]]) for edge in EDGES]
    torch.distributed.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(figures))


def test_two_processes_match_the_reference_with_unequal_and_empty_shares(tmp_path):
    torch.multiprocessing.spawn(process, args=(tmp_path,), nprocs=2)
    for rank in (0, 1):
        figures = json.loads((tmp_path / f"{rank}.json").read_text())
        assert len(figures) == len(EDGES)
        for each in figures:
            check(each, data())
