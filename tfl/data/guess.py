"""What a path on the command line is: the source that reads it, without importing anything heavy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tfl.config import UserError, did_you_mean
from tfl.data import folder, table
from tfl.data.files import EXTENSIONS, UNSUPPORTED
from tfl.data.tfds import prepared_folder
from tfl.data.tfrecord import is_shard

EMBEDDED = ("digits", "earnings_calls")
"""Sources that need no path."""


def guess(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The raw config of the data at `path`.

    A folder of images, of TFRecord shards or of a prepared TFDS data set; a .csv, .tsv, .jsonl, .parquet, .npz or
    .tfrecord file; "tfds://name"; or the name of an embedded data set. Raises `UserError` for anything else.
    """
    path = os.fspath(path)
    if path.startswith("tfds://"):
        return {"source": "tfds", "name": path.removeprefix("tfds://")}
    place = Path(path).expanduser()
    if place.is_dir():
        return _folder(path, place)
    suffix = place.suffix.lower()
    if place.is_file():
        if suffix in table.EXTENSIONS:
            return {"source": "table", "path": path}
        if suffix == ".npz":
            return {"source": "npz", "path": path}
        if is_shard(place.name):
            return {"source": "tfrecord", "path": path}
        kinds = ", ".join((*table.EXTENSIONS, ".npz", ".tfrecord"))
        hint = "; for images give the folder that holds one sub-folder a class" if suffix in EXTENSIONS else ""
        raise UserError(f"{path}: not a file of examples; a folder of images, or one of {kinds}{hint}")
    if path in EMBEDDED:
        return {"source": path}
    there = os.listdir(place.parent) if place.parent.is_dir() else []
    near = did_you_mean(place.name, [*there, *(EMBEDDED if place.name == path else ())])
    where = "" if place.parent.is_dir() else f"; there is no folder {place.parent} either"
    where += "" if place.is_absolute() else f"; it is looked for in {Path.cwd()}"
    raise UserError(f"{path}: no such file or folder{near}{where}")


def _folder(path: str, place: Path) -> dict[str, Any]:
    if prepared_folder(place) is not None:
        return {"source": "tfds", "name": path}
    names = sorted(item.name for item in place.iterdir() if not item.name.startswith("."))
    if any(is_shard(name) for name in names):
        return {"source": "tfrecord", "path": path}
    if any((place / name).is_dir() for name in names):
        return {"source": "folder", "path": path}
    tables = [name for name in names if Path(name).suffix.lower() in (*table.EXTENSIONS, ".npz")]
    if tables:
        raise UserError(f"{path}: a folder without sub-folders of images; give the file, for example {place / tables[0]}")
    if any(Path(name).suffix.lower() in (*EXTENSIONS, *UNSUPPORTED) for name in names):
        raise UserError(folder.why_nothing(place))
    raise UserError(f"{path}: no examples in this folder; expected one sub-folder a class, with images in each")
