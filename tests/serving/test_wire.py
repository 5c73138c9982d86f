"""The JSON of requests as tensors, looked at before anything of its size is made."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("prometheus_client")

from tfl.serving import app, wire
from tfl.serving.shapes import Malformed, TooLarge

IDS = {name: tf.TensorSpec([None, None], tf.int32) for name in ("token_ids", "padding_mask")}
IMAGE = {"image": tf.TensorSpec([None, 1, 2, 3], tf.float32)}
FLAGS = {"flags": tf.TensorSpec([None, 2], tf.bool)}


def tensors(inputs: Any, specs: Any) -> dict[str, np.ndarray]:
    found, _ = wire.tensors({"inputs": inputs}, specs, rows=4, length=50_000)
    return found


def test_numbers_become_tensors() -> None:
    found = tensors({"token_ids": [[1, 2], [3, -4]], "padding_mask": [[1, 1], [1, 0]]}, IDS)
    assert found["token_ids"].dtype == np.int32
    assert found["token_ids"].tolist() == [[1, 2], [3, -4]]
    image = tensors([[[[1, 2.5, -1e300], [0, 0, 0]]]], IMAGE)["image"]
    assert (image.dtype, image.shape) == (np.float32, (1, 1, 2, 3))
    assert image[0, 0, 0].tolist() == [1, 2.5, -np.inf]
    assert tensors([[True, False]], FLAGS)["flags"].tolist() == [[True, False]]


def test_a_string_among_numbers_costs_no_memory() -> None:
    row = [0] * 20_000
    row[7] = "x" * 2_000  # type: ignore[call-overload]  # NumPy would make 20,000 strings of this length
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="token_ids: int32 is expected, and a string came"):
            tensors({"token_ids": [row], "padding_mask": [[1] * 20_000]}, IDS)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


WRONG = {
    "point": ({"token_ids": [[1.0]], "padding_mask": [[1]]}, IDS, Malformed, "a number with a point came"),
    "true": ({"token_ids": [[1, True]], "padding_mask": [[1, 1]]}, IDS, Malformed, "true or false came"),
    "null": ({"token_ids": [[None]], "padding_mask": [[1]]}, IDS, Malformed, "null came"),
    "large": ({"token_ids": [[2**31]], "padding_mask": [[1]]}, IDS, Malformed, "too large for int32"),
    "huge": ([[[[10**400, 0, 0], [0, 0, 0]]]], IMAGE, Malformed, "too large for float32"),
    "ragged": ({"token_ids": [[1, 2], [3]], "padding_mask": [[1, 1], [1, 1]]}, IDS, Malformed, "different shapes"),
    "deeper": ([[[[[0], [0], [0]], [[0], [0], [0]]]]], IMAGE, Malformed, "does not fit"),
    "inside": ([[[[0, 0, 0], [0, 0, [0]]]]], IMAGE, Malformed, "a list came"),
    "flat": ([0, 0], IMAGE, Malformed, "does not fit"),
    "number": ([[0, 1]], FLAGS, Malformed, "bool is expected, and a whole number came"),
    "empty": ({"token_ids": [[]], "padding_mask": [[]]}, IDS, Malformed, "holds no values"),
    "rows": ({"token_ids": [[1]] * 5, "padding_mask": [[1]] * 5}, IDS, TooLarge, "5 rows; at most 4"),
    "counts": ({"token_ids": [[1]], "padding_mask": [[1], [1]]}, IDS, Malformed, "different numbers of rows"),
    "long": ({"token_ids": [[1] * 60_000], "padding_mask": [[1] * 60_000]}, IDS, TooLarge, "at most 50000"),
    "lengths": ({"token_ids": [[1, 2]], "padding_mask": [[1]]}, IDS, Malformed, "different lengths"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_refused(name: str) -> None:
    inputs, specs, error, told = WRONG[name]
    with pytest.raises(error, match=told):
        tensors(inputs, specs)


class Nothing:
    """A shelf that holds one version, which is never asked."""

    signatures, length = {"serving_default": None}, 4

    def get(self, name: str, number: int | None = None) -> Any:
        return self

    def inputs(self, signature: str) -> dict[str, Any]:
        return IMAGE


def test_where_memory_is_short_the_answer_is_json_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(wire, "tensors", full)
    server, sent = app.Server(Nothing(), app.Limits()), []  # type: ignore[arg-type]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    path = "/v1/models/m:predict"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [], "root_path": ""}
    asyncio.run(server.app()(scope, receive, send))
    assert sent[0]["status"] == 413
    assert "send fewer rows" in json.loads(sent[1]["body"])["error"]
    assert server.registry.get_sample_value("tfl_requests_total", {"model": "m", "code": "413"}) == 1
