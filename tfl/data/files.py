"""Images and texts, checked before use: a file is read to hash it and to see that it decodes; none stays in memory."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tfl.data.decodable import Decodable
from tfl.data.examples import Columns, Unreadable, digest, digests, strings

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".dib", ".webp")
RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2")
"""What cameras write beside JPEG."""
UNSUPPORTED = (
    *(".heic", ".heif", ".tif", ".tiff", ".avif", ".svg", ".jp2", ".jxl", ".psd", ".ico", ".pcx", ".tga"),
    *(".pbm", ".pgm", ".pnm", ".ppm"),
    *RAW,
)


def image_files(paths: Sequence[str | os.PathLike[str]], ids: Sequence[str]) -> tuple[Columns, np.ndarray, list[Unreadable]]:
    """The readable ones of `paths` as `Columns` without labels, their positions in `paths`, and the unreadable ones."""
    names = [os.fspath(path) for path in paths]
    hashed = hash_files(names)
    reasons = {place: result for place, result in enumerate(hashed) if isinstance(result, str)}
    present = [place for place in range(len(names)) if place not in reasons]
    content = digests(found for found in hashed if isinstance(found, bytes))
    for place, reason in Decodable().unreadable([names[place] for place in present], content):
        reasons[present[place]] = reason
    keep = np.array([place for place in range(len(names)) if place not in reasons], dtype=np.int64)
    columns = Columns(
        ids=strings(ids[place] for place in keep),
        inputs={"path": strings(names[place] for place in keep)},
        labels=None,
        digests=digests(hashed[place] for place in keep if isinstance(hashed[place], bytes)),
    )
    return columns, keep, [Unreadable(ids[place], reason) for place, reason in sorted(reasons.items())]


def hash_files(paths: Sequence[str]) -> list[bytes | str]:
    """For each file the digest of its content, or why it cannot be read."""
    with ThreadPoolExecutor(max_workers=min(8, 2 * (os.cpu_count() or 1))) as pool:
        return list(pool.map(_hash, paths))


def _hash(path: str) -> bytes | str:
    """The digest of the file's content, or why it cannot be read."""
    try:
        return digest(Path(path).read_bytes())
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return error.strerror or str(error)


def unreadable_inputs(
    chunk: list[dict[str, Any]], names: Collection[str], hashed: np.ndarray, decodable: Decodable
) -> dict[int, str]:
    """Which of the examples have an image that does not decode, or no text, and why; `hashed`: [N] S32, their digests."""
    if "image" in names:
        return dict(decodable.unreadable([example["image"] for example in chunk], hashed))
    return {place: f"no {name}" for place, example in enumerate(chunk) for name in names if not example[name].strip()}
