"""An image of any mode and format is for an export what it was in the evaluation, or is refused by both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.serving.pictures import PICTURES, REFUSED_PICTURES, written
from tfl import data
from tfl.data import orientation
from tfl.methods.facts import told_of_data
from tfl.serving import bundle


def turned(number: int) -> bytes:
    """A JPEG with that EXIF orientation."""
    exif = Image.Exif()
    exif[orientation.TAG] = number
    pixels = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
    return written(Image.fromarray(pixels), "JPEG", exif=exif)


def test_the_evaluation_and_the_export_see_the_same(image_run: Any, image_export: Path, tmp_path: Path) -> None:
    contents = PICTURES | {f"JPEG turned {number}": turned(number) for number in range(1, 9)}
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
    upright, *others = (table.loc[table["id"].str.endswith(f"turned {number}"), "p_dark"].item() for number in range(1, 9))
    assert others == [upright] * 7  # the orientation is ignored by both


def test_files_that_a_camera_would_turn_are_counted(tmp_path: Path) -> None:
    assert [orientation.of(turned(number)) for number in range(1, 9)] == list(range(1, 9))
    assert [orientation.of(content) for content in (PICTURES["JPEG RGB"], PICTURES["PNG RGB"], b"", turned(6)[:30])] == [
        None
    ] * 4
    for number in range(20):
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{number}.jpg").write_bytes(turned(6 if number < 3 else 1) + bytes([number, ord(name)]))
    told = "\n".join(told_of_data(data.load(data.folder.Config(path=str(tmp_path)))))
    assert "warning: 6 of 40 files carry an EXIF orientation" in told
