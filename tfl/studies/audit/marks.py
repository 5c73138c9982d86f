"""What a small patch at one place tells of the class, by its colours alone, whether or not the model goes by it.

The mean and the spread of each colour in each patch of a 16 by 16 grid, a single number each, is held against each class: the
area under the ROC curve, 0.5 where it says nothing and 1 where it tells the class from all others. So is how near all six are
to what is usual in the class, their medians: a mark is alike in all that have it. A number that tells the class in training,
at one place of the border and not elsewhere, or in training and not in test, is a mark that was left there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfl.studies.audit.confidence import separation
from tfl.studies.audit.finding import Finding
from tfl.studies.audit.intervals import shown
from tfl.studies.audit.places import Place, border, edges, in_words

GRID = 16
NAMES = (
    "mean red",
    "mean green",
    "mean blue",
    "spread of red",
    "spread of green",
    "spread of blue",
    "nearness to its usual colour",
)
TELLS = 0.9
"""Area from which a number tells a class, by the lower end of its interval."""
ABOVE = 0.15
"""By how much more than the median place of the border."""
LOST = 0.1
"""By how much it is less in test, between the nearer ends of both intervals."""
LEAST = 10
"""Images of a class, at least, and of others."""


def described(pixels: np.ndarray) -> np.ndarray:
    """`[N, P, 6]`: mean and spread of each colour in each patch of the border of `[N, H, W, 3] uint8`."""
    grid = _grid(pixels)
    rows, columns = edges(pixels.shape[1:3], grid)
    found = []
    for row, column in border(grid):
        patch = pixels[:, rows[row] : rows[row + 1], columns[column] : columns[column + 1]].astype(np.float32)
        found.append(np.concatenate([patch.mean(axis=(1, 2)), patch.std(axis=(1, 2))], axis=1))
    return np.stack(found, axis=1)


def _grid(pixels: np.ndarray) -> int:
    """Patches a side, of a pixel or more."""
    return min(GRID, *pixels.shape[1:3])


def ranks(numbers: np.ndarray) -> np.ndarray:
    """Of `[N, …]` numbers, their ranks among the N, from 1 on; those of equals are their mean."""
    from scipy import stats

    found: np.ndarray = stats.rankdata(numbers, axis=0)
    return found


def areas(ranked: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Of the `ranks` of numbers, the area under the curve with which each is larger where `inside`, `[N] bool`."""
    count, rest = int(inside.sum()), int((~inside).sum())
    found: np.ndarray = (ranked[inside].sum(axis=0) - count * (count + 1) / 2) / (count * rest)
    return found


def marks(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """For each class with images enough, the number and the place of the border that tell it best in training.

    `train`, `test`: `[N, H, W, 3] uint8`. Those that tell it best come first, and of two the one that varies less: a mark is
    alike in all that have it.
    """
    grid, found = _grid(train), []
    train, test = described(train), described(test)
    ranked = ranks(train)
    for number in np.unique(train_labels):
        inside = train_labels == number
        if min(inside.sum(), (~inside).sum()) < LEAST:
            continue
        usual = np.median(train[inside], axis=0)
        near = _nearness(train, usual)
        signed = areas(np.concatenate([ranked, ranks(near)[..., None]], axis=-1), inside)
        told = np.maximum(signed, 1 - signed)
        at, kind = _best(told, grid)
        direction = 1.0 if signed[at, kind] >= 0.5 else -1.0
        own, there = (train[:, at, kind], test[:, at, kind]) if kind < 6 else (near[:, at], _nearness(test, usual)[:, at])
        place = border(grid)[at]
        found.append(
            {
                "number": int(number),
                "grid": grid,
                "row": int(place[0]),
                "column": int(place[1]),
                "place": in_words(place, grid),
                "by": NAMES[kind],
                "train": _area(own * direction, inside, seed),
                "test": _area(there * direction, test_labels == number, seed),
                "elsewhere": float(np.median(told.max(axis=-1))),
                "varies": float(np.linalg.norm(train[inside, at].std(axis=0))),
            }
        )
    return sorted(found, key=lambda one: (-one["train"]["value"], one["varies"]))


def _best(told: np.ndarray, grid: int) -> tuple[int, int]:
    """The place and the number of the largest area; of places that tell as much, a corner."""
    corners = np.array(["corner" in in_words(place, grid) for place in border(grid)])
    at, kind = np.unravel_index((told + 1e-9 * corners[:, None]).argmax(), told.shape)
    return int(at), int(kind)


def _nearness(numbers: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """`[N, P]`: how near all six numbers of a patch are to `usual`, `[P, 6]`; 0 is nearest."""
    found: np.ndarray = -np.linalg.norm(numbers - usual, axis=-1)
    return found


def _area(numbers: np.ndarray, inside: np.ndarray, seed: int) -> dict[str, Any]:
    """The area with its interval; all None where there is nothing to tell apart."""
    if not 0 < inside.sum() < len(inside):
        return {"value": None, "low": None, "high": None}
    order = np.searchsorted(np.unique(numbers), numbers) / len(numbers)  # within 0 to 1, in the same order
    return separation(order[inside], order[~inside], seed)


def findings(found: list[dict[str, Any]]) -> Iterator[Finding]:
    """The marks among them; of classes that a mark tells, by having it or by lacking it, the first is named."""
    named: list[Place] = []
    for one in found:
        train, test, where = one["train"], one["test"], (one["row"], one["column"])
        lost = test["high"] is not None and train["low"] - test["high"] >= LOST
        if train["low"] < TELLS or not (lost or train["value"] - one["elsewhere"] >= ABOVE):
            continue
        if any(max(abs(where[0] - other[0]), abs(where[1] - other[1])) <= 1 for other in named):  # it lies over several
            continue
        named.append(where)
        place = f"the {one['place']} (row {one['row'] + 1}, column {one['column'] + 1} of {one['grid']})"
        text = (
            f"a mark in the data: {one['by']} in {place} alone tells {one['class']} from the rest in training, with an AUROC "
            f"of {shown(train)}; elsewhere on the border it is {one['elsewhere']:.2f}, in test {shown(test)}"
        )
        yield Finding(level="serious" if lost else "notable", size=float(train["low"] - one["elsewhere"]), text=text)
