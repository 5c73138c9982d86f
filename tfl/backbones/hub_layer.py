"""The Keras layer that a TF2 SavedModel trains in. Imported only where one is used: it imports TensorFlow and Keras."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from tfl.config import UserError
from tfl.lazy import keras, tf


@keras.saving.register_keras_serializable(package="tfl")
class HubLayer(keras.layers.Layer):
    """A SavedModel whose variables are the layer's weights: trainable, frozen, saved and restored like any other.

    `hub.KerasLayer` is a layer of Keras 2, and `TFSMLayer` knows an endpoint and not `training`. Each `tf.Variable` of
    the module is wrapped, not copied, in a Keras variable, so that what the optimizer updates is what the module reads.

    `folder`: of the SavedModel. A `.keras` file holds a copy of it, as it was published, beside the weights as they are
    now, so that loading needs nothing else; `output` is what such a file says of the module before it is unpacked.
    """

    batch_norm: Literal["frozen", "train"]
    """Whether the module knows that it trains. frozen: it runs as in inference while its weights train, so that its
    statistics stay and its dropout is off; what a module does in training cannot be had in part."""

    def __init__(self, folder: str | None = None, output: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_norm = "frozen"
        self.module: Any = None
        self._output = keras.KerasTensor(**output) if output else None
        self._load_weights: Callable[[], None] | None = None
        self.built = True
        if folder is not None:
            self._load(folder)

    def _load(self, folder: str) -> None:
        """Takes the SavedModel in `folder`; keeps its files, which later copies and exports are made from."""
        if not Path(folder, "saved_model.pb").is_file():
            raise UserError(f"weights: {folder}: no saved_model.pb in it; the folder of a TF2 SavedModel is needed")
        self._files = tempfile.mkdtemp(prefix="tfl-hub-")
        weakref.finalize(self, shutil.rmtree, self._files, ignore_errors=True)
        shutil.copytree(folder, self._files, copy_function=_link, dirs_exist_ok=True)
        self.module = tf.saved_model.load(self._files)
        if not callable(self.module):
            raise UserError(f"weights: {folder}: its SavedModel has no __call__ (it is a TF1 module, or only has signatures)")
        self._read_signatures()
        self._adopt_variables()

    def _read_signatures(self) -> None:
        """Which keywords `__call__` takes, and what it takes first."""
        signatures = [function.structured_input_signature for function in self.module.__call__.concrete_functions]
        first = next(
            (item for args, _ in signatures for item in tf.nest.flatten(args) if isinstance(item, tf.TensorSpec)), None
        )
        self.takes_strings = first is not None and first.dtype == tf.string
        height, width = first.shape[1:3] if first is not None and first.shape.rank == 4 else (None, None)
        if height != width:
            raise UserError(f"weights: this module takes images of {height} × {width}; a backbone gets square ones")
        self.image_size = height
        self._takes_training = any(
            "training" in kwargs or any(isinstance(arg, bool) for arg in args) for args, kwargs in signatures
        )
        self._input_dtype = first.dtype if first is not None else tf.float32
        self.takes_bytes = bool(self._input_dtype.is_integer)

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

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of what the module computes, apart from its weights."""
        state = hashlib.sha256(Path(self._files, "saved_model.pb").read_bytes())
        assets = Path(self._files, "assets")  # vocabularies and the like
        for file in sorted(path for path in assets.rglob("*") if path.is_file()):
            state.update(str(file.relative_to(assets)).encode() + b"\0" + file.read_bytes())
        return state.hexdigest()

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """`inputs`: [N, h, w, 3] in 0 to 1, or in 0 to 255 where the module takes integers; or [N] string. A frozen layer
        runs as in inference, whatever `training` says, and so does one that trains unless `batch_norm` is "train".
        """
        if self.module is None:
            raise _without_module(self.name)
        if inputs.dtype != self._input_dtype:
            inputs = tf.saturate_cast(tf.round(inputs) if self.takes_bytes else inputs, self._input_dtype)
        trains = bool(training and self.trainable and self.batch_norm == "train")
        output = self.module(inputs, **({"training": trains} if self._takes_training else {}))
        if isinstance(output, dict):
            output = output.get("default", next(iter(output.values())))
        return output

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The output's shape and dtype: of the module, or, before it is unpacked, what the file says."""
        if self.module is not None:
            self._output = super().compute_output_spec(*args, **kwargs)
        return self._output

    def get_config(self) -> dict[str, Any]:
        """What makes the same layer again, without its module, which `load_assets` brings."""
        output = self._output
        described = None if output is None else {"shape": list(output.shape), "dtype": output.dtype}
        return {**super().get_config(), "output": described}

    def save_assets(self, folder: str) -> None:
        """Writes the module's SavedModel to `folder`, a part of a `.keras` file."""
        shutil.copytree(self._files, folder, dirs_exist_ok=True)

    def load_own_variables(self, store: Any) -> None:
        """Gives the variables the values in `store`, once there are variables: Keras comes here before `load_assets`."""
        if self.module is None:
            self._load_weights = functools.partial(super().load_own_variables, store)
        else:
            super().load_own_variables(store)

    def load_assets(self, folder: str) -> None:
        """Takes the SavedModel that `save_assets` wrote; where it is missing, calling the layer will say so."""
        if self.module is None and folder and Path(folder, "saved_model.pb").is_file():
            self._load(folder)
            if self._load_weights is not None:
                self._load_weights()
        self._load_weights = None


def _without_module(name: str) -> UserError:
    error = UserError(
        f"{name}: the SavedModel of this TF Hub module is missing; the .keras file of the model holds it below assets/: "
        "load that file, whole, or train again"
    )
    vars(error)["_keras_call_info_injected"] = True  # Keras wraps an error in the arguments of every layer, but for this
    return error


def _link(source: str, target: str) -> None:
    """The file `source` under a second name, which outlives the first; a copy where the file system has no such thing."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)
