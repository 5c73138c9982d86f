"""The JSON of TensorFlow Serving's REST API: from a request to tensors, and from tensors to an answer.

https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np


class Malformed(ValueError):
    """A request that cannot be understood; the message says why."""


def tensors(body: Any, specs: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], bool]:
    """The inputs of a request, [n, …] each, and whether they came row by row (`instances`) and not as columns (`inputs`).

    `specs`: tensor specs by name. Raises `Malformed`.
    """
    if not isinstance(body, dict):
        raise Malformed("the body has to be a JSON object")
    if ("instances" in body) == ("inputs" in body):
        raise Malformed(
            "Missing 'inputs' or 'instances' key" if "inputs" not in body else "give 'inputs' or 'instances', not both"
        )
    by_row = "instances" in body
    columns = _columns(body["instances"], specs) if by_row else _named(body["inputs"], specs)
    found = {name: _array(name, columns[name], spec) for name, spec in specs.items()}
    sizes = {name: len(values) for name, values in found.items()}
    if len(set(sizes.values())) > 1:
        raise Malformed(f"inputs have different numbers of rows: {sizes}")
    if not all(sizes.values()):
        raise Malformed("there are no rows")
    return found, by_row


def answer(outputs: Mapping[str, np.ndarray], by_row: bool) -> dict[str, Any]:
    """What is sent back: `predictions`, a row each, or `outputs`; a single output goes without its name."""
    plain = {name: _plain(name, values) for name, values in outputs.items()}
    if len(plain) == 1:
        return {"predictions" if by_row else "outputs": next(iter(plain.values()))}
    if not by_row:
        return {"outputs": plain}
    return {"predictions": [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]}


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _columns(instances: Any, specs: Mapping[str, Any]) -> dict[str, list[Any]]:
    if not isinstance(instances, list) or not instances:
        raise Malformed("Request must have 'instances', a list that is not empty")
    if any(isinstance(one, dict) and not _is_bytes(one) for one in instances):
        for place, one in enumerate(instances):
            if not isinstance(one, dict) or one.keys() != specs.keys():
                raise Malformed(f"instance {place} does not have the inputs {', '.join(specs)} and no others")
        return {name: [one[name] for one in instances] for name in specs}
    return _named(instances, specs)


def _named(given: Any, specs: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given, dict) and not _is_bytes(given):
        if given.keys() != specs.keys():
            raise Malformed(f"the inputs are {', '.join(specs)}, and {', '.join(map(str, given)) or 'none'} came")
        return given
    if len(specs) > 1:
        raise Malformed(f"name the inputs: {', '.join(specs)}")
    return {next(iter(specs)): given}


def _array(name: str, values: Any, spec: Any) -> np.ndarray:
    if not isinstance(values, list):
        raise Malformed(f"{name}: a list is expected, a value a row")
    if spec.dtype.name == "string":
        array = np.array([_bytes(name, value) for value in values], object)
    else:
        try:
            raw = np.array(values)
        except ValueError as error:
            raise Malformed(f"{name}: the rows have different shapes") from error
        if raw.dtype.kind not in "iuf" or (raw.dtype.kind == "f" and not spec.dtype.is_floating):
            raise Malformed(f"{name}: {spec.dtype.name} is expected")
        with np.errstate(over="ignore"):
            array = raw.astype(spec.dtype.as_numpy_dtype)
        if raw.dtype.kind in "iu" and not spec.dtype.is_floating and np.any(array != raw):
            raise Malformed(f"{name}: a number is too large for {spec.dtype.name}")
    if not spec.shape.is_compatible_with(array.shape):
        raise Malformed(f"{name}: the shape {list(array.shape)} does not fit {spec.shape}")
    return array


def _bytes(name: str, value: Any) -> bytes:
    if _is_bytes(value) and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise Malformed(f"{name}: this is no base64: {error}") from error
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise Malformed(f"{name}: this is no text: {error}") from error
    raise Malformed(f'{name}: a string, or {{"b64": "…"}}, is expected')


def _plain(name: str, values: np.ndarray) -> Any:
    """JSON for a tensor; bytes become text, or base64 where their name ends with `_bytes`."""
    if values.dtype != object:
        return values.tolist()

    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(part) for part in value]
        return {"b64": base64.b64encode(value).decode()} if name.endswith("_bytes") else value.decode(errors="replace")

    return one(values.tolist())
