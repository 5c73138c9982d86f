"""Image folder: one sub-folder a class, or train/, val/ and test/ above them.

With `train` and `val` alone, `val` is the test split and validation is cut from `train`: the held-out folder is what
you will quote, so it must not choose the epoch. With `train` and `test`, validation is cut from `train`; with all
three, each is what it says. Class folders may have folders inside; hidden files, what a Mac adds to a zip and files that
are no images are left out; images of a format that cannot be read are counted.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tfl.config import UserError, did_you_mean, near_file
from tfl.data.config import DataConfig
from tfl.data.examples import Columns, Records, Unreadable
from tfl.data.files import EXTENSIONS, UNSUPPORTED, image_files
from tfl.data.splits import NAMES, held_out


@dataclass(frozen=True, kw_only=True)
class Config(DataConfig):
    """Images in folders."""

    source: Literal["folder"] = "folder"
    path: str
    """The folder: one sub-folder a class, or train/, val/ and test/ above them."""


def read(config: Config) -> Records:
    """Reads names and labels from the folders, and every file once to check it. Raises `UserError` for no such
    folder."""
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise UserError(f"{config.path}: no such folder{near_file(root)}")
    found = held_out(_split_folders(root))
    classes = _class_names(found, root)
    splits: dict[str, Columns] = {}
    unreadable: list[Unreadable] = []
    left_out: dict[str, Counter[str]] = {name: Counter() for name in classes}
    for name, folder in found.items():
        files = {label: list(files_below(folder / label)) for label in classes}
        splits[name], bad = _read_split(files, folder, root)
        unreadable += bad
        for label, paths in files.items():
            left_out[label].update(kind for path in paths if (kind := path.suffix.lower()) in UNSUPPORTED)
    if not any(map(len, splits.values())) and not unreadable:
        raise UserError(why_nothing(root))
    return Records(
        splits=dict(splits),
        class_names=classes,
        modality="image",
        kind="classification",
        unreadable=tuple(unreadable),
        left_out={label: dict(counts) for label, counts in left_out.items() if counts},
    )


def _folders(root: Path) -> list[Path]:
    return sorted((item for item in root.iterdir() if item.is_dir() and not _hidden(item.name)), key=_by_name)


def _by_name(path: Path | os.DirEntry[str]) -> str:
    return path.name


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"  # what a Mac puts into a zip beside the folders themselves


def _split_folders(root: Path) -> dict[str, Path]:
    """The split folders of `root` by split, or {"all": root}."""
    folders = _folders(root)
    named: dict[str, Path] = {}
    for item in folders:
        part = NAMES.get(item.name.lower())
        if part and part in named:
            raise UserError(f"{root}: {named[part].name}/ and {item.name}/ are both {part}; keep one")
        if part:
            named[part] = item
    holding = [part for part, folder in named.items() if _folders(folder)]
    # A class may well be called "test"; splits hold folders, and one of them is train, or nothing stands beside them.
    if "train" not in holding and not (holding and len(holding) == len(folders)):
        return {"all": root}
    for part, folder in named.items():
        if part not in holding:
            raise UserError(
                f"{folder}/ holds no class folders, so that its images have no labels; move it elsewhere "
                "(`tfl predict` can label them), or make one sub-folder a class in it"
            )
    others = [item.name for item in folders if NAMES.get(item.name.lower()) is None]
    if others:
        raise UserError(
            f"{root}: {', '.join(item + '/' for item in others[:5])} stands beside {named['train'].name}/; a folder "
            "holds either classes or train/, val/ and test/"
        )
    return named


def _class_names(found: dict[str, Path], root: Path) -> tuple[str, ...]:
    """The sorted names of the class folders; those of `train` where there is such a split, and no other one has more."""
    classes = {name: [item.name for item in _folders(folder)] for name, folder in found.items()}
    first = classes.get("train") or sorted(set().union(*classes.values()))
    if not first:
        raise UserError(why_nothing(root))
    for name, others in classes.items() if "train" in found else ():
        for other in others:
            if other not in first:
                raise UserError(
                    f"{found[name] / other}: class {other!r} is not in {found['train']}{did_you_mean(other, first)}; "
                    "every class needs training examples"
                )
    return tuple(first)


def _read_split(files: dict[str, list[Path]], folder: Path, root: Path) -> tuple[Columns, list[Unreadable]]:
    """The images among the `files` of each class, which are below `folder`, and those that cannot be read."""
    paths = [path for there in files.values() for path in there if path.suffix.lower() in EXTENSIONS]
    index = {name: place for place, name in enumerate(files)}
    columns, kept, bad = image_files(paths, [path.relative_to(root).as_posix() for path in paths])
    labels = [index[paths[place].relative_to(folder).parts[0]] for place in kept]
    return dataclasses.replace(columns, labels=np.array(labels, dtype=np.int64)), bad


def files_below(folder: Path) -> Iterator[Path]:
    """All files below `folder`, in the same order on every machine, without hidden ones. Links are followed, but for one to a
    folder that it is itself in, which would have no end. Raises `UserError` for a folder that cannot be read.
    """
    yield from _files_below(os.fspath(folder), ())


def _files_below(folder: str, above: tuple[str, ...]) -> Iterator[Path]:
    """`above`: the real paths of the folders on the way to this one."""
    real = os.path.realpath(folder)
    if any(one == real or one.startswith(real + os.sep) for one in above):
        return
    try:
        entries = sorted((entry for entry in os.scandir(folder) if not _hidden(entry.name)), key=_by_name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error
    yield from (Path(entry.path) for entry in entries if not _is_folder(entry))
    for entry in entries:
        if _is_folder(entry):
            yield from _files_below(entry.path, (*above, real))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def why_nothing(root: Path) -> str:
    """Why no example was found in `root`."""
    kinds = Counter(path.suffix.lower() for path in files_below(root))
    readable = ", ".join(item[1:] for item in EXTENSIONS)
    unsupported = [f"{count} {kind}" for kind, count in kinds.most_common() if kind in UNSUPPORTED]
    if unsupported and not any(kind in EXTENSIONS for kind in kinds):
        return f"{root}: {', '.join(unsupported)} files, which cannot be read; convert them to one of {readable}"
    if any(path.suffix.lower() in EXTENSIONS for path in root.iterdir()):
        return f"{root}: the images are not in sub-folders; make one sub-folder a class and put them there"
    return f"{root}: no images found; expected one sub-folder a class, with files of {readable}"
