"""Unlabelled examples as a caller gives them, to be predicted: files, texts, arrays or a table."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl.config import UserError, did_you_mean
from tfl.data.cells import image_cells, in_short, missing, read_texts
from tfl.data.examples import Columns, Modality, digest, digests, encoded, strings, writable
from tfl.lazy import pd


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """Unlabelled examples as a caller gave them, in order, readable or not."""

    ids: list[str]
    inputs: dict[str, Any]
    """"path" | "image" | "text", "text_pair": one value an id, any where `errors` says why it is none."""
    errors: dict[int, str]
    """Why an example cannot be read, by its position."""
    shown: dict[str, list[Any]]
    """Columns that the table of predictions repeats, so that it can be read alone."""
    index: Any = None
    """What the rows of that table are called, where a DataFrame or a Series was given."""

    def readable(self) -> Columns:
        """The readable examples. Raises `UserError` where there is none."""
        kept = [place for place in range(len(self.ids)) if place not in self.errors]
        if not kept:
            if not self.ids:
                raise UserError("there is nothing to predict: no example was given")
            reasons = [f"  {self.ids[place]}: {reason}" for place, reason in sorted(self.errors.items())]
            more = [f"  … and {len(reasons) - 5} more"] if len(reasons) > 5 else []
            raise UserError("\n".join(["there is nothing to predict: no example could be read", *reasons[:5], *more]))
        inputs = {name: _chosen(values, kept) for name, values in self.inputs.items()}
        ids = strings(self.ids[place] for place in kept)
        return Columns(ids=ids, inputs=inputs, labels=None, digests=_digests(inputs))

    def merged(self, result: pd.DataFrame) -> pd.DataFrame:
        """`result`, the table of the readable examples, with a row for each example, and `error` where one has none."""
        result = result.drop(columns="id")
        if self.errors:
            result.index = pd.Index([place for place in range(len(self.ids)) if place not in self.errors])
            result = result.reindex(range(len(self.ids)))
            result["error"] = pd.Series(self.errors, dtype=object)
        front = pd.DataFrame({"id": self.ids, **self.shown})
        clash = [name for name in self.shown if name in result.columns]
        whole = pd.concat([front.drop(columns=clash), result], axis=1)
        return whole if self.index is None else whole.set_axis(self.index, axis=0)


def _digests(inputs: Mapping[str, Any]) -> np.ndarray:
    """Of the content of each example, as a source gives them; by them features that are there already are found."""
    if "path" in inputs:
        from tfl.data.files import hash_files

        return digests(found if isinstance(found, bytes) else b"" for found in hash_files(list(inputs["path"])))
    if "image" in inputs:
        return digests(digest(image if isinstance(image, bytes) else image.tobytes()) for image in inputs["image"])
    rows = zip(*(inputs[name] for name in ("text", "text_pair") if name in inputs), strict=True)
    return digests(digest(*(text.encode("utf-8", "surrogatepass") for text in row)) for row in rows)


def _chosen(values: Any, places: list[int]) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values[places]
    chosen = [values[place] for place in places]
    return encoded(chosen) if isinstance(chosen[0], bytes) else strings(chosen)


def joined(parts: Sequence[Given]) -> Given:
    """The examples of `parts`, files or texts, one after the other."""
    ids: list[str] = []
    errors: dict[int, str] = {}
    for part in parts:
        errors.update({len(ids) + place: reason for place, reason in part.errors.items()})
        ids += part.ids
    if len({tuple(part.inputs) for part in parts}) > 1:
        raise UserError("files of images and encoded images in a table are predicted one after the other; name one of them")
    names, shown = ({name: None for part in parts for name in getattr(part, kind)} for kind in ("inputs", "shown"))
    return Given(
        ids=ids,
        inputs={name: [value for part in parts for value in part.inputs[name]] for name in names},
        errors=errors,
        shown={n: [value for part in parts for value in part.shown.get(n, [None] * len(part.ids))] for n in shown},
    )


def given(inputs: Any, modality: Modality, pairs: bool, columns: Mapping[str, str | None]) -> Given:
    """Unlabelled examples from what a caller has.

    Files: a table, or a .txt with a text a line; for images also a folder. Images: paths; an array `[N, H, W(, C)]`, uint8
    or floats in 0..1 or 0..255; or a list of arrays of one shape. Texts: strings, or pairs of strings. Either: a DataFrame,
    of which `columns` names the columns `text`, `text_pair` or `image`. Raises `UserError` for anything that the model does
    not read.
    """
    if isinstance(inputs, Given):
        return inputs
    if hasattr(inputs, "iloc"):  # of pandas
        is_frame = hasattr(inputs, "columns")
        found = of_frame(inputs, modality, pairs, columns) if is_frame else given(list(inputs), modality, pairs, columns)
        return dataclasses.replace(found, index=inputs.index)
    if isinstance(inputs, (str, os.PathLike)) and _is_file(inputs, modality):
        from tfl.data.given_files import GivenFiles

        return GivenFiles([os.fspath(inputs)], modality, pairs, columns).whole()
    if isinstance(inputs, (Mapping, bytes)) or not (isinstance(inputs, (str, os.PathLike)) or hasattr(inputs, "__iter__")):
        raise UserError(f"predict: {type(inputs).__name__} is not valid; {_valid(modality, pairs)}")
    return _of_texts(inputs, pairs) if modality == "text" else _of_images(inputs)


def _is_file(one: Any, modality: Modality) -> bool:
    """Whether `one` names a file to be read, and is no text or image itself."""
    from tfl.data.table import EXTENSIONS

    if modality == "text" and isinstance(one, os.PathLike):
        return True
    if os.path.splitext(one)[1].lower() in (*EXTENSIONS, ".txt"):
        is_name = isinstance(one, str) and modality == "text" and not re.search(r"\s", one)
        return is_name or os.path.isfile(one)  # of a text that is too long for a path, too
    return modality == "image" and os.path.isdir(one)


def _valid(modality: Modality, pairs: bool) -> str:
    if modality == "image":
        return "this run reads images: give paths, an array [N, height, width, 3], or a DataFrame with a column of paths"
    if pairs:
        return 'this run reads pairs of texts: give a list of them, [("one text", "the other")], or a DataFrame'
    return 'this run reads single texts: give a list of strings, ["one text"], or a DataFrame'


def of_texts(ids: list[str], texts: Mapping[str, Sequence[Any]], names: Mapping[str, str], *, show: bool) -> Given:
    """Texts (`text`, and `text_pair` for pairs) with `ids`; `names` says what a column is called in an error."""
    values: dict[str, list[str]] = {}
    errors: dict[int, str] = {}
    for key, column in texts.items():
        values[key], wrong = read_texts(column, names.get(key))
        errors = {**wrong, **errors}
    return Given(ids=ids, inputs=dict(values), errors=errors, shown=dict(values) if show else {})


def _of_texts(inputs: Any, pairs: bool) -> Given:
    rows = [inputs] if isinstance(inputs, str) else list(inputs)
    ids = [str(place) for place in range(len(rows))]
    for place, row in enumerate(rows):
        parts = list(row) if isinstance(row, (tuple, list, np.ndarray)) else None
        fits = isinstance(row, str) if not pairs else parts is not None and len(parts) == 2
        fits = fits and all(isinstance(part, str) or missing(part) for part in parts or ())
        if not fits and not missing(row):
            raise UserError(f"predict: input {place} is {in_short(row)}; {_valid('text', pairs)}")
    if not pairs:
        return of_texts(ids, {"text": rows}, {}, show=False)
    both = [(None, None) if missing(row) else tuple(row) for row in rows]
    return of_texts(ids, {"text": [one for one, _ in both], "text_pair": [other for _, other in both]}, {}, show=False)


def of_paths(ids: list[str], paths: Sequence[Any], shown: Mapping[str, list[Any]] | None = None) -> Given:
    """Files of images with `ids`; a missing path is an error of its example."""
    from tfl.data.scan import unreadable

    names = ["" if missing(path) else os.fspath(path) for path in paths]
    errors = {place: "no path" for place, name in enumerate(names) if not name}
    there = [place for place, name in enumerate(names) if name]
    errors.update({there[place]: reason for place, reason in unreadable([names[place] for place in there])})
    return Given(ids=[writable(name) for name in ids], inputs={"path": names}, errors=errors, shown=dict(shown or {}))


def of_cells(
    ids: list[str], values: Sequence[Any], column: str, folder: Path | None = None, shown: Sequence[Any] | None = None
) -> Given:
    """The images of a table's `column` with `ids`: paths, relative to `folder`, or encoded images; `shown`: to be repeated."""
    from tfl.data.scan import unreadable

    kind, cells = image_cells(values, column)
    if kind == "path":
        paths = [cell if cell is None or folder is None else folder / cell for cell in cells]
        return of_paths(ids, paths, {} if shown is None else {"image": list(shown)})
    errors = {place: "no image" for place, cell in enumerate(cells) if cell is None}
    there = [place for place in range(len(cells)) if place not in errors]
    errors.update({there[place]: reason for place, reason in unreadable([cells[place] for place in there])})
    names = [value.get("path") if isinstance(value, Mapping) else None for value in shown or ()]
    told = {} if shown is None else {"image": names}
    return Given(ids=ids, inputs={"image": [cell or b"" for cell in cells]}, errors=errors, shown=told)


