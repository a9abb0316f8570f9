"""Independent, slow implementations of the metrics: plain loops written from the formulas, nothing shared with ours."""

import math

import numpy as np


def cosine(a, b):
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))


def similarity(left, right):
    """100 · cos, one value a row: CLIP and CSD."""
    return [100 * cosine(a, b) for a, b in zip(left, right, strict=True)]


def cp(method, reference, text):
    """Percent of prompts with cos(method, text) < cos(reference, text), and the number of ties."""
    lower = ties = 0
    for m, r, t in zip(method, reference, text, strict=True):
        lower += cosine(m, t) < cosine(r, t)
        ties += cosine(m, t) == cosine(r, t)
    return 100 * lower / len(text), ties


def drift(features, base):
    """1 − cos, one value a row."""
    return [1 - cosine(a, b) for a, b in zip(features, base, strict=True)]


def covariance(x):
    n, d = x.shape
    mean = [sum(float(x[i, k]) for i in range(n)) / n for k in range(d)]
    cov = np.zeros((d, d))
    for k in range(d):
        for m in range(d):
            cov[k, m] = sum((float(x[i, k]) - mean[k]) * (float(x[i, m]) - mean[m]) for i in range(n)) / (n - 1)
    return np.array(mean), cov


def root(matrix):
    """Square root of a symmetric positive semi-definite matrix through its eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    return sum(math.sqrt(max(v, 0.0)) * np.outer(vectors[:, i], vectors[:, i]) for i, v in enumerate(values))


def fid(generated, real):
    """|μ − ν|² + tr(A + B − 2 (A^½ B A^½)^½): the symmetric form, by another road than eigenvalues of AB."""
    (mean, a), (other, b) = covariance(generated), covariance(real)
    middle = root(root(a) @ b @ root(a))
    return float(sum((mean - other) ** 2) + sum(a[i, i] + b[i, i] - 2 * middle[i, i] for i in range(len(a))))


def kernel(a, b):
    return (sum(float(x) * float(y) for x, y in zip(a, b, strict=True)) / len(a) + 1) ** 3


def kid(x, y):
    """Unbiased squared MMD with the cubic kernel: a loop over all pairs."""
    n, m = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    xy = sum(kernel(x[i], y[j]) for i in range(n) for j in range(m)) / (n * m)
    return xx + yy - 2 * xy


def kid_error(x, y, blocks):
    """Block jackknife: leave out, from both sides, every image whose position is `block` modulo `blocks`."""
    left_out = []
    for block in range(blocks):
        rest_x = [row for i, row in enumerate(x) if i % blocks != block]
        rest_y = [row for i, row in enumerate(y) if i % blocks != block]
        left_out.append(kid(rest_x, rest_y))
    mean = sum(left_out) / blocks
    return math.sqrt((blocks - 1) / blocks * sum((value - mean) ** 2 for value in left_out))


def oracle(probabilities, asked):
    """Mean probability of the asked class, mean probability of every class, share of images won by every class."""
    n, classes = probabilities.shape
    value = sum(float(probabilities[i, asked[i]]) for i in range(n)) / n
    mean = [sum(float(probabilities[i, c]) for i in range(n)) / n for c in range(classes)]
    winners = [max(range(classes), key=lambda c, i=i: float(probabilities[i, c])) for i in range(n)]
    accuracy = sum(winner == int(right) for winner, right in zip(winners, asked, strict=True)) / n
    return value, mean, [winners.count(c) / n for c in range(classes)], accuracy
