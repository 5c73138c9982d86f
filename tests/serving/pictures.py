"""Images in every mode that each format can hold, made by Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def written(image: Image.Image, form: str, **fields: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **fields)
    return file.getvalue()


def pictures() -> dict[str, bytes]:
    """A picture in every mode that each format can hold, and moving ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
    whole = Image.fromarray(pixels)
    modes = {mode: whole.convert(mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")}
    modes["RGBA"].putalpha(Image.fromarray(pixels[..., 0]))  # else WebP leaves the channel out
    modes["16"] = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    held = {
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "16"),
        "JPEG": ("L", "RGB", "CMYK"),
        "GIF": ("L", "P"),
        "BMP": ("1", "L", "P", "RGB"),
        "WEBP": ("L", "P", "RGB", "RGBA"),
    }
    found = {f"{form} {mode}": written(modes[mode], form) for form, names in held.items() for mode in names}
    for form in ("GIF", "PNG", "WEBP"):
        other = Image.fromarray(255 - pixels)
        found[f"{form} moving"] = written(whole, form, save_all=True, append_images=[other])
    return found


PICTURES = pictures()
REFUSED_PICTURES = {"BMP 1", "WEBP moving"}
"""Those that TensorFlow does not decode."""
