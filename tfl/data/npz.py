"""NumPy .npz: images and labels, or x_train, y_train, x_test and y_test as Keras keeps them.

Arrays: `images` [N, H, W] or [N, H, W, C] and `labels` [N] (whole numbers, strings, floats) or [N, C] (0/1); or
`x_train`, `y_train` and, optionally, `x_val`, `y_val`, `x_test`, `y_test`. `class_names` [C] is optional. Floats are
taken for 0..1 where none is above 1, else for 0..255.
"""

from __future__ import annotations

import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tfl.config import UserError, did_you_mean
from tfl.data.cells import decoded
from tfl.data.config import DataConfig
from tfl.data.examples import Columns, Examples, Records, digest, digests, strings
from tfl.data.labels import attach, read_labels
from tfl.data.splits import held_out
from tfl.kinds import AnyKind

log = logging.getLogger(__name__)

ARRAYS = {
    "all": ("images", "labels"),
    "train": ("x_train", "y_train"),
    "validation": ("x_val", "y_val"),
    "test": ("x_test", "y_test"),
}


@dataclass(frozen=True, kw_only=True)
class Config(DataConfig):
    """Images as arrays in one file."""

    source: Literal["npz"] = "npz"
    path: str
    """The .npz file."""
    kind: AnyKind = "auto"
    """What the labels are; auto goes by their type."""


def read(config: Config) -> Records:
    """Reads the arrays. Raises `UserError` for a missing file, a missing array, or arrays that do not fit."""
    path = Path(config.path).expanduser()
    arrays = _arrays(path)
    found = {name: pair for name, pair in ARRAYS.items() if pair[0] in arrays}
    if not found or ("all" not in found and "train" not in found):
        needed = [name for pair in ARRAYS.values() for name in pair]
        near = next((hint for name in arrays if name not in needed and (hint := did_you_mean(name, needed))), "")
        raise UserError(
            f"{path.name}: arrays {', '.join(arrays)}; needed are images and labels, or x_train, y_train, x_test, y_test{near}"
        )
    found = {"all": found["all"]} if "all" in found else held_out(found)
    for pixels, answers in found.values():
        if answers not in arrays:
            raise UserError(f"{path.name}: {pixels} without {answers}; arrays: {', '.join(arrays)}")
    names = [str(decoded(name)) for name in arrays["class_names"].tolist()] if "class_names" in arrays else None
    # Classes are those of all splits together, so that an index means the same in each.
    raw = [_one_a_row(arrays[answers]) for _, answers in found.values()]
    if len({part.shape[1:] for part in raw}) > 1:
        shapes = ", ".join(f"{answers} {list(arrays[answers].shape)}" for _, answers in found.values())
        raise UserError(f"{path.name}: labels of different shapes: {shapes}")
    labels = read_labels(np.concatenate(raw), config.kind, names)
    parts: dict[str, Examples] = {}
    for name, (pixels, answers) in found.items():
        prefix = path.stem if name == "all" else f"{path.stem}/{name}"
        parts[name] = image_arrays(pixels_of(arrays[pixels], pixels), prefix)
        if len(arrays[answers]) != len(parts[name]):
            raise UserError(f"{path.name}: {len(parts[name])} {pixels}, but {len(arrays[answers])} {answers}")
    splits, unreadable = attach(parts, labels)
    return Records(
        splits=splits,
        class_names=labels.class_names,
        modality="image",
        kind=labels.kind,
        unreadable=unreadable,
    )


def _one_a_row(labels: np.ndarray) -> np.ndarray:
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            if isinstance(file, np.ndarray):
                raise UserError(f"{path.name}: a single array; save images and labels together with numpy.savez")
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path.name}: not a readable .npz file ({error})") from error


def pixels_of(array: np.ndarray, name: str = "images") -> np.ndarray:
    """`array` as uint8 [N, H, W] or [N, H, W, C], C one of 1, 3, 4; floats in 0..1 or 0..255 are rounded to it.

    Raises `UserError` for any other shape, type or range.
    """
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[-1] not in (1, 3, 4)):
        raise UserError(
            f"{name}: shape {array.shape} is not valid; [N, height, width] or [N, height, width, channels] with 1, 3 or 4"
        )
    if array.dtype == np.uint8:
        if array.any() and array.max() == 1:
            log.warning(
                "%s: all pixels are 0 or 1, which is black of 0..255; where 1 is white, give them as bool or float", name
            )
        return array
    if array.dtype.kind not in "fiub" or array.size == 0:
        raise UserError(f"{name}: {array.dtype} with shape {array.shape} is not valid; uint8, or floats in 0..1 or 0..255")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 255):
        raise UserError(f"{name}: values from {low:g} to {high:g}; 0..255, or 0..1 as floats, are valid")
    if array.dtype.kind == "f" and 1 < high <= 2:
        raise UserError(
            f"{name}: values from {low:g} to {high:g} as {array.dtype}, which may be 0..1 with some above it or almost black "
            "of 0..255; numpy.clip them to 0..1, or give uint8"
        )
    unit = array.dtype.kind in "fb" and high <= 1
    log.warning("%s: %s taken for 0..%d and converted to uint8", name, array.dtype, 1 if unit else 255)
    return np.round(array * 255.0 if unit else array).astype(np.uint8)


def image_arrays(images: np.ndarray, prefix: str) -> Columns:
    """Images, uint8 [N, H, W(, C)], as examples without labels, with ids `prefix/000000`."""
    return Columns(
        ids=strings(f"{prefix}/{place:06d}" for place in range(len(images))),
        inputs={"image": images},
        labels=None,
        digests=digests(digest(image.tobytes()) for image in images),
    )
