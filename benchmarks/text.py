"""Classifying sentences with MiniLM: KerasHub's BertTextClassifier as its guide uses it, and tfl, in turn.

    python benchmarks/text.py [--examples 5000] [--epochs 5] [--measured 640] [--lengths 64]

Prints one table, for the head alone (5 epochs) and for all of the model (1 epoch), on sentences of SST-2, batch size 32.
KerasHub takes raw strings, tokenises them in every epoch and pads each to its preprocessor's length; the default of this
preset is in the table, and `--lengths` are others that one who knows would choose. At the default length it is so slow that
`fit` runs on `--measured` sentences, once to warm up and once measured, and the seconds are scaled to all of them: these
rows are marked with ~ and have no accuracy. `--measured 0` runs all of it and tests it. tfl is measured whole: `training` is
its stage of that name, tokenising and, for the head, computing the frozen features included, and so is validating on 500
sentences after each epoch, which KerasHub does not do here. `whole` is the whole call, loading and testing included.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pandas as pd
import sentences

import tfl
from tfl.lazy import keras, keras_hub

BATCH = 32
PHASES = {"head": 1e-3, "all": 1e-4}
"""What trains, and the learning rate."""


def texts(path: str) -> tuple[np.ndarray, np.ndarray]:
    """The sentences in the table `path`, and 1 for each positive one."""
    frame = pd.read_csv(path)
    return frame["text"].astype(str).to_numpy(object), np.asarray(frame["label"] == "positive", np.int64)


def in_kerashub(
    trainable: str, data: Mapping[str, str], epochs: int, examples: int, measured: int, length: int | None
) -> dict[str, Any]:
    """`length` None: the preprocessor's own."""
    start = time.perf_counter()
    keras.utils.set_random_seed(0)
    folder = str(measure.minilm())
    fields: dict[str, Any] = {}
    if length:
        fields["preprocessor"] = keras_hub.models.BertTextClassifierPreprocessor.from_preset(folder, sequence_length=length)
    classifier = keras_hub.models.BertTextClassifier.from_preset(folder, num_classes=2, **fields)
    classifier.backbone.trainable = trainable == "all"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(optimizer=keras.optimizers.AdamW(PHASES[trainable]), loss=loss, metrics=["accuracy"])
    x, y = texts(data["path"])
    result = {"length": int(classifier.preprocessor.sequence_length)}
    if not measured:
        training = measure.seconds(lambda: classifier.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0))
        tested = classifier.evaluate(*texts(data["test_path"]), batch_size=BATCH, verbose=0, return_dict=True)
        whole = time.perf_counter() - start
        return {**result, "training": training, "whole": whole, "accuracy": float(tested["accuracy"])}
    timer = measure.epoch_timer()
    classifier.fit(x[:measured], y[:measured], batch_size=BATCH, epochs=2, verbose=0, callbacks=[timer])
    first, second = timer.seconds
    steps = -(-examples // BATCH) * epochs
    training = first - second + second * steps / -(-min(measured, examples) // BATCH)
    return {**result, "training": training}


def in_tfl(trainable: str, data: Mapping[str, str], epochs: int, **_: Any) -> dict[str, Any]:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        run = tfl.finetune(
            {"source": "table", **data},
            backbone="minilm",
            phases=[tfl.Phase(trainable=trainable, epochs=epochs, learning_rate=PHASES[trainable])],
            data={"batch_size": BATCH},
            out=f"{out}/run",
        )
        whole = time.perf_counter() - start
    accuracy = float(run.metrics["accuracy"]["value"])
    return {"training": run.report.seconds["training"], "whole": whole, "accuracy": accuracy}


PARTS = {"kerashub": in_kerashub, "tfl": in_tfl}


def rows(trainable: str, data: Mapping[str, str], epochs: int, given: argparse.Namespace) -> list[list[Any]]:
    common = {"trainable": trainable, "data": data, "epochs": epochs, "examples": given.examples}
    with measure.fresh_cache():
        own = measure.apart(__file__, way="tfl", **common)
    result = [[trainable, epochs, "tfl", "its own", own["training"], own["whole"], 1.0, own["accuracy"]]]
    for length in (None, *given.lengths):
        other = measure.apart(__file__, way="kerashub", measured=given.measured, length=length, **common)
        mark = "~" if given.measured else ""
        result.append(
            [
                trainable,
                epochs,
                f"{mark}kerashub",
                f"{other['length']}{'' if length else ' (default)'}",
                other["training"],
                other.get("whole"),
                other["training"] / own["training"],
                other.get("accuracy"),
            ]
        )
        print(f"{trainable}, {other['length']} tokens: {other['training']:.0f} s, tfl {own['training']:.0f} s", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=5000, help="sentences to train on")
    parser.add_argument("--epochs", type=int, default=5, help="of the head alone; all of the model trains for one")
    parser.add_argument("--measured", type=int, default=640, help="sentences that KerasHub is measured on; 0: all")
    parser.add_argument("--lengths", type=int, nargs="*", default=[64])
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        arguments = json.loads(given.part)
        print(json.dumps(PARTS[arguments.pop("way")](**arguments)))
        return
    measure.minilm()
    with tempfile.TemporaryDirectory() as folder:
        data = sentences.make(Path(folder), given.examples)
        lines = rows("head", data, given.epochs, given) + rows("all", data, 1, given)
    measured = f"; ~: measured on {given.measured} sentences and scaled by the number of steps" if given.measured else ""
    measure.table(
        f"MiniLM on {given.examples} sentences of SST-2, batch {BATCH}{measured}",
        ("trains", "epochs", "way", "tokens", "training, s", "whole, s", "to tfl", "test accuracy"),
        lines,
    )


if __name__ == "__main__":
    main()
