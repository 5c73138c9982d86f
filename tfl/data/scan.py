"""Images looked at before they are used: which can't be read and why, and which are decoded smaller."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tfl.data import orientation
from tfl.data.config import Resize
from tfl.data.image import JPEG, RATIOS, decode, ratio_step
from tfl.lazy import tf

MAX_PIXELS = 178_956_970
"""Largest image that is decoded; a header that claims more is an error or an attack (the limit of Pillow)."""

FORMATS = {JPEG: "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP"}
"""How a file of each format that can be decoded begins."""

HEADER = 1 << 16
"""Bytes within which the size of a JPEG is looked for before its whole file is read."""


def ratios(
    items: Sequence[str | bytes], size: tuple[int, int], mode: Resize = "crop", threads: int | None = None
) -> np.ndarray:
    """By how much `decode_reduced` decodes each of `items`, paths or encoded images, smaller: [N] int64 of `RATIOS`.

    1 for what is no JPEG, or one whose header can't be read. Only headers are read, in `threads` threads (default: one
    a core). Raises `tf.errors.OpError` for a file that can't be read.
    """
    shapes = _in_threads(_jpeg_size if size[0] == size[1] else _shown_size, items, threads)
    with tf.device("CPU:0"):
        steps = ratio_step(tf.reshape(tf.constant(shapes, tf.int32), [-1, 2]), size, mode).numpy()
    return np.array(RATIOS)[steps]


def _jpeg_size(item: str | bytes) -> tuple[int, int]:
    """(height, width) of a JPEG, else (0, 0)."""
    head = item if isinstance(item, bytes) else _read(item, HEADER)
    if not head.startswith(JPEG):
        return 0, 0
    try:
        return _header_size(head, "JPEG")
    except tf.errors.InvalidArgumentError:  # cut off before the size, behind a long profile or preview, or broken
        return (0, 0) if isinstance(item, bytes) or len(head) < HEADER else _jpeg_size(_read(item))


def _shown_size(item: str | bytes) -> tuple[int, int]:
    """(height, width) of a JPEG as it is when it is turned upright, else (0, 0)."""
    height, width = _jpeg_size(item)
    noted = orientation.of(tf.constant(item if isinstance(item, bytes) else _read(item, orientation.HEAD)))
    return (width, height) if noted >= orientation.ON_ITS_SIDE else (height, width)


def _in_threads(call: Callable[[Any], Any], items: Sequence[Any], threads: int | None) -> list[Any]:
    """`call` of each of `items`, in order."""

    def part(start: int) -> list[Any]:
        with tf.device("CPU:0"):
            return [call(items[place]) for place in range(start, min(start + chunk, len(items)))]

    chunk = 64  # a job each would keep as many futures as images
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        return list(itertools.chain.from_iterable(pool.map(part, range(0, len(items), chunk))))


def unreadable(items: Sequence[str | bytes], threads: int | None = None) -> list[tuple[int, str]]:
    """(index, short reason) of those of `items`, paths or encoded images, that can't be read or decoded; in order.

    Every image is really decoded, in `threads` threads (default: one a core), each of which holds one image at a time;
    a JPEG at an eighth of its scale, for which all of it is read too.
    """
    return [(place, reason) for place, reason in enumerate(_in_threads(_reason, items, threads)) if reason]


def kind(data: bytes) -> str | None:
    """The format of an encoded image as its first bytes say, a value of `FORMATS`; None for any other."""
    return next((name for magic, name in FORMATS.items() if data.startswith(magic)), None)


def pixels(data: bytes) -> int:
    """Height × width of an encoded image as its header says, of a GIF in all frames; 0 where that cannot be read."""
    form = kind(data)
    if form == "GIF":
        return _gif_pixels(data)
    try:
        height, width = _header_size(data, form) if form else (0, 0)
    except (tf.errors.OpError, ValueError):
        return 0
    return height * width


def unnamable(item: str | bytes) -> bool:
    """Whether `item` is a path whose bytes Python could not read as text, with which TensorFlow opens nothing."""
    try:
        if isinstance(item, str):
            item.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _reason(item: str | bytes) -> str:
    """Why `item` can't be decoded, or "" where it can."""
    if unnamable(item):
        return "its path is not UTF-8; rename it"
    try:
        data = item if isinstance(item, bytes) else _read(item)
    except tf.errors.NotFoundError:
        return "no such file"
    except tf.errors.PermissionDeniedError:
        return "no permission to read it"
    except tf.errors.OpError as error:
        return "a folder, not a file" if tf.io.gfile.isdir(item) else short(error)
    if not data:
        return "empty file"
    form = kind(data)
    if form is None:
        return _foreign(data)
    if form == "WebP" and data[12:16] == b"VP8X" and data[20:21] and data[20] & 2:
        return "a WebP that moves, which is not read; convert it to GIF"
    try:
        height, width = _header_size(data, form)
        if height * width > MAX_PIXELS:
            return f"{form} header claims {width:,} × {height:,} pixels; at most {MAX_PIXELS:,} are decoded"
        if form == "JPEG":
            tf.io.decode_jpeg(data, channels=3, ratio=RATIOS[-1])
        else:
            decode(tf.constant(data))
    except (tf.errors.OpError, ValueError) as error:
        return f"truncated {form}" if _truncated(data, form) else f"corrupt {form}: {short(error)}"
    return ""


