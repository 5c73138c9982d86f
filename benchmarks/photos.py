"""The photos of the benchmarks: 14 classes of three sources, as folders for training, validation and test."""

from __future__ import annotations

import shutil
from pathlib import Path

import measure
import numpy as np

SOURCES = ("images/flowers5", "images/hymenoptera/train", "images/hymenoptera/val", "images/pacs/photo")
VALIDATION = 115
"""Photos that choose the epoch; what is not for training either is the test split."""


def make(folder: Path, train: int, test: int | None = None) -> dict[str, int]:
    """Copies the photos to `folder`/train, val and test, a sub-folder a class, and returns how many each has.

    `train` of them to train on, at most `test` to test on (default: all others); every split has about the same part of
    every class.
    """
    found = [(path, path.parent.name) for source in SOURCES for path in sorted(measure.asset(source).glob("*/*.jpg"))]
    if train + VALIDATION >= len(found):
        raise SystemExit(f"--examples: {train} is too many; there are {len(found)} photos, {VALIDATION} of them to validate on")
    left = len(found) - train - VALIDATION
    sizes = {"train": train, "val": VALIDATION, "test": min(left, test or left)}
    sizes["unused"] = len(found) - sum(sizes.values())
    counts = dict.fromkeys(sizes, 0)
    shuffled = np.random.default_rng(0).permutation(len(found)).tolist()
    for number, place in enumerate(sorted(shuffled, key=lambda place: found[place][1]), start=1):
        path, label = found[place]
        name = max(sizes, key=lambda split: sizes[split] * number / len(found) - counts[split])  # the one that lags most
        counts[name] += 1
        if name == "unused":
            continue
        (folder / name / label).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name / label / f"{path.parent.parent.name}_{path.name}")
    del counts["unused"]
    return counts


def listed(folder: Path) -> tuple[list[str], np.ndarray, list[str]]:
    """The paths below `folder`, a sub-folder a class, their labels [N] int64, and the names of the classes."""
    classes = sorted(path.name for path in folder.iterdir())
    paths = [path for name in classes for path in sorted((folder / name).iterdir())]
    return list(map(str, paths)), np.array([classes.index(path.parent.name) for path in paths], np.int64), classes
