"""The loop: what trains, what does not, and that it is the same loop on one device and on two."""

from __future__ import annotations

import dataclasses
import signal
from typing import Any

import keras
import numpy as np
import pytest

from tests import tiny
from tfl import distribute, models, predict
from tfl.config import UserError
from tfl.cut import cut
from tfl.interrupt import Interrupt
from tfl.phases import Last, Phase
from tfl.tasks.classification import Classification
from tfl.training import Fit, Supervised, fit_phase

TASKS = {"label": Classification(class_names=("dark", "bright"), dropout=0.0)}


def made(seed: int = 0) -> tuple[Any, Any]:
    keras.utils.set_random_seed(seed)
    backbone = tiny.backbone()
    return backbone, models.build(backbone, TASKS)


def fit(backbone: Any, model: Any, phase: Phase, rows: Any = None, **fields: Any) -> Fit:
    models.set_trainable(model, backbone, phase.trainable, phase.batch_norm)
    strategy = fields.pop("strategy", None) or distribute.strategy("cpu")
    stream = fields.pop("stream", None) or tiny.batches(rows or tiny.examples(), training=True, seed=1)
    groups = models.groups(model, backbone, phase)
    return fit_phase(cut(model), {"train": stream}, Supervised(TASKS), groups, phase, strategy=strategy, **fields)


def validator(model: Any, rows: Any) -> Any:
    forward, watched = predict.Forward(cut(model), distribute.strategy("cpu")), predict.Watched(TASKS)
    return lambda: watched(forward(tiny.batches(rows)), rows.labels)


@pytest.mark.parametrize(
    ("trainable", "moving"),
    [
        ("head", ()),
        (Last(last=1), ("block3",)),
        ("block2", ("block2", "block3")),
        ("all", ("block1", "block2", "block3")),
    ],
)
def test_only_what_is_declared_moves(trainable: Any, moving: tuple[str, ...]) -> None:
    backbone, model = made()
    before = {v.path: v.numpy() for v in models.variables(model)}
    fit(backbone, model, Phase(trainable=trainable, epochs=2, learning_rate=0.05))
    for variable in models.variables(model):
        same = np.array_equal(before[variable.path], variable.numpy())
        declared = variable.path.startswith(("head", *moving)) and "bn" not in variable.path
        assert same != declared, variable.path


def test_what_moved_reports_and_catches_a_frozen_variable_that_moved() -> None:
    backbone, model = made()
    models.set_trainable(model, backbone, "block3")
    before = models.snapshot(model)
    fit(backbone, model, Phase(trainable="block3", epochs=1))
    moved = models.what_moved(model, before)
    assert moved.changed == 4  # kernel and bias of block3_conv and of the head
    assert moved.still == ()
    model.get_layer("block1_bn").moving_mean.assign_add(np.ones(8, np.float32))
    with pytest.raises(RuntimeError, match="block1_bn/moving_mean"):
        models.what_moved(model, before)


def test_a_trainable_variable_that_stays_is_named() -> None:
    backbone, model = made()
    models.set_trainable(model, backbone, "head")
    assert models.what_moved(model, models.snapshot(model)).still == ("head/kernel", "head/bias")


def test_it_learns_and_keeps_the_best_epoch() -> None:
    backbone, model = made()
    validation = tiny.examples(20, seed=5)
    validate = validator(model, validation)
    result = fit(backbone, model, Phase(trainable="all", epochs=12, learning_rate=0.02), validate=validate)
    scores = [(epoch["val_accuracy"], -epoch["val_loss"]) for epoch in result.epochs]
    assert result.kept_epoch == 1 + scores.index(max(scores))
    assert validate()["loss"] == pytest.approx(-max(scores)[1], abs=1e-6)
    assert validate()["accuracy"] >= 0.9
    assert result.stopped == "completed"


