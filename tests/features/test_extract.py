"""What is read from the store is what would have been computed; what cannot be stored is computed as ever, and it is said."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests import tiny
from tfl import backbones, distribute, models, predict
from tfl.config import UserError
from tfl.cut import cut
from tfl.data import Columns
from tfl.data.augment import Augment
from tfl.data.batches import in_batches
from tfl.data.examples import digest, digests, strings
from tfl.data.pipeline import prepare
from tfl.features import fill, frontier, job, shard
from tfl.features.batches import FeatureBatches, Reader, View
from tfl.features.config import Features
from tfl.features.extract import Extracted, Extractor, Request
from tfl.features.rows import Rows
from tfl.phases import Last
from tfl.tasks.classification import Classification

ROWS = tiny.examples()
TASK = Classification(class_names=("dark", "bright"), dropout=0.5)


@pytest.fixture(autouse=True)
def _everything_is_worth_storing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network this small is computed faster than it is read."""
    monkeypatch.setattr(frontier, "WORTH", 0)


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


@pytest.mark.parametrize(("trainable", "stored"), [("head", "block3"), ("block3", "block2"), ("block2", "block1")])
def test_what_is_stored_is_what_would_be_computed(trainable: str, stored: str, tmp_path: Path) -> None:
    part, whole = extracted(tmp_path, trainable)
    assert isinstance(part.streams["train"], FeatureBatches)
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


def test_the_second_time_everything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = extracted(tmp_path)
    monkeypatch.setattr(job, "fill", lambda *args, **kwargs: pytest.fail("it computes"))
    again, _ = extracted(tmp_path)
    assert again.facts["computed"] == 0
    assert again.facts["read"] == 49
    for one, other in zip(values_of(first).values(), values_of(again).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_row_does_not_depend_on_what_it_was_computed_with(tmp_path: Path) -> None:
    """Byte-identical, though the batches and shards are others."""
    rows = tiny.examples()
    all_at_once, _ = extracted(tmp_path / "a", "block3", rows=rows)
    extracted(tmp_path / "b", "block3", rows=rows.take(np.arange(11, 30)))
    in_parts, _ = extracted(tmp_path / "b", "block3", rows=rows)
    assert in_parts.facts["computed"] == 21
    for place, row in values_of(all_at_once).items():
        np.testing.assert_array_equal(values_of(in_parts)[place], row)


def test_the_same_shards_come_out_again(tmp_path: Path) -> None:
    extracted(tmp_path / "a")
    extracted(tmp_path / "b")
    one, other = (
        [path.relative_to(root) for path in sorted(root.rglob("*.safetensors"))] for root in sorted(tmp_path.iterdir())
    )
    assert one == other
    assert one


def test_a_damaged_shard_is_computed_again(tmp_path: Path) -> None:
    first, _ = extracted(tmp_path)
    path = next(tmp_path.rglob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-5] ^= 16
    path.write_bytes(data)
    said: list[str] = []
    again, _ = extracted(tmp_path, said=said)
    assert again.facts["computed"] == 40
    assert any("1 damaged file" in line for line in said)
    for one, other in zip(values_of(first).values(), values_of(again).values(), strict=True):
        np.testing.assert_array_equal(one, other)


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


def test_one_changed_image_is_computed_alone(tmp_path: Path) -> None:
    rows = tiny.examples()
    rows = dataclasses.replace(rows, digests=digests(digest(image.tobytes()) for image in rows.inputs["image"]))
    extracted(tmp_path, rows=rows)
    images = rows.inputs["image"].copy()
    images[20, 0, 0, 0] ^= 1
    changed = dataclasses.replace(rows, inputs={"image": images}, digests=digests(digest(one.tobytes()) for one in images))
    part, _ = extracted(tmp_path, rows=changed)
    assert part.facts["computed"] == 1


def test_views_are_the_epochs_of_training_in_turn(tmp_path: Path) -> None:
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


def test_shards_that_do_not_agree_are_not_read(tmp_path: Path) -> None:
    part, _ = extracted(tmp_path, "block3")
    view = part.streams["train"].views[0]
    other = np.array([b"f" * 32], "S32")
    with view.entry.filling(lambda: None):
        view.entry.write(other, {"frozen_0": np.zeros((1, 4, 4, 8), np.float16)}, None)
    places = view.entry.find(np.concatenate([part.streams["train"].examples.digests, other]))
    with pytest.raises(OSError, match="do not agree"):
        Reader(View(view.entry, places), None, ("float32",))


def test_after_an_interrupt_what_is_there_is_still_read(tmp_path: Path) -> None:
    backbone, model = made()
    models.set_trainable(model, backbone, "head")
    request = Request(cut=cut(model), blocks=backbone.blocks, streams={"test": tiny.batches(ROWS)})
    stopped = extractor(tmp_path)
    stopped.stop = lambda: True
    assert stopped.extract(request).facts["why"] == "interrupted"
    extractor(tmp_path).extract(request)
    assert stopped.extract(request).facts["read"] == 40


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_stored_as_it_is(policy: str, tmp_path: Path) -> None:
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        part, _ = extracted(tmp_path, "block3")
        batch = next(iter(part.streams["train"].epoch(0)))
        assert batch["frozen_0"].dtype.name == policy.removeprefix("mixed_")
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_another_precision_has_rows_of_its_own(policy: str, tmp_path: Path) -> None:
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(policy)
        extracted(tmp_path, "block3")
    finally:
        keras.config.set_dtype_policy(before)
    part, _ = extracted(tmp_path, "block3")
    assert part.facts["computed"] == 40, "nothing of the other precision is read"


def test_a_lower_extraction_with_other_augmentation_or_examples_is_not_gone_on_from(tmp_path: Path) -> None:
    backbone, model = made()
    own = extractor(tmp_path / "shared")
    found = {}
    for crop in (0.6, 0.8):
        for trainable in ("block3", "head"):
            models.set_trainable(model, backbone, trainable)
            batches = tiny.batches(ROWS, training=True, augment=Augment(crop=crop))
            request = Request(cut=cut(model), blocks=backbone.blocks, streams={"train": batches}, views=1)
            found[crop] = own.extract(request)
    alone = extractor(tmp_path / "alone").extract(request)
    for place, row in values_of(alone).items():
        np.testing.assert_array_equal(values_of(found[0.8])[place], row)
    test = tiny.batches(tiny.examples(7, seed=9))
    assert own.extract(Request(cut=cut(model), blocks=backbone.blocks, streams={"test": test})).facts["computed"] == 7


def test_one_view_of_one_epoch_is_augmented(tmp_path: Path) -> None:
    augment = Augment(crop=0.5)
    part, whole = extracted(tmp_path, augment=augment, views=1, view_seed=7)
    seeded = tiny.batches(tiny.examples(), training=True, seed=7, augment=augment)
    direct = values_of(Extracted(cut=whole, streams={"train": seeded}))
    for place, row in values_of(part).items():
        np.testing.assert_allclose(row[0], direct[place][0], rtol=1e-5, atol=1e-6)


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
