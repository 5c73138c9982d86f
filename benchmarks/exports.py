"""What an export costs whoever serves it: Keras's `model.export` and tfl's SavedModel of the same network.

    python benchmarks/exports.py [--backbones mobilenet_v2 efficientnet_b0 resnet50 minilm] [--rounds 60]

Random weights but for MiniLM; 5 classes. Both get what the network takes, prepared: Keras's export has no preprocessing. They
answer in turn in one process; loading, and the memory that it and a first answer add to a process that has imported TensorFlow,
are measured in a process for each. Prints one table: megabytes on disk, seconds to load, megabytes of memory, milliseconds of
an answer to 1 and to 8 rows, and the ratio of Keras's to tfl's; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
import numpy as np

BACKBONES = ("mobilenet_v2", "efficientnet_b0", "resnet50", "minilm")
TOKENS = 32
SIGNATURE = {"keras": "serving_default", "tfl": "predict_tensors"}


def make(name: str, folder: Path) -> None:
    """Writes both exports of one network."""
    from tfl import backbones, models
    from tfl.export import export
    from tfl.lazy import keras
    from tfl.tasks.classification import Classification

    keras.utils.set_random_seed(0)
    weights = str(measure.minilm()) if name == "minilm" else "none"
    backbone = backbones.load(name, weights=weights)
    task = Classification(class_names=tuple("abcde"))
    model = models.build(backbone, {"label": task})
    common: dict[str, Any] = {"modality": backbone.modality, "pairs": False, "resize": "crop"}
    export(folder / "tfl", model, {"label": task}, backbone.preprocess, **common)
    # A dict of outputs, as tfl's models have, and probabilities, as both are to give.
    outputs = {"probabilities": keras.layers.Softmax()(model.output["label"])}
    keras.Model(model.input, outputs).export(str(folder / "keras"), verbose=False)


def answering(folder: Path, way: str) -> Callable[[int], Any]:
    """Loads an export; what answers to so many rows."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  # the operations that an export of a text network has

    loaded = tf.saved_model.load(str(folder / way))
    function = loaded.signatures[SIGNATURE[way]]
    specs = function.structured_input_signature[1]

    def answer(rows: int, kept: Any = loaded) -> Any:  # without what was loaded a signature has no variables
        shapes = {key: [rows, *(size or TOKENS for size in spec.shape[1:])] for key, spec in specs.items()}
        drawn = np.random.default_rng(0)  # tokens of which not one is padding, or pixels
        values = {key: drawn.integers(1, 2, shape) if len(shape) == 2 else drawn.random(shape) for key, shape in shapes.items()}
        inputs = {key: tf.constant(values[key], spec.dtype) for key, spec in specs.items()}
        return lambda: function(**inputs)["probabilities"].numpy()

    return answer


def alone(folder: str, way: str) -> dict[str, float]:
    """Seconds to load, and megabytes that loading and a first answer add."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    tf.zeros([1]).numpy()
    before, start = resident(), time.perf_counter()
    answer = answering(Path(folder), way)
    took = time.perf_counter() - start
    answer(1)()
    return {"load": took, "memory": resident() - before}


def resident() -> float:
    """Megabytes that this process has in memory now."""
    return float(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4096 / 1e6


def measured(name: str, folder: Path, rounds: int) -> list[list[Any]]:
    make(name, folder)
    ways = ("keras", "tfl")
    answer = {way: answering(folder, way) for way in ways}
    took: dict[int, dict[str, list[float]]] = {}
    for rows, count in ((1, rounds), (8, rounds // 4)):
        calls = {way: answer[way](rows) for way in ways}
        np.testing.assert_allclose(calls["keras"](), calls["tfl"](), rtol=1e-3, atol=1e-5)
        took[rows] = measure.in_turn({way: lambda call=calls[way]: measure.seconds(call) for way in ways}, count, warm=3)
    lines = []
    for way in ways:
        own = measure.apart(__file__, folder=str(folder), way=way)
        disk = sum(path.stat().st_size for path in (folder / way).rglob("*") if path.is_file()) / 1e6
        once, eight = (statistics.median(took[rows][way]) * 1e3 for rows in (1, 8))
        ratios = [
            statistics.median(other / mine for other, mine in zip(took[rows]["keras"], took[rows][way], strict=True))
            for rows in (1, 8)
        ]
        lines.append([name, way, disk, own["load"], own["memory"], once, eight, *ratios])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, choices=BACKBONES)
    parser.add_argument("--rounds", type=int, default=60, help="answers to one row; to eight, a quarter of them")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(alone(**json.loads(given.part))))
        return
    lines = []
    for name in given.backbones:
        with tempfile.TemporaryDirectory() as folder:
            lines += measured(name, Path(folder), given.rounds)
    header = (
        "backbone",
        "way",
        "MB on disk",
        "load, s",
        "memory, MB",
        "1 row, ms",
        "8 rows, ms",
        "1 row, faster",
        "8 rows, faster",
    )
    measure.table("One network, exported by Keras and by tfl", header, lines)


if __name__ == "__main__":
    main()
