"""What a comparison trains: nested subsets of labels, and the recipe of each method on the same budget."""

from __future__ import annotations

import numpy as np
import pytest

from tfl.config import UserError
from tfl.phases import Phase
from tfl.studies.compare import recipes, subsets


@pytest.mark.parametrize("seed", [0, 1])
def test_subsets_are_nested_and_balanced(seed: int) -> None:
    random = np.random.default_rng(0)
    classes = random.permutation(np.repeat([0, 1, 2], [20, 30, 60]))
    ids = np.array([f"{place:03}" for place in range(110)], object)
    before: set[int] = set()
    for labels in (2, 5, 11, 20):
        chosen = subsets.subset(ids, classes, labels, seed)
        assert np.bincount(classes[chosen]).tolist() == [labels] * 3
        assert before < set(chosen.tolist())
        assert (np.diff(chosen) > 0).all()
        before = set(chosen.tolist())
    assert subsets.subset(ids, classes, "all", seed).tolist() == list(range(110))
    assert subsets.subset(ids, classes, 5, seed).tolist() != subsets.subset(ids, classes, 5, seed + 2).tolist()
    order = random.permutation(110)
    again = order[subsets.subset(ids[order], classes[order], 5, seed)]
    assert sorted(again) == subsets.subset(ids, classes, 5, seed).tolist(), "whatever order the examples stand in"


def test_counts_that_a_class_cannot_give_are_left_out_or_named() -> None:
    sizes = {"ants": 12, "bees": 40}
    assert subsets.fitting((5, 10, 20, "all"), sizes, chosen=False) == (5, 10, "all")
    with pytest.raises(UserError, match=r"20 a class are not there: class 'ants' has 12"):
        subsets.fitting((5, 20), sizes, chosen=True)


@pytest.mark.parametrize("method", ["scratch", "head", "top", "full", "lora"])
@pytest.mark.parametrize("epochs", [2, 7, 60])
def test_every_method_has_the_same_number_of_epochs(method: str, epochs: int) -> None:
    phases = recipes.with_epochs(recipes.phases_of(method, "image", 17, ()), epochs)
    assert sum(phase.epochs for phase in phases) == epochs
    assert min(phase.epochs for phase in phases) >= 1


def test_a_budget_alone_ends_what_is_compared() -> None:
    own = (Phase(epochs=2, early_stopping=1), Phase(trainable="all", epochs=3, early_stopping=2))
    for made in (recipes.with_epochs(own, 20), recipes.with_seconds(own, 2)):
        assert [phase.early_stopping for phase in made] == [None, None]


def test_a_long_first_phase_leaves_the_others_an_epoch() -> None:
    phases = recipes.with_epochs([Phase(epochs=9), Phase(epochs=1)], 2)
    assert [phase.epochs for phase in phases] == [1, 1]


def test_scratch_has_a_recipe_of_its_own() -> None:
    (phase,) = recipes.phases_of("scratch", "image", 17, ())
    assert (phase.trainable, phase.batch_norm) == ("all", "train")
    rates = [one.learning_rate for one in recipes.phases_of("full", "image", 17, ()) if one.trainable == "all"]
    assert phase.learning_rate > max(rates)
    own = (Phase(trainable="all", epochs=2),)
    assert recipes.phases_of("config", "image", 17, own) == own


def test_the_seconds_of_a_budget_are_shared_out_among_the_phases() -> None:
    phases = recipes.phases_of("top", "image", 17, ())
    assert recipes.deadlines(phases, 50) == [30, 50]
