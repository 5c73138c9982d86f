"""The JSON of TensorFlow Serving's REST API: from a request to tensors, and from tensors to an answer.

https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from tfl.serving import shapes
from tfl.serving.shapes import Malformed

CALLED = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number with a point",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
"""What those who write JSON call what Python reads."""


def tensors(body: Any, specs: Mapping[str, Any], *, rows: int, length: int) -> tuple[dict[str, np.ndarray], bool]:
    """The inputs of a request, [n, …] each, and whether they came row by row (`instances`) and not as columns (`inputs`).

    `specs`: tensor specs by name; `rows`, `length`: as in `shapes.check`. Raises `Malformed` and `shapes.TooLarge`.
    """
    if not isinstance(body, dict):
        raise Malformed("the body has to be a JSON object")
    if ("instances" in body) == ("inputs" in body):
        raise Malformed(
            "Missing 'inputs' or 'instances' key" if "inputs" not in body else "give 'inputs' or 'instances', not both"
        )
    by_row = "instances" in body
    columns = _columns(body["instances"], specs) if by_row else _named(body["inputs"], specs)
    for name in specs:
        if not isinstance(columns[name], list):
            raise Malformed(f"{name}: a list is expected, a value a row")
    claimed = {name: _shape(columns[name], spec) for name, spec in specs.items()}
    shapes.check(claimed, specs, rows=rows, length=length)
    found = {
        name: np.array([_bytes(name, value) for value in columns[name]], object)
        if spec.dtype.name == "string"
        else _numbers(name, columns[name], claimed[name], spec.dtype)
        for name, spec in specs.items()
    }
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


def _shape(values: list[Any], spec: Any) -> list[int]:
    """The shape that the first of the values in each list has; an axis more than `spec` has shows that it is too many."""
    if spec.dtype.name == "string":
        return [len(values)]
    found: list[int] = []
    inner: Any = values
    while isinstance(inner, list) and len(found) <= spec.shape.rank:
        found.append(len(inner))
        inner = inner[0] if inner else None
    return found


def _numbers(name: str, values: list[Any], shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An array of nested lists that claim `shape`.

    NumPy is given numbers alone: a string among them would make every one a string as long as that.
    """
    for size in shape[1:]:
        if not all(type(one) is list and len(one) == size for one in values):
            raise Malformed(f"{name}: the rows have different shapes; each has to be {list(shape[1:])}")
        values = list(chain.from_iterable(values))
    fits = {bool} if dtype.is_bool else {int} if dtype.is_integer else {int, float}
    if other := set(map(type, values)) - fits:
        told = " and ".join(sorted(CALLED[kind] for kind in other))
        raise Malformed(f"{name}: {dtype.name} is expected, and {told} came")
    if dtype.is_integer and not dtype.min <= min(values) <= max(values) <= dtype.max:
        raise Malformed(f"{name}: a number is too large for {dtype.name}; from {dtype.min} to {dtype.max}")
    try:
        with np.errstate(over="ignore"):
            return np.array(values, dtype.as_numpy_dtype).reshape(shape)
    except OverflowError as error:
        raise Malformed(f"{name}: a number is too large for {dtype.name}") from error


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
