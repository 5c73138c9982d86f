"""Intervals over seeds and test examples, and Holm's correction, against cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tfl.studies import paired
from tfl.studies.compare.verdict import advice, verdict
from tfl.studies.paired import Paired


def test_the_interval_adds_what_seeds_and_examples_bring() -> None:
    """t(2) = 4.3027 and t(99) = 1.9842 at 95 %: half = sqrt(4.3027² · 0.0001 + 1.9842² · 0.0004) = 0.058541."""
    one = Paired(value=0.1, centre=0.1, over_seeds=1e-4, over_examples=4e-4, seeds=3, examples=100)
    low, high = one.interval()
    assert (low, high) == (pytest.approx(0.1 - 0.058541, abs=1e-5), pytest.approx(0.1 + 0.058541, abs=1e-5))


def test_variances_of_a_table_computed_by_hand() -> None:
    """d = [[1, 0, 1, 0], [1, 0, 0, 1]]: mean 1/2, seeds 1/2 and 1/2, examples 1, 0, 1/2, 1/2.

    The rest is ±1/2 in the last two columns, four times: 1 / ((2 - 1)(4 - 1)) = 1/3. The seeds agree, so that their mean
    square, 0, counts as that of the rest: (1/3) / (2 · 4) = 1/24. The examples' variance is 1/6, less (1/3) / 2: nothing;
    what is left are the pseudo-observations, 1 / 6².
    """
    first, second = np.array([[1, 0, 1, 0], [1, 0, 0, 1]]), np.zeros((2, 4))
    found = paired.of_examples(first, second)
    assert (found.value, found.centre) == (0.5, pytest.approx(0.5 * 4 / 6))
    assert found.over_seeds == pytest.approx(1 / 24)
    assert found.over_examples == pytest.approx(1 / 36)
    assert (found.seeds, found.examples) == (2, 4)


def test_with_seeds_that_agree_it_is_near_the_interval_of_agresti_and_min() -> None:
    """12 of 100 examples are right with the first alone, 2 with the second alone, with every seed."""
    row = np.zeros(100)
    row[:12], row[12:14] = 1, -1
    found = paired.of_examples(np.tile(np.maximum(row, 0), (5, 1)), np.tile(np.maximum(-row, 0), (5, 1)))
    more, fewer, count = 12.5, 2.5, 102
    wald = math.sqrt(more + fewer - (more - fewer) ** 2 / count) / count
    low, high = found.interval()
    assert found.centre == pytest.approx((more - fewer) / count)
    assert (high - low) / 2 == pytest.approx(stats.t.isf(0.025, 99) * wald, rel=0.03)


def test_two_seeds_that_lie_close_by_chance_are_not_certain() -> None:
    random = np.random.default_rng(0)
    first, second = random.random((2, 2, 400)) < [[[0.8]], [[0.7]]]
    first[1] = random.permutation(first[0])
    second[1] = random.permutation(second[0])
    found = paired.of_examples(first, second)
    assert found.value > 0.05
    assert verdict(*found.interval()) == "no difference"


def test_what_is_the_same_is_no_difference_and_what_is_plain_is_one() -> None:
    same = (np.random.default_rng(0).random((3, 50)) < 0.7).astype(float)
    found = paired.of_examples(same, same)
    assert (found.value, found.p, verdict(*found.interval())) == (0, 1, "no difference")
    plain = paired.of_examples(np.ones((3, 50)), np.zeros((3, 50)))
    assert verdict(*plain.interval()) == "helped"
    assert verdict(*paired.of_examples(np.zeros((3, 50)), np.ones((3, 50))).interval()) == "hurt"


def test_means_alone_have_the_largest_variance_that_their_examples_can_have() -> None:
    """Means 0.8 and 0.6 over 98 examples: (79.4 / 100, 59.8 / 100), each p(1 - p) / 100."""
    found = paired.of_means([0.7, 0.9], [0.6, 0.6], examples=98)
    assert found.value == pytest.approx(0.2)
    assert found.centre == pytest.approx(0.794 - 0.598)
    assert found.over_seeds == pytest.approx(0.02 / 2)
    assert found.over_examples == pytest.approx((0.794 * 0.206 + 0.598 * 0.402) / 100)


def test_the_p_value_is_where_the_interval_ends_at_0() -> None:
    one = Paired(value=0.1, centre=0.1, over_seeds=1e-3, over_examples=1e-3, seeds=4, examples=60)
    low, high = one.interval(1 - one.p)
    assert low == pytest.approx(0, abs=1e-9)
    assert high == pytest.approx(0.2)


@pytest.mark.parametrize(("seeds", "of_seed", "of_example"), [(2, 0.15, 0.0), (2, 0.03, 0.3), (3, 0.1, 0.2), (5, 0.0, 0.0)])
def test_the_interval_holds_its_level_whatever_varies(seeds: int, of_seed: float, of_example: float) -> None:
    """Of 400 simulated comparisons with a true difference of 0.1, at most 5 % miss it, and a little by chance."""
    random, missed = np.random.default_rng(1), 0
    for _ in range(400):
        example = random.uniform(0.35, 0.55, (1, 80))
        first = (
            example + 0.1 + random.uniform(-of_seed, of_seed, (seeds, 1)) + random.choice([-of_example, of_example], (1, 80))
        )
        second = example + random.uniform(-of_seed, of_seed, (seeds, 1))
        right = [random.random(chance.shape) < np.clip(chance, 0, 1) for chance in (first, second)]
        low, high = paired.of_examples(*right).interval()
        missed += not low <= 0.1 <= high
    assert missed <= 30


def test_holm_against_his_known_example() -> None:
    """p = 0.01, 0.04, 0.03, 0.005: 4 · 0.005, 3 · 0.01, 2 · 0.03, and 0.04, no smaller than the one before it."""
    adjusted, levels = paired.holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert levels == pytest.approx([1 - 0.05 / 3, 1 - 0.05 / 2, 1 - 0.05 / 2, 1 - 0.05 / 4])
    assert paired.holm([]) == ([], [])


def test_an_interval_at_holms_level_leaves_0_out_just_where_holm_rejects() -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        found = [
            Paired(value=value, centre=value, over_seeds=1e-3, over_examples=1e-3, seeds=4, examples=60)
            for value in random.normal(0.1, 0.12, 8)
        ]
        adjusted, levels = paired.holm([one.p for one in found])
        shown = [verdict(*one.interval(level)) != "no difference" for one, level in zip(found, levels, strict=True)]
        assert shown == [p < 0.05 for p in adjusted]


def test_in_a_declared_order_nothing_behind_a_failure_counts() -> None:
    assert paired.in_sequence([0.04, 0.03])[0] == [0.04, 0.04]
    assert paired.in_sequence([0.04, 0.03])[1] == pytest.approx([0.95, 0.95])
    adjusted, levels = paired.in_sequence([0.01, 0.2, 0.02])
    assert adjusted == [0.01, 0.2, 0.2]
    assert levels == pytest.approx([0.95, 0.95, 1 - 0.05 * 0.02 / 0.2])
    one = Paired(value=0.1, centre=0.1, over_seeds=1e-3, over_examples=1e-4, seeds=4, examples=60)
    assert verdict(*one.interval(paired.in_sequence([2 * one.p, one.p])[1][1])) == (
        "no difference" if 2 * one.p >= 0.05 else "helped"
    )


def test_words_follow_from_the_interval_alone() -> None:
    assert [verdict(*ends) for ends in ((0.01, 0.2), (-0.01, 0.2), (-0.2, -0.01), (0.0, 0.0))] == [
        "helped",
        "no difference",
        "hurt",
        "no difference",
    ]
    assert "lower cut" in advice("hurt", -0.2, -0.1)
    assert "+0.100" in advice("no difference", -0.05, 0.1)
    assert advice("helped", 0.1, 0.2) == ""
