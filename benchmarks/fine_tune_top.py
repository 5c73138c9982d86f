"""Fine-tuning the top of a backbone: seconds an epoch from the second on, Keras's `fit` and tfl in turn.

    python benchmarks/fine_tune_top.py [--examples 512] [--epochs 4] [--rounds 1] [--cases resnet50 vgg16 …]

Prints one table. The last block trains: conv5 of ResNet50, mixed8 and above of InceptionV3, block5 of VGG16, the last of
MiniLM's 6 layers; BatchNorm is frozen. Keras trains the same layers of the same network with the same batch size, optimizer
and validation; the layers below are frozen, so that they run in every epoch. Its batches are those of tfl, decoded from
files (or tokenised) in the first epoch and kept in memory, which is the best that can be done for it.

`epoch` is the median over the epochs from the second on, validation included. `once` is what tfl spends on computing what
is frozen before the first epoch; `pays after` is how many epochs of Keras take as long as that and as many of tfl. Each way
has a process of its own. Weights are random, but for MiniLM.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pandas as pd
import photos
import sentences

import tfl
from tfl import backbones
from tfl.data.examples import Columns, digest, digests, strings
from tfl.data.pipeline import prepare
from tfl.lazy import keras, tf

CASES = {"resnet50": "conv5", "inception_v3": "mixed8", "vgg16": "block5", "minilm": "layer_5"}
BATCH = 32
LEARNING_RATE = 1e-4


def weights(name: str) -> str:
    return "pretrained" if name == "minilm" else "none"


def columns(data: Mapping[str, str], split: str) -> Columns:
    """The examples of `split`, train or validation, as the config `data` names them."""
    if "validation_path" in data:
        frame = pd.read_csv(data["path" if split == "train" else "validation_path"])
        column, values = "text", frame["text"].astype(str).tolist()
        labels = np.asarray(frame["label"] == "positive", np.int64)
    else:
        values, labels, _ = photos.listed(Path(data["path"], "train" if split == "train" else "val"))
        column = "path"
    ids = strings([f"{place}" for place in range(len(values))])
    return Columns(
        ids=ids, inputs={column: strings(values)}, labels=labels, digests=digests(digest(v.encode()) for v in values)
    )


def in_keras(name: str, data: Mapping[str, str], epochs: int) -> dict[str, Any]:
    backbone = backbones.load(name, weights=weights(name))
    backbone.unfreeze(CASES[name])  # without BatchNorm, which `load` would let train where weights are random
    streams = {}
    for split in ("train", "validation"):
        examples = columns(data, split)
        common: dict[str, Any] = {"modality": backbone.modality, "batch_size": BATCH}
        batches = prepare(examples, backbone.preprocess, training=split == "train", **common).epoch()
        pairs = batches.map(lambda batch: ({key: batch[key] for key in backbone.inputs}, batch["label"])).cache()
        streams[split] = pairs.shuffle(len(examples) // BATCH + 1).prefetch(tf.data.AUTOTUNE)
    features = keras.layers.Dropout(0.2)(backbone.outputs["features"])
    classes = int(columns(data, "train").labels.max()) + 1
    model = keras.Model(backbone.inputs, keras.layers.Dense(classes)(features))
    optimizer = keras.optimizers.AdamW(LEARNING_RATE, weight_decay=0.01, global_clipnorm=1.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    timer = measure.epoch_timer()
    model.fit(streams["train"], epochs=epochs, validation_data=streams["validation"], verbose=0, callbacks=[timer])
    trains = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return {"epochs": timer.seconds, "trains": trains}


def in_tfl(name: str, data: Mapping[str, str], epochs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as out:
        source = dict(data) if "validation_path" in data else data["path"]
        run = tfl.finetune(
            {"source": "table", **source} if isinstance(source, dict) else source,
            backbone={"name": name, "weights": weights(name)},
            augment=None,
            phases=[tfl.Phase(trainable=CASES[name], epochs=epochs, learning_rate=LEARNING_RATE)],
            data={"batch_size": BATCH},
            out=f"{out}/run",
        )
        phase = run.report.phases[0]
    facts = phase.features
    return {
        "epochs": [epoch["seconds"] for epoch in phase.epochs],
        "once": facts.get("seconds"),
        "stored": facts.get("stored"),
        "trains": phase.trainable_parameters,
    }


PARTS = {"keras": in_keras, "tfl": in_tfl}


def row(name: str, data: Mapping[str, str], epochs: int, rounds: int) -> list[Any]:
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in PARTS}
    for _ in range(rounds):
        for way, several in found.items():
            with measure.fresh_cache():
                several.append(measure.apart(__file__, way=way, name=name, data=data, epochs=epochs))
    later = {way: [statistics.median(one["epochs"][1:]) for one in several] for way, several in found.items()}
    ratio = statistics.median([base / own for base, own in zip(later["keras"], later["tfl"], strict=True)])
    base, own = (statistics.median(later[way]) for way in PARTS)
    first = found["tfl"][0]
    if first["trains"] != found["keras"][0]["trains"]:
        raise SystemExit(f"{name}: tfl trains {first['trains']} numbers, keras {found['keras'][0]['trains']}")
    pays = first["once"] / (base - own) if first["once"] and base > own else None
    print(f"{name}: {base:.2f} s, {own:.2f} s", flush=True)
    return [name, CASES[name], base, own, ratio, first["stored"], first["once"], pays]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=512, help="to train on")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        arguments = json.loads(given.part)
        print(json.dumps(PARTS[arguments.pop("way")](**arguments)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        lines = []
        if set(given.cases) - {"minilm"}:
            photos.make(folder / "photos", given.examples, test=BATCH)
        for name in given.cases:
            if name == "minilm":
                measure.minilm()
                data = sentences.make(folder, given.examples)
            else:
                data = {"path": str(folder / "photos")}
            lines.append(row(name, data, given.epochs, given.rounds))
    measure.table(
        f"Training the last block on {given.examples} examples, batch {BATCH}",
        ("network", "from", "keras, s/epoch", "tfl, s/epoch", "ratio", "stored up to", "once, s", "pays after"),
        lines,
    )


if __name__ == "__main__":
    main()