def test_early_stopping_ends_the_phase_with_the_best_weights() -> None:
    backbone, model = made()
    given = iter([{"loss": loss} for loss in (1.0, 0.5, 0.7, 0.6, 0.1)])
    kept: dict[int, np.ndarray] = {}

    class Remember(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            kept[epoch + 1] = self.model.get_layer("head").kernel.numpy()

    phase = Phase(epochs=5, early_stopping=2, learning_rate=0.1)
    result = fit(backbone, model, phase, validate=lambda: next(given), callbacks=[Remember()])
    assert (result.stopped, len(result.epochs), result.kept_epoch) == ("early stopping", 4, 2)
    np.testing.assert_array_equal(model.get_layer("head").kernel.numpy(), kept[2])


@pytest.mark.parametrize(("keep", "kept"), [("best", 3), ("last", 9)])
def test_early_stopping_counts_looks_and_whatever_is_kept_does_not_change_it(keep: Any, kept: int) -> None:
    backbone, model = made()
    given = iter([{"loss": loss} for loss in (1.0, 0.4, 0.6, 0.5, 0.1)])
    phase = Phase(epochs=20, validate_every=3, early_stopping=2, keep=keep, learning_rate=0.1)
    result = fit(backbone, model, phase, validate=lambda: next(given))
    assert [epoch["epoch"] for epoch in result.epochs if "val_loss" in epoch] == [1, 3, 6, 9]
    assert (result.stopped, len(result.epochs), result.kept_epoch) == ("early stopping", 9, kept)


def test_results_are_taken_after_the_first_every_nth_and_the_last_epoch() -> None:
    backbone, model = made()
    given = iter([{"loss": loss} for loss in (1.0, 0.4, 0.6, 0.5)])
    phase = Phase(epochs=7, validate_every=3, learning_rate=0.1)
    result = fit(backbone, model, phase, validate=lambda: next(given))
    assert [epoch["epoch"] for epoch in result.epochs if "val_loss" in epoch] == [1, 3, 6, 7]
    assert (len(result.epochs), result.kept_epoch) == (7, 3)


def test_callbacks_get_the_whole_model_and_can_stop_the_phase() -> None:
    backbone, model = made()

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            assert self.model is model
            assert {"loss", "accuracy"} <= set(logs)
            self.model.stop_training = True

    assert len(fit(backbone, model, Phase(epochs=5), callbacks=[Stop()]).epochs) == 1


@pytest.mark.parametrize("after", [2, 12, 15], ids=["first epoch", "third", "end of the third"])
@pytest.mark.parametrize(
    ("keep", "losses", "kept"), [("last", (0.1, 1.0), "all"), ("best", (1.0, 0.1), "all"), ("best", (0.1, 1.0), 1)]
)
def test_an_interrupt_ends_the_phase_after_the_step_and_keeps_what_is_trained(
    after: int, keep: Any, losses: Any, kept: Any
) -> None:
    """Also what no epoch that was looked at has; of 40 examples an epoch has 5 steps."""
    backbone, model = made()
    interrupt, given = Interrupt(), iter([{"loss": loss} for loss in losses])
    kernels: list[np.ndarray] = []

    class Interrupting(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            kernels.append(self.model.get_layer("head").kernel.numpy())
            if len(kernels) == after:
                signal.raise_signal(signal.SIGINT)

    phase = Phase(epochs=9, learning_rate=0.1, validate_every=20, keep=keep)
    with interrupt:
        result = fit(backbone, model, phase, validate=lambda: next(given), interrupt=interrupt, callbacks=[Interrupting()])
    epochs = -(-after // 5)
    assert (result.stopped, len(result.epochs), len(kernels)) == ("interrupted", epochs, after)
    assert "val_loss" in result.epochs[-1]
    all_of_it = kept == "all" or epochs == 1
    assert result.kept_epoch == (epochs if all_of_it else 1)
    np.testing.assert_array_equal(model.get_layer("head").kernel.numpy(), kernels[-1 if all_of_it else 4])


def test_a_callback_that_ends_a_phase_leaves_no_epoch_without_results() -> None:
    backbone, model = made()
    given = iter([{"loss": loss} for loss in (1.0, 0.5)])

    class StopAfterThree(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 2

    phase = Phase(epochs=9, validate_every=20, learning_rate=0.1)
    result = fit(backbone, model, phase, validate=lambda: next(given), callbacks=[StopAfterThree()])
    assert (len(result.epochs), result.kept_epoch, result.epochs[-1]["val_loss"]) == (3, 3, 0.5)


def test_a_loss_that_is_not_finite_names_the_step_and_the_examples() -> None:
    backbone, model = made()
    model.get_layer("head").bias.assign([np.nan, 0.0])
    with pytest.raises(UserError, match=r"(?s)nan in epoch 1, step 1.*train: 00\d\d, 00\d\d.*lower the learning rate"):
        fit(backbone, model, Phase(epochs=1))


def test_dropout_of_a_frozen_part_is_off() -> None:
    backbone, model = made()
    models.set_trainable(model, backbone, "block3")
    images = {"image": np.random.default_rng(0).random((4, 16, 16, 3), np.float32)}
    part = cut(model)
    np.testing.assert_array_equal(part(images, training=True)["label"], part(images, training=True)["label"])
    models.set_trainable(model, backbone, "block2")  # dropout is at the end of block 2
    part = cut(model)
    assert not np.array_equal(part(images, training=True)["label"], part(images, training=True)["label"])


def test_dropout_of_the_head_is_on_where_the_head_alone_trains() -> None:
    keras.utils.set_random_seed(0)
    backbone = tiny.backbone()
    model = models.build(backbone, {"label": Classification(class_names=("dark", "bright"), dropout=0.5)})
    models.set_trainable(model, backbone, "head")
    images = {"image": np.random.default_rng(0).random((4, 16, 16, 3), np.float32)}
    part = cut(model)
    assert [tensor.shape for tensor in part.frozen.outputs] == [(None, 16)]
    assert not np.array_equal(part(images, training=True)["label"], part(images, training=True)["label"])


def test_a_batch_norm_without_scale_and_centre_trains_where_it_is_not_frozen() -> None:
    image = keras.Input((4,), name="image")
    norm = keras.layers.BatchNormalization(scale=False, center=False)
    model = keras.Model(image, {"label": keras.layers.Dense(2)(norm(image))})
    assert norm in cut(model).upper.layers
    norm.trainable = False
    assert norm in cut(model).frozen.layers


@pytest.mark.parametrize("trainable", ["head", "block3", "block2", "all"])
def test_a_cut_model_is_the_model(trainable: str) -> None:
    backbone, model = made()
    models.set_trainable(model, backbone, trainable)
    images = {"image": np.random.default_rng(0).random((4, 16, 16, 3), np.float32)}
    whole = model(images, training=False)["label"]
    np.testing.assert_array_equal(cut(model)(images, training=False)["label"], whole)


def test_the_same_seed_gives_the_same_weights() -> None:
    weights = []
    for _ in range(2):
        backbone, model = made()
        fit(backbone, model, Phase(trainable="all", epochs=2, learning_rate=0.01))
        weights.append([variable.numpy() for variable in models.variables(model)])
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_phase_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Phase().epochs = 5  # type: ignore[misc]
