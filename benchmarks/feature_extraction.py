"""Training a new head on a frozen backbone: Keras as its guide does it, KerasHub, and tfl, each in turn.

    python benchmarks/feature_extraction.py [--examples 2000] [--epochs 10] [--seeds 3]
        [--backbones mobilenet_v2 resnet50] [--ways forward keras kerashub tfl] [--engine tensorflow]

Prints one table. Every way has a process of its own and trains on the same photos, the same crop, batch size 32 and 10
epochs, and validates after each epoch.

- forward: the unit, for which nothing is trained: the training photos are decoded and go through the frozen backbone once,
  by TensorFlow
- keras: the transfer-learning guide of Keras: the frozen backbone called with training=False, pooling, dropout, a dense
  layer, Adam, `fit` on files that are decoded in every epoch
- kerashub: `fit` of KerasHub's image classifier with a frozen backbone of the same size; random weights, since its own would
  be downloaded, so that its accuracy says nothing; it can be very slow, so that 2 epochs of 10 batches are measured and the
  second one is scaled to all photos and epochs
- tfl: one phase that trains the head, with an empty store; after it, in the same process, with a hidden layer of 256 in the
  head (18 times the weights), with another dropout and with another learning rate, and the first again in a new process:
  these find the store filled

`training` is the seconds from loaded data and backbone to the trained head, of which tfl spends `frozen` on computing what
is frozen; `whole` adds reading and checking the data, loading the weights, and, for tfl, evaluating and writing the run.
MobileNetV2 has its ImageNet weights, ResNet50 random ones: its accuracy says nothing either. With several seeds, seconds are
medians and accuracies means; `to keras` and `to first tfl` are medians over seeds of the ratio of the training seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measure
import numpy as np
import photos

import tfl
from tfl import backbones
from tfl.data import image as images
from tfl.lazy import keras, keras_hub, tf

BATCH = 32
TEST = 230
"""Photos to test on, at most."""
LEARNING_RATE = 1e-3
WAYS = ("forward", "keras", "kerashub", "tfl")


def weights(name: str) -> str:
    return str(measure.asset(measure.MOBILENET_V2)) if name == "mobilenet_v2" else "none"


def batches(folder: Path, preprocess: Any, shuffle: bool = False) -> Any:
    """(images, labels) of the photos below `folder`, decoded when they are needed."""
    paths, labels, _ = photos.listed(folder)

    def one(path: Any, label: Any) -> tuple[Any, Any]:
        return images.load_resized({"path": path}, preprocess.size)["image"], label

    data = tf.data.Dataset.from_tensor_slices((paths, labels))
    data = data.shuffle(len(paths)) if shuffle else data
    data = data.map(one, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH)
    data = data.map(lambda image, label: (preprocess(image), label), num_parallel_calls=tf.data.AUTOTUNE)
    return data.prefetch(tf.data.AUTOTUNE)


def forward(name: str, folder: Path, **_: Any) -> dict[str, Any]:
    backbone = backbones.load(name, weights=weights(name), trainable="none")
    run = tf.function(lambda image: backbone.model({"image": image}, training=False), reduce_retracing=True)
    run(tf.zeros([BATCH, *backbone.preprocess.size, 3]))
    data = batches(folder / "train", backbone.preprocess)
    return {"training": measure.seconds(lambda: [run(image).numpy() for image, _ in data])}


def fitted(model: Any, folder: Path, preprocess: Any, epochs: int) -> tuple[float, float]:
    """Seconds of `fit`, and the accuracy on the test split."""
    data = batches(folder / "train", preprocess, shuffle=True)
    validation = batches(folder / "val", preprocess)
    took = measure.seconds(lambda: model.fit(data, epochs=epochs, validation_data=validation, verbose=0))
    return took, float(model.evaluate(batches(folder / "test", preprocess), verbose=0, return_dict=True)["accuracy"])


def in_keras(name: str, folder: Path, epochs: int, seed: int) -> dict[str, Any]:
    start = time.perf_counter()
    keras.utils.set_random_seed(seed)
    backbone = backbones.load(name, weights=weights(name))
    base = keras.Model(backbone.inputs["image"], backbone.outputs["map"])
    base.trainable = False
    inputs = keras.Input((*backbone.preprocess.size, 3))
    x = base(inputs, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.2)(x)
    model = keras.Model(inputs, keras.layers.Dense(len(photos.listed(folder / "train")[2]))(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=loss, metrics=["accuracy"])
    training, accuracy = fitted(model, folder, backbone.preprocess, epochs)
    return {"training": training, "whole": time.perf_counter() - start, "accuracy": accuracy}


def in_kerashub(name: str, folder: Path, epochs: int, seed: int) -> dict[str, Any]:
    start = time.perf_counter()
    keras.utils.set_random_seed(seed)
    backbone = KERASHUB[name]()
    backbone.trainable = False
    classes = len(photos.listed(folder / "train")[2])
    kind = keras_hub.models.MobileNetImageClassifier if name == "mobilenet_v2" else keras_hub.models.ResNetImageClassifier
    model = kind(backbone=backbone, num_classes=classes, preprocessor=None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=loss, metrics=["accuracy"])
    preprocess = backbones.ImagePreprocess(size=(224, 224), mode="tf")
    data = batches(folder / "train", preprocess, shuffle=True).take(10)
    timer = measure.epoch_timer()
    model.fit(data, epochs=2, verbose=0, callbacks=[timer])
    first, second = timer.seconds
    photos_in_it = min(10 * BATCH, len(photos.listed(folder / "train")[0]))
    count = sum(len(photos.listed(folder / split)[0]) for split in ("train", "val"))  # validating takes the forward pass too
    training = first - second + second / photos_in_it * count * epochs
    return {"training": training, "whole": time.perf_counter() - start - first - second + training}


def mobilenet_v2() -> Any:
    """MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, table 2) of KerasHub's parts."""
    stages = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))  # channels, blocks, stride
    inputs = [16, *(channels for channels, _, _ in stages)]
    expansion = [
        [6 * before] + [6 * channels] * (blocks - 1) for before, (channels, blocks, _) in zip(inputs, stages, strict=False)
    ]
    counts = [blocks for _, blocks, _ in stages]

    def each(value: Any) -> list[list[Any]]:
        return [[value] * blocks for blocks in counts]

    return keras_hub.models.MobileNetBackbone(
        stackwise_expansion=expansion,
        stackwise_num_blocks=counts,
        stackwise_num_filters=[[channels] * blocks for channels, blocks, _ in stages],
        stackwise_kernel_size=each(3),
        stackwise_num_strides=[[stride] + [1] * (blocks - 1) for _, blocks, stride in stages],
        stackwise_se_ratio=each(None),
        stackwise_activation=each("relu6"),
        stackwise_padding=each(1),
        output_num_filters=1280,
        depthwise_filters=16,
        depthwise_stride=1,
        depthwise_residual=False,
        last_layer_filter=1280,
        input_num_filters=32,
        input_activation="relu6",
        output_activation="relu6",
        image_shape=(224, 224, 3),
    )


