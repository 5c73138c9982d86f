"""Inputs given in Python: what is missing among them, and what is none of what can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tfl import data
from tfl.config import UserError

TEXTS = [f"text {place}" for place in range(20)]
LABELS = ["a", "b"] * 10


@pytest.mark.parametrize("gap", [None, float("nan"), pd.NA])
@pytest.mark.parametrize("place", [0, 7])
def test_a_missing_text_is_unreadable_as_in_a_table(gap: Any, place: int) -> None:
    texts: list[Any] = list(TEXTS)
    texts[place] = gap
    for given in (texts, pd.Series(texts, dtype=object)):
        records = data.from_memory((given, LABELS))
        assert [(bad.id, bad.reason) for bad in records.unreadable] == [(f"row:{place + 1}", "no text")]
        assert len(records.splits["all"]) == 19
        assert records.modality == "text"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([text.encode() for text in TEXTS], r"an input is bytes b'text 0'; needed are texts"),
        (
            list(zip(TEXTS, TEXTS, strict=True)),
            r"an input is tuple \('text 0', 'text 0'\); .*pairs of texts come",
        ),
        ([[text] for text in TEXTS], r"an input is list \['text 0'\]"),
        ([*TEXTS[:-1], 3], r"input 19 is int 3; needed are texts"),
        ([None] * 20, "an input is NoneType None"),
        ([np.zeros((8, 8)), *[np.zeros((9, 8))] * 19], r"inputs: arrays of different shapes, \(8, 8\) and \(9, 8\)"),
        ([None, *[np.zeros((8, 8))] * 19], "inputs: a missing array"),
    ],
)
def test_what_cannot_be_read_is_named(inputs: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        data.from_memory((inputs, LABELS))


def test_lists_of_numbers_are_images_still() -> None:
    images = np.random.default_rng(0).integers(0, 255, (20, 8, 8)).tolist()
    assert data.from_memory((images, LABELS)).modality == "image"
