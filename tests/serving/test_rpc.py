"""gRPC: tensors that declare more than they hold, and versions by label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from tests.serving.client import serving

grpc = pytest.importorskip("grpc")
pytest.importorskip("tensorflow_serving.apis")

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def asked(both: Path) -> Iterator[tuple[Ask, int]]:
    """What asks a server, and its process."""
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    with serving(both, "--grpc-port", "0") as client:
        assert client.process.stdout is not None
        address = next(line for line in client.process.stdout if line.startswith("grpc: ")).split()[1]
        stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(address))

        def ask(model: str, signature: str, label: str = "", **inputs: Any) -> Any:
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = model, signature
            if label:
                request.model_spec.version_label = label
            for name, tensor in inputs.items():
                request.inputs[name].CopyFrom(tensor)
            return stub.Predict(request, timeout=60)

        yield ask, client.process.pid


@pytest.fixture(scope="module")
def ask(asked: tuple[Ask, int]) -> Ask:
    return asked[0]


def declared(dtype: Any, shape: Sequence[int], **values: Any) -> Any:
    """A tensor that says it has this shape, whatever it holds."""
    found = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    for size in shape:
        found.tensor_shape.dim.add().size = size
    for field, given in values.items():
        if isinstance(given, bytes):
            setattr(found, field, given)
        else:
            getattr(found, field).extend(given)
    return found


def peak(pid: int) -> int:
    """Resident megabytes of a process, at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


def test_a_few_bytes_that_declare_much_cost_nothing(asked: tuple[Ask, int]) -> None:
    ask, pid = asked
    ask("photos", "predict_tensors", image=declared(tf.float32, [2, 32, 32, 3], float_val=[0.5]))
    before = peak(pid)
    with pytest.raises(grpc.RpcError, match="60000 rows; at most 256"):
        ask("photos", "predict_tensors", image=declared(tf.float32, [60_000, 32, 32, 3], float_val=[0.5]))
    assert peak(pid) < before + 100


REFUSED = {
    "dtype": (declared(tf.float64, [1, 32, 32, 3], double_val=[0.5]), "float32 is expected, and float64 came"),
    "none": (declared(tf.float32, [1, 32, 32, 3]), "declares 3072 values, and 0 came"),
    "shape": (declared(tf.float32, [1, 32, 32, 4], float_val=[0.5]), "does not fit"),
    "below zero": (declared(tf.float32, [-1, 32, 32, 3], float_val=[0.5]), "no rows"),
    "some": (declared(tf.float32, [1, 32, 32, 3], float_val=[0.5, 0.5]), "declares 3072 values, and 2 came"),
    "another field": (declared(tf.float32, [1, 32, 32, 3], int_val=[1]), "declares 3072 values, and 0 came"),
    "bytes": (declared(tf.float32, [1, 32, 32, 3], tensor_content=b"\0" * 13), "declares 12288 bytes, and 13 came"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_what_it_declares_is_refused(name: str, ask: Ask) -> None:
    tensor, told = REFUSED[name]
    with pytest.raises(grpc.RpcError, match=told) as caught:
        ask("photos", "predict_tensors", image=tensor)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_one_value_for_all_is_taken_up_to_the_size_of_a_body(ask: Ask) -> None:
    whole, one = (np.full([3, 32, 32, 3], 0.5, np.float32), declared(tf.float32, [3, 32, 32, 3], float_val=[0.5]))
    expected, found = (
        tf.make_ndarray(ask("photos", "predict_tensors", image=tensor).outputs["probabilities"])
        for tensor in (tf.make_tensor_proto(whole), one)
    )
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(grpc.RpcError, match="one value for all becomes 51,200,000 bytes; at most 33,554,432"):
        ask("calls", "serving_default", text=declared(tf.string, [256], string_val=[b"a" * 200_000]))


def test_texts_as_tensors_have_a_length(ask: Ask) -> None:
    def tokens(*lengths: int) -> dict[str, Any]:
        names = ("padding_mask", "segment_ids", "token_ids")
        return {name: tf.make_tensor_proto(np.ones([2, size], np.int32)) for name, size in zip(names, lengths, strict=True)}

    assert len(ask("calls", "predict_tensors", **tokens(24, 24, 24)).outputs)
    for lengths, told in (((25, 25, 25), "at most 24"), ((8, 8, 7), "different lengths")):
        with pytest.raises(grpc.RpcError, match=told) as caught:
            ask("calls", "predict_tensors", **tokens(*lengths))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_label_of_a_version_is_refused(ask: Ask) -> None:
    with pytest.raises(grpc.RpcError, match=r"Label\(calls, stable\)") as caught:
        ask("calls", "serving_default", label="stable", text=tf.make_tensor_proto(["sales rose"]))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
