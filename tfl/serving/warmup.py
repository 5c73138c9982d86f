"""Requests that TensorFlow Serving answers to itself while it loads a version, so that the first client does not wait."""

from __future__ import annotations

import importlib.util
from itertools import islice
from pathlib import Path

from tfl.data import kept
from tfl.lazy import tf
from tfl.serving.certificate import EVIDENCE, EXAMPLES

FILE = "assets.extra/tf_serving_warmup_requests"
SIZES = (1, 8)
"""Rows of the requests; the kernels of both are ready then."""


def installed() -> bool:
    """Whether the official protos are there (the extra `serve`)."""
    return importlib.util.find_spec("tensorflow_serving") is not None


def write(folder: Path, model: str) -> bool:
    """Writes the requests for the version in `folder`, from its kept examples; whether it could."""
    if not installed():
        return False
    rows = list(islice(kept.read(folder / EVIDENCE / EXAMPLES), max(SIZES)))
    if rows and "text" not in rows[0]:
        rows = [{"images": image} for row in rows if isinstance(image := kept.image(row), bytes)]
    if not rows:
        return False
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    file = folder / FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for size in SIZES:
            some = [rows[place % len(rows)] for place in range(size)]
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = model, "serving_default"
            for name in ("text", "text_pair", "images"):
                if name in rows[0]:
                    request.inputs[name].CopyFrom(tf.make_tensor_proto([row[name] for row in some]))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    return True
