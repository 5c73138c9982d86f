"""Data frames as records: which column is what, which rows are no examples. Files and frames from Python come here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl.config import UserError, did_you_mean
from tfl.data.cells import image_cells, read_texts
from tfl.data.decodable import Decodable
from tfl.data.examples import Columns, Modality, Records, Unreadable, digest, digests, encoded, strings
from tfl.data.files import image_files
from tfl.data.labels import Labels, indicator_labels, of_cells, read_labels, separated_labels
from tfl.data.splits import NAMES, held_out
from tfl.data.table import LINE, SEPARATORS, ColumnConfig
from tfl.lazy import pd

TEXT_NAMES = ("text", "sentence", "review", "comment", "message", "tweet", "content", "body", "document", "question")
IMAGE_NAMES = ("image", "image_path", "path", "file", "filename", "file_name", "filepath", "file_path")


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One table of the data."""

    name: str
    """all | train | validation | test."""
    frame: pd.DataFrame
    origin: str
    """What the ids begin with: the name of the file."""
    folder: Path
    """What image paths are relative to."""
    typed: bool = True
    """Whether a cell that holds a text was meant as one; of a .csv file all cells are texts, numbers too."""


def frame_records(parts: Sequence[Part], config: ColumnConfig) -> Records:
    """The rows of `parts` as records. Raises `UserError` for columns that are missing or cannot be guessed."""
    first = parts[0]
    text, image = _content(first, config)
    label = _label(first, config)
    needed = [text, config.text_pair, image, *label, config.split, config.group]
    for part in parts:
        for name in needed:
            _require(part, name)
    _check_roles({"text": text, "text_pair": config.text_pair, "image": image}, label, config)
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    ids = [f"{part.origin}:{line}" for part in parts for line in _lines(part.frame)]
    labels = _read_labels(frame, label, config, all(part.typed for part in parts))
    reasons = dict(labels.wrong)
    if text is not None:
        columns = _texts(frame, [name for name in (text, config.text_pair) if name is not None], ids, reasons)
    else:
        columns = _images(frame[str(image)], [part.folder for part in parts for _ in range(len(part.frame))], ids, reasons)
    names = [part.name for part in parts for _ in range(len(part.frame))]
    where = np.array(names if config.split is None else _split_column(frame[config.split], ids))
    groups = None if config.group is None else _group_column(frame[config.group], reasons)

    kept = np.array([place for place in range(len(ids)) if place not in reasons], dtype=np.int64)
    columns = Columns(ids=columns.ids, inputs=columns.inputs, labels=labels.values, digests=columns.digests)
    chosen: dict[str, Any] = {name: kept[where[kept] == name] for name in dict.fromkeys(where.tolist())}
    if config.split is not None:
        chosen = held_out(chosen)
    modality: Modality = "image" if text is None else "text"
    return Records(
        splits={name: columns.take(rows) for name, rows in chosen.items()},
        class_names=labels.class_names,
        modality=modality,
        kind=labels.kind,
        unreadable=tuple(Unreadable(ids[place], why) for place, why in sorted(reasons.items())),
        groups=None if groups is None else {name: groups[rows] for name, rows in chosen.items()},
    )


# --- columns ----------------------------------------------------------------------------------------------------------


def _names(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns if name != LINE]


def _require(part: Part, name: str | None) -> None:
    """Raises a `UserError` that lists the columns where `name` is not one of them."""
    names = _names(part.frame)
    if name is not None and names.count(name) > 1:
        raise UserError(f"{part.origin}: two columns are called {name!r}; rename one")
    if name is None or name in names:
        return
    hint = did_you_mean(name, names)
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and set(parts) <= set(names):
        hint = f"; several columns of 0 and 1 are given as a list: data.label='[{', '.join(parts)}]'"
    mark = next((mark for mark in SEPARATORS if len(names) == 1 and mark in names[0]), None)
    if mark is not None:
        hint = f"; columns seem to be separated by {mark!r}: read it with pandas.read_csv(…, sep={mark!r})"
    raise UserError(f"{part.origin}: no column {name!r}{hint}; columns: {_shortened(names)}")


def _content(part: Part, config: ColumnConfig) -> tuple[str | None, str | None]:
    """The column of texts or the column of image paths; the other is None."""
    if config.text is not None or config.image is not None:
        return config.text, config.image
    names = [name for name in _names(part.frame) if name != config.text_pair]
    texts = [name for name in names if name.lower() in TEXT_NAMES]
    images = [name for name in names if name.lower() in IMAGE_NAMES]
    if "text" in names and not images:
        texts = ["text"]
    if len(texts) + len(images) != 1:
        what = f"{' and '.join(map(repr, texts + images))} could both be it" if texts + images else "none has a usual name"
        raise UserError(
            f"{part.origin}: which column holds the texts (text) or the image paths (image)? {what}; "
            f"columns: {_shortened(names)}"
        )
    return (texts[0], None) if texts else (None, images[0])


