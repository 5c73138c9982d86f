"""What is read from the store is what would have been computed; what cannot be stored is computed as ever, and it is said."""

from __future__ import annotations

import contextlib
import errno
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from tfl import distribute, models
from tfl.config import UserError
from tfl.cut import cut
from tfl.data.augment import Augment
from tfl.data.batches import in_batches
from tfl.features import fill, frontier, job, shard
from tfl.features.batches import FeatureBatches
from tfl.features.config import Features
from tfl.features.extract import Extracted, Extractor, Request
from tfl.features.held import HeldBatches
from tfl.phases import Phase
from tfl.step import Stepper
from tfl.tasks.classification import Classification
from tfl.training import Supervised

ROWS = tiny.examples()
TASK = Classification(class_names=("dark", "bright"), dropout=0.5)


pytestmark = pytest.mark.usefixtures("all_stored")


def extractor(root: Path, said: list[str] | None = None, **fields: Any) -> Extractor:
    @contextlib.contextmanager
    def progress(what: str, total: int) -> Iterator[Any]:
        yield lambda count: None

    config = Features(**{"engine": "tensorflow", "directory": str(root), **fields})
    return Extractor(config, say=(said if said is not None else []).append, progress=progress)


def made(seed: int = 0) -> tuple[Any, Any]:
    keras.utils.set_random_seed(seed)
    backbone = tiny.backbone()
    return backbone, models.build(backbone, {"label": TASK})


def extracted(root: Path, trainable: Any = "head", said: list[str] | None = None, **fields: Any) -> tuple[Extracted, Any]:
    """The tiny images as they are read for a phase, and the cut that they were made for."""
    backbone, model = made()
    models.set_trainable(model, backbone, trainable)
    whole = cut(model)
    rows, views = fields.pop("rows", tiny.examples()), fields.pop("views", None)
    batches = tiny.batches(rows, training=True, seed=3, augment=fields.pop("augment", None))
    streams = {"train": batches, "validation": tiny.batches(rows.take(np.arange(9)))}
    request = Request(cut=whole, blocks=backbone.blocks, streams=streams, views=views)
    return extractor(root, said, **fields).extract(request), whole


