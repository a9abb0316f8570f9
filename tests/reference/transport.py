"""Optimal transport with entropy by Sinkhorn's turns on plain numbers, one row and one column at a time."""

import math


def assignment(similarity: list[list[float]], epsilon: float, turns: int = 2000) -> list[list[float]]:
    """Rows sum to 1, columns to rows / columns."""
    q = [[math.exp(value / epsilon) for value in row] for row in similarity]
    rows, columns = len(q), len(q[0])
    for _ in range(turns):
        for k in range(columns):
            total = sum(row[k] for row in q)
            for row in q:
                row[k] *= rows / columns / total
        for row in q:
            total = sum(row)
            row[:] = [value / total for value in row]
    return q
