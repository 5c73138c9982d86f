"""An image of any mode and format is for an export what it was in the evaluation, or is refused by both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.serving.pictures import PICTURES, REFUSED_PICTURES, written
from tfl.data import orientation
from tfl.serving import bundle


def turned(number: int) -> bytes:
    """A JPEG with that EXIF orientation."""
    exif = Image.Exif()
    exif[orientation.TAG] = number
    pixels = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
    return written(Image.fromarray(pixels), "JPEG", exif=exif)


def upright(number: int) -> bytes:
    """The same without EXIF, as a PNG that is turned by Pillow."""
    stored = Image.fromarray(tf.io.decode_jpeg(turned(number)).numpy())
    stored.getexif()[orientation.TAG] = number
    return written(ImageOps.exif_transpose(stored), "PNG")


def test_the_evaluation_and_the_export_see_the_same(image_run: Any, image_export: Path, tmp_path: Path) -> None:
    contents = PICTURES | {f"{number} turned": turned(number) for number in range(1, 9)}
    contents |= {f"{number} upright": upright(number) for number in range(1, 9)}
    files = [tmp_path / name for name in contents]
    for file in files:
        file.write_bytes(contents[file.name])
    table = image_run.predict(list(map(str, files)))
    serve = tf.saved_model.load(str(bundle.chosen(image_export)[0])).signatures["serving_default"]
    refused = set()
    for name, (_, row) in zip(contents, table.iterrows(), strict=True):
        try:
            served = serve(images=tf.constant([contents[name]]))["probabilities"][0]
        except tf.errors.InvalidArgumentError:
            refused.add(name)
            assert isinstance(row["error"], str), name
        else:
            np.testing.assert_allclose(row[["p_bright", "p_dark"]].astype(float), served, atol=1e-5, err_msg=name)
    assert refused == REFUSED_PICTURES
    found = {name: row["p_dark"] for name, (_, row) in zip(contents, table.iterrows(), strict=True)}
    for number in range(1, 9):
        # It is resized before it is turned: pixels differ by up to 3e-4 of 255, and that moves this network by some 1e-5.
        assert found[f"{number} turned"] == pytest.approx(found[f"{number} upright"], abs=1e-4)
    assert len({round(found[f"{number} upright"], 3) for number in range(1, 9)}) > 2  # it is not blind for all of that
