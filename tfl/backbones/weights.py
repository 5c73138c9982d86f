"""Weight files: what is in them, whether it is of the network at hand, and which layers got their weights from it."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfl.config import UserError
from tfl.lazy import keras

FILES = (".weights.h5", ".h5", ".hdf5", ".keras")
"""Endings of the weight files that `load_file` reads."""

ARCHITECTURES = (
    ("resnet152", r"conv4_block36_1_"),
    ("resnet101", r"conv4_block23_1_"),
    ("resnet50", r"conv4_block6_1_"),
    ("vgg19", r"block5_conv4"),
    ("vgg16", r"block5_conv3"),
    ("densenet201", r"conv4_block48_"),
    ("densenet169", r"conv5_block32_"),
    ("densenet121", r"conv5_block16_"),
    ("mobilenet_v3_large", r"expanded_conv_14_"),
    ("mobilenet_v3_small", r"expanded_conv_10_"),
    ("mobilenet_v2", r"block_16_project"),
    ("mobilenet", r"conv_pw_13"),
    ("inception_resnet_v2", r"block8_10_"),
    ("xception", r"block14_sepconv2"),
    ("nasnet_large", r"normal_.*_18\b"),
    ("nasnet_mobile", r"normal_.*_12\b"),
    ("one of efficientnet_v2_*", r"block6h_project.*|block1a_project_conv.*(?<!se)\bblock6"),
    ("one of efficientnet_*", r"block7a_project"),
    ("one of convnext_*", r"convnext_.*stage_3"),
)
"""Layer names that give a network away, the first that fits: for the error that says which network a file is of."""


@dataclass(frozen=True)
class WeightsReport:
    """Where the weights of a backbone come from, and which of its layers got them."""

    origin: str
    """A file, a folder, a handle, `imagenet: FILE`, or `none (random)`."""
    sha256: str | None = None
    """Of the weight file; where there is no one file, of the weights themselves, in order; None where they are random."""
    loaded: tuple[str, ...] = ()
    """Layers of the backbone that got their weights, by name."""
    missing: tuple[str, ...] = ()
    """Layers of the backbone that kept their random weights."""
    unused: tuple[str, ...] = ()
    """Layers of the file, or of the published network, that the backbone has no place for, such as the classifier."""


@dataclass(frozen=True)
class StoredLayer:
    """The weights of one layer in a file."""

    name: str
    """The layer's name where the file has it, else its key."""
    arrays: dict[str, Any] = field(repr=False)
    """Datasets (`shape`, `[()]`) by their path below the layer; in a legacy file by name, in the order of the weights.
    """


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_values(layers: Iterable[Any]) -> str:
    """The SHA-256 of the weights of `layers`, in order, as hex: for weights that come from no one file."""
    state = hashlib.sha256()
    for layer in layers:
        for variable in layer.weights:
            state.update(variable.numpy().tobytes())
    return state.hexdigest()


def load_file(
    model: keras.Model, path: str | Path, architecture: str, finish: Callable[[Any], None] | None = None
) -> WeightsReport:
    """Loads `path` into `model`, all of it or nothing, and reports which layers were loaded.

    `path` is a Keras 3 `.weights.h5` or `.keras`, or a legacy `.h5`, written from the network with or without its top,
    or from a model that has the network as one of its layers. `model` is the network without top, as
    `keras.applications` makes it. `finish(file)`, a `StoredFile`, is called after loading. Raises `UserError` where the
    file is not readable or is of another network than `architecture`.
    """
    with _open(path) as file:
        pairs, unused = file.match(model)
        _check(pairs, unused, str(path), architecture, file)
        for layer, stored in pairs:
            for variable, dataset in _matched(layer, stored) or ():
                variable.assign(dataset[()])
            if hasattr(layer, "finalize_state"):  # Normalization keeps derived constants
                layer.finalize_state()
        if finish is not None:
            finish(file)
    return WeightsReport(
        origin=str(path),
        sha256=sha256(path),
        loaded=tuple(layer.name for layer, _ in pairs),
        unused=tuple(layer.name for layer in unused),
    )


class StoredFile:
    """An open weight file. `layers` has, in order, what it holds for each layer; `legacy` tells the two forms apart."""

    def __init__(self, h5: Any) -> None:
        group = h5.get("model_weights", h5)
        self.legacy = any(name in group.attrs for name in ("layer_names", "layer_names0"))
        self.roots = {"": dict(_legacy(group))} if self.legacy else _roots(h5)
        if not any(self.roots.values()):
            raise UserError("it holds no layers")
        self.layers: dict[str, StoredLayer] = next(iter(self.roots.values()))

    def match(self, model: keras.Model) -> tuple[list[tuple[Any, StoredLayer | None]], list[StoredLayer]]:
        """Each layer of `model` that has weights with what the file has for it, and what the file has beside."""
        wanted = _keys(model)
        best: list[tuple[Any, StoredLayer | None]] = []
        score = -1
        for layers in self.roots.values():
            if self.legacy:  # in the order of the layers, which is how Keras reads this form
                stored: list[StoredLayer | None] = [layer for layer in layers.values() if layer.arrays]
                found = [(layer, stored[n] if n < len(stored) else None) for n, layer in enumerate(wanted.values())]
            else:
                found = [(layer, layers.get(key)) for key, layer in wanted.items()]
            fits = sum(_fits(layer, part) for layer, part in found)
            if fits > score:
                best, score, self.layers = found, fits, layers
        used = {id(part) for _, part in best}
        return best, [part for part in self.layers.values() if part.arrays and id(part) not in used]


