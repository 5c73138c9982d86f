"""Is the training loop as fast as Keras's own? An epoch of `fit` and one of `fit_phase`, in turn, on batches in memory.

    python benchmarks/loop.py [--rounds 12] [--batches 20] [--models mobilenet_v2 minilm]

Prints one table: the seconds of an epoch, medians over rounds, the median over rounds of the ratio, and that of the ratio of
the seconds of the processors, which what else the machine does changes less. Both train all of a model of their own,
BatchNorm included, on the same batches of 32, with optimizers made by the same function and the same loss and metric:
MobileNetV2 at 96 px, random weights, and MiniLM with 32 tokens. Each is traced once; the first two rounds do not count.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import measure
import numpy as np

from tfl import backbones, distribute, models
from tfl.cut import cut
from tfl.data.batches import Batches
from tfl.data.examples import Columns, digest, digests, strings
from tfl.data.steady import steady
from tfl.lazy import keras, tf
from tfl.optimizers import optimizer
from tfl.phases import Phase
from tfl.tasks.classification import Classification
from tfl.training import Supervised, fit_phase

BATCH, SIDE, TOKENS = 32, 96, 32
WARM = 2
"""Rounds that do not count."""
PHASE = Phase(trainable="all", learning_rate=1e-4, schedule="constant", warmup=0, clip_norm=None, keep="last")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InMemory(Batches):
    """Batches that are there already."""

    made: Any
    """A data set of them."""

    def epoch(self, epoch: int = 0, skip: int = 0, share: Any = None) -> Any:
        """The same batches in every epoch, tuned as little as all that tfl iterates over: else an epoch ends with a wait."""
        return steady(self.made.skip(skip))


def batches(backbone: Any, count: int) -> InMemory:
    """`count` batches of two classes, the same for both sides."""
    random = np.random.default_rng(0)
    size = count * BATCH
    if backbone.modality == "image":
        inputs: dict[str, Any] = {"image": random.uniform(-1, 1, (size, SIDE, SIDE, 3)).astype(np.float32)}
    else:
        ids = random.integers(1000, 20000, (size, TOKENS), np.int32)
        inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}
        inputs = {name: inputs[name] for name in backbone.inputs}
    labels = random.integers(0, 2, size)
    columns = {**inputs, "label": labels, "index": np.arange(size), "share": np.full(size, 1 / BATCH, np.float32)}
    stacked = {name: values.reshape(count, BATCH, *values.shape[1:]) for name, values in columns.items()}
    ids = strings(range(size))
    examples = Columns(ids=ids, inputs={}, labels=labels, digests=digests(digest(one.encode()) for one in ids))
    return InMemory(examples=examples, batch_size=BATCH, made=tf.data.Dataset.from_tensor_slices(stacked))


def clock(before: Callable[[], Any] = lambda: None) -> Any:
    """A Keras callback whose `found` has the seconds of each epoch, of the clock and of the processors; `before` is called
    before each, and does not count."""

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.found: list[tuple[float, float]] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            before()
            self._began = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.found.append((time.perf_counter() - self._began[0], time.process_time() - self._began[1]))

    return Clock()


def built(name: str) -> tuple[Any, Any, Any]:
    """A backbone, a model of it for two classes, all of which trains, and its tasks."""
    fields: dict[str, Any] = {} if name == "minilm" else {"image_size": SIDE}
    backbone = backbones.load(name, weights="pretrained" if name == "minilm" else "none", **fields)
    tasks = {"label": Classification(class_names=("a", "b"))}
    model = models.build(backbone, tasks)
    models.set_trainable(model, backbone, "all", "train")
    return backbone, model, tasks


def epochs(name: str, count: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the epochs of Keras and of tfl, [rounds, 2]: of the clock and of the processors."""
    phase = dataclasses.replace(PHASE, epochs=rounds)
    backbone, theirs, _ = built(name)
    stream = batches(backbone, count)
    loss = {"label": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    made = optimizer(phase, models.groups(theirs, backbone, phase)[0], count * rounds)
    theirs.compile(optimizer=made, loss=loss, metrics={"label": ["accuracy"]})
    pairs = stream.made.map(lambda batch: ({key: batch[key] for key in backbone.inputs}, {"label": batch["label"]}))
    of_keras = clock()
    own = clock(before=lambda: theirs.fit(pairs, epochs=1, shuffle=False, verbose=0, callbacks=[of_keras]))
    backbone, model, tasks = built(name)
    groups, strategy = models.groups(model, backbone, phase), distribute.strategy("cpu")
    fit_phase(cut(model), {"train": stream}, Supervised(tasks), groups, phase, strategy=strategy, callbacks=[own])
    return np.array(of_keras.found), np.array(own.found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batches", type=int, default=20, help="in an epoch")
    parser.add_argument("--models", nargs="+", default=["mobilenet_v2", "minilm"], choices=["mobilenet_v2", "minilm"])
    given = parser.parse_args()
    lines = []
    for name in given.models:
        if name == "minilm":
            measure.minilm()
        of_keras, own = (found[WARM:] for found in epochs(name, given.batches, WARM + given.rounds))
        ratios, processors = (own / of_keras).T
        spread = f"{ratios.min():.2f} to {ratios.max():.2f}"
        medians = [float(np.median(found[:, 0])) for found in (of_keras, own)]
        lines.append([name, *medians, float(np.median(ratios)), spread, float(np.median(processors))])
    measure.table(
        f"Seconds of an epoch of {given.batches} batches of {BATCH}, nothing frozen; {given.rounds} rounds",
        ("model", "keras", "tfl", "tfl / keras", "range", "of the processors"),
        lines,
    )


if __name__ == "__main__":
    main()
