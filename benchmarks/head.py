"""The least that TensorFlow takes to train a head on features in memory: the limit of what tfl takes for it.

    python benchmarks/head.py [--examples 2000] [--features 1280] [--classes 14] [--epochs 10]

A loop written by hand: a gather of 32 rows, dropout, one or two matrix products, softmax cross-entropy, clipping by the global
norm, one Adam operation a variable; no metrics, validation, checkpoints, reports or data sets. Prints one table: seconds until
a first step is done, in most of which TensorFlow traces the graph, seconds of all steps, milliseconds of one; medians.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable
from typing import Any

import measure
import numpy as np
import tensorflow as tf

BATCH = 32
HIDDEN = 256
BETA_1, BETA_2 = 0.9, 0.999


def made(rows: Any, labels: Any, classes: int, hidden: int, dropout: float) -> Callable[[int], Any]:
    """What trains a new head for so many steps."""
    sizes = [int(rows.shape[1]), *([hidden] if hidden else []), classes]
    kernels = [tf.Variable(tf.random.normal([a, b], stddev=0.03)) for a, b in itertools.pairwise(sizes)]
    biases = [tf.Variable(tf.zeros([size])) for size in sizes[1:]]
    variables = [*kernels, *biases]
    moments = [(tf.Variable(tf.zeros_like(one)), tf.Variable(tf.zeros_like(one))) for one in variables]
    order = tf.constant(np.random.default_rng(0).permutation(len(labels) // BATCH * BATCH).reshape(-1, BATCH))

    def loss_of(batch: Any, number: Any) -> Any:
        x = tf.gather(rows, batch)
        for place, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            x = tf.nn.experimental.stateless_dropout(x, dropout, seed=tf.stack([place, number])) if dropout else x
            x = tf.nn.bias_add(tf.matmul(x, kernel), bias)
            x = tf.nn.relu(x) if place < len(kernels) - 1 else x
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(labels, batch), x))

    def step(number: Any, total: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss = loss_of(order[number % len(order)], number)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 1.0)
        done = tf.cast(number + 1, tf.float32)
        powers = {"beta1_power": tf.pow(BETA_1, done), "beta2_power": tf.pow(BETA_2, done)}
        common = {"lr": 1e-3, "beta1": BETA_1, "beta2": BETA_2, "epsilon": 1e-7, **powers}
        for variable, (first, second), gradient in zip(variables, moments, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(var=variable.handle, m=first.handle, v=second.handle, grad=gradient, **common)
        return number + 1, total + loss

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def train(steps: Any) -> Any:
        return tf.while_loop(lambda number, _: number < steps, step, (0, 0.0), parallel_iterations=1)[1]

    return lambda steps: train(tf.constant(steps)).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--features", type=int, default=1280, help="numbers of a row; 1280 are those of MobileNetV2")
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    tf.random.set_seed(0)
    drawn = np.random.default_rng(0)
    rows = tf.constant(drawn.random((given.examples, given.features), np.float32))
    labels = tf.constant(drawn.integers(0, given.classes, given.examples))
    steps = -(-given.examples // BATCH) * given.epochs
    wide = f"a hidden layer of {HIDDEN}"
    heads = {"linear": (0, 0.0), "linear, dropout": (0, 0.2), wide: (HIDDEN, 0.0), f"{wide}, dropout": (HIDDEN, 0.2)}
    tracing: dict[str, list[float]] = {name: [] for name in heads}
    training: dict[str, list[float]] = {name: [] for name in heads}
    for _ in range(given.rounds):
        for name, (hidden, dropout) in heads.items():
            train = made(rows, labels, given.classes, hidden, dropout)
            tracing[name].append(measure.seconds(lambda train=train: train(1)))  # type: ignore[misc]
            training[name].append(measure.seconds(lambda train=train: train(steps)))  # type: ignore[misc]
    lines = []
    for name in heads:
        traced, trained = statistics.median(tracing[name]), statistics.median(training[name])
        lines.append([name, traced, trained, trained / steps * 1e3])
    header = ("head", "first step, s", "steps, s", "a step, ms")
    measure.table(f"{steps} bare steps of {BATCH} rows of {given.features} numbers", header, lines)


if __name__ == "__main__":
    main()
