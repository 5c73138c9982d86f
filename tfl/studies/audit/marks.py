"""What a small patch at one place tells of the class, by its colours alone, whether or not the model goes by it.

The mean and the spread of each colour in each patch of an 8 by 8 grid, a single number each, is held against each class: the
area under the ROC curve, 0.5 where it says nothing and 1 where it tells the class from all others. A number that tells the
class in training, at one place of the border and not elsewhere, or in training and not in test, is a mark that was left there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfl.studies.audit.confidence import separation
from tfl.studies.audit.finding import Finding
from tfl.studies.audit.intervals import shown

GRID = 8
NAMES = ("mean red", "mean green", "mean blue", "spread of red", "spread of green", "spread of blue")
TELLS = 0.9
"""Area from which a number tells a class, by the lower end of its interval."""
ABOVE = 0.15
"""By how much more than the median place of the border."""
LOST = 0.1
"""By how much it is less in test, between the nearer ends of both intervals."""
LEAST = 10
"""Images of a class, at least, and of others."""


def described(pixels: np.ndarray) -> np.ndarray:
    """`[N, GRID, GRID, 6]`: mean and spread of each colour in each patch of `[N, H, W, 3] uint8`."""
    rows, columns = (np.linspace(0, length, GRID + 1).round().astype(int) for length in pixels.shape[1:3])
    found = np.empty((len(pixels), GRID, GRID, 6), np.float32)
    for row, column in np.ndindex(GRID, GRID):
        patch = pixels[:, rows[row] : rows[row + 1], columns[column] : columns[column + 1]].astype(np.float32)
        found[:, row, column, :3] = patch.mean(axis=(1, 2))
        found[:, row, column, 3:] = patch.std(axis=(1, 2))
    return found


def areas(numbers: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Of `[N, …]` numbers, the area under the curve with which each is larger where `inside` `[N] bool`; ties count half."""
    from scipy import stats

    ranks = stats.rankdata(numbers, axis=0)
    count, rest = int(inside.sum()), int((~inside).sum())
    found: np.ndarray = (ranks[inside].sum(axis=0) - count * (count + 1) / 2) / (count * rest)
    return found


def marks(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """For each class with images enough, the number and the place of the border that tell it best in training.

    `train`, `test`: what `described` gives. Those that tell it best come first, and of two the one that varies less: a mark
    is alike in all that have it.
    """
    found = []
    edge = np.ones((GRID, GRID), bool)
    edge[1:-1, 1:-1] = False
    first = np.where(edge, 1.0, 0.0)  # of places that tell as much, a corner
    first[[0, 0, -1, -1], [0, -1, 0, -1]] += 1e-9
    for number in np.unique(train_labels):
        inside = train_labels == number
        if min(inside.sum(), (~inside).sum()) < LEAST:
            continue
        signed = areas(train, inside)
        told = np.maximum(signed, 1 - signed)
        best = np.unravel_index((told * first[..., None]).argmax(), told.shape)
        direction = 1.0 if signed[best] >= 0.5 else -1.0
        there = test_labels == number
        own = train[(slice(None), *best)]
        found.append(
            {
                "number": int(number),
                "row": int(best[0]),
                "column": int(best[1]),
                "by": NAMES[best[2]],
                "train": _area(own * direction, inside, seed),
                "test": _area(test[(slice(None), *best)] * direction, there, seed),
                "elsewhere": float(np.median(told.max(axis=-1)[edge])),
                "varies": float(own[inside].std()),
            }
        )
    return sorted(found, key=lambda one: (-one["train"]["value"], one["varies"]))


def _area(numbers: np.ndarray, inside: np.ndarray, seed: int) -> dict[str, Any]:
    """The area with its interval; all None where there is nothing to tell apart."""
    if not 0 < inside.sum() < len(inside):
        return {"value": None, "low": None, "high": None}
    order = np.searchsorted(np.unique(numbers), numbers) / len(numbers)  # within 0 to 1, in the same order
    return separation(order[inside], order[~inside], seed)


def findings(found: list[dict[str, Any]]) -> Iterator[Finding]:
    """The marks among them; of two classes, of which one has the mark, the first is named."""
    named = set()
    for one in found:
        train, test, where = one["train"], one["test"], (one["row"], one["column"])
        lost = test["high"] is not None and train["low"] - test["high"] >= LOST
        if train["low"] < TELLS or not (lost or train["value"] - one["elsewhere"] >= ABOVE) or where in named:
            continue
        named.add(where)
        place = f"the {one['place']} (row {one['row'] + 1}, column {one['column'] + 1} of {GRID})"
        text = (
            f"a mark in the data: {one['by']} in {place} alone tells {one['class']} from the rest in training, with an AUROC "
            f"of {shown(train)}; elsewhere on the border it is {one['elsewhere']:.2f}, in test {shown(test)}"
        )
        yield Finding(level="serious" if lost else "notable", size=float(train["low"] - one["elsewhere"]), text=text)