def resnet50() -> Any:
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=(224, 224, 3),
    )


KERASHUB: dict[str, Callable[[], Any]] = {"mobilenet_v2": mobilenet_v2, "resnet50": resnet50}


def in_tfl(name: str, folder: Path, epochs: int, seed: int, engine: str, again: bool = True) -> dict[str, Any]:
    """The first run, and where `again` is true the three after it."""

    def run(learning_rate: float, **fields: Any) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as out:
            start = time.perf_counter()
            done = tfl.finetune(
                str(folder),
                backbone={"name": name, "weights": weights(name)},
                augment=None,
                phases=[tfl.Phase(epochs=epochs, learning_rate=learning_rate)],
                data={"batch_size": BATCH},
                seed=seed,
                features={"engine": engine},
                out=f"{out}/run",
                **fields,
            )
            whole = time.perf_counter() - start
        facts = done.report.phases[0].features
        accuracy = float(done.metrics["accuracy"]["value"])
        return {
            "training": done.report.seconds["training"],
            "whole": whole,
            "accuracy": accuracy,
            "engine": facts.get("engine"),
            "frozen": facts.get("seconds"),
        }

    found = run(LEARNING_RATE)
    if again:
        found["hidden"] = run(LEARNING_RATE, task={"hidden": [256]})
        found["dropout"] = run(LEARNING_RATE, task={"dropout": 0.5})
        found["rate"] = run(3 * LEARNING_RATE)
    return found


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "forward": forward,
    "keras": in_keras,
    "kerashub": in_kerashub,
    "tfl": in_tfl,
}


