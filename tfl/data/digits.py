"""scikit-learn's digits: 1,797 real handwritten digits of 8 x 8 pixels, embedded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfl.data.config import DataConfig
from tfl.data.examples import Columns, Records, digest, digests, strings


@dataclass(frozen=True, kw_only=True)
class Config(DataConfig):
    """Handwritten digits (UCI, Alpaydin and Kaynak 1998); nothing to choose."""

    source: Literal["digits"] = "digits"


def read(config: Config) -> Records:
    """1,797 grey images, uint8 [8, 8]; the 17 levels of the original spread over 0..255."""
    from sklearn.datasets import load_digits

    raw = load_digits()
    images = np.round(raw.images * (255 / 16)).astype(np.uint8)
    examples = Columns(
        ids=strings(f"digits/{place:04d}" for place in range(len(images))),
        inputs={"image": images},
        labels=raw.target.astype(np.int64),
        digests=digests(digest(image.tobytes()) for image in images),
    )
    return Records(splits={"all": examples}, class_names=tuple("0123456789"), modality="image", kind="classification")
