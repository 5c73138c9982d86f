"""The models of a bundle as a server holds them: the newest version of each, and what comes after it."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.lazy import tf
from tfl.serving.bundle import versions


class Version:
    """A SavedModel that answers."""

    def __init__(self, folder: Path) -> None:
        from google.protobuf import json_format

        (graph,) = _proto(folder).meta_graphs
        takes_texts = any("text" in definition.inputs for definition in graph.signature_def.values())
        if takes_texts and importlib.util.find_spec("tensorflow_text"):
            import tensorflow_text  # noqa: F401  (registers the operations of tokenisers)
        self.folder, self.number = folder, int(folder.name)
        self._loaded = tf.saved_model.load(str(folder))
        self.signatures: Mapping[str, Any] = dict(self._loaded.signatures)
        self.definitions = {name: graph.signature_def[name] for name in self.signatures}
        """The signatures, as TensorFlow's protos."""
        self.described: dict[str, Any] = {
            name: json_format.MessageToDict(
                self.definitions[name],
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
            )
            for name in self.signatures
        }
        """The same as JSON."""

    def inputs(self, signature: str) -> dict[str, Any]:
        """What a signature takes, as tensor specs by name."""
        return dict(self.signatures[signature].structured_input_signature[1])

    def outputs(self, signature: str) -> dict[str, Any]:
        """What a signature gives, as tensor specs by name."""
        return dict(self.signatures[signature].structured_outputs)

    def call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a signature."""
        specs = self.inputs(signature)
        plain = {name: values.tolist() if values.dtype == object else values for name, values in inputs.items()}
        given = {name: tf.constant(values, specs[name].dtype) for name, values in plain.items()}
        return {name: values.numpy() for name, values in self.signatures[signature](**given).items()}


def _proto(folder: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())


class Shelf:
    """The newest version of each model below a folder, watched by a thread.

    A new version takes the place of the old one once it is loaded; requests that the old one is answering keep it until they
    are done.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], every: float = 2.0) -> None:
        """`every`: seconds between two looks. Raises `UserError` where there is no version of any model."""
        self.folder, self._say, self._every = folder, say, every
        self._current: dict[str, Version] = {}
        self._failed: dict[Path, str] = {}
        self._stop = threading.Event()
        if not folder.is_dir() or not versions(folder):
            raise UserError(f"{folder}: not an export; `tfl export RUN --out {folder}` makes one")
        self.look()
        if not self._current:
            raise UserError(f"{folder}: no version could be loaded: {'; '.join(self._failed.values())}")
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def names(self) -> list[str]:
        """Of the models."""
        return sorted(self._current)

    def get(self, name: str, number: int | None = None) -> Version | None:
        """The version of a model that is served, if it is that."""
        found = self._current.get(name)
        return found if found is not None and number in (None, found.number) else None

    def look(self) -> None:
        """Loads what is newer than what is served, and lets go of models that are not there any more."""
        there = versions(self.folder)
        for name, paths in there.items():
            served = self._current.get(name)
            newest = paths[-1]
            if newest in self._failed or (served is not None and served.number == int(newest.name)):
                continue
            try:
                self._current[name] = Version(newest)
                self._say(f"serving {name} version {newest.name}")
            except Exception as error:  # whatever is wrong with a new version, the one before goes on
                self._failed[newest] = f"{newest} cannot be loaded: {error}"
                self._say(self._failed[newest])
        for name in set(self._current) - set(there):
            del self._current[name]
            self._say(f"{name} is not there any more")

    def close(self) -> None:
        """Watches no more."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.look()
            except OSError as error:
                self._say(f"{self.folder}: {error}")