def _of_images(inputs: Any) -> Given:
    if isinstance(inputs, (str, os.PathLike)):
        inputs = [inputs]
    array = np.asarray(inputs) if hasattr(inputs, "__array__") else None
    if array is not None and array.dtype.kind in "biufc":
        return _of_array(array)
    rows = list(inputs)
    if rows and all(hasattr(row, "__array__") and not isinstance(row, str) for row in rows):
        shapes = list(dict.fromkeys(np.shape(row) for row in rows))
        if len(shapes) > 1:
            raise UserError(
                f"predict: arrays of different shapes, {shapes[0]} and {shapes[1]}, make no batch; resize them to one shape, "
                f"predict one at a time (image[None]), or give files"
            )
        return _of_array(np.stack([np.asarray(row) for row in rows]))
    if any(isinstance(row, (bytes, Mapping)) for row in rows):
        return of_cells([str(place) for place in range(len(rows))], rows, "images")
    for place, row in enumerate(rows):
        if not isinstance(row, (str, os.PathLike)) and not missing(row):
            raise UserError(f"predict: input {place} is {in_short(row)}; {_valid('image', False)}")
    return of_paths(["" if missing(row) else os.fspath(row) for row in rows], rows)


def _of_array(array: np.ndarray) -> Given:
    from tfl.data.npz import pixels_of

    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3, 4)):
        raise UserError(
            f"predict: an array of shape {array.shape} looks like one image; the first axis counts images: give images[None]"
        )
    if not len(array):
        return Given(ids=[], inputs={"image": array}, errors={}, shown={})
    ids = [str(place) for place in range(len(array))]
    return Given(ids=ids, inputs={"image": pixels_of(array, "predict: images")}, errors={}, shown={})


