"""Batches of texts of like length: what each may hold, that every text has its turn, and how little of it is padding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tfl.data import lengths as by_length
from tfl.data.lengths import batches_by_length, padded_lengths

PADS = {"token_ids": 9, "padding_mask": 0}


def some_lengths(count: int, seed: int = 0, longest: int = 120) -> np.ndarray:
    """Lengths as those of texts: many short ones, few long ones."""
    return np.clip(np.random.default_rng(seed).gamma(2.0, longest / 12, count), 3, longest).astype(np.int64)


def cases() -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Lengths, and arguments of `batches_by_length` for them."""
    random = np.random.default_rng(0)
    for count, replicas in itertools.product((0, 1, 2, 7, 64, 333, 2000), (1, 2, 3)):
        lengths = some_lengths(count, int(random.integers(1000)), int(random.integers(4, 200)))
        for max_tokens in (None, 50, int(random.integers(100, 3000))):
            common = {"max_tokens": max_tokens, "replicas": replicas}
            yield lengths, {"batch_size": int(random.integers(3, 40)), **common}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 2 batches, so that few texts make many of them."""
    monkeypatch.setattr(by_length, "WINDOW", 2)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("seed", [None, 1, 2**40], ids=["in order", "1", "2**40"])
def test_every_text_is_in_one_batch_and_none_is_too_large(seed: int | None) -> None:
    for lengths, given in cases():
        batches = batches_by_length(lengths, **given, seed=seed)
        padded, replicas, budget = padded_lengths(lengths), given["replicas"], given["max_tokens"]
        for batch in batches:
            assert replicas <= len(batch) <= given["batch_size"]
            assert budget is None or len(batch) <= replicas or len(batch) * padded[batch].max() <= budget
        found = np.sort(np.concatenate([np.empty(0, np.int64), *batches]))
        unique = np.unique(found)
        assert unique.size == len(lengths) or (seed is not None and replicas > 1)
        assert len(lengths) - unique.size < replicas
        assert found.size == unique.size or (seed is None and found.size - unique.size < replicas)


@pytest.mark.usefixtures("narrow")
def test_the_sizes_of_the_batches_do_not_depend_on_the_seed() -> None:
    for lengths, given in cases():
        first, *others = (sorted(map(len, batches_by_length(lengths, **given, seed=seed))) for seed in range(6))
        assert all(other == first for other in others)


@pytest.mark.usefixtures("narrow")
def test_without_a_budget_there_are_as_many_batches_as_without_sorting() -> None:
    for count in (0, 1, 8, 63, 64, 65, 999):
        assert len(batches_by_length(some_lengths(count), 8, seed=3)) == -(-count // 8)
        assert len(batches_by_length(some_lengths(count), 8)) == -(-count // 8)


def test_by_hand() -> None:
    lengths = np.array([4, 10, 4, 12, 4, 4, 30])

    def found(**given: Any) -> list[list[int]]:
        return [batch.tolist() for batch in batches_by_length(lengths, **given)]

    assert found(batch_size=3) == [[0], [2, 4, 5], [1, 3, 6]]
    assert found(batch_size=3, replicas=2) == [[0, 0], [2, 4, 5], [1, 3, 6]]
    assert found(batch_size=3, replicas=3) == [[0, 0, 0], [2, 4, 5], [1, 3, 6]]
    assert found(batch_size=9, max_tokens=24) == [[0, 2, 4, 5], [1, 3], [6]]
    assert found(batch_size=9, max_tokens=24, replicas=2) == [[0, 2, 4], [5, 1], [3, 6]]
    assert [len(batch) for batch in found(batch_size=3, replicas=2, seed=1)] == [3, 3]
    even = batches_by_length(np.full(10, 10), 9, max_tokens=59, replicas=2)
    assert [len(batch) for batch in even] == [2, 4, 4], "each replica has as many rows"
    assert sorted(len(batch) for batch in found(batch_size=9, max_tokens=24, seed=1)) == [1, 2, 4]


def test_texts_are_in_order_of_length_where_nothing_is_random() -> None:
    lengths = some_lengths(500)
    order = np.concatenate(batches_by_length(lengths, 16, max_tokens=400))
    np.testing.assert_array_equal(order, np.argsort(lengths, kind="stable"))


def test_the_seed_decides() -> None:
    lengths = some_lengths(300)
    first, again, other = (batches_by_length(lengths, 16, max_tokens=600, seed=seed) for seed in (5, 5, 6))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert any(set(one) != set(two) for one, two in zip(first, other, strict=True))


def together(batches: list[np.ndarray]) -> set[tuple[int, int]]:
    """Every pair of texts that share a batch."""
    return {pair for batch in batches for pair in itertools.combinations(sorted(batch.tolist()), 2)}


@pytest.mark.parametrize("max_tokens", [None, 640])
def test_a_text_meets_others_in_every_epoch(max_tokens: int | None) -> None:
    lengths = some_lengths(6000, longest=60)
    first, second = (together(batches_by_length(lengths, 16, max_tokens=max_tokens, seed=seed)) for seed in (1, 2))
    assert len(first & second) < 0.06 * len(first)
    batches = [batches_by_length(lengths, 16, max_tokens=max_tokens, seed=seed) for seed in range(20)]
    longest = int(lengths.argmax())
    met = [set(batch.tolist()) for epoch in batches for batch in epoch if longest in batch]
    assert len(set.union(*met)) > 2 * max(map(len, met)), "the longest text has few like it, and meets all of them"


def test_texts_of_any_length_may_be_in_the_batch_that_is_not_full() -> None:
    lengths = np.arange(3, 106)  # 103 texts, no two of one length
    smallest = [min(batches_by_length(lengths, 10, seed=seed), key=len) for seed in range(40)]
    assert len(np.unique(np.concatenate(smallest))) > 40
    left_out = []
    for seed in range(40):
        batches = batches_by_length(lengths, 10, seed=seed, replicas=10)
        left_out.append(np.setdiff1d(np.arange(103), np.concatenate(batches)))
    assert len(left_out[0]) > 0
    assert len(np.unique(np.concatenate(left_out))) > 20


@pytest.mark.usefixtures("narrow")
def test_texts_of_a_length_of_their_own_meet_others_too() -> None:
    lengths = np.unique(padded_lengths(np.arange(1, 513)))
    assert len(lengths) == 56  # 14 windows of 2 batches
    first, second = (together(batches_by_length(lengths, 2, seed=seed)) for seed in (1, 2))
    assert len(first & second) < 0.5 * len(first)


@pytest.mark.parametrize("max_tokens", [None, 640])
def test_batches_are_not_in_order_of_length_while_training(max_tokens: int | None) -> None:
    lengths = some_lengths(3000)
    means = [lengths[batch].mean() for batch in batches_by_length(lengths, 16, max_tokens=max_tokens, seed=1)]
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.25


def test_padded_lengths_by_hand() -> None:
    given = [1, 2, 15, 16, 17, 18, 31, 32, 33, 63, 65, 129, 300, 500]
    assert padded_lengths(np.array([*given, 512])).tolist()[:-1] == [1, 2, 15, 16, 18, 18, 32, 32, 36, 64, 72, 144, 320, 512]
    assert padded_lengths(np.array([97, 100, 5])).tolist() == [100, 100, 5], "no more than the longest"
    assert padded_lengths(np.array([], np.int64)).tolist() == []


def test_padded_lengths_are_few_and_near() -> None:
    lengths = np.arange(1, 513)
    padded = padded_lengths(lengths)
    assert (padded >= lengths).all()
    assert (padded < lengths * 1.125).all()
    assert (np.diff(padded) >= 0).all()
    assert len(np.unique(padded)) == 56
