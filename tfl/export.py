"""A trained model as a SavedModel that takes what users have: the bytes of images, or texts."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfl.data.config import Resize
from tfl.graphs import better_constant, in_bytes, with_constants
from tfl.lazy import keras, tf
from tfl.models import features_of, hub_modules
from tfl.tasks import Task

TOP = 5
"""Classes that an answer names in the order of their probability, at most."""
CONSTANT_BYTES = 20 << 20
"""Bytes of all weights that would be constants (see `better_constant`) up to which they are. They cost a process fifteen to
twenty times as much memory. Networks that they make much faster, such as MobileNetV2 and EfficientNetB0, are small."""


def export(
    folder: Path,
    model: keras.Model,
    tasks: Mapping[str, Task],
    preprocess: Any,
    *,
    modality: str,
    pairs: bool,
    resize: Resize,
) -> None:
    """Writes a SavedModel to `folder`, which is new or empty. All that it takes and gives is by rows, [N, …]:

    - `serving_default` takes `images`, the bytes of JPEG, PNG, GIF, BMP or WebP files `[N] string`, or `text` (and `text_pair`)
      `[N] string`, preprocesses them, and gives `probabilities [N, C] float32`, `class_names [N, C] string`, `class [N]
      string`, and `top_classes` and `top_probabilities [N, K]`, the likeliest first; a task of several labels has no
      `class`, and a regression gives `value [N] float32` alone.
    - `predict_tensors` takes what the model does, preprocessed by the client, and gives the same.
    - `features` takes what `serving_default` does and gives `features [N, D] float32`, what the head sees.
    """
    archive = keras.export.ExportArchive()
    archive.track(_holder(model, preprocess))
    ((name, task),) = tasks.items()
    tensors = sorted(model.input)
    shaped = [tf.TensorSpec([None, *model.input[key].shape[1:]], model.input[key].dtype, name=key) for key in tensors]
    network = _network(keras.Model(model.input, (features_of(model), model.output[name])), shaped)
    raw, specs = _reader(preprocess, modality, pairs, resize)

    def read(inputs: Sequence[Any]) -> list[Any]:
        prepared = raw(*inputs)
        return [tf.cast(prepared[spec.name], spec.dtype) for spec in shaped]

    def answers(*inputs: Any) -> dict[str, Any]:
        return _answer(task, network(read(inputs))[1])

    def features(*inputs: Any) -> dict[str, Any]:
        return {"features": tf.cast(network(read(inputs))[0], tf.float32)}

    def of_tensors(*inputs: Any) -> dict[str, Any]:
        return _answer(task, network(list(inputs))[1])

    archive.add_endpoint("serving_default", answers, input_signature=specs)
    archive.add_endpoint("predict_tensors", of_tensors, input_signature=shaped)
    archive.add_endpoint("features", features, input_signature=specs)
    with tempfile.TemporaryDirectory() as there:
        if task.class_names:
            archive.track(_asset(Path(there) / "class_names.txt", task.class_names))
        archive.write_out(str(folder), verbose=False)


def _holder(model: keras.Model, preprocess: Any) -> tf.Module:
    """What has the tables in which layers of `model` and a tokeniser look things up.

    (Tracked itself, a model has its weights written twice: `Model.export` does that.)
    """
    holder = tf.Module()
    holder.model, holder.tokenizer = model, getattr(preprocess, "layer", None)
    return holder


def _network(model: keras.Model, specs: Sequence[Any]) -> Any:
    """`model` in inference as one function from its inputs, a list, to its outputs; all signatures call it, so that its
    constants are written once.
    """

    def call(tensors: list[Any]) -> Any:
        return model({spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)}, training=False)

    unseen = {id(variable) for module in hub_modules(model) for variable in module.variables}  # a module reads its own
    constants = [one for one in better_constant(model.variables) if id(one) not in unseen]
    if sum(map(in_bytes, constants)) > CONSTANT_BYTES:
        constants = []
    return tf.function(with_constants(call, constants), [list(specs)], autograph=False)


def _asset(file: Path, lines: Sequence[str]) -> tf.Module:
    """What has `file`, written with these `lines`, as its asset."""
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    index = tf.lookup.TextFileIndex
    holder = tf.Module()
    initializer = tf.lookup.TextFileInitializer(str(file), tf.int64, index.LINE_NUMBER, tf.string, index.WHOLE_LINE)
    holder.lines = tf.lookup.StaticHashTable(initializer, "")
    return holder


def _reader(preprocess: Any, modality: str, pairs: bool, resize: Resize) -> tuple[Any, list[Any]]:
    """What makes the model's inputs of raw ones, and the signature of those."""
    if modality == "text":
        names = ("text", "text_pair") if pairs else ("text",)
        return preprocess, [tf.TensorSpec([None], tf.string, name=key) for key in names]
    from tfl.data import image as images

    def one(data: Any) -> Any:
        return images.decode_resized(data, preprocess.size, resize)

    def read(encoded: Any) -> dict[str, Any]:
        pixels = tf.map_fn(one, encoded, fn_output_signature=tf.TensorSpec([*preprocess.size, 3], tf.float32))
        return {"image": preprocess(pixels)}

    return read, [tf.TensorSpec([None], tf.string, name="images")]


def _answer(task: Task, logits: Any) -> dict[str, Any]:
    predictions = task.predictions(logits)
    if task.kind == "regression":
        return {"value": predictions}
    names = tf.constant(task.class_names)
    top = tf.math.top_k(predictions, min(TOP, len(task.class_names)))
    answer = {
        "probabilities": predictions,
        "class_names": tf.tile(names[None], [tf.shape(predictions)[0], 1]),
        "top_probabilities": top.values,
        "top_classes": tf.gather(names, top.indices),
    }
    if task.kind == "classification":
        answer["class"] = tf.gather(names, tf.argmax(predictions, axis=-1))
    return answer
