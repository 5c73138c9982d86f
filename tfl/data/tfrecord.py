"""TFRecord shards of `tf.train.Example`: encoded images or texts with a label; content stays on disk.

Shards called train*, val* (validation*) and test* are those splits; where all are called otherwise, they are one set.
With `train` and `val` shards alone, `val` is the test split and validation is cut from `train`. A shard that breaks
off is read up to the break, which is reported; where more than 5 % of the bytes lie behind breaks, that is an error.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfl.config import UserError, did_you_mean, near_file, require
from tfl.data.cells import decoded
from tfl.data.config import DataConfig
from tfl.data.decodable import Decodable
from tfl.data.examples import Examples, Records, Stream, Unreadable, digest, digests, strings
from tfl.data.files import unreadable_inputs
from tfl.data.labels import attach, indicator_labels, read_labels
from tfl.data.splits import NAMES, UNREADABLE_LIMIT, held_out
from tfl.data.steady import steady
from tfl.data.table import not_utf8
from tfl.kinds import AnyKind
from tfl.lazy import tf

CHUNK = 256
"""Records that are held at once while they are checked."""


@dataclass(frozen=True, kw_only=True)
class Config(DataConfig):
    """Shards in a folder, by pattern, or listed."""

    source: Literal["tfrecord"] = "tfrecord"
    path: str | tuple[str, ...]
    """A folder with *.tfrecord files, a pattern ("shards/*.tfrecord"), or a list of files."""
    image_key: str = "image"
    """Feature with the encoded image (JPEG, PNG, GIF, BMP, WebP)."""
    label_key: str = "label"
    """Feature with the label: a whole number, a name, or a float (regression); several 0/1 floats or numbers:
    multi-label."""
    text_key: str | None = None
    """Feature with a text; given, the examples are texts."""
    classes: str | None = None
    """File with the class names, one a line; null: classes.txt beside the shards, or the labels' own names."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, {"path": (bool(self.path), "a folder, a pattern or a list of files")})


def read(config: Config) -> Records:
    """One pass over all shards for labels and digests. Raises `UserError` for no shards and for features that lack."""
    shards = _shards(config.path)
    names = {"text": config.text_key} if config.text_key else {"image": config.image_key}
    parts: dict[str, Examples] = {}
    raw: dict[str, list[Any]] = {}
    unreadable: list[Unreadable] = []
    lost = 0
    for part, files in _by_split(shards).items():
        parts[part], raw[part], bad, behind = _scan(files, names, config.label_key)
        unreadable += bad
        lost += behind
    total = sum(file.stat().st_size for file in shards)
    if lost > UNREADABLE_LIMIT * total:
        listed = "\n".join(f"  {item.id}: {item.reason}" for item in unreadable[:5])
        raise UserError(f"{lost / total:.0%} of the bytes of the shards cannot be read:\n{listed}\nfetch or write them again")
    values = [value for part in parts for value in raw[part]]
    classes = _class_names(config, shards[0].parent)
    table = bool(values) and np.ndim(values[0]) == 1
    floats = classes is None and bool(values) and all(isinstance(value, float | np.floating) for value in values)
    kind: AnyKind = "regression" if floats else "classification"  # the type that a record declares, whatever its numbers are
    labels = indicator_labels(_matrix(values), classes) if table else read_labels(values, kind, classes)
    splits, wrong = attach(parts, labels)
    return Records(
        splits=splits,
        class_names=labels.class_names,
        modality="text" if config.text_key else "image",
        kind=labels.kind,
        unreadable=(*unreadable, *wrong),
    )


# --- finding ----------------------------------------------------------------------------------------------------------


def _shards(path: str | tuple[str, ...]) -> list[Path]:
    """The files, sorted by name."""
    if not isinstance(path, str):
        files = [Path(item).expanduser() for item in path]
        gone = [str(file) for file in files if not file.is_file()]
        if gone:
            raise UserError(f"{gone[0]}: no such file")
        return sorted(files)
    place = Path(path).expanduser()
    if place.is_dir():
        found = sorted(item for item in place.iterdir() if item.is_file() and is_shard(item.name))
        if not found:
            raise UserError(f"{path}: no *.tfrecord files in this folder")
        return found
    found = sorted(Path(item) for item in glob.glob(str(place)) if Path(item).is_file())
    if not found:
        raise UserError(f"{path}: no such file, folder or pattern{near_file(place)}")
    return found


def is_shard(name: str) -> bool:
    """Whether a file of this name holds TFRecords: "a.tfrecord", "train.tfrecords", "train.tfrecord-00000-of-00005"."""
    return not name.startswith(".") and any(part.startswith("tfrecord") for part in name.lower().split(".")[1:])


def _by_split(shards: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for file in shards:
        word = "".join(letter if letter.isalpha() else " " for letter in file.name.lower()).split()[:1]
        found.setdefault(NAMES.get(word[0] if word else "", "all"), []).append(file)
    if "all" in found and len(found) > 1:
        raise UserError(
            f"{found['all'][0].name}: to which split does it belong? other shards are called "
            f"{', '.join(name for name in found if name != 'all')}; name all of them so, or none"
        )
    return held_out(found)


def _class_names(config: Config, folder: Path) -> list[str] | None:
    file = Path(config.classes).expanduser() if config.classes else folder / "classes.txt"
    if not file.is_file():
        if config.classes:
            raise UserError(f"classes: {config.classes}: no such file")
        return None
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"classes: {not_utf8(file)}") from error


