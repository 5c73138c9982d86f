"""Is the training loop as fast as Keras's own? `fit_phase` and `fit`, in turn, on batches that are in memory.

    python benchmarks/loop.py [--rounds 5] [--batches 20] [--models mobilenet_v2 minilm]

Prints one table: the seconds of an epoch, medians over rounds of the second of two epochs (the first one traces), and the
median over rounds of the ratio. Both train all of the same model, BatchNorm included, on the same batches of 32, with
optimizers made by the same function and the same loss and metric: MobileNetV2 at 96 px, random weights, and MiniLM with 32
tokens.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

import measure
import numpy as np

from tfl import backbones, distribute, models
from tfl.cut import cut
from tfl.data.batches import Batches
from tfl.data.examples import Columns, digest, digests, strings
from tfl.lazy import keras, tf
from tfl.optimizers import optimizer
from tfl.phases import Phase
from tfl.tasks.classification import Classification
from tfl.training import Supervised, fit_phase

BATCH, SIDE, TOKENS = 32, 96, 32
PHASE = Phase(trainable="all", epochs=2, learning_rate=1e-4, schedule="constant", warmup=0, clip_norm=None, keep="last")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InMemory(Batches):
    """Batches that are there already."""

    made: Any
    """A data set of them."""

    def epoch(self, epoch: int = 0, skip: int = 0, share: Any = None) -> Any:
        """The same batches in every epoch."""
        return self.made.skip(skip)


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


def ways(name: str, count: int) -> dict[str, Callable[[], float]]:
    """What takes the seconds of an epoch of each loop."""
    fields: dict[str, Any] = {} if name == "minilm" else {"image_size": SIDE}
    backbone = backbones.load(name, weights="pretrained" if name == "minilm" else "none", **fields)
    tasks = {"label": Classification(class_names=("a", "b"))}
    model = models.build(backbone, tasks)
    models.set_trainable(model, backbone, "all", "train")
    stream = batches(backbone, count)
    groups = models.groups(model, backbone, PHASE)

    def own() -> float:
        fit = fit_phase(cut(model), {"train": stream}, Supervised(tasks), groups, PHASE, strategy=distribute.strategy("cpu"))
        return float(fit.epochs[-1]["seconds"])

    pairs = stream.made.map(lambda batch: ({key: batch[key] for key in backbone.inputs}, {"label": batch["label"]}))

    def of_keras() -> float:
        loss = {"label": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
        made = optimizer(PHASE, groups[0], count * PHASE.epochs)
        model.compile(optimizer=made, loss=loss, metrics={"label": ["accuracy"]})
        timer = measure.epoch_timer()
        model.fit(pairs, epochs=PHASE.epochs, verbose=0, callbacks=[timer])
        return timer.seconds[-1]

    return {"keras": of_keras, "tfl": own}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=20, help="in an epoch")
    parser.add_argument("--models", nargs="+", default=["mobilenet_v2", "minilm"], choices=["mobilenet_v2", "minilm"])
    given = parser.parse_args()
    lines = []
    for name in given.models:
        if name == "minilm":
            measure.minilm()
        found = measure.in_turn(ways(name, given.batches), given.rounds)
        ratios = [base / own for base, own in zip(found["keras"], found["tfl"], strict=True)]
        medians = [statistics.median(found[way]) for way in ("keras", "tfl")]
        lines.append([name, *medians, statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"])
    measure.table(
        f"Seconds of an epoch of {given.batches} batches of {BATCH}, nothing frozen; {given.rounds} rounds",
        ("model", "keras", "tfl", "keras / tfl", "range"),
        lines,
    )


if __name__ == "__main__":
    main()
