"""How fast is the forward pass of a frozen backbone, by TensorFlow, OpenVINO and PyTorch, and how far from the limit?

    python benchmarks/forward.py [--rounds 5] [--calls 3] [--batch 32] [--networks resnet50 vgg16 …]
        [--torch-python PYTHON | --torch-venv FOLDER]

Prints one table: for each network the images (for MiniLM the tokens) a second of each engine, the median over rounds in
which the engines take turns; the ratios to TensorFlow are medians over the rounds. `in variables` is TensorFlow without the
constants that tfl makes of small kernels. The limit is the rate at which the
network's multiplications could be done if they were one large matrix product, the fastest of those measured in the same
rounds; `of limit` is the part of it that the faster of TensorFlow and OpenVINO reaches (a convolution can be a little faster
than that product). PyTorch runs in a Python of its own that has torch: one that is there (`--torch-python`), or one that is
made (`--torch-venv`, which downloads torch). Weights are random, but for MiniLM; they do not change the time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np

from tfl import backbones
from tfl.cut import cut
from tfl.features import engine
from tfl.lazy import keras, tf

NETWORKS = ("resnet50", "vgg16", "inception_v3", "mobilenet_v2", "minilm")
OTHERS = ("in variables", "openvino", "torch")
"""Ways that are held against tfl's own with TensorFlow."""
IN_TORCH = ("resnet50", "vgg16")
TOKENS = 32
"""Length of the texts."""
TORCH = "2.13.0"
PRODUCT = 4096
"""Rows and columns of the matrices whose product gives the limit."""


class Torch:
    """PyTorch in another process."""

    def __init__(self, python: Path) -> None:
        command = [str(python), str(Path(__file__).with_name("forward_torch.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        return line or sys.exit("PyTorch's process ended; its message stands above")

    def seconds(self, network: str, batch: int, calls: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{network} {batch} {calls}\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def torch_in(folder: Path) -> Path:
    """The Python of an environment with torch, made in `folder` if it is not there."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", f"torch=={TORCH}", "numpy"], check=True)
    return python


def batch_for(backbone: Any, names: tuple[str, ...], rows: int) -> list[Any]:
    """The tensors that the frozen part takes."""
    random = np.random.default_rng(0)
    if backbone.modality == "image":
        pixels = random.integers(0, 256, (rows, *backbone.preprocess.size, 3)).astype(np.float32)
        return [tf.constant(backbone.preprocess(pixels))]
    values = {"token_ids": random.integers(1000, 20000, (rows, TOKENS)), "padding_mask": np.ones((rows, TOKENS))}
    return [tf.constant(values.get(name, np.zeros((rows, TOKENS))), tf.int32) for name in names]


def multiplications(backbone: Any) -> float:
    """Of one image, or one token, in billions; without those of activations and normalisation."""
    total = 0
    for layer in backbone.model.layers:
        kernels = sum(int(np.prod(weight.shape)) for weight in layer.weights if len(weight.shape) >= 2)
        if "Embedding" in type(layer).__name__:
            continue
        shape = layer.output.shape if not isinstance(layer.output, dict) else ()
        total += kernels * (int(np.prod(shape[1:-1])) if len(shape) == 4 else 1)
        if hasattr(layer, "_self_attention_layer"):  # queries by keys and weights by values, of every token with every one
            total += 2 * TOKENS * int(shape[-1])
    return total / 1e9


def product() -> float:
    """Seconds of a large matrix product, the fastest of three."""
    matrix = tf.ones([PRODUCT, PRODUCT])
    return min(measure.seconds(lambda: (matrix @ matrix).numpy()) for _ in range(3))


@dataclass(frozen=True)
class Rates:
    """What was measured of one network."""

    multiplications: float
    """Of one image or token, in billions."""
    product: float
    """Multiplications of a matrix product in a second, in billions."""
    rates: dict[str, float]
    """Images or tokens a second."""
    ratios: dict[str, float]
    """To TensorFlow."""

    def row(self, name: str, peak: float) -> list[Any]:
        limit = peak / self.multiplications
        best = max(self.rates["tensorflow"], self.rates.get("openvino", 0.0))
        rates = [self.rates.get(way) for way in ("tensorflow", *OTHERS)]
        return [name, *rates, *(self.ratios.get(way) for way in OTHERS), limit, best / limit]


def measured(name: str, given: argparse.Namespace, torch: Torch | None) -> Rates:
    backbone = backbones.load(name, weights="pretrained" if name == "minilm" else "none", trainable="none")
    part = cut(keras.Model(backbone.inputs, backbone.outputs["features"]))
    tensors = batch_for(backbone, part.names, given.batch)

    def ready(kind: engine.Choice, weights: Sequence[Any]) -> Callable[[], float]:
        run = engine.make(lambda values: part.frozen(values, training=False), tensors, kind, print, weights)
        if run.name != kind:
            sys.exit(f"{name}: {kind} cannot run it")

        def call() -> float:
            return measure.seconds(lambda: [run(tensors) for _ in range(given.calls)])

        return call

    weights = part.frozen.variables
    ways: dict[str, Callable[[], float]] = {"product": product, "tensorflow": ready("tensorflow", weights)}
    ways["in variables"] = ready("tensorflow", ())
    if engine.installed():
        ways["openvino"] = ready("openvino", weights)
    if torch and name in IN_TORCH:
        ways["torch"] = lambda: torch.seconds(name, given.batch, given.calls)
    found = measure.in_turn(ways, given.rounds)
    count = given.calls * given.batch * (1 if backbone.modality == "image" else TOKENS)
    rates = {way: count / statistics.median(times) for way, times in found.items() if way != "product"}
    ratios = {
        way: statistics.median(base / own for base, own in zip(found["tensorflow"], found[way], strict=True))
        for way in OTHERS
        if way in found
    }
    return Rates(multiplications(backbone), PRODUCT**3 / min(found["product"]) / 1e9, rates, ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=3, help="forward passes in a round")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--torch-python", type=Path, help="a Python that has torch")
    parser.add_argument("--torch-venv", type=Path, help="an environment with torch; made if it is not there")
    given = parser.parse_args()
    python = given.torch_python or (torch_in(given.torch_venv) if given.torch_venv else None)
    torch = Torch(python) if python else None
    found = {name: measured(name, given, torch) for name in given.networks}
    peak = max(one.product for one in found.values())
    releases = [f"TensorFlow {tf.__version__}"]
    releases += [f"OpenVINO {engine.version('openvino')}"] if engine.installed() else []
    if torch:
        releases.append(f"PyTorch {torch.version}")
        torch.close()
    measure.table(
        f"Images (minilm: tokens, {TOKENS} a text) a second, batch {given.batch}; {', '.join(releases)}; "
        f"matrix product {2 * peak:.0f} GFLOP/s",
        ("network", "TF", *OTHERS, *(f"{way}/TF" for way in OTHERS), "limit", "of limit"),
        [one.row(name, peak) for name, one in found.items()],
    )


if __name__ == "__main__":
    main()
