"""Photos as cameras store them that were not held upright."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tfl.data import orientation


def smooth(height: int, width: int) -> np.ndarray:
    """[height, width, 3] uint8: no two corners of it are alike, and JPEG changes it little."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (255 * np.stack([x, y, (x * y + x) / 2], -1)).astype(np.uint8)


def noted(number: int, pixels: np.ndarray, order: str = "big", **more: Any) -> bytes:
    """A JPEG of `pixels`, as they are stored, with that orientation; the bytes of its EXIF in that order."""
    exif = Image.Exif()
    exif.endian = "<" if order == "little" else ">"
    for tag, value in {0x010F: "a maker", 0x0110: "a model", orientation.TAG: number, 0x0132: "2026:11:29 10:00:00"}.items():
        exif[tag] = value
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, quality=95, **more)
    return file.getvalue()


def stored_as(pixels: np.ndarray, number: int) -> np.ndarray:
    """`pixels` as a camera that notes the orientation `number` stores them."""
    backwards = {6: 8, 8: 6}.get(number, number)
    carrier = Image.fromarray(pixels)
    carrier.getexif()[orientation.TAG] = backwards
    return np.asarray(ImageOps.exif_transpose(carrier))
