"""What runs the frozen part: TensorFlow, or, on a CPU, OpenVINO where it computes the same."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any, Literal

import numpy as np

from tfl.config import UserError, extra
from tfl.graphs import better_constant, in_bytes, with_constants
from tfl.lazy import keras, tf

Name = Literal["tensorflow", "openvino"]
Choice = Literal["auto", "tensorflow", "openvino"]
Function = Callable[[list[Any]], list[Any]]
"""From batched tensors to batched tensors."""

CONSTANT_BYTES = 2 << 20
"""Bytes up to which TensorFlow gets a weight as a constant, on a CPU (see `better_constant`). That makes MobileNetV2 1.5 and
EfficientNetB0 1.2 times as fast (measured); a larger one makes the graph longer to build than it saves. It goes by the weight
alone, so that a layer computes the same bits in whatever part it runs. Another number here moves values by some 1e-6, and
takes another `key.FORMAT`."""

TOLERANCE = 1e-4
"""Largest difference of an OpenVINO tensor from TensorFlow's, relative to the largest absolute value of that tensor.

Measured in float32: 2e-7 to 1e-6 for ResNet50, VGG16, InceptionV3, MobileNetV2 and MiniLM. Something computed in bfloat16 or
left out would be off by 1e-3 and more."""


@dataclass(frozen=True, eq=False)
class Engine:
    """Runs one function on batches."""

    name: Name
    run: Callable[[Sequence[Any]], list[np.ndarray]]

    def __call__(self, tensors: Sequence[Any]) -> list[np.ndarray]:
        """The function's outputs for `tensors`: images in batches of one size, texts, [rows, tokens], in any."""
        return self.run(tensors)


class Unfit(Exception):
    """OpenVINO cannot run a function; the message says why."""


def choose(engine: Choice) -> Name:
    """The engine that `make` will try. Raises `UserError` where OpenVINO was asked for and is not installed."""
    if engine == "auto":
        return "openvino" if installed() and not _unfit_here() else "tensorflow"
    if engine == "openvino" and not installed():
        raise UserError(f"features.engine: openvino is not installed; {extra('openvino')}, or engine: auto")
    return engine


def installed() -> bool:
    """Whether OpenVINO is installed."""
    return util.find_spec("openvino") is not None


def version(name: str) -> str:
    """The release of the engine `name`."""
    return metadata.version(name)


def make(
    function: Function, example: Sequence[Any], engine: Choice, say: Callable[[str], None], weights: Sequence[Any] = ()
) -> Engine:
    """What runs `function` on batches like `example`, the tensors of a first one.

    `weights`: Keras variables that `function` reads. Their values may be those of now; what is assigned later may not be seen.

    OpenVINO where `engine` asks for it, or with `auto` where it is installed, provided that it can run `function` and
    agrees with TensorFlow on `example`; else TensorFlow, and `say` gets a line with the reason. Raises `UserError` where
    OpenVINO was asked for and is not installed.
    """
    signature = [[tf.TensorSpec(_shape(tensor), tensor.dtype) for tensor in example]]
    on_cpu = not tf.config.list_logical_devices("GPU")
    constants = [one for one in better_constant(weights) if on_cpu and in_bytes(one) <= CONSTANT_BYTES]
    traced = tf.function(with_constants(function, constants), signature, autograph=False)
    tensorflow = Engine("tensorflow", lambda tensors: [tensor.numpy() for tensor in traced(list(tensors))])
    if choose(engine) == "tensorflow":
        return tensorflow
    try:
        openvino = Engine("openvino", _openvino(function, example))
        _compare(tensorflow(example), openvino(example))
    except Unfit as error:
        say(f"features: TensorFlow computes them, not OpenVINO: {error}")
        return tensorflow
    return openvino


def _unfit_here() -> str:
    """Why OpenVINO runs nothing here, or ""."""
    if tf.config.list_logical_devices("GPU"):
        return "there is a GPU, which TensorFlow uses"
    if keras.config.dtype_policy().compute_dtype != "float32":
        return f"the precision is {keras.config.dtype_policy().name}, and it computes in float32"
    return ""


def _openvino(function: Function, example: Sequence[Any]) -> Callable[[Sequence[Any]], list[np.ndarray]]:
    """`function`, compiled by OpenVINO for batches like `example`. Raises `Unfit`."""
    if reason := _unfit_here():
        raise Unfit(reason)
    if any(tensor.dtype == tf.string for tensor in example):
        raise Unfit("it takes no strings")
    specs = [tf.TensorSpec(_shape(tensor), tensor.dtype, name=f"input_{i}") for i, tensor in enumerate(example)]
    try:
        with using_openvino() as openvino:
            concrete = tf.function(lambda *tensors: function(list(tensors)), autograph=False).get_concrete_function(*specs)
            model = openvino.convert_model(concrete)
            order = [int(port.get_any_name().split(":")[0].removeprefix("input_")) for port in model.inputs]
            # Else bfloat16 or float16 would be used where the processor has it.
            compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    except Exception as error:  # whatever a converter raises, TensorFlow can go on
        raise Unfit(f"it cannot convert this model ({_line(error)})") from error

    def run(tensors: Sequence[Any]) -> list[np.ndarray]:
        results = compiled([np.asarray(tensors[place]) for place in order], share_inputs=True)
        return [results[place] for place in range(len(compiled.outputs))]

    return run


@contextmanager
def using_openvino() -> Iterator[Any]:
    """Gives the module `openvino`, without the telemetry that reports every conversion to Google Analytics and does not ask.

    The root logger is afterwards what it was: a conversion that fails leaves it deaf to all warnings, whoever gives them.
    """
    root = logging.getLogger()
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)
    known = "openvino_telemetry" in sys.modules
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # so that importing it fails
    try:
        import openvino
        import openvino.tools.ovc

        yield openvino
    finally:
        root.setLevel(level)
        root.filters[:], root.handlers[:] = filters, handlers
        if not known:
            del sys.modules["openvino_telemetry"]


def _shape(tensor: Any) -> list[int | None]:
    """The shape of batches like `tensor`: texts, [rows, tokens], come in many."""
    return [None, None] if tensor.shape.rank == 2 and not tensor.dtype.is_floating else list(tensor.shape)


def _compare(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> None:
    """Raises `Unfit` where `found` is not `expected` within `TOLERANCE`."""
    for one, other in zip(expected, found, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype:
            raise Unfit(f"it gives {other.dtype} {list(other.shape)} in place of {one.dtype} {list(one.shape)}")
        scale = float(np.max(np.abs(one), initial=0.0)) or 1.0
        difference = float(np.max(np.abs(one.astype(np.float64) - other), initial=0.0)) / scale
        if not difference <= TOLERANCE:
            raise Unfit(f"its values on a first batch differ by {difference:.1e}, and {TOLERANCE:.0e} is allowed")


def _line(error: Exception) -> str:
    """The last line of an error's message: a converter's says most there."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:150] if lines else type(error).__name__