def measured(
    name: str, ways: Sequence[str], common: dict[str, Any], seeds: int, engine: str
) -> dict[str, list[dict[str, Any]]]:
    """What each way gave with each seed, in turn."""
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(seeds):
        with measure.fresh_cache():
            for way in ways:
                arguments = {"way": way, "name": name, "seed": seed, **common}
                if way == "tfl":
                    arguments["engine"] = engine
                result = measure.apart(__file__, **arguments)
                found.setdefault(way, []).append(result)
                if way == "tfl":
                    found.setdefault("tfl, a hidden layer", []).append(result["hidden"])
                    found.setdefault("tfl, another dropout", []).append(result["dropout"])
                    found.setdefault("tfl, another learning rate", []).append(result["rate"])
                    found.setdefault("tfl, a new process", []).append(measure.apart(__file__, again=False, **arguments))
                print(f"{name}, seed {seed}, {way}: {result['training']:.1f} s", flush=True)
    return found


def ratio(several: list[dict[str, Any]], bases: list[dict[str, Any]] | None) -> float | None:
    """The median over seeds of the ratio of the seconds of training."""
    if bases is None:
        return None
    return statistics.median([one["training"] / base["training"] for one, base in zip(several, bases, strict=True)])


def rows(name: str, found: dict[str, list[dict[str, Any]]]) -> list[list[Any]]:
    unit = statistics.median([one["training"] for one in found["forward"]]) if "forward" in found else None
    result = []
    for way, several in found.items():
        training = statistics.median([one["training"] for one in several])
        whole = statistics.median([one["whole"] for one in several]) if "whole" in several[0] else None
        to_keras = ratio(several, found.get("keras"))
        to_first = ratio(several, found.get("tfl")) if way.startswith("tfl") else None
        says = name == "mobilenet_v2" and "accuracy" in several[0]
        accuracies = [one["accuracy"] for one in several] if says else []
        accuracy = f"{np.mean(accuracies):.3f}" if says else None
        if len(accuracies) > 1:
            accuracy += f" ({min(accuracies):.3f} to {max(accuracies):.3f})"
        frozen = [one["frozen"] for one in several if one.get("frozen") is not None]
        engine = several[0].get("engine")
        label = f"{way} ({engine})" if way == "tfl" and engine else way
        once = statistics.median(frozen) if frozen else None
        result.append([name, label, training, once, whole, training / unit if unit else None, to_keras, to_first, accuracy])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2000, help="photos to train on")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3, help="of MobileNetV2; ResNet50 has one")
    parser.add_argument("--backbones", nargs="+", default=list(KERASHUB), choices=list(KERASHUB))
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--engine", default="tensorflow", choices=("tensorflow", "openvino"), help="of tfl")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        arguments = json.loads(given.part)
        arguments["folder"] = Path(arguments["folder"])
        print(json.dumps(PARTS[arguments.pop("way")](**arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        counts = photos.make(Path(folder), given.examples, test=TEST)
        print(", ".join(f"{count} photos for {split}" for split, count in counts.items()), flush=True)
        common = {"folder": folder, "epochs": given.epochs}
        lines = []
        for name in given.backbones:
            weights(name)
            seeds = given.seeds if name == "mobilenet_v2" else 1
            lines += rows(name, measured(name, given.ways, common, seeds, given.engine))
    measure.table(
        f"A head trained for {given.epochs} epochs on {given.examples} photos, batch {BATCH}",
        ("backbone", "way", "training, s", "frozen, s", "whole, s", "to forward", "to keras", "to first tfl", "test accuracy"),
        lines,
    )


if __name__ == "__main__":
    main()
