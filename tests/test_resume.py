"""A run that is broken off goes on to the very weights that it would have reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfl
from tfl import Last, Phase

HEAD = Phase(epochs=2, learning_rate=3e-3, early_stopping=2)
TOP = Phase(trainable=Last(last=2), epochs=2, learning_rate=1e-3, ema=0.9, layer_decay=0.5, batch_norm="train")
IMAGES: dict[str, Any] = {
    "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
    "data": {"batch_size": 8},
    "task": {"dropout": 0.3},
    "phases": [HEAD, TOP],
}
STEPS = 4 * 5
"""Of the whole run: 34 photos in batches of 8."""


class Broken(Exception):
    """What stands for a kill."""


class BreakAt(keras.callbacks.Callback):
    """Raises after a number of steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise Broken


def run(photos: Path, out: Path, cache: Path, breaks: int = 0, **fields: Any) -> tfl.Run:
    callbacks = [BreakAt(breaks)] if breaks else []
    options = {**IMAGES, "features": {"directory": str(cache)}, "checkpoints": {"steps": 1}, **fields}
    return tfl.finetune(str(photos), out=out, callbacks=callbacks, **options)


def weights(one: tfl.Run) -> list[np.ndarray]:
    return [variable.numpy() for variable in one.model.variables if "seed_generator" not in variable.path]


def same(one: tfl.Run, other: tfl.Run) -> None:
    for first, second in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(first, second)
    told = [[{k: v for k, v in epoch.items() if k != "seconds"} for epoch in p.epochs] for p in one.report.phases]
    also = [[{k: v for k, v in epoch.items() if k != "seconds"} for epoch in p.epochs] for p in other.report.phases]
    assert told == also
    assert one.metrics == other.metrics


@pytest.mark.parametrize("fields", [{}, {"features": None}], ids=["stored", "computed"])
def test_a_run_broken_off_anywhere_ends_the_same(photos: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    whole = run(photos, tmp_path / "whole", tmp_path / "cache", **fields)
    out = tmp_path / "broken"
    for steps in (1, 3, 5, 2, 4, 7, 1):  # counted from where it goes on: at the end of epochs, and within them
        with pytest.raises(Broken):
            run(photos, out, tmp_path / "cache", steps, **fields)
    found = run(photos, out, tmp_path / "cache", **fields)
    same(whole, found)
    assert not (out / "checkpoints").exists()
