"""The key of stored rows: it changes with everything that can change a value, and with nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests import tiny
from tfl import models
from tfl.cut import Part, cut
from tfl.data.augment import Augment
from tfl.data.examples import Stream
from tfl.distribute import alone
from tfl.features import key
from tfl.features.config import Features
from tfl.features.frontier import frontiers
from tfl.features.job import Job
from tfl.features.rows import Rows
from tfl.features.store import Store
from tfl.tasks.classification import Classification


def built(dropout: float = 0.0, classes: int = 2, seed: int = 0) -> tuple[Any, Any]:
    keras.utils.set_random_seed(seed)
    backbone = tiny.backbone()
    names = tuple(f"class {number}" for number in range(classes))
    return backbone, models.build(backbone, {"label": Classification(class_names=names, dropout=dropout)})


def part_of(backbone: Any, model: Any, trainable: str = "head") -> Part:
    models.set_trainable(model, backbone, trainable)
    return next(frontiers(cut(model), backbone.blocks)).part


def test_the_same_network_built_again_has_the_same_key() -> None:
    backbone, model = built()
    other = built()
    assert key.of_part(part_of(backbone, model)) == key.of_part(part_of(*other))


@pytest.mark.parametrize("fields", [{"dropout": 0.5}, {"classes": 5}], ids=["dropout", "classes"])
def test_another_head_has_the_same_key(fields: dict[str, Any]) -> None:
    assert key.of_part(part_of(*built())) == key.of_part(part_of(*built(**fields)))


def test_what_trained_above_the_cut_does_not_change_the_key() -> None:
    backbone, model = built()
    before = key.of_part(part_of(backbone, model, "block3"))
    kernel = model.get_layer("block3_conv").kernel
    kernel.assign(kernel + 1)
    assert key.of_part(part_of(backbone, model, "block3")) == before
    assert key.of_part(part_of(backbone, model)) != before


@pytest.mark.parametrize("name", ["block1_conv/kernel", "block1_bn/moving_mean", "block1_bn/gamma"])
def test_one_weight_changes_the_key(name: str) -> None:
    backbone, model = built()
    before = key.of_part(part_of(backbone, model))
    variable = next(variable for variable in model.variables if variable.path == name)
    value = variable.numpy()
    value.flat[0] = np.nextafter(value.flat[0], 9)
    variable.assign(value)
    after = key.of_part(part_of(backbone, model))
    assert after["weights"] != before["weights"]
    assert after["architecture"] == before["architecture"]


def test_the_architecture_is_what_the_layers_compute_and_how_they_are_connected() -> None:
    def network(activation: str = "relu", swap: bool = False) -> Part:
        x = keras.Input((4,), name="image")
        y = keras.layers.Dense(4, activation=activation, kernel_initializer="ones")(x)
        z = keras.layers.Subtract()([y, x] if swap else [x, y])
        model = keras.Model(x, {"label": keras.layers.Dense(2)(z)})
        model.layers[1].trainable = False
        return cut(model).split()[0]

    digests = [key.of_part(made)["architecture"] for made in (network(), network("tanh"), network(swap=True))]
    assert len(set(digests)) == 3
    assert key.of_part(network())["architecture"] == digests[0]


def entry_key(
    tmp_path: Path, change: Callable[[Any], Any] = lambda batches: batches, *, view: int | None = None, **fields: Any
) -> str:
    """The key of the rows of tiny images, with `change` made to their batches and `fields` to the config."""
    backbone, model = built()
    models.set_trainable(model, backbone, "head")
    frontier = next(frontiers(cut(model), backbone.blocks))
    batches = change(tiny.batches(tiny.examples(), augment=Augment(), training=True))
    config = Features(**{"engine": "tensorflow", **fields})
    streams, rows = {"train": batches}, {"train": Rows(batches)}
    job = Job(config, Store(tmp_path), frontier, streams, rows, views=2, exact=False, once=False, workers=alone())
    return job.entry(rows["train"], view).folder.name


def replaced(**fields: Any) -> Callable[[Any], Any]:
    return lambda batches: dataclasses.replace(batches, **fields)


def mode(batches: Any) -> Any:
    return dataclasses.replace(batches, preprocess=dataclasses.replace(batches.preprocess, mode="tf"))


CHANGES: dict[str, dict[str, Any]] = {
    "size": {"change": replaced(size=(20, 20))},
    "preprocessing": {"change": mode},
    "resize": {"change": replaced(resize="squash")},
    "dtype": {"dtype": "float16"},
    "view": {"view": 1},
    "view seed": {"view": 0, "view_seed": 1},
    "augmentation": {"view": 0, "change": replaced(augment=Augment(crop=0.9))},
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_shapes_a_row_changes_its_key(name: str, tmp_path: Path) -> None:
    change = CHANGES[name]
    same_view = {"view": 0} if "view" in change else {}
    assert entry_key(tmp_path, **change) != entry_key(tmp_path, **same_view)


@pytest.mark.parametrize("name", ["tensorflow", "keras", "keras-hub", "tfl"])
def test_another_release_changes_the_key(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = entry_key(tmp_path)
    real = key.metadata.version
    monkeypatch.setattr(key.metadata, "version", lambda asked: "0.0.1" if asked == name else real(asked))
    assert entry_key(tmp_path) != before


@pytest.mark.parametrize("fields", [{"batch_size": 4}, {"seed": 5}, {"replicas": 2}], ids=["batch size", "seed", "replicas"])
def test_what_does_not_shape_a_row_does_not_change_its_key(fields: dict[str, Any], tmp_path: Path) -> None:
    assert entry_key(tmp_path, replaced(**fields)) == entry_key(tmp_path)
    assert entry_key(tmp_path, replaced(**fields), view=0) == entry_key(tmp_path, view=0)


def test_a_stream_decoded_at_reduced_scale_has_another_key() -> None:
    rows = tiny.examples()
    stream = Stream(
        ids=rows.ids, labels=rows.labels, digests=rows.digests, positions=np.arange(40), open=lambda: rows.dataset()
    )
    described = [
        Rows(batches).describe(batches, None, 0)
        for reduced in (False, True)
        for batches in (tiny.batches(stream, reduced=reduced),)
    ]
    assert described[0] != described[1]


def test_the_split_that_an_example_is_in_does_not_matter(tmp_path: Path) -> None:
    rows = tiny.examples()
    part = Rows(tiny.batches(rows.take(np.arange(7, 20))))
    assert part.ids.tolist() == Rows(tiny.batches(rows)).ids[7:20].tolist()