def _read(path: str, size: int = -1) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        data: bytes = file.read(size)
    return data


def _header_size(data: bytes, form: str) -> tuple[int, int]:
    """(height, width) as the header says, without decoding."""
    if form == "JPEG":
        height, width, _ = tf.io.extract_jpeg_shape(tf.constant(data)).numpy().tolist()
    elif form == "PNG":
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    elif form == "GIF":
        width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    elif form == "BMP":  # the height is negative where the rows go from top to bottom
        width, height = (abs(int.from_bytes(data[at : at + 4], "little", signed=True)) for at in (18, 22))
    else:
        width, height = _webp_size(data)
    return height, width


def _gif_pixels(data: bytes) -> int:
    """Pixels of the screen and of all frames together: the decoder unpacks them all to give the first."""
    found = int.from_bytes(data[6:8], "little") * int.from_bytes(data[8:10], "little")
    place = 13 + _palette(data[10:11])
    while place < len(data) and data[place] in b",!":
        if data[place] == ord(","):
            width, height = (int.from_bytes(data[place + at : place + at + 2], "little") for at in (5, 7))
            found += width * height
            place += 11 + _palette(data[place + 9 : place + 10])
        else:
            place += 2
        while place < len(data) and data[place]:  # blocks that begin with their length
            place += 1 + data[place]
        place += 1
    return found


def _palette(flags: bytes) -> int:
    """Bytes of the palette that the flags of a GIF's screen or frame announce."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 128 else 0


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height)."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _truncated(data: bytes, form: str) -> bool:
    """Whether the end that a file of this format has is not there."""
    end = data[-64:].rstrip(b"\0\r\n ")
    return {
        "JPEG": not end.endswith(b"\xff\xd9"),
        "PNG": b"IEND" not in end,
        "GIF": not end.endswith(b";"),
        "BMP": int.from_bytes(data[2:6], "little") > len(data),
        "WebP": int.from_bytes(data[4:8], "little") + 8 > len(data),
    }[form]


def _foreign(data: bytes) -> str:
    """What a file is that begins like no image that can be decoded."""
    if data.startswith((b"II*\0", b"MM\0*")):
        return "a TIFF image, which is not read; convert it to PNG or JPEG"
    if data[4:8] == b"ftyp":
        return "a HEIC or AVIF image or a film, which is not read; convert it to JPEG"
    return f"not an image: starts with {data[:8]!r}"


def short(error: Exception) -> str:
    """TensorFlow's message without the names of its nodes."""
    text = str(getattr(error, "message", error)).split(" [Op:")[0]
    if text.startswith("Graph execution error"):  # of a SavedModel: where in the graph first, then what
        lines = [line.strip() for line in text.splitlines()]
        text = next(line for line in reversed(lines) if line and not line.startswith("[["))
    text = text.split("}} ")[-1]
    return text if len(text) <= 100 else text[:99] + "…"