def values_of(part: Extracted, name: str = "train", epoch: int = 0) -> dict[int, list[np.ndarray]]:
    """What reaches the trainable part, by the example's place."""
    found = {}
    for batch in part.streams[name].epoch(epoch):
        for place, *row in zip(batch["index"].numpy(), *(t.numpy() for t in part.cut.to_frontier(batch)), strict=True):
            found[int(place)] = row
    return found


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
@pytest.mark.parametrize(("trainable", "stored"), [("head", "block3"), ("block3", "block2"), ("block2", "block1")])
def test_what_is_stored_is_what_would_be_computed(
    trainable: str, stored: str, in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "IN_MEMORY", in_memory)
    part, whole = extracted(tmp_path, trainable)
    assert isinstance(part.streams["train"], HeldBatches if in_memory else FeatureBatches)
    assert part.streams["train"].epoch(0).options().autotune.enabled is False, "it would end late"
    assert part.facts["stored"] == stored
    assert part.facts["computed"] == 40, "those of the validation split are among them"
    direct = Extracted(cut=whole, streams={"train": tiny.batches(tiny.examples(), training=True, seed=3)})
    expected, found = values_of(direct), values_of(part)
    assert list(found) == list(expected), "in the same order"
    for place, rows in expected.items():
        for one, other in zip(rows, found[place], strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_labels_shares_and_ids_come_along(tmp_path: Path) -> None:
    part, _ = extracted(tmp_path)
    batch = next(iter(part.streams["train"].epoch(0)))
    labels = tiny.examples().labels
    assert labels is not None
    np.testing.assert_array_equal(batch["label"], labels[batch["index"].numpy()])
    np.testing.assert_allclose(batch["share"], 1 / 8)
    assert part.streams["train"].examples.ids[0] == "0000"


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_stored_rows_are_let_go_with_their_batches(in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "IN_MEMORY", in_memory)
    part, _ = extracted(tmp_path)
    iterator = iter(part.streams["train"].onwards())
    there = weakref.ref(part.streams["train"])
    del part
    gc.collect()
    assert sum(len(next(iterator)["index"]) for _ in range(10)) == 80, "an iterator keeps what it reads"
    del iterator
    gc.collect()
    assert there() is None, "TensorFlow keeps it for good"


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_a_step_waits_for_rows_on_disk_alone(in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "IN_MEMORY", in_memory)
    part, whole = extracted(tmp_path)
    phase = Phase(epochs=1)
    groups = [models.Group("all", list(whole.model.trainable_variables), 1.0)]
    stepper = Stepper(part.cut, Supervised({"label": TASK}), groups, phase, 5, distribute.strategy("cpu"))
    waiting = stepper({"train": iter(part.streams["train"].onwards())}, 5)["waiting"]
    assert np.count_nonzero(waiting) == (0 if in_memory else 5)


def test_what_reads_ahead_of_rows_that_are_gone_ends_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "IN_MEMORY", 0)
    part, _ = extracted(tmp_path)
    reader = part.streams["train"].readers[0]
    del part
    there = weakref.ref(reader)
    read = tf.function(lambda index: there().tensors(index), [tf.TensorSpec([None], tf.int64)], autograph=False)
    concrete = read.get_concrete_function()
    assert all(len(rows) == 2 for rows in concrete(tf.constant([0, 1], tf.int64)).values())
    del reader
    gc.collect()
    with pytest.raises(tf.errors.OutOfRangeError):
        concrete(tf.constant([0, 1], tf.int64))
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_views_are_the_epochs_of_training_in_turn(in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "IN_MEMORY", in_memory)
    augment = Augment(crop=0.5)
    part, whole = extracted(tmp_path, augment=augment, views=2, view_seed=7)
    assert part.facts["computed"] == 40 * 2 + 9, "two of each training example, and the validation split as it is"
    seeded = tiny.batches(tiny.examples(), training=True, seed=7, augment=augment)
    for epoch in (0, 1, 2):
        direct = values_of(Extracted(cut=whole, streams={"train": seeded}), epoch=epoch % 2)
        for place, row in values_of(part, epoch=epoch).items():
            np.testing.assert_allclose(row[0], direct[place][0], rtol=1e-5, atol=1e-6)
    assert list(values_of(part, epoch=0)) != list(values_of(part, epoch=2)), "the same views, in another order"
    more, _ = extracted(tmp_path, augment=augment, views=3, view_seed=7)
    assert more.facts["computed"] == 40


def test_mixed_images_are_not_stored(tmp_path: Path) -> None:
    part, whole = extracted(tmp_path, augment=Augment(mixup=0.2), views=2)
    assert part.cut is whole
    assert "MixUp" in part.facts["why"]


def test_what_is_computed_faster_than_it_is_read_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier, "WORTH", 10**9)
    part, whole = extracted(tmp_path)
    assert part.cut is whole
    assert part.facts["why"] == "what is frozen is computed faster than it is read"


def test_nothing_frozen_stores_nothing(tmp_path: Path) -> None:
    part, whole = extracted(tmp_path, "all")
    assert part.cut is whole
    assert part.facts == {"stored": None, "why": "nothing that the backbone computes is frozen"}
    assert list(tmp_path.iterdir()) == []


def test_a_lower_cut_is_taken_where_it_fits_and_none_where_not(tmp_path: Path) -> None:
    said: list[str] = []
    rows = tiny.examples(36)
    # Rows at the end of block 1 are 8 × 8 × 8, of block 2 4 × 4 × 8 and of block 3 16 floats.
    part, _ = extracted(tmp_path / "b", "block3", said, rows=rows, disk_budget="50kB")
    assert part.facts["stored"] == "block2"
    part, whole = extracted(tmp_path / "c", "block3", said, rows=rows, disk_budget="10kB")
    assert part.facts["stored"] is None
    assert part.cut is whole
    assert "block2 would take" in part.facts["why"]
    assert [line.split(" would")[0].split()[-1] for line in said if "would take" in line] == ["block2", "block1"]


