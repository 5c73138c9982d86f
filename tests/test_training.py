"""The loop: what trains, what does not, and that it is the same loop on one device and on two."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests import tiny
from tfl import distribute, models, predict
from tfl.batch_norm import Reestimator
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
    forward = predict.Forward(cut(model), distribute.strategy("cpu"))
    return lambda: predict.watched(TASKS, forward(tiny.batches(rows)), rows.labels)


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


def test_an_interrupt_ends_the_phase_after_the_step_and_keeps_what_is_trained() -> None:
    backbone, model = made()
    interrupt = Interrupt()

    class AfterTwoSteps(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                signal.raise_signal(signal.SIGINT)

    before = model.get_layer("head").kernel.numpy()
    phase = Phase(epochs=5, learning_rate=0.1)
    with interrupt:
        result = fit(backbone, model, phase, interrupt=interrupt, callbacks=[AfterTwoSteps()])
    assert (result.stopped, len(result.epochs)) == ("interrupted", 1)
    assert not np.array_equal(model.get_layer("head").kernel.numpy(), before)


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


def test_layer_decay_gives_each_block_its_own_rate_under_adam() -> None:
    backbone, model = made()
    phase = Phase(
        trainable="all", epochs=1, learning_rate=0.01, layer_decay=0.1, optimizer="adam", schedule="constant", warmup=0,
        clip_norm=None, keep="last",
    )  # fmt: skip
    before = {v.path: v.numpy() for v in model.trainable_variables}
    fit(backbone, model, phase, stream=tiny.batches(tiny.examples(8), training=True))
    steps = {p: np.abs(v.numpy() - before[p]).max() for p, v in ((v.path, v) for v in model.trainable_variables)}
    for path, rate in {"head": 1e-2, "block3_conv": 1e-2, "block2_conv": 1e-3, "block1_conv": 1e-4}.items():
        assert steps[f"{path}/kernel"] == pytest.approx(rate, rel=0.02)  # Adam's first step is the learning rate


def test_clipping_bounds_the_norm_of_all_gradients_together() -> None:
    backbone, model = made()
    phase = Phase(
        trainable="all", epochs=1, learning_rate=1.0, optimizer="sgd", weight_decay=0, schedule="constant", warmup=0,
        clip_norm=0.01, keep="last", layer_decay=0.999,
    )  # fmt: skip
    models.set_trainable(model, backbone, "all")
    before = [v.numpy() for v in model.trainable_variables]
    fit(backbone, model, phase, stream=tiny.batches(tiny.examples(8), training=True))
    moved = [v.numpy() - old for v, old in zip(model.trainable_variables, before, strict=True)]
    norm = np.sqrt(sum((part**2).sum() for part in moved))
    assert norm == pytest.approx(0.019, rel=0.02)  # Nesterov's first step is 1.9 times the gradient


def test_the_moving_average_is_what_is_kept() -> None:
    backbone, model = made()
    phase = Phase(epochs=3, learning_rate=0.1, ema=0.9, keep="last")
    trail: list[np.ndarray] = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            trail.append(self.model.get_layer("head").kernel.numpy())

    average = model.get_layer("head").kernel.numpy()
    fit(backbone, model, phase, callbacks=[Record()])
    for count, value in enumerate(trail, start=1):
        decay = min(0.9, (1 + count) / (10 + count))
        average = decay * average + (1 - decay) * value
    np.testing.assert_allclose(model.get_layer("head").kernel.numpy(), average, rtol=1e-4, atol=1e-6)


def test_batch_norm_statistics_are_those_of_the_weights_as_they_are() -> None:
    backbone, model = made()
    models.set_trainable(model, backbone, "all", batch_norm="train")
    rows = tiny.examples(24)
    stream = tiny.batches(rows, batch_size=24)
    reestimate = Reestimator(cut(model), stream, distribute.strategy("cpu"))
    images = next(iter(stream.epoch()))["image"]
    convolution, layer = model.get_layer("block1_conv"), model.get_layer("block1_bn")
    for factor in (1.0, 2.0):
        convolution.kernel.assign(convolution.kernel * factor)
        reestimate()
        convolved = keras.ops.convert_to_numpy(convolution(images))
        np.testing.assert_allclose(layer.moving_mean.numpy(), convolved.mean(axis=(0, 1, 2)), atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance.numpy(), convolved.var(axis=(0, 1, 2)), atol=1e-5)
    assert layer.momentum == 0.99
    assert model.get_layer("block2_dropout").rate == 0.5


TWO_DEVICES = """
import sys
import tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from tests import tiny
from tests.test_optimizers import of_keras, of_tfl, stepped
from tests.test_training import TASKS, Phase, Supervised, cut, distribute, fit_phase, models, predict
from tfl.batch_norm import Reestimator

def losses(strategy, batch_norm):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        backbone = tiny.backbone()
        for layer in backbone.model.layers:
            if "dropout" in layer.name:
                layer.rate = 0.0
        model = models.build(backbone, TASKS)
    phase = Phase(trainable="all", epochs=2, learning_rate=0.01, layer_decay=0.9, ema=0.9, optimizer="sgd")
    models.set_trainable(model, backbone, "all", batch_norm)
    stream = tiny.batches(tiny.examples(42), training=True)
    result = fit_phase(cut(model), {"train": stream}, Supervised(TASKS), models.groups(model, backbone, phase), phase,
                       strategy=strategy)
    logits = predict.Forward(cut(model), strategy)(tiny.batches(tiny.examples(21)))["label"]
    return [epoch["loss"] for epoch in result.epochs], logits

one, two = distribute.strategy("cpu"), distribute.strategy("mirrored")
assert two.num_replicas_in_sync == 2
(a, x), (b, y) = losses(one, "frozen"), losses(two, "frozen")
np.testing.assert_allclose(a, b, atol=1e-5)
np.testing.assert_allclose(x, y, atol=1e-4)
assert x.shape == (21, 2)
for value, expected in zip(stepped(of_tfl("adamw"), two), stepped(of_keras("adamw"), two), strict=True):
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)

with two.scope():
    inputs = keras.Input((64,))
    dropout = keras.Model(inputs, keras.layers.Dropout(0.5)(inputs))
ones = lambda: two.experimental_local_results(two.run(tf.function(lambda: dropout(tf.ones((1, 64)), training=True))))
first, second = ones()
assert np.array_equal(first, second), "Keras has learned to draw a mask for each replica: per_replica_seeds can go"
distribute.per_replica_seeds(dropout)
first, second = ones()
assert not np.array_equal(first, second)
print("same losses, own masks")
"""


def test_two_devices_train_as_one_and_each_draws_its_own_dropout() -> None:
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], cwd=root, capture_output=True, text=True, check=False)
    assert "same losses, own masks" in done.stdout, done.stderr[-3000:]


def test_phase_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Phase().epochs = 5  # type: ignore[misc]