@contextmanager
def _open(path: str | Path) -> Iterator[StoredFile]:
    import h5py

    if not Path(path).is_file():
        raise UserError(f"weights: {path}: no such file")
    try:
        source: Any = str(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(source, "r") as h5:
            yield StoredFile(h5)
    except UserError as error:
        raise UserError(_prefixed(path, error)) from error
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"weights: {path}: not a readable weight file ({error}); one of {', '.join(FILES)}") from error


def _prefixed(path: str | Path, error: UserError) -> str:
    return str(error) if str(error).startswith("weights: ") else f"weights: {path}: {error}"


def _legacy(group: Any) -> Iterator[tuple[str, StoredLayer]]:
    for name in _names(group, "layer_names"):
        stored = group[name]
        yield name, StoredLayer(name, {weight: stored[weight] for weight in _names(stored, "weight_names")})


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names among the attributes of `group`; long ones are in parts, `layer_names0`, `layer_names1`, …"""
    parts = (
        [attribute]
        if attribute in group.attrs
        else sorted(
            (key for key in group.attrs if re.fullmatch(attribute + r"\d+", key)),
            key=lambda key: int(key[len(attribute) :]),
        )
    )
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in group.attrs[part]]


def _roots(h5: Any) -> dict[str, dict[str, StoredLayer]]:
    """What a Keras 3 file holds, for each of the models in it (one may be a layer of another), by class-name keys."""
    groups: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if name.rpartition("/")[2] in ("layers", "_layer_checkpoint_dependencies") and hasattr(item, "keys"):
            groups[name] = item

    h5.visititems(visit)
    return {name: {key: _stored(key, group[key]) for key in group} for name, group in groups.items()}


def _stored(key: str, group: Any) -> StoredLayer:
    arrays: dict[str, Any] = {}
    name = key
    if "vars" in group:
        name = str(group["vars"].attrs.get("name", key))

    def visit(path: str, item: Any) -> None:
        if hasattr(item, "shape") and not path.startswith("seed_generator"):
            arrays[path] = item

    group.visititems(visit)
    return StoredLayer(name, arrays)


def _keys(model: keras.Model) -> dict[str, Any]:
    """The layers of `model` that have weights, by the key that Keras gives each in a `.weights.h5`: its class and a
    count.
    """
    counts: dict[str, int] = {}
    keys = {}
    for layer in model.layers:
        kind = _snake(type(layer).__name__)
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        if layer.weights:
            keys[f"{kind}_{number}" if number else kind] = layer
    return keys


def _snake(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _slots(layer: Any) -> list[tuple[str, Any]]:
    """The variables of a layer with their paths in a `.weights.h5`; those of a nested Sequential layer by layer."""
    if isinstance(layer, keras.Model):
        return [(f"layers/{key}/{path}", v) for key, part in _keys(layer).items() for path, v in _slots(part)]
    own = [*layer._trainable_variables, *layer._non_trainable_variables]
    return [(f"vars/{number}", variable) for number, variable in enumerate(own)]


def _matched(layer: Any, stored: StoredLayer | None) -> list[tuple[Any, Any]] | None:
    """Each variable of `layer` with its dataset; None where they do not correspond one to one or a shape differs."""
    slots = _slots(layer)
    if stored is None or len(slots) != len(stored.arrays):
        return None
    paths = [path for path, _ in slots]
    # a Keras 3 file is read by path; a legacy one, whose paths are names of weights, by order
    arrays = [stored.arrays[path] for path in paths] if set(paths) == set(stored.arrays) else list(stored.arrays.values())
    pairs = [(variable, array) for (_, variable), array in zip(slots, arrays, strict=True)]
    return pairs if all(tuple(v.shape) == tuple(a.shape) for v, a in pairs) else None


def _fits(layer: Any, stored: StoredLayer | None) -> bool:
    return _matched(layer, stored) is not None


def _check(
    pairs: list[tuple[Any, StoredLayer | None]], unused: list[StoredLayer], path: str, name: str, file: StoredFile
) -> None:
    """Raises where a layer has no fitting weights, or where whole convolutions would be left over."""
    wrong = next(((layer, stored) for layer, stored in pairs if not _fits(layer, stored)), None)
    extra = [part for part in unused if any(len(a.shape) == 4 and a.shape[0] > 1 for a in part.arrays.values())]
    if wrong is None and not extra:
        return
    fitting = sum(_fits(layer, stored) for layer, stored in pairs)
    if wrong is not None:
        layer, stored = wrong
        wants = ", ".join(str(tuple(v.shape)) for _, v in _slots(layer))
        has = "nothing for it" if stored is None else f"{_shapes(stored)} ({stored.name})"
        detail = f"the first layer that does not fit is {layer.name}: the network has {wants}, the file has {has}"
    else:
        detail = f"the file has convolutions that the network has not, the first is {extra[0].name} {_shapes(extra[0])}"
    guess = _guess(file)
    raise UserError(
        f"weights: {path}: weights of another network, not of {name}: {detail}; {fitting} of {len(pairs)} layers fit"
        + (f"; by its layers' names the file is of {guess}" if guess and guess != name else "")
        + "; name the network that the file was written from, width (alpha) included, or give another file"
    )


def _shapes(stored: StoredLayer) -> str:
    return ", ".join(str(tuple(array.shape)) for array in stored.arrays.values())


def _guess(file: StoredFile) -> str:
    names = " ".join(part.name for part in file.layers.values())
    for architecture, mark in ARCHITECTURES:
        if re.search(mark, names):
            if architecture.startswith("resnet") and "_preact_" in names:
                return architecture + "_v2"
            return architecture
    return ""
