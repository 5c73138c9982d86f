"""One step: whose gradients are clipped together, each group at its own rate, averages, and devices that train as one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from tests.test_training import fit, made
from tfl import distribute, models
from tfl.batch_norm import Reestimator
from tfl.cut import cut
from tfl.phases import Phase
from tfl.step import Stepper
from tfl.tasks.classification import Classification
from tfl.training import Supervised


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


def test_of_a_long_call_a_sample_of_its_steps_tells_how_long_all_waited() -> None:
    backbone, model = made()
    models.set_trainable(model, backbone, "head")
    phase = Phase(epochs=1)
    task = {"label": Classification(class_names=("dark", "bright"))}
    groups = models.groups(model, backbone, phase)
    stepper = Stepper(cut(model), Supervised(task), groups, phase, 40, distribute.strategy("cpu"))

    def late(batch: Any) -> Any:
        with tf.control_dependencies([tf.numpy_function(lambda: time.sleep(0.01), [], [])]):
            return tf.nest.map_structure(tf.identity, batch)

    data = tiny.batches(tiny.examples(8), training=True).forever().map(late)
    iterators = {"train": iter(data)}
    for steps, looks in ((4, 4), (32, 4)):
        waiting = stepper(iterators, steps)["waiting"]
        assert np.count_nonzero(waiting) == looks
        assert 0.01 * steps <= waiting.sum() < 0.05 * steps


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


def test_a_last_batch_of_one_counts_as_one_for_batch_norm_statistics() -> None:
    backbone, model = made()
    models.set_trainable(model, backbone, "all", batch_norm="train")
    stream = tiny.batches(tiny.examples(9), batch_size=8)
    Reestimator(cut(model), stream, distribute.strategy("cpu"))()
    convolution, layer = model.get_layer("block1_conv"), model.get_layer("block1_bn")
    each = [keras.ops.convert_to_numpy(convolution(batch["image"])) for batch in stream.epoch()]
    assert [len(values) for values in each] == [8, 1]
    expected = sum(len(values) * values.var(axis=(0, 1, 2)) for values in each) / 9
    np.testing.assert_allclose(layer.moving_variance.numpy(), expected, rtol=1e-4)


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
