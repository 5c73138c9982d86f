"""What the values of stored rows depend on, as one key: equal keys, equal values."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tfl.cut import Part
from tfl.lazy import keras, tf

FORMAT = 5
"""Rises when tfl itself computes another value from the same example, or writes it in another way."""

NOT_VALUES = ("name", "trainable", "seed", "activity_regularizer")
"""Entries of a layer's config that do not change what it computes in inference."""
NOT_VALUE_ENDS = ("_initializer", "_regularizer", "_constraint")


def key_of(ingredients: Mapping[str, Any]) -> str:
    """32 hex digits that change when anything in `ingredients` does."""
    text = json.dumps(_plain(ingredients), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def of_part(part: Part) -> dict[str, Any]:
    """What of a model shapes the outputs of `part`: its layers and how they are connected, and the bytes of its weights."""
    return {"architecture": _architecture(part), "weights": _weights(part)}


def of_environment(engine: str, engine_version: str) -> dict[str, Any]:
    """What shapes a value beside the model and the example: releases, and what computes."""
    names = ("tfl", "tensorflow", "keras", "keras-hub")
    return {
        "format": FORMAT,
        "engine": [engine, engine_version],
        "versions": {name: metadata.version(name) for name in names},
        "device": _device() + _rounding(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", ""),
    }


def _rounding() -> str:
    """Whether a GPU takes the factors of a product with 10 of their 23 bits (TF32); nothing of a CPU."""
    if not tf.config.list_logical_devices("GPU"):
        return ""
    is_on = os.environ.get("NVIDIA_TF32_OVERRIDE") != "0" and tf.config.experimental.tensor_float_32_execution_enabled()
    return f", TF32 {'on' if is_on else 'off'}"


@functools.cache
def _device() -> str:
    """The model of the GPU, or else of the CPU: libraries choose their kernels by it, which round in other ways."""
    gpus = tf.config.list_physical_devices("GPU") if tf.config.list_logical_devices("GPU") else ()
    if gpus:
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _architecture(part: Part) -> str:
    """A digest of what each call computes and where it takes its tensors from."""
    places = {id(tensor): ["input", place, *_spec(tensor)] for place, tensor in enumerate(part.inputs)}
    calls = []
    for number, node in enumerate(part.nodes):
        arguments = (node.arguments.args, node.arguments.kwargs)
        taken = keras.tree.map_structure(lambda x: places.get(id(x), x), arguments)
        calls.append([_operation(node.operation), taken, [_spec(tensor) for tensor in node.outputs]])
        places.update((id(tensor), ["call", number, place]) for place, tensor in enumerate(node.outputs))
    return key_of({"calls": calls, "outputs": [places[id(tensor)] for tensor in part.outputs]})


def _spec(tensor: Any) -> tuple[list[Any], str]:
    return list(tensor.shape), str(tensor.dtype)


def _operation(operation: Any) -> list[Any]:
    kind = type(operation)
    try:
        config = operation.get_config()
    except NotImplementedError:  # operations without one keep what they were made with as plain attributes
        config = {name: value for name, value in vars(operation).items() if not name.startswith("_")}
    # A TF Hub module's config does not say what it computes.
    return [f"{kind.__module__}.{kind.__qualname__}", _what_counts(config), getattr(operation, "fingerprint", "")]


def _what_counts(config: Any) -> Any:
    """A layer's config without what does not change what it computes in inference."""
    if isinstance(config, Mapping):
        if str(config.get("class_name", "")).endswith(("DTypePolicy", "DTypePolicyMap")):
            return dict(config)  # its name is what it computes in
        ignored = [name for name in config if name in NOT_VALUES or str(name).endswith(NOT_VALUE_ENDS)]
        return {name: _what_counts(item) for name, item in config.items() if name not in ignored}
    return [_what_counts(item) for item in config] if isinstance(config, (list, tuple)) else config


def _weights(part: Part) -> str:
    state = hashlib.blake2b(digest_size=16)
    for variable in part.variables:
        value = np.ascontiguousarray(variable.numpy())
        state.update(f"{value.shape} {value.dtype}".encode())
        state.update(value.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def _plain(value: Any) -> Any:
    """`value` as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "get_config"):
        return [type(value).__qualname__, _plain(_what_counts(value.get_config()))]
    if hasattr(value, "__array__"):
        array = np.ascontiguousarray(value)
        return [list(array.shape), array.dtype.name, hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()]
    return repr(value)
