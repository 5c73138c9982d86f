"""Unlabelled examples in files, to be predicted: read a part at a time and in order, however many there are."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tfl.config import UserError, near_file
from tfl.data.examples import Modality
from tfl.data.given import Given, columns_of, joined, of_cells, of_paths, of_texts
from tfl.data.table import EXTENSIONS
from tfl.data.table_rows import decoded, names_of, rows_of


class Row(NamedTuple):
    """One example, its file not opened yet."""

    id: str
    values: tuple[Any, ...]
    """The texts, or the path of an image, as they stand there."""
    reason: str = ""
    """Why there is no example, where that is known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Rows of one kind: of a table, of a text file, or files of images."""

    rows: Callable[[], Iterator[Row]]
    given: Callable[[Sequence[Row]], Given]
    """What rows hold; here files of images are opened."""
    image: Callable[[Row], str | Path] | None = None
    """The file of a row's image, where rows are files of images."""

    def stamp(self, row: Row) -> str:
        """What changes with the content of a row's file: its size and when it was written."""
        try:
            found = os.stat(self.image(row)) if self.image is not None and not row.reason else None
        except OSError:
            return "none"
        return f"{found.st_size} {found.st_mtime_ns}" if found else ""


class Part:
    """Rows that follow each other, of one source or of several."""

    def __init__(self, rows: Sequence[tuple[Source, Row]], shown: Sequence[str]) -> None:
        self._rows, self._shown = rows, shown

    def __len__(self) -> int:
        return len(self._rows)

    def given(self) -> Given:
        """The examples, read."""
        parts = []
        for source, pairs in itertools.groupby(self._rows, key=lambda pair: pair[0]):
            rows = [row for _, row in pairs]
            found = source.given(rows)
            found.errors.update({place: row.reason for place, row in enumerate(rows) if row.reason})
            parts.append(found)
        whole = joined(parts)
        whole.shown.update({name: [None] * len(self) for name in self._shown if name not in whole.shown})
        return whole


class GivenFiles:
    """The examples in `files`: images and folders of them, tables, or .txt files, a text a line.

    `columns`: what tables call the columns `text`, `text_pair` and `image`; None: found by their usual names. Raises
    `UserError` for a file that is not there or holds something else than the model reads.
    """

    def __init__(self, files: Sequence[str], modality: Modality, pairs: bool, columns: Mapping[str, str | None]) -> None:
        self._sources: list[Source] = []
        self._shown: list[str] = []
        names = [Path(file).name for file in files]
        paths: list[str] = []
        for file, name in zip(files, names, strict=True):
            origin, path = file if names.count(name) > 1 else name, Path(file)
            if path.suffix.lower() in EXTENSIONS and not path.is_dir():
                self._end(paths)
                self._sources.append(_table(path, origin, modality, pairs, columns))
                self._shown = ["image"] if modality == "image" else []
            elif modality == "text":
                self._sources.append(_lines(path, origin, pairs, columns))
            elif path.suffix.lower() == ".txt":
                raise UserError(
                    f"{file}: this run reads images, not texts; give images, folders of them, or a table with a column of paths"
                )
            else:
                paths += _images(file)
        self._end(paths)

    def _end(self, paths: list[str]) -> None:
        """Files of images up to here are one source, so that they are opened in threads."""
        if paths:
            self._sources.append(_of_images(list(paths)))
            paths.clear()

    def __len__(self) -> int:
        return self._looked_through[0]

    @property
    def digest(self) -> str:
        """Of ids, texts and paths, and of when images were written."""
        return self._looked_through[1]

    def parts(self, size: int) -> Iterator[Part]:
        """All rows in order, `size` at a time."""
        rows = ((source, row) for source in self._sources for row in source.rows())
        while part := list(itertools.islice(rows, size)):
            yield Part(part, self._shown)

    def whole(self) -> Given:
        """All examples at once."""
        return next(self.parts(max(1, len(self)))).given()

    @cached_property
    def _looked_through(self) -> tuple[int, str]:
        """Reads everything but images once, so that a table that breaks off is found before anything is predicted."""
        state, count = hashlib.blake2b(digest_size=16), 0
        for source in self._sources:
            for row in source.rows():
                count += 1
                state.update(
                    "\0".join(map(str, (row.id, *row.values, row.reason, source.stamp(row), ""))).encode(
                        "utf-8", "surrogatepass"
                    )
                )
        return count, state.hexdigest()


