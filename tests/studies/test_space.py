"""What a sweep tries: as it is typed, as it is given in Python, and held to the config."""

from __future__ import annotations

from typing import Any

import pytest

from tfl.config import UserError
from tfl.jobs import config_of
from tfl.phases import Last, Phase
from tfl.studies.sweep import space
from tfl.studies.sweep.space import Choices, Range

RAW: dict[str, Any] = {
    "data": {"source": "digits"},
    "backbone": {"name": "mobilenet_0.25", "weights": "none"},
    "phases": [{"trainable": "head", "epochs": 1}],
}


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("task.dropout=0,0.2", Choices((0, 0.2))),
        ("backbone.name=resnet50,vgg16", Choices(("resnet50", "vgg16"))),
        ("phases.0.learning_rate=1e-4..1e-2", Range(1e-4, 1e-2)),
        ("task.hidden=[],[64],[64, 32]", Choices(([], [64], [64, 32]))),
        ("phases.0.trainable={last: 1},head", Choices(({"last": 1}, "head"))),
        ("data.batch_size=16..64", Range(16, 64)),
    ],
)
def test_a_dimension_is_read_as_it_is_meant(typed: str, found: Any) -> None:
    dimensions, plain = space.parse([typed, "seed=3"])
    assert dimensions == {typed.partition("=")[0]: found}
    assert plain == ["seed=3"]


@pytest.mark.parametrize(
    "typed",
    ["seed=1", "data.label_separator=,", "task.hidden=[64, 32]", "phases=[{trainable: head, epochs: 3}]", "data.label='a,b'"],
)
def test_one_value_is_no_dimension(typed: str) -> None:
    with pytest.raises(UserError, match="a sweep needs something to try"):
        space.parse([typed])


def test_precision_is_one_for_all_trials() -> None:
    with pytest.raises(UserError, match="precision: a sweep has one value of it"):
        space.parse(["precision=float32,mixed_bfloat16"])


def test_ranges_are_by_logarithm_where_they_are_wide() -> None:
    assert Range(1e-4, 1e-2).log
    assert not Range(0.1, 0.5).log
    assert not Range(0, 0.5).log
    assert Range(8, 64).whole
    assert not Range(8, 64.0).whole
    with pytest.raises(UserError, match=r"2\.\.1 is not a range"):
        space.parse(["seed=2..1"])
    with pytest.raises(UserError, match="seed: it is given twice"):
        space.parse(["seed=1..2", "seed=3,4"])


def test_a_grid_is_of_all_values_that_there_are() -> None:
    dimensions, _ = space.parse(["task.dropout=0,0.2,0.2", "phases.0.epochs=1..3", "task.class_weight=null,balanced"])
    grid = space.grid(dimensions, 12)
    assert len(grid) == 12
    assert {"task.dropout": 0.2, "phases.0.epochs": 3, "task.class_weight": None} in grid
    assert space.grid(dimensions, 11) == []
    assert space.grid({"task.dropout": Range(0, 0.5)}, 99) == []


def test_values_go_into_a_config_whole_and_a_choice_stays_as_it_is() -> None:
    phases = [{"trainable": "head", "epochs": 1}]
    made = space.applied({"seed": 1}, {"phases.0.epochs": 2, "phases": phases})
    assert made == {"seed": 1, "phases": [{"trainable": "head", "epochs": 2}]}
    assert phases[0]["epochs"] == 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("task.dropot=0,0.2", "did you mean task.dropout"),
        ("task.dropout=0,2", "task.dropout"),
        ("phases.3.epochs=1,2", "'3' is not the number of an element"),
        ("backbone.name=mobilenet_0.25,resnet5", "did you mean 'resnet50'"),
        ("data.batch_size=16.0..64.0", "data.batch_size: 33.6"),
        ("task.dropout=0,,0.2", "task.dropout: '0,,0.2' is neither values"),
        ("features.dtype=float32,float16", "features.dtype: a sweep has one value of it"),
    ],
)
def test_a_wrong_value_is_found_before_anything_runs(typed: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        space.check(RAW, space.parse([typed])[0], config_of)


def test_python_values_are_what_could_be_typed() -> None:
    assert space.given({"task.dropout": (0, 0.2, 0.2), "phases.0.learning_rate": "1e-4..1e-2", "seed": "1,2"}) == {
        "task.dropout": Choices((0, 0.2)),
        "phases.0.learning_rate": Range(1e-4, 1e-2),
        "seed": Choices((1, 2)),
    }
    (phases,) = space.given({"phases": [[Phase(epochs=1)], [Phase(trainable=Last(last=2))]]}).values()
    assert [one[0]["trainable"] for one in phases.ends] == ["head", {"last": 2}]
    space.check(RAW, {"phases": phases}, config_of)


@pytest.mark.parametrize(
    ("dimensions", "said"),
    [
        ({}, "space: nothing to try"),
        (["task.dropout"], r"space: \['task.dropout'\] is not valid; a mapping of keys to their values"),
        ({"task.dropout": 0.2}, r"space: task.dropout: 0.2 is not valid; a list of values"),
        ({"task.dropout": "0.2"}, r"space: task.dropout: '0.2' is not valid; a list of values"),
        ({"seed": []}, r"space: seed: \[\] is not valid"),
        ({"seed": "2..1"}, r"seed: 2\.\.1 is not a range"),
        ({"precision": ["float32"]}, "precision: a sweep has one value of it"),
    ],
)
def test_python_values_that_are_none_are_named(dimensions: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        space.given(dimensions)
