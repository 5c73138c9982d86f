"""Both shapes of examples: in order, in a random order that the seed determines, from anywhere on, in part."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfl.data.examples import SHUFFLE_BUFFER, Columns, Stream, digest, digests, strings

N = 20


def make_columns(count: int = N) -> Columns:
    return Columns(
        ids=strings(f"row:{i}" for i in range(count)),
        inputs={"text": strings(f"text {i}" for i in range(count))},
        labels=np.arange(count, dtype=np.int64) % 3,
        digests=digests(digest(str(i).encode()) for i in range(count)),
    )


def make_stream(count: int = N) -> Stream:
    columns = make_columns(count)
    texts = tf.constant([f"text {i}" for i in range(count)])
    return Stream(
        ids=columns.ids,
        labels=columns.labels,
        digests=columns.digests,
        positions=np.arange(count, dtype=np.int64),
        open=lambda: tf.data.Dataset.from_tensor_slices({"text": texts}),
    )


@pytest.fixture(params=[make_columns, make_stream], ids=["columns", "stream"])
def make(request: pytest.FixtureRequest):
    return request.param


def order(data: tf.data.Dataset) -> list[int]:
    return [int(example["index"]) for example in data]


def test_each_example_has_its_index_inputs_and_label(make):
    found = list(make().dataset().as_numpy_iterator())
    assert [example["index"] for example in found] == list(range(N))
    assert all(example["text"].decode() == f"text {example['index']}" for example in found)
    assert all(example["label"] == example["index"] % 3 for example in found)


def test_a_shuffle_is_a_permutation_that_the_seed_determines(make):
    first = order(make().dataset(shuffle_seed=1))
    assert sorted(first) == list(range(N))
    assert first != list(range(N))
    assert first == order(make().dataset(shuffle_seed=1))
    assert first != order(make().dataset(shuffle_seed=2))
    assert sorted(order(make().dataset(shuffle_seed=2**40 + 3))) == list(range(N))


def test_a_shuffled_dataset_is_the_same_when_read_again(make):
    data = make().dataset(shuffle_seed=1)
    assert order(data) == order(data)


@pytest.mark.parametrize("seed", [None, 5])
def test_skip_goes_on_where_an_interrupted_pass_ended(make, seed):
    whole = order(make().dataset(shuffle_seed=seed))
    assert order(make().dataset(shuffle_seed=seed, skip=7)) == whole[7:]
    assert order(make().dataset(shuffle_seed=seed, skip=N)) == []


def test_the_number_of_examples_is_known_before_reading(make):
    assert int(make().dataset(shuffle_seed=1, skip=3).cardinality()) == N - 3


def test_taken_examples_keep_everything_that_is_theirs_and_count_from_0(make):
    part = make().take(np.array([2, 3, 11])).take(np.array([0, 2]))
    assert len(part) == 2
    assert part.ids.tolist() == ["row:2", "row:11"]
    assert part.digests.tolist() == [digest(b"2"), digest(b"11")]
    found = [(int(e["index"]), e["text"].decode(), int(e["label"])) for e in part.dataset().as_numpy_iterator()]
    assert found == [(0, "text 2", 2), (1, "text 11", 2)]


def test_no_labels_no_label(make):
    assert "label" not in dataclasses.replace(make(), labels=None).dataset().element_spec


def test_what_an_example_is_can_be_known_without_a_dataset(make):
    assert make().element_spec == make().dataset().element_spec
    unlabelled = dataclasses.replace(make(), labels=None)
    assert unlabelled.element_spec == unlabelled.dataset().element_spec


def test_nothing_taken_is_an_empty_dataset(make):
    assert order(make().take(np.array([], dtype=np.int64)).dataset()) == []


def test_columns_can_be_taken_in_any_order_and_a_stream_says_that_it_cannot():
    assert make_columns().take(np.array([5, 1])).ids.tolist() == ["row:5", "row:1"]
    with pytest.raises(ValueError, match="ascend"):
        make_stream().take(np.array([5, 1]))


def test_a_stream_longer_than_its_buffer_yields_every_example_once():
    count = SHUFFLE_BUFFER + 500
    assert sorted(order(make_stream(count).dataset(shuffle_seed=3))) == list(range(count))


def make_tensors() -> Columns:
    ragged = tf.ragged.constant([[i] * (i % 4 + 1) for i in range(N)], dtype=tf.int32)
    columns = make_columns()
    images = np.arange(N * 4 * 6 * 3).reshape(N, 4, 6, 3).astype(np.uint8)
    return Columns(
        ids=columns.ids,
        inputs={"token_ids": ragged, "image": images},
        labels=np.eye(N, 3, dtype=np.float32),
        digests=columns.digests,
    )


def test_ragged_and_array_columns_are_gathered_row_by_row():
    for example in make_tensors().dataset(shuffle_seed=4).as_numpy_iterator():
        i = int(example["index"])
        assert example["token_ids"].tolist() == [i] * (i % 4 + 1)
        assert example["image"].ravel()[0] == i * 72 % 256
        assert example["label"].tolist() == np.eye(N, 3)[i].tolist()


def test_ragged_columns_can_be_taken():
    part = make_tensors().take(np.array([7, 2]))
    assert [e["token_ids"].tolist() for e in part.dataset().as_numpy_iterator()] == [[7] * 4, [2] * 3]


def test_shapes_are_static_where_they_are_the_same_for_all():
    spec = make_tensors().dataset().element_spec
    assert make_tensors().element_spec == spec
    assert spec["image"].shape == (4, 6, 3)
    assert spec["image"].dtype == tf.uint8
    assert spec["token_ids"].shape.as_list() == [None]
    assert spec["label"].shape == (3,)
    assert spec["index"].dtype == tf.int64


def test_a_graph_captures_the_arrays_and_does_not_hold_them():
    images = np.random.default_rng(0).integers(0, 255, (500, 64, 64, 3)).astype(np.uint8)  # 6 MB
    columns = Columns(ids=strings(range(500)), inputs={"image": images}, labels=None, digests=make_columns(500).digests)

    @tf.function
    def total() -> tf.Tensor:
        zero = tf.constant(0, tf.int64)
        return columns.dataset().reduce(zero, lambda s, e: s + tf.reduce_sum(tf.cast(e["image"], tf.int64)))

    concrete = total.get_concrete_function()
    assert int(concrete()) == int(images.astype(np.int64).sum())
    assert concrete.graph.as_graph_def().ByteSize() < 1_000_000


def test_a_digest_depends_on_where_its_parts_end():
    assert digest(b"ab", b"c") != digest(b"a", b"bc")
    assert digest(b"abc") != digest(b"ab", b"c")
    assert len(digest(b"")) == 32
