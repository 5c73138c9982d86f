"""The orientation that a camera notes in a JPEG file. Nothing turns images by it; whoever trains on such files is told."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

HEAD = 1 << 16
"""Bytes of a file that are looked at; EXIF stands in front, in a segment of at most 64 KiB."""
TAG = 0x0112


def turned(items: Iterable[str | bytes]) -> int:
    """How many of `items`, paths or encoded images, are JPEG files that carry an orientation other than 1, upright."""
    with ThreadPoolExecutor() as pool:
        return sum(found not in (None, 1) for found in pool.map(_of, items))


def of(data: bytes) -> int | None:
    """The orientation, 1 to 8, that stands in a JPEG file; None where there is none."""
    place = 2
    while data.startswith(b"\xff\xd8") and data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] == 0xE1 and data[place + 4 : place + 10] == b"Exif\0\0":
            return _in_tiff(data[place + 10 : place + 2 + length])
        place += 2 + length
    return None


def _of(item: str | bytes) -> int | None:
    if isinstance(item, bytes):
        return of(item)
    try:
        with open(item, "rb") as opened:
            return of(opened.read(HEAD))
    except OSError:  # what cannot be read is named elsewhere
        return None


def _in_tiff(tiff: bytes) -> int | None:
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(tiff[place : place + size], order)

    first = number(4, 4)
    for place in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        if number(place, 2) == TAG:
            value = number(place + 8, 2)
            return value if 1 <= value <= 8 else None
    return None