def test_the_part_between_a_lower_cut_and_what_trains_runs_frozen() -> None:
    backbone, model = made()
    models.set_trainable(model, backbone, "block3")
    whole = cut(model)
    images = {"image": np.random.default_rng(0).random((4, 16, 16, 3), np.float32)}
    above = {id(layer) for layer in backbone.blocks[1].layers}
    part, rest = whole.split(lambda operation: id(operation) not in above)
    assert len(rest.frozen.nodes) == 4, "block 2, with dropout in it"
    lower = dict(zip(rest.names, part([images["image"]], training=False), strict=True))
    for one, other in zip(rest.to_frontier(lower), whole.to_frontier(images), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(rest(lower, training=False)["label"], whole(images, training=False)["label"])


def test_a_full_disk_ends_the_filling_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shard, "write", full)
    said: list[str] = []
    part, whole = extracted(tmp_path, said=said)
    assert part.cut is whole
    assert "No space left on device" in part.facts["why"]
    assert "goes on without it" in said[-1]


def test_float16_rounds_and_halves(tmp_path: Path) -> None:
    full, _ = extracted(tmp_path, "block3")
    half, _ = extracted(tmp_path, "block3", dtype="float16")
    for place, (row,) in values_of(half).items():
        assert row.dtype == np.float32
        exact = values_of(full)[place][0]
        np.testing.assert_array_equal(row, exact.astype(np.float16).astype(np.float32))
    assert half.facts["bytes"] < 0.7 * full.facts["bytes"]


def test_a_value_too_large_for_float16_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"features.dtype: an activation of 70000 is too large for float16"):
        fill._cast(np.array([1.0, 70000.0], np.float32), "float16")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_stored_as_it_is(policy: str, tmp_path: Path) -> None:
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        part, _ = extracted(tmp_path, "block3")
        batch = next(iter(part.streams["train"].epoch(0)))
        assert {tensor.dtype.name for tensor in part.cut.to_frontier(batch)} == {policy.removeprefix("mixed_")}
    finally:
        keras.config.set_dtype_policy(before)


def test_one_view_of_one_epoch_is_augmented(tmp_path: Path) -> None:
    augment = Augment(crop=0.5)
    part, whole = extracted(tmp_path, augment=augment, views=1, view_seed=7)
    seeded = tiny.batches(tiny.examples(), training=True, seed=7, augment=augment)
    direct = values_of(Extracted(cut=whole, streams={"train": seeded}))
    for place, row in values_of(part).items():
        np.testing.assert_allclose(row[0], direct[place][0], rtol=1e-5, atol=1e-6)


def test_in_batches_is_the_order_of_columns_with_the_same_seed() -> None:
    rows = tiny.examples(21)
    order = [int(one["index"]) for one in rows.dataset(shuffle_seed=5)]
    assert np.concatenate(in_batches(21, 8, seed=5)).tolist() == order
    assert [len(batch) for batch in in_batches(21, 8, seed=None)] == [8, 8, 5]
    assert [len(batch) for batch in in_batches(17, 8, seed=1, replicas=2)] == [8, 8]
    assert in_batches(17, 8, seed=None, replicas=2)[-1].tolist() == [16, 16]
    assert [len(batch) for batch in in_batches(21, 8, seed=1, replicas=8)] == [8, 8]


def test_an_epoch_goes_on_where_it_was_left(tmp_path: Path) -> None:
    part, _ = extracted(tmp_path)
    whole = [batch["index"].numpy().tolist() for batch in part.streams["train"].epoch(1)]
    rest = [batch["index"].numpy().tolist() for batch in part.streams["train"].epoch(1, skip=2)]
    assert rest == whole[2:]
    assert len(part.streams["train"]) == len(whole)