def _label(part: Part, config: ColumnConfig) -> tuple[str, ...]:
    if isinstance(config.label, tuple):
        return config.label
    if config.label is not None:
        return (config.label,)
    names = _names(part.frame)
    if "label" not in names:
        raise UserError(f"{part.origin}: which column holds the labels (label)? columns: {_shortened(names)}")
    return ("label",)


def _check_roles(contents: dict[str, str | None], label: tuple[str, ...], config: ColumnConfig) -> None:
    """Raises a `UserError` where one column is to be two things of which the one would give away or be the other."""
    used = {name: role for role, name in contents.items() if name is not None}
    if config.text_pair is not None and config.text_pair == contents["text"]:
        raise UserError(f"text_pair: {config.text_pair!r} is the column of texts (text) already; name that of the second texts")
    for name in label:
        if name in used:
            raise UserError(
                f"label: {name!r} is the column of the examples themselves ({used[name]}) already; name another one"
            )
    for role in ("split", "group"):
        if getattr(config, role) in label:
            raise UserError(
                f"{role}: {getattr(config, role)!r} is the column of labels (label) already; name another one, or null"
            )


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _lines(frame: pd.DataFrame) -> list[int]:
    return frame[LINE].tolist() if LINE in frame.columns else list(range(1, len(frame) + 1))


# --- cells ------------------------------------------------------------------------------------------------------------


def _read_labels(frame: pd.DataFrame, names: tuple[str, ...], config: ColumnConfig, typed: bool) -> Labels:
    columns = [frame[name].tolist() for name in names]
    if config.label_separator is not None:
        return separated_labels(columns[0], config.label_separator)
    if not typed:
        columns = [of_cells(column, config.kind) for column in columns]
    if isinstance(config.label, tuple):
        return indicator_labels(np.array(columns, dtype=object).T, names)
    return read_labels(columns[0], config.kind)


def _texts(frame: pd.DataFrame, names: list[str], ids: list[str], reasons: dict[int, str]) -> Columns:
    columns = {}
    for key, name in zip(("text", "text_pair"), names, strict=False):
        texts, wrong = read_texts(frame[name].tolist(), name)
        columns[key] = strings(texts)
        for place, reason in wrong.items():
            reasons.setdefault(place, reason)
    encoded = zip(*([text.encode() for text in column] for column in columns.values()), strict=True)
    hashed = digests(digest(*texts) for texts in encoded)
    return Columns(ids=strings(ids), inputs=dict(columns), labels=None, digests=hashed)


def _images(column: pd.Series, folders: list[Path], ids: list[str], reasons: dict[int, str]) -> Columns:
    """All rows as columns of paths or of encoded images, those that cannot be read with a reason and without a digest."""
    kind, cells = image_cells(column.tolist(), str(column.name))
    named = [place for place, cell in enumerate(cells) if cell is not None]
    reasons.update({place: "no image" if kind == "image" else "no path" for place, cell in enumerate(cells) if cell is None})
    if kind == "image":
        return _encoded([cell or b"" for cell in cells], named, ids, reasons)
    paths = strings("" if cell is None else folders[place] / cell for place, cell in enumerate(cells))
    read, kept, bad = image_files([paths[place] for place in named], [ids[place] for place in named])
    why = {item.id: item.reason for item in bad}
    for place in named:
        if ids[place] in why:
            reasons[place] = f"{paths[place]}: {why[ids[place]]}"
    hashed = np.zeros(len(ids), dtype="S32")
    hashed[[named[place] for place in kept]] = read.digests
    return Columns(ids=strings(ids), inputs={"path": paths}, labels=None, digests=hashed)


def _encoded(images: list[bytes], named: list[int], ids: list[str], reasons: dict[int, str]) -> Columns:
    hashed = digests(digest(image) for image in images)
    for place, reason in Decodable().unreadable([images[place] for place in named], hashed[named]):
        reasons[named[place]] = reason
    return Columns(ids=strings(ids), inputs={"image": encoded(images)}, labels=None, digests=hashed)


def _split_column(column: pd.Series, ids: list[str]) -> list[str]:
    where = []
    for value, row in zip(column.tolist(), ids, strict=True):
        part = NAMES.get(str(value).strip().lower())
        if part is None:
            raise UserError(
                f"{row}: {value!r} in column {column.name!r} names no split; one of {', '.join(NAMES)}"
                f"{did_you_mean(str(value), NAMES)}"
            )
        where.append(part)
    return where


def _group_column(column: pd.Series, reasons: dict[int, str]) -> np.ndarray:
    for place in np.flatnonzero(column.isna().to_numpy()).tolist():
        reasons.setdefault(place, f"no group in column {column.name!r}")
    return strings(column.tolist())
