"""Iterators of all kinds of batches end at once: TensorFlow's tuning, which is waited for, is off in what is iterated over."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.data.test_lengths import some_lengths
from tests.data.test_text_batches import text_batches
from tfl.data.batches import Batches
from tfl.data.examples import Columns, digests, strings
from tfl.data.pipeline import ImageBatches
from tfl.share import Share


def images() -> Batches:
    """Eight images of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3)).astype(np.uint8)
    names = strings([str(number) for number in range(8)])
    rows = Columns(ids=names, inputs={"image": pixels}, labels=np.arange(8) % 2, digests=digests([b"0" * 32] * 8))
    return ImageBatches(examples=rows, batch_size=4, training=True, preprocess=lambda one: one, size=(4, 4))


@pytest.mark.parametrize("batches", [images(), text_batches(some_lengths(40), batch_size=4)], ids=["images", "texts"])
@pytest.mark.parametrize("share", [None, Share(0, 1, 2)], ids=["whole", "shared"])
def test_nothing_is_tuned(batches: Batches, share: Share | None) -> None:
    for data in (batches.epoch(0, share=share), batches.onwards(0, share=share), batches.forever(share=share)):
        options = data.options()
        assert (options.deterministic, options.autotune.enabled) == (True, False)
    assert batches.in_order().options().autotune.enabled is False
    assert tf.data.Dataset.range(1).options().autotune.enabled is not False, "it is on where nobody says otherwise"
