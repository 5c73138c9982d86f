"""A trained model as a SavedModel that takes what users have: the bytes of images, or texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfl.config import UserError
from tfl.data.config import Resize
from tfl.lazy import keras, tf
from tfl.tasks import Task


def export(
    folder: Path,
    model: keras.Model,
    tasks: Mapping[str, Task],
    preprocess: Any,
    *,
    modality: str,
    pairs: bool,
    resize: Resize,
) -> Path:
    """Writes a SavedModel to `folder` and returns it. Raises `UserError` where the folder already holds something.

    Its signature `serving_default` takes `images`, the bytes of JPEG, PNG, GIF or BMP files `[N] string`, or `text`
    (and `text_pair`) `[N] string`, and gives `probabilities [N, C] float32`, `class [N] string` and `class_names
    [N, C] string`; a regression gives `value [N] float32`. Preprocessing is inside.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; an export is a folder: name a new one")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; an export never overwrites anything: name another folder")
    archive = keras.export.ExportArchive()
    archive.track(model)
    (task,) = tasks.values()
    (name,) = tasks

    def answer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        return _answer(task, model({key: inputs[key] for key in model.input}, training=False)[name])

    if modality == "image":
        from tfl.data import image as images

        def serve(images_: Any) -> dict[str, Any]:
            def one(data: Any) -> Any:
                return images.resize(images.decode(data), preprocess.size, resize)

            pixels = tf.map_fn(one, images_, fn_output_signature=tf.TensorSpec([*preprocess.size, 3], tf.float32))
            return answer({"image": preprocess(pixels)})

        signature = [tf.TensorSpec([None], tf.string, name="images")]
    else:

        def serve(text: Any, text_pair: Any = None) -> dict[str, Any]:  # type: ignore[misc]
            return answer(preprocess(text, text_pair))

        names = ("text", "text_pair") if pairs else ("text",)
        signature = [tf.TensorSpec([None], tf.string, name=key) for key in names]
    archive.add_endpoint("serving_default", serve, input_signature=signature)
    archive.write_out(str(folder), verbose=False)
    return folder


def _answer(task: Task, logits: Any) -> dict[str, Any]:
    predictions = task.predictions(logits)
    if task.kind == "regression":
        return {"value": predictions}
    names = tf.constant(task.class_names)
    every = tf.tile(names[None], [tf.shape(predictions)[0], 1])
    answer = {"probabilities": predictions, "class_names": every}
    if task.kind == "classification":
        answer["class"] = tf.gather(names, tf.argmax(predictions, axis=-1))
    return answer
