"""The models of a bundle as a server holds them: the newest version of each, and what comes after it."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.lazy import tf
from tfl.serving.bundle import MODELS, versions
from tfl.serving.certificate import EVIDENCE, TASK

LENGTH = 512
"""Tokens of a text at most, where an export notes nothing: the positions of BERT and its family."""
Stamp = tuple[tuple[str, int, int], ...]


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
        self.length = _length(folder)
        """Values of an axis that a signature leaves open, at most: the tokens of a text."""

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


def _length(folder: Path) -> int:
    """How long a text of the version may be, in tokens: what its export noted, else `LENGTH`."""
    try:
        about = json.loads((folder / EVIDENCE / TASK).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a SavedModel answers without its evidence too
        return LENGTH
    return int(about.get("sequence_length") or LENGTH)


def _stamp(folder: Path) -> Stamp:
    """The files of a version as they are now: their names, sizes and times."""
    found = []
    for path in sorted(folder.rglob("*")):
        try:
            state = path.stat()
        except OSError:  # it was taken away meanwhile
            continue
        if not path.is_dir():
            found.append((str(path.relative_to(folder)), state.st_size, state.st_mtime_ns))
    return tuple(found)


def _not_a_bundle(folder: Path) -> str:
    """Why nothing can be served from `folder`."""
    whole = folder.resolve()
    for above in (whole.parent, whole.parent.parent):
        if whole.is_dir() and (above / MODELS).is_file():
            return f"{folder}: not a bundle, but a part of one; `tfl serve {above}` serves it"
    return f"{folder}: not an export; `tfl export RUN --out {folder}` makes one"


class Shelf:
    """The newest version of each model below a folder, watched by a thread.

    A new version takes the place of the old one once it is loaded; requests that the old one is answering keep it until they
    are done.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], every: float = 2.0) -> None:
        """`every`: seconds between two looks. Raises `UserError` where there is no version of any model."""
        self.folder, self._say, self._every = folder, say, every
        self._current: dict[str, Version] = {}
        self._failed: dict[Path, tuple[Stamp, str]] = {}
        """What could not be loaded: how its files were then, and why."""
        self._stop = threading.Event()
        if not folder.is_dir() or not versions(folder):
            raise UserError(_not_a_bundle(folder))
        self.look()
        if not self._current:
            raise UserError(f"{folder}: no version could be loaded: {'; '.join(why for _, why in self._failed.values())}")
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
        """Loads what is newer than what is served, and lets go of models that are not there any more.

        Where the newest version cannot be loaded, the next older one that can is served. A version that could not is tried
        again when its files have changed: it may have been copied in part.
        """
        there = versions(self.folder)
        self._failed = {path: tried for path, tried in self._failed.items() if path in there.get(path.parent.name, ())}
        for name, paths in there.items():
            for path in reversed(paths):
                if self._goes_on(name, path, paths[-1]) or self._loaded(name, path, paths[-1]):
                    break
        for name in set(self._current) - set(there):
            del self._current[name]
            self._say(f"{name} is not there any more")

    def _goes_on(self, name: str, path: Path, newest: Path) -> bool:
        """Whether what is served of a model is no worse than the version in `path`.

        One older than what is served is loaded only where it is the newest there: somebody has taken the others away.
        """
        served = self._current.get(name)
        if served is None:
            return False
        return served.number == int(path.name) or (served.number > int(path.name) and path != newest)

    def _loaded(self, name: str, path: Path, newest: Path) -> bool:
        """Whether the version in `path` could be loaded, and is served now."""
        stamp, (tried, reason) = _stamp(path), self._failed.get(path, ((), ""))
        if stamp == tried:
            return False
        try:
            self._current[name] = Version(path)
        except Exception as error:  # whatever is wrong with a version, the one before goes on
            told = f"{path} cannot be loaded: {error}"
            self._failed[path] = stamp, told
            if told != reason:  # while it is being copied, it fails in the same way again and again
                self._say(told)
            return False
        self._failed.pop(path, None)
        self._say(f"serving {name} version {path.name}{'' if path == newest else ', the newest that can be loaded'}")
        return True

    def close(self) -> None:
        """Watches no more."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.look()
            except OSError as error:
                self._say(f"{self.folder}: {error}")
