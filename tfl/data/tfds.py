"""TensorFlow Datasets by name, or a folder of an already prepared one; content stays on disk.

An already prepared data set needs no network: found under `data_dir` (or `TFDS_DATA_DIR`, or ~/tensorflow_datasets), or
`name` is the path of its folder. What is not prepared is downloaded. With splits `train` and `validation` alone, or
with a `test` without labels, as GLUE has, `validation` is the test split and validation is cut from `train`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfl.config import UserError, did_you_mean
from tfl.data.config import DataConfig
from tfl.data.decodable import Decodable
from tfl.data.examples import Examples, Records, Stream, Unreadable, digest, digests, strings
from tfl.data.files import unreadable_inputs
from tfl.data.labels import Labels, attach, indicator_labels, read_labels
from tfl.data.splits import held_out
from tfl.data.steady import AHEAD, steady
from tfl.lazy import tf

CHUNK = 256
"""Images whose encoded bytes are held at once while they are checked."""


@dataclass(frozen=True, kw_only=True)
class Config(DataConfig):
    """A data set of the TFDS catalogue, or prepared by its tools."""

    source: Literal["tfds"] = "tfds"
    name: str
    """Name ("tf_flowers", "glue/sst2", "mnist:3.0.1"), or the folder of a prepared data set (with
    dataset_info.json)."""
    data_dir: str | None = None
    """Where prepared data sets are; null: TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    image: str | None = None
    """Feature that holds the image; null: the one image feature there is."""
    text: str | None = None
    """Feature that holds the text; null, where there is no image: the one text feature there is."""
    text_pair: str | None = None
    """Feature that holds the second text of a pair."""
    label: str | None = None
    """Feature that holds the label; null: `label`, or the one class label there is."""
    train_split: str | None = None
    """Split to train on, in TFDS syntax ("train[:80%]"); null: train."""
    validation_split: str | None = None
    """Split to validate on; null: validation, where there is one."""
    test_split: str | None = None
    """Split to test on; null: test, where there is one."""


def read(config: Config) -> Records:
    """One pass over the data for labels, ids and digests. Raises `UserError` where there is none or it does not fit."""
    builder = _builder(config)
    image, texts, label = _features(builder, config)
    names = {"image": image} if image else dict(zip(("text", "text_pair"), texts, strict=False))
    parts: dict[str, Examples] = {}
    raw: dict[str, list[Any]] = {}
    unreadable: list[Unreadable] = []
    for part, spec in _split_specs(builder, config).items():
        stream, labels, bad = _scan(builder, spec, names, label)
        if part == "test" and config.test_split is None and all(map(_unlabelled, labels)):
            continue  # the hidden labels of a benchmark
        parts[part], raw[part] = stream, labels
        unreadable += bad
    if config.validation_split is None:
        parts, raw = held_out(parts), held_out(raw)
    labels_read = _labels([value for part in parts for value in raw[part]], builder.info.features[label])
    splits, wrong = attach(parts, labels_read)
    return Records(
        splits=splits,
        class_names=labels_read.class_names,
        modality="image" if image else "text",
        kind=labels_read.kind,
        unreadable=(*unreadable, *wrong),
    )


# --- finding ----------------------------------------------------------------------------------------------------------


def _builder(config: Config) -> Any:
    """The builder of the prepared data set, which is downloaded and prepared first where it is not there."""
    from tfl.lazy import tensorflow_datasets as tfds

    folder = prepared_folder(Path(config.name).expanduser())
    if folder is not None:
        return tfds.builder_from_directory(folder)
    if config.name.startswith((".", "/", "~")):
        raise UserError(f"{config.name}: no prepared TFDS data set; its folder holds dataset_info.json")
    places = config.data_dir or str(tfds.core.constants.DATA_DIR)
    try:
        builder = tfds.builder(config.name, data_dir=config.data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, OSError) as error:
        known = tfds.list_builders(with_community_datasets=False)
        near = did_you_mean(config.name.split("/")[0].split(":")[0], known)
        detail = "" if isinstance(error, tfds.core.DatasetNotFoundError) else f" ({str(error).splitlines()[0]})"
        raise UserError(
            f"{config.name}: no such TFDS data set, and none prepared in {places}{near}{detail}; see "
            "tensorflow.org/datasets/catalog, or give the folder of a prepared one as the name"
        ) from error
    if not builder.is_prepared():
        _prepare(builder, config.name, places)
    return builder


