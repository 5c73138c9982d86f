"""The formats of one file that a model can be exported to, each for a runtime without strings and JPEG decoders.

Keras's own exporters write them. What such a file takes are preprocessed tensors.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfl.config import UserError, did_you_mean, extra
from tfl.features.engine import using_openvino
from tfl.lazy import keras, quiet, tf
from tfl.tasks import Task

Calibration = Callable[[], Iterable[Mapping[str, Any]]]
"""Gives the model's inputs, batches of preprocessed training examples, from which int8 takes its ranges."""

SAVEDMODEL = "savedmodel"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One format."""

    title: str
    file: str
    """The name of the model's file."""
    runtime: str
    """The module that runs it."""
    converters: tuple[str, ...] = ()
    """Modules that Keras's exporter needs beside TensorFlow."""
    tolerance: float
    """By how much a probability may differ from TensorFlow's: these kernels sum in another order."""
    usage: str
    """Python that runs it, with places for its `output` and its inputs, as `keywords` or as a `mapping`."""


TARGETS: Mapping[str, Target] = {
    "litert": Target(
        title="LiteRT",
        file="model.tflite",
        runtime="ai_edge_litert",
        tolerance=1e-4,
        usage="""\
from ai_edge_litert.interpreter import Interpreter

model = Interpreter("model.tflite").get_signature_runner()
answer = model({keywords})["{output}"]""",
    ),
    "onnx": Target(
        title="ONNX Runtime",
        file="model.onnx",
        runtime="onnxruntime",
        converters=("tf2onnx",),
        tolerance=1e-4,
        usage="""\
import onnxruntime

model = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
answer = model.run(["{output}"], {mapping})[0]""",
    ),
    "openvino": Target(
        title="OpenVINO",
        file="model.xml",
        runtime="openvino",
        tolerance=1e-4,
        usage="""\
import openvino

# without the hint, a processor that has them computes in 16 bits
model = openvino.compile_model("model.xml", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
answer = model({mapping})["{output}"]""",
    ),
}


def check(name: str, quantize: str | None, max_loss: float) -> None:
    """Raises `UserError` for a format that is none, that is not installed, or that has no such quantisation."""
    if name not in (SAVEDMODEL, *TARGETS):
        known = [SAVEDMODEL, *TARGETS]
        raise UserError(f"format: {name!r} is not valid{did_you_mean(name, known)}; one of {', '.join(known)}")
    if quantize not in (None, "dynamic", "int8"):
        raise UserError(f"quantize: {quantize!r} is not valid; dynamic or int8")
    if quantize is not None and name != "litert":
        raise UserError(f"quantize: {quantize} is for the format litert alone, and this is {name}; leave one of them out")
    if not 0 <= max_loss <= 1:
        raise UserError(f"max_loss: {max_loss:g} is not valid; from 0 to 1, such as 0.02")
    if name in TARGETS:
        require(name, (TARGETS[name].runtime, *TARGETS[name].converters))


def require(name: str, modules: Sequence[str]) -> None:
    """Raises `UserError` where `modules`, of the format `name`, are not installed."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"format {name}: {' and '.join(missing)} is not installed; {extra(name)}")


def output(task: Task) -> str:
    """What the one output of a model file is called: `probabilities [N, C]`, or `value [N]` of a regression."""
    return "value" if task.kind == "regression" else "probabilities"


def convert(
    folder: Path,
    name: str,
    model: keras.Model,
    tasks: Mapping[str, Task],
    *,
    quantize: str | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Writes `model`, from its inputs to what its only task predicts, into `folder` in the format `name`.

    `quantize`: dynamic (weights in 8 bits) or int8 (activations too, in the ranges that `calibration` shows; what it takes
    and gives stays float32). Raises `UserError` where the format cannot hold this model.
    """
    target, ((task_name, task),) = TARGETS[name], tasks.items()
    _check_fit(name, model)
    whole = keras.Model(model.input, {output(task): task.predictions(model.output[task_name])})
    specs = {key: keras.InputSpec(tensor.dtype, (None, *tensor.shape[1:]), name=key) for key, tensor in model.input.items()}
    options = _litert(quantize, calibration) if name == "litert" else {}
    with warnings.catch_warnings(), quiet(), using_openvino() if name == "openvino" else nullcontext():
        warnings.simplefilter("ignore")
        try:
            whole.export(str(folder / target.file), format=name, verbose=False, input_signature=[specs], **options)
        except Exception as error:  # whatever a converter raises
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise UserError(
                f"format {name}: the converter to {target.title} cannot take this model ({lines[-1][:300]}); "
                f"format {SAVEDMODEL} takes every model"
            ) from error


def _check_fit(name: str, model: keras.Model) -> None:
    """Raises `UserError` for a model that the format cannot hold as it was evaluated."""
    if any(tensor.dtype == "string" for tensor in model.input.values()):
        raise UserError(
            f"format {name}: this model takes texts as they are, and the format has no strings; export a SavedModel"
        )
    if is_mixed(model):
        raise UserError(
            f"format {name}: this model computes in 16 bits, and the format is written for float32; export a SavedModel, or "
            "train with precision: float32"
        )


def is_mixed(model: keras.Model) -> bool:
    """Whether a layer of `model` computes in 16 bits."""
    return any(getattr(layer.dtype_policy, "compute_dtype", "") != "float32" for layer in model.layers)


def _litert(quantize: str | None, calibration: Calibration | None) -> dict[str, Any]:
    """What the converter is told; only LiteRT's own operations, since a runtime without TensorFlow has no others."""
    options: dict[str, Any] = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    if quantize is not None:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if quantize == "int8":
        options["representative_dataset"] = calibration
    return options
