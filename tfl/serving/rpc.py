"""TensorFlow Serving's gRPC `PredictionService`, on its official protos."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfl.lazy import tf
from tfl.serving.app import Refused, Server
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
            inputs = _inputs(request.inputs, version.inputs(signature))
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
        return self._server.find(spec.name, spec.version.value if spec.HasField("version") else None)


async def start(server: Server, address: str) -> tuple[Any, int]:
    """A gRPC server that listens at `address`, and its port."""
    most = ("grpc.max_receive_message_length", server.limits.body)
    own = grpc.aio.server(options=[most])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Prediction(server), own)
    port = own.add_insecure_port(address)
    await own.start()
    return own, port


def _inputs(given: Any, specs: dict[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of a request. Raises `Refused` where they are not those of the signature."""
    if given.keys() != specs.keys():
        raise Refused(400, f"the inputs are {', '.join(specs)}, and {', '.join(given) or 'none'} came")
    found = {}
    for name, spec in specs.items():
        try:
            values = tf.make_ndarray(given[name])
        except (TypeError, ValueError) as error:
            raise Refused(400, f"{name}: {error}") from error
        if tf.as_dtype(values.dtype if values.dtype != object else tf.string) != spec.dtype:
            raise Refused(400, f"{name}: {spec.dtype.name} is expected")
        if not spec.shape.is_compatible_with(values.shape):
            raise Refused(400, f"{name}: the shape {list(values.shape)} does not fit {spec.shape}")
        found[name] = values
    sizes = {len(values) for values in found.values()}
    if len(sizes) != 1 or not all(sizes):
        raise Refused(400, f"inputs need one number of rows, at least 1; {sorted(sizes)} came")
    return found
