"""What is stored is read again, whoever computed it, and is not read where it would not be the same."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest

from tests import tiny
from tests.features.test_extract import ROWS, extracted, extractor, made, values_of
from tfl import models
from tfl.cut import cut
from tfl.data.augment import Augment
from tfl.data.examples import digest, digests
from tfl.features import engine, fill, job
from tfl.features.batches import Reader, View
from tfl.features.extract import Request

pytestmark = pytest.mark.usefixtures("all_stored")


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


def test_one_changed_image_is_computed_alone(tmp_path: Path) -> None:
    rows = tiny.examples()
    rows = dataclasses.replace(rows, digests=digests(digest(image.tobytes()) for image in rows.inputs["image"]))
    extracted(tmp_path, rows=rows)
    images = rows.inputs["image"].copy()
    images[20, 0, 0, 0] ^= 1
    changed = dataclasses.replace(rows, inputs={"image": images}, digests=digests(digest(one.tobytes()) for one in images))
    part, _ = extracted(tmp_path, rows=changed)
    assert part.facts["computed"] == 1


def test_shards_that_do_not_agree_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "IN_MEMORY", 0)
    part, _ = extracted(tmp_path, "block3")
    view = part.streams["train"].readers[0].view
    other = np.array([b"f" * 32], "S32")
    with view.entry.filling(lambda: None):
        view.entry.write(other, {"frozen_0": np.zeros((1, 4, 4, 8), np.float16)}, None)
    places = view.entry.find(np.concatenate([part.streams["train"].examples.digests, other]))
    with pytest.raises(OSError, match="do not agree"):
        Reader(View(view.entry, places), None, ("float32",))


def test_rows_are_the_same_read_together_or_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From several shards, in order, backwards, and in any order."""
    monkeypatch.setattr(job, "IN_MEMORY", 0)
    monkeypatch.setattr(fill, "SHARD_ROWS", 16)
    part, _ = extracted(tmp_path, "block3")
    reader = part.streams["train"].readers[0]
    assert len(np.unique(reader.view.place.shard)) > 1
    alone = [np.concatenate(rows) for rows in zip(*(reader.read(np.array([place])) for place in range(40)), strict=True)]
    assert len({row.tobytes() for row in alone[0]}) == 40
    place = reader.view.place
    follows = (place.shard[None] != place.shard[:, None]) & (place.row[None] == place.row[:, None] + 1)
    across = np.argwhere(follows)[0]  # a row, and the one that would be the next if it were in the same shard
    for order in (np.arange(40), np.arange(40)[::-1], across, np.random.default_rng(0).permutation(40)):
        for rows, expected in zip(reader.read(order), alone, strict=True):
            np.testing.assert_array_equal(rows, expected[order])


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


def test_the_engine_knows_all_weights_of_what_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are small become constants."""
    given, make = [], engine.make
    monkeypatch.setattr(engine, "make", lambda *args: given.append(args[4]) or make(*args))
    backbone, model = made()
    own = extractor(tmp_path)
    for trainable in ("block3", "head"):  # the second time, what lies between the two cuts is run
        models.set_trainable(model, backbone, trainable)
        own.extract(Request(cut=cut(model), blocks=backbone.blocks, streams={"test": tiny.batches(ROWS)}))
    lower, between = ({variable.path for variable in weights} for weights in given)
    assert lower
    assert between
    assert not lower & between
    models.set_trainable(model, backbone, "head")
    assert lower | between == {variable.path for variable in cut(model).frozen.variables}


def test_examples_that_are_done_with_are_let_go(tmp_path: Path) -> None:
    """Splits beyond the last few, and a network beyond the one that is extracted from now."""
    own, kept, networks = extractor(tmp_path), [], []
    for number in range(12):
        backbone, model = made(number)
        models.set_trainable(model, backbone, "head")
        rows = tiny.examples(8)
        kept.append(weakref.ref(rows))
        networks.append(weakref.ref(model.layers[1]))
        own.extract(Request(cut=cut(model), blocks=backbone.blocks, streams={"test": tiny.batches(rows)}))
    del rows, backbone, model
    keras.backend.clear_session()
    gc.collect()
    assert [one() is not None for one in kept] == [False] * 4 + [True] * 8
    assert [one() is not None for one in networks] == [False] * 11 + [True]
    own.forget()
    gc.collect()
    assert networks[-1]() is None