def _prepare(builder: Any, name: str, places: str) -> None:
    """Downloads the data set and prepares it, or says what to do instead."""
    advice = (
        f"on a machine with a network run `python -c \"import tensorflow_datasets as tfds; tfds.load('{name}')\"`, "
        "copy the folder that it prepares to this one, and give its path as data.name, or the folder above it as "
        "data.data_dir"
    )
    if not _online():
        raise UserError(f"{name}: not prepared in {places}, and there is no network to download it; {advice}")
    try:
        builder.download_and_prepare()
    except ImportError as error:
        needed = error.name or str(error)
        raise UserError(f"{name}: preparing it needs a package that is missing: pip install {needed}") from error
    except Exception as error:  # whatever the script of the data set or the network raises
        detail = (str(error).strip().splitlines() or ["no details"])[0]
        failure = f"{type(error).__name__}: {detail}"
        raise UserError(f"{name}: not prepared in {places}, and it could not be downloaded ({failure}); {advice}") from error


def _online() -> bool:
    """Whether a download has a chance. TFDS itself would try for minutes without a network."""
    import socket
    import urllib.request

    if urllib.request.getproxies():
        return True
    try:
        return bool(socket.getaddrinfo("storage.googleapis.com", 443))
    except OSError:
        return False


def prepared_folder(path: Path) -> Path | None:
    """`path` where it holds a prepared data set, or its newest version below; else None."""
    if not path.is_dir():
        return None
    if (path / "dataset_info.json").is_file():
        return path
    versions = [item for item in path.iterdir() if (item / "dataset_info.json").is_file()]
    return max(versions, key=_version, default=None)


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else -1 for part in path.name.split("."))


def _split_specs(builder: Any, config: Config) -> dict[str, str]:
    """The TFDS split for each of ours."""
    there = list(builder.info.splits)
    named = {"train": config.train_split, "validation": config.validation_split, "test": config.test_split}
    found: dict[str, str] = {part: spec or part for part, spec in named.items() if spec or part in there}
    for part, spec in named.items():
        for piece in (spec or "").split("+"):
            name = piece.split("[")[0].strip()
            if name and name not in there:
                raise UserError(
                    f"{part}_split: {config.name} has no split {name!r}{did_you_mean(name, there)}; splits: {', '.join(there)}"
                )
    if "train" not in found:
        if len(there) != 1:
            raise UserError(f"train_split: {config.name} has no split 'train'; splits: {', '.join(there)}; name one")
        found = {"all": there[0]} if not found else {"train": there[0], **found}
    return found


# --- features ---------------------------------------------------------------------------------------------------------


def _features(builder: Any, config: Config) -> tuple[str | None, list[str], str]:
    """The names of the image feature or the text features, and of the label feature; given, or guessed by type."""
    from tfl.lazy import tensorflow_datasets as tfds

    features = dict(sorted(builder.info.features.items()))  # the file has them in another order each time it is read
    for name in (config.image, config.text, config.text_pair, config.label):
        if name is not None and name not in features:
            raise UserError(f"{config.name}: no feature {name!r}{did_you_mean(name, features)}; features: {_listed(features)}")
    labels = [name for name, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    label = config.label or ("label" if "label" in features else _only(labels, "label", config, features))
    if config.image or config.text:
        texts = [name for name in (config.text, config.text_pair) if name]
        return (config.image, [], label) if config.image else (None, texts, label)
    images = [name for name, feature in features.items() if isinstance(feature, tfds.features.Image)]
    if images:
        return _only(images, "image", config, features), [], label
    candidates = [name for name, item in features.items() if isinstance(item, tfds.features.Text) and name != label]
    candidates = [name for name in candidates if name != config.text_pair]
    text = "text" if "text" in candidates else _only(candidates, "text", config, features)
    return None, [text, *([config.text_pair] if config.text_pair else [])], label


def _only(candidates: list[str], field: str, config: Config, features: dict[str, Any]) -> str:
    if len(candidates) == 1:
        return candidates[0]
    found = f"{', '.join(candidates)} could be it" if candidates else "no feature has that type"
    raise UserError(f"{config.name}: which feature is the {field} ({field})? {found}; features: {_listed(features)}")


def _listed(features: dict[str, Any]) -> str:
    return ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())


