"""TensorFlow Serving's gRPC `PredictionService`, on its official protos."""

from __future__ import annotations

import math
from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfl.lazy import tf
from tfl.serving import shapes
from tfl.serving.app import Limits, Refused, Server
from tfl.serving.shelf import Version

CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""What says over gRPC what a status says over HTTP."""
VALUES = {
    "string": "string_val",
    "float16": "half_val",
    "bfloat16": "half_val",
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
}
"""The field of a tensor's proto that holds values of a dtype one by one; of all others `int_val`."""


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """`Predict` and `GetModelMetadata`; requests share batches with those that come over HTTP."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def Predict(self, request: Any, context: Any) -> Any:
        """The outputs of a signature, those in `output_filter` where it names some."""
        try:
            version = self._version(request.model_spec, context)
            signature = request.model_spec.signature_name or "serving_default"
            if signature not in version.signatures:
                raise Refused(400, f'Serving signature name: "{signature}" not found in signature def')
            inputs = _inputs(request.inputs, version.inputs(signature), self._server.limits, version.length)
            outputs = await self._server.outputs(version, signature, inputs)
            wanted = list(request.output_filter) or list(outputs)
            if unknown := set(wanted) - outputs.keys():
                raise Refused(400, f"output_filter: {', '.join(sorted(unknown))}; outputs are {', '.join(outputs)}")
        except Refused as refused:
            await context.abort(CODES[refused.status], refused.reason)
        response = predict_pb2.PredictResponse()
        response.model_spec.name, response.model_spec.signature_name = request.model_spec.name, signature
        response.model_spec.version.value = version.number
        for name in wanted:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """The signatures of a model."""
        try:
            version = self._version(request.model_spec, context)
        except Refused as refused:
            await context.abort(CODES[refused.status], refused.reason)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in version.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name, response.model_spec.version.value = request.model_spec.name, version.number
        response.metadata["signature_def"].Pack(signatures)
        return response

    def _version(self, spec: Any, context: Any) -> Version:
        headers = dict(context.invocation_metadata() or ())
        self._server.allow(str(headers.get("authorization", "")))
        if spec.HasField("version_label"):
            raise Refused(
                404,
                f"Servable not found for request: Label({spec.name}, {spec.version_label}); labels of versions are not served, "
                "leave it out for the newest or give version",
            )
        return self._server.find(spec.name, spec.version.value if spec.HasField("version") else None)


async def start(server: Server, address: str) -> tuple[Any, int]:
    """A gRPC server that listens at `address`, and its port."""
    most = ("grpc.max_receive_message_length", server.limits.body)
    own = grpc.aio.server(options=[most])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Prediction(server), own)
    port = own.add_insecure_port(address)
    await own.start()
    return own, port


def _inputs(given: Any, specs: dict[str, Any], limits: Limits, length: int) -> dict[str, np.ndarray]:
    """The tensors of a request. Raises `Refused` where they are not those of the signature.

    A few bytes can declare a tensor of gigabytes, so nothing is made of one before it is known to be small enough.
    """
    if given.keys() != specs.keys():
        raise Refused(400, f"the inputs are {', '.join(specs)}, and {', '.join(given) or 'none'} came")
    for name, spec in specs.items():
        if given[name].dtype != spec.dtype.as_datatype_enum:
            raise Refused(400, f"{name}: {spec.dtype.name} is expected, and {_dtype(given[name])} came")
    declared = {name: [dim.size for dim in given[name].tensor_shape.dim] for name in specs}
    try:
        shapes.check(declared, specs, rows=limits.rows, length=length)
    except shapes.Malformed as error:
        raise Refused(400, str(error)) from error
    except shapes.TooLarge as error:
        raise Refused(413, str(error)) from error
    for name, shape in declared.items():
        _check_values(name, given[name], math.prod(shape), limits.body)
    try:
        return {name: tf.make_ndarray(given[name]) for name in specs}
    except (TypeError, ValueError, OverflowError) as error:
        raise Refused(400, str(error)) from error


def _dtype(tensor: Any) -> str:
    try:
        return str(tf.as_dtype(tensor.dtype).name)
    except TypeError:
        return f"type {tensor.dtype}"


def _check_values(name: str, tensor: Any, declared: int, body: int) -> None:
    """Raises `Refused` where a tensor does not hold the number of values that its shape declares, or one for all of them.

    `body`: bytes that one value may become where it stands for all.
    """
    dtype = tf.as_dtype(tensor.dtype)
    if tensor.tensor_content and dtype != tf.string:
        present, left = divmod(len(tensor.tensor_content), dtype.size)
        if present == declared and not left:
            return
        raise Refused(400, f"{name}: the shape declares {declared * dtype.size} bytes, and {len(tensor.tensor_content)} came")
    values = getattr(tensor, VALUES.get(dtype.name, "int_val"))
    if len(values) == declared:
        return
    if len(values) != 1:
        raise Refused(400, f"{name}: the shape declares {declared} values, and {len(values)} came; send all, or one for all")
    size = declared * (len(values[0]) if dtype == tf.string else dtype.size)
    if size > body:
        raise Refused(413, f"{name}: one value for all becomes {size:,} bytes; at most {body:,}")
