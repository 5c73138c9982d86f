"""The sentences of the benchmarks: SST-2, as tables for training, validation and test."""

from __future__ import annotations

from pathlib import Path

import measure
import pandas as pd

VALIDATION = 500


def make(folder: Path, train: int) -> dict[str, str]:
    """Writes `train`, 500 and 872 sentences as tables to `folder` and returns the paths as the fields of a `data` config."""
    # The training file has the parts of a sentence too; those of the test file are whole ones.
    found = pd.read_csv(measure.asset("text/sst2_train.csv")).sample(train + VALIDATION, random_state=0)
    parts = {
        "path": found.iloc[:train],
        "validation_path": found.iloc[train:],
        "test_path": pd.read_csv(measure.asset("text/sst2_test.csv")),
    }
    for name, part in parts.items():
        part.to_csv(folder / f"{name}.csv", index=False)
    return {name: str(folder / f"{name}.csv") for name in parts}