# --- reading ----------------------------------------------------------------------------------------------------------


def _scan(files: Sequence[Path], names: dict[str, str], label_key: str) -> tuple[Stream, list[Any], list[Unreadable], int]:
    """The readable examples without labels, their raw labels, the unreadable ones, and the bytes behind breaks."""
    ids: list[str] = []
    labels: list[Any] = []
    hashed = [digests([])]
    bad: dict[int, str] = {}
    breaks: list[Unreadable] = []
    counts: list[int] = []
    lost, decodable = 0, Decodable()
    for file in files:
        first, good_bytes = len(ids), 0
        for chunk in _records(file):
            if isinstance(chunk, tf.errors.OpError):
                lost += max(1, file.stat().st_size - good_bytes)
                share = 1 - good_bytes / max(1, file.stat().st_size)
                reason = f"corrupt from here on: {share:.0%} of the shard lost"
                if "truncated" in str(chunk):
                    reason = "cut off within a record; how much of the shard is missing is not known: fetch or write it again"
                breaks.append(Unreadable(f"{file.name}:{len(ids) - first}", reason))
                break
            good_bytes += sum(len(record) + 16 for record in chunk)  # length, two checksums
            start = len(ids)
            examples = [
                _parse(record, file.name, start - first + place, names, label_key) for place, record in enumerate(chunk)
            ]
            ids += [f"{file.name}:{start - first + place}" for place in range(len(chunk))]
            labels += [example["label"] for example in examples]
            hashed.append(digests(digest(*(example[name] for name in names)) for example in examples))
            bad |= {start + place: why for place, why in unreadable_inputs(examples, names, hashed[-1], decodable).items()}
        counts.append(len(ids) - first)
    kept = np.array([place for place in range(len(ids)) if place not in bad], dtype=np.int64)
    whole = Stream(
        ids=strings(ids),
        labels=None,
        digests=np.concatenate(hashed),
        positions=np.arange(len(ids), dtype=np.int64),
        open=_opener([str(file) for file in files], counts, names),
    )
    reasons = [Unreadable(ids[place], why) for place, why in bad.items()] + breaks
    return whole.take(kept), [labels[place] for place in kept], reasons, lost


def _records(file: Path) -> Iterator[Any]:
    """The records of a shard in lists of up to `CHUNK`; the error, last, where the shard breaks off."""
    records = iter(steady(tf.data.TFRecordDataset(str(file))).prefetch(CHUNK))
    chunk: list[bytes] = []
    failure = None
    while True:
        try:
            record = next(records, None)
        except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
            record, failure = None, error
        if record is not None:
            chunk.append(record.numpy())
        if chunk and (record is None or len(chunk) == CHUNK):
            yield chunk
            chunk = []
        if record is None:
            break
    if failure is not None:
        yield failure


def _parse(record: bytes, file: str, place: int, names: dict[str, str], label_key: str) -> dict[str, Any]:
    """{"image" or "text": bytes, "label": raw} of a serialised `tf.train.Example`."""
    example = tf.train.Example()
    try:
        example.ParseFromString(record)
    except Exception as error:  # protobuf's DecodeError, which has no public home
        raise UserError(f"{file}:{place}: not a tf.train.Example; tfl reads no other records") from error
    features = example.features.feature
    for key in (*names.values(), label_key):
        if key not in features:
            raise UserError(
                f"{file}:{place}: no feature {key!r}{did_you_mean(key, features)}; features: {', '.join(sorted(features))}"
            )
    values = {name: features[key].bytes_list.value for name, key in names.items()}
    for name, key in names.items():
        if len(values[name]) != 1:
            raise UserError(f"{file}:{place}: feature {key!r} holds {len(values[name])} byte strings; it must be one")
    return {**{name: value[0] for name, value in values.items()}, "label": _label(features[label_key])}


def _label(feature: Any) -> Any:
    """The one value of a feature, or the list of several; None where it is empty."""
    kind = feature.WhichOneof("kind")
    values = list(getattr(feature, kind).value) if kind else []
    values = [decoded(value) for value in values]
    return values[0] if len(values) == 1 else (values or None)


def _matrix(values: list[Any]) -> np.ndarray:
    width = len(values[0])
    if any(value is None or np.ndim(value) != 1 or len(value) != width for value in values):
        raise UserError(
            f"labels: the first record has {width} values, others have another number; multi-label needs one a class"
        )
    return np.array(values, dtype=object)


def _opener(files: list[str], counts: list[int], names: dict[str, str]) -> Callable[[], tf.data.Dataset]:
    def open_shards() -> tf.data.Dataset:
        features = {key: tf.io.FixedLenFeature([], tf.string) for key in names.values()}

        def shard(file: Any, count: Any) -> tf.data.Dataset:
            return tf.data.TFRecordDataset(file).take(count)  # never as far as a break

        def parse(record: Any) -> dict[str, Any]:
            example = tf.io.parse_single_example(record, features)
            return {name: example[key] for name, key in names.items()}

        shards = tf.data.Dataset.from_tensor_slices((files, np.array(counts, dtype=np.int64)))
        return shards.flat_map(shard).map(parse, num_parallel_calls=tf.data.AUTOTUNE)

    return open_shards