# --- images and lines -------------------------------------------------------------------------------------------------


def _images(file: str) -> list[str]:
    from tfl.data.files import EXTENSIONS as ENDINGS
    from tfl.data.folder import files_below

    path = Path(file)
    if path.is_dir():
        inside = sorted(str(item) for item in files_below(path) if item.suffix.lower() in ENDINGS)
        if not inside:
            raise UserError(f"{file}: no images in this folder; they end in {', '.join(ENDINGS)}")
        return inside
    if not path.is_file():
        raise UserError(f"{file}: no such file{near_file(path)}")
    return [file]


def _of_images(paths: list[str]) -> Source:
    return Source(
        rows=lambda: (Row(path, (path,)) for path in paths),
        given=lambda rows: of_paths([row.id for row in rows], [row.values[0] for row in rows]),
        image=lambda row: str(row.values[0]),
    )


def _lines(file: Path, origin: str, pairs: bool, columns: Mapping[str, str | None]) -> Source:
    """The lines of a .txt file as texts; empty ones between others are errors, those at the end are not there."""
    valid = "a table (.csv, .tsv, .jsonl, .parquet) or a .txt file, a text a line"
    if not file.exists():
        raise UserError(f"{file}: no such file{near_file(file)}; give {valid}")
    if file.suffix.lower() != ".txt" or not file.is_file():
        raise UserError(f"{file}: this run reads texts; give {valid}")
    if pairs:
        names = [columns.get(name) or name for name in ("text", "text_pair")]
        raise UserError(
            f"{origin}: this run reads pairs of texts; give a table with two columns, {' and '.join(names)}, or name others "
            "(text and text_pair, --text and --text-pair)"
        )

    def rows() -> Iterator[Row]:
        number = empty = 0
        for line in decoded(file):
            number += 1
            if not line.strip():
                empty += 1
                continue
            yield from (Row(f"{origin}:{number - place}", ("",)) for place in range(empty, 0, -1))
            empty = 0
            yield Row(f"{origin}:{number}", (line.rstrip("\n"),))

    if next(rows(), None) is None:
        raise UserError(f"{file}: no text in it; a text a line")
    return Source(rows=rows, given=lambda found: _texts(found, {}, ("text",)))


def _texts(rows: Sequence[Row], names: Mapping[str, str], keys: Sequence[str]) -> Given:
    columns = {key: [row.values[place] for row in rows] for place, key in enumerate(keys)}
    return of_texts([row.id for row in rows], columns, names, show=True)


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(file: Path, origin: str, modality: Modality, pairs: bool, columns: Mapping[str, str | None]) -> Source:
    if not file.is_file():
        raise UserError(f"{file}: no such file{near_file(file)}")
    names = columns_of(names_of(file), modality, pairs, columns, str(file))

    def rows() -> Iterator[Row]:
        for line, values, reason in rows_of(file, list(names.values())):
            yield Row(f"{origin}:{line}", tuple(values), reason)

    def of_images(found: Sequence[Row]) -> Given:
        values = [row.values[0] for row in found]
        return of_cells([row.id for row in found], values, names["image"], file.parent, values)

    if next(rows(), None) is None:
        raise UserError(f"{file.name}: no rows")
    if modality == "image":
        return Source(rows=rows, given=of_images, image=lambda row: file.parent / str(row.values[0])[:1000])
    return Source(rows=rows, given=lambda found: _texts(found, names, tuple(names)))
