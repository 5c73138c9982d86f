"""Texts are stored at their own length, and read as they were computed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.features.test_extract import TASK, extractor, values_of
from tfl import backbones, distribute, models, predict
from tfl.cut import cut
from tfl.data import Columns
from tfl.data.examples import digest, digests, strings
from tfl.data.pipeline import prepare
from tfl.features.extract import Extracted, Request
from tfl.features.rows import Rows
from tfl.phases import Last

pytestmark = pytest.mark.usefixtures("all_stored")


def texts(tiny_bert: Path, trainable: Any, root: Path, places: Any = None) -> tuple[Extracted, Extracted]:
    keras.utils.set_random_seed(0)
    backbone = backbones.load(str(tiny_bert), pooling="mean")
    model = models.build(backbone, {"label": TASK})
    models.set_trainable(model, backbone, trainable)
    words = ["sales", "rose", "fell", "costs", "sharply", "again"]
    random = np.random.default_rng(0)
    sentences = [" ".join(random.choice(words, random.integers(1, 15))) for _ in range(50)]
    rows = Columns(
        ids=strings(range(50)),
        inputs={"text": strings(sentences)},
        labels=np.arange(50) % 2,
        digests=digests(digest(text.encode()) for text in sentences),
    )
    rows = rows if places is None else rows.take(np.asarray(places))
    batches = prepare(rows, backbone.preprocess, modality="text", batch_size=8, training=True, seed=1)
    whole = cut(model)
    got = extractor(root).extract(Request(cut=whole, blocks=backbone.blocks, streams={"train": batches}))
    return got, Extracted(cut=whole, streams={"train": batches})


@pytest.mark.parametrize("trainable", ["head", Last(last=1)], ids=["head", "last layer"])
def test_texts_are_stored_at_their_own_length(trainable: Any, tiny_bert: Path, tmp_path: Path) -> None:
    part, direct = texts(tiny_bert, trainable, tmp_path)
    assert part.facts["stored"] == ("layer_1" if trainable == "head" else "layer_0")
    strategy = distribute.strategy("cpu")
    found, expected = (
        predict.Forward(one.cut, strategy)(dataclasses.replace(one.streams["train"], training=False))["label"]
        for one in (part, direct)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    if trainable != "head":
        tokens = int(direct.streams["train"].examples.inputs["padding_mask"].row_lengths().numpy().sum())
        unique = part.facts["computed"] / 50
        assert part.facts["bytes"] < (tokens * unique * (16 + 1) * 4 + 50 * 36) * 1.2 + 2000


@pytest.mark.parametrize("trainable", ["head", Last(last=1)], ids=["head", "last layer"])
def test_a_text_does_not_depend_on_what_it_was_computed_with(trainable: Any, tiny_bert: Path, tmp_path: Path) -> None:
    """Byte-identical, whichever text comes first and in whatever parts."""
    at_once, _ = texts(tiny_bert, trainable, tmp_path / "a")
    for first in (range(40, 50), range(3)):
        texts(tiny_bert, trainable, tmp_path / "b", first)
    in_parts, _ = texts(tiny_bert, trainable, tmp_path / "b")
    assert 0 < in_parts.facts["computed"] < at_once.facts["computed"]
    one, other = values_of(at_once), values_of(in_parts)
    for place, row in one.items():
        for first, second in zip(row, other[place], strict=True):
            np.testing.assert_array_equal(first, second)


def test_no_text_is_padded_beyond_what_the_backbone_takes(tiny_bert: Path, tmp_path: Path) -> None:
    """Its positions are 24; a text of 21 tokens is padded to 22 where 22 is the limit."""
    backbone = backbones.load(str(tiny_bert), pooling="mean", sequence_length=22)
    model = models.build(backbone, {"label": TASK})
    models.set_trainable(model, backbone, "head")
    long = " ".join(["sales"] * 30)
    rows = Columns(
        ids=strings(range(2)),
        inputs={"text": strings([long, "sales rose"])},
        labels=np.arange(2),
        digests=digests([digest(b"a"), digest(b"b")]),
    )
    batches = prepare(rows, backbone.preprocess, modality="text", batch_size=2)
    part = Rows(batches)
    assert [int(part._padded(plan)[0]) for plan in part.plan(np.arange(2))] == [8, 22]
    got = extractor(tmp_path).extract(Request(cut=cut(model), blocks=backbone.blocks, streams={"train": batches}))
    assert got.facts["computed"] == 2
