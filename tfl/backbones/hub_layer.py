"""The Keras layer that a TF2 SavedModel trains in. Imported only where one is used: it imports TensorFlow and Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfl.config import UserError


@keras.saving.register_keras_serializable(package="tfl")
class HubLayer(keras.layers.Layer):
    """A SavedModel whose variables are the layer's weights: trainable, frozen, saved and restored like any other.

    `hub.KerasLayer` is a layer of Keras 2, and `TFSMLayer` knows an endpoint and not `training`. Each `tf.Variable` of
    the module is wrapped, not copied, in a Keras variable, so that what the optimizer updates is what the module reads.

    `folder`: of the SavedModel, which must be there when the layer is loaded from a `.keras` file; its weights then
    come from that file.
    """

    def __init__(self, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not Path(folder, "saved_model.pb").is_file():
            raise UserError(f"{folder}: no saved_model.pb; the model was made from the SavedModel that was there, put it back")
        self.folder = str(folder)
        self.module = tf.saved_model.load(self.folder)
        if not callable(self.module):
            raise UserError(f"weights: {folder}: its SavedModel has no __call__ (it is a TF1 module, or only has signatures)")
        self._read_signatures()
        self._adopt_variables()
        self.built = True

    def _read_signatures(self) -> None:
        """Which keywords `__call__` takes, and what it takes first."""
        signatures = [function.structured_input_signature for function in self.module.__call__.concrete_functions]
        first = next(
            (item for args, _ in signatures for item in tf.nest.flatten(args) if isinstance(item, tf.TensorSpec)), None
        )
        self.takes_strings = first is not None and first.dtype == tf.string
        self.image_size = first.shape[1] if first is not None and first.shape.rank == 4 else None
        self._takes_training = any(
            "training" in kwargs or any(isinstance(arg, bool) for arg in args) for args, kwargs in signatures
        )
        self._input_dtype = first.dtype if first is not None else tf.float32

    def _adopt_variables(self) -> None:
        # `trainable_variables`, where it is set, is the word of the module's author; else each variable has a flag
        said = getattr(self.module, "trainable_variables", None)
        chosen = None if said is None else {id(variable) for variable in said}
        for variable in tf.train.TrackableView(self.module).descendants():
            if isinstance(variable, tf.Variable):
                trainable = variable.trainable if chosen is None else id(variable) in chosen
                name = variable.name.split(":")[0].replace("/", "_")
                self._track_variable(
                    keras.Variable(variable, dtype=variable.dtype.name, trainable=trainable, autocast=False, name=name)
                )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """`inputs`: [N, h, w, 3] in 0 to 1, or [N] string; a frozen layer runs as in inference, whatever `training`
        says.
        """
        inputs = tf.cast(inputs, self._input_dtype) if inputs.dtype != self._input_dtype else inputs
        kwargs = {"training": bool(training and self.trainable)} if self._takes_training else {}
        output = self.module(inputs, **kwargs)
        if isinstance(output, dict):
            output = output.get("default", next(iter(output.values())))
        return output

    def get_config(self) -> dict[str, Any]:
        """What makes the same layer again, with its folder in place."""
        return {**super().get_config(), "folder": self.folder}