def _labels(raw: list[Any], feature: Any) -> Labels:
    """Labels by the type of their feature; class names are those of the feature."""
    from tfl.lazy import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.ClassLabel):
        return read_labels([None if _unlabelled(value) else int(value) for value in raw], "classification", feature.names)
    inner = getattr(feature, "feature", None)
    if isinstance(inner, tfds.features.ClassLabel):
        table = np.zeros((len(raw), inner.num_classes), dtype=np.float32)
        for row, value in enumerate(raw):
            table[row, np.asarray(value, dtype=np.int64)] = 1
        return indicator_labels(table, inner.names)
    floats = np.issubdtype(getattr(feature, "np_dtype", None) or np.int64, np.floating)
    return read_labels(raw, "regression" if floats else "auto")


def _unlabelled(value: Any) -> bool:
    """TFDS writes -1 where a class label is unknown or withheld."""
    return np.ndim(value) == 0 and np.issubdtype(np.asarray(value).dtype, np.integer) and int(value) == -1


# --- reading ----------------------------------------------------------------------------------------------------------


def _opener(builder: Any, spec: str, names: dict[str, str], label: str | None = None) -> Callable[[], tf.data.Dataset]:
    """A function that opens the split: dicts of inputs by our names, images encoded; with `label`, that and the id
    too."""
    from tfl.lazy import tensorflow_datasets as tfds

    features = dict.fromkeys(names.values(), True) | ({label: True} if label else {})
    skip = {"image": tfds.decode.SkipDecoding()}
    decoders = tfds.decode.PartialDecoding(
        features, decoders={feature: skip[name] for name, feature in names.items() if name in skip}
    )

    def rename(example: dict[str, Any]) -> dict[str, Any]:
        inputs = {name: example[feature] for name, feature in names.items()}
        return inputs if label is None else {**inputs, "label": example[label], "id": example["tfds_id"]}

    def open_split() -> tf.data.Dataset:
        config = tfds.ReadConfig(add_tfds_id=label is not None, try_autocache=False)
        data = builder.as_dataset(split=spec, decoders=decoders, shuffle_files=False, read_config=config)
        return data.map(rename, num_parallel_calls=tf.data.AUTOTUNE)

    return open_split


def _scan(builder: Any, spec: str, names: dict[str, str], label: str) -> tuple[Stream, list[Any], list[Unreadable]]:
    """The readable examples of a split without labels, their raw labels, and the unreadable ones."""
    ids: list[str] = []
    labels: list[Any] = []
    hashed = [digests([])]
    bad: dict[int, str] = {}
    decodable = Decodable()
    for chunk in _chunks(_opener(builder, spec, names, label)()):
        start = len(ids)
        ids += [example["id"].decode().replace(".tfrecord", "") for example in chunk]
        labels += [example["label"] for example in chunk]
        hashed.append(digests(digest(*(example[name] for name in names)) for example in chunk))
        bad |= {start + place: why for place, why in unreadable_inputs(chunk, names, hashed[-1], decodable).items()}
    kept = np.array([place for place in range(len(ids)) if place not in bad], dtype=np.int64)
    stream = Stream(
        ids=strings(ids),
        labels=None,
        digests=np.concatenate(hashed),
        positions=np.arange(len(ids), dtype=np.int64),
        open=_opener(builder, spec, names),
    )
    reasons = [Unreadable(ids[place], why) for place, why in bad.items()]
    return replace(stream.take(kept), open=stream.open), [labels[place] for place in kept], reasons


def _chunks(data: tf.data.Dataset) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for example in steady(data).prefetch(AHEAD).as_numpy_iterator():
        chunk.append(example)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