def of_frame(
    frame: pd.DataFrame, modality: Modality, pairs: bool, columns: Mapping[str, str | None], origin: str = "the DataFrame"
) -> Given:
    """The rows of a table.

    Columns that `columns` does not name are found by their usual names. Raises `UserError` where one is not there.
    """
    frame = named_columns(frame)
    names = columns_of(list(frame.columns), modality, pairs, columns, origin)
    values = {key: frame[name].tolist() for key, name in names.items()}
    if modality == "image":
        column = values["image"]
        named = [str(place) if isinstance(value, (bytes, Mapping)) else value for place, value in enumerate(column)]
        return of_cells(["" if missing(value) else str(value) for value in named], column, names["image"])
    return of_texts([str(place) for place in range(len(frame))], values, names, show=False)


def named_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame`, its columns named by texts: 0 is "0"."""
    return frame.set_axis([str(name) for name in frame.columns], axis=1)


def columns_of(
    there: list[str], modality: Modality, pairs: bool, columns: Mapping[str, str | None], origin: str
) -> dict[str, str]:
    """Which columns of a table, of those that are `there`, hold what the model reads: by `text`, `text_pair`, `image`.

    Columns that `columns` does not name are found by their usual names. Raises `UserError` where one is not there.
    """
    from tfl.data.frames import IMAGE_NAMES, TEXT_NAMES

    if modality == "image":
        return {"image": _column(there, columns.get("image"), IMAGE_NAMES, "images", "the image paths (image)", origin)}
    pair = columns.get("text_pair") or "text_pair"
    usual = [name for name in TEXT_NAMES if not pairs or name != pair]
    names = {"text": _column(there, columns.get("text"), usual, "texts", "the texts (text)", origin)}
    if pairs:
        names["text_pair"] = _column(there, pair, (), "pairs of texts", "the second texts (text_pair)", origin)
    return names


def _column(there: list[str], name: str | None, usual: Sequence[str], reads: str, what: str, origin: str) -> str:
    listed = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
    if name is not None:
        if there.count(name) > 1:
            raise UserError(f"{origin}: two columns are called {name!r}; rename one")
        if name in there:
            return name
        raise UserError(
            f"{origin}: no column {name!r}{did_you_mean(name, there)}; columns: {listed}; this run reads {reads}: name the "
            f"column of {what.removeprefix('the ')}"
        )
    found = [column for column in there if column.lower() in usual]
    found = [column for column in found if column == usual[0]] or found
    if len(found) == 1 or (len(there) == 1 and reads == "texts"):
        return (found or there)[0]
    could = f"{' and '.join(map(repr, found))} could both be it" if found else "none has a usual name"
    raise UserError(f"{origin}: this run reads {reads}; which column holds {what}? {could}; columns: {listed}")
