"""How far is an image that was decoded at reduced scale from that of the full decode?

    python benchmarks/reduced_decode.py PHOTOS --weights mobilenet_v2_1.0_224_imagenet.weights.h5
        [--sides 800 1200 2000 3000 4000] [--count 24] [--mode crop] [--spare 2]

PHOTOS is any folder of JPEG files; `--count` of them, evenly taken, are enlarged to each of `--sides` and encoded anew, and
resized to 224 px after a full and after a reduced decode. Prints one table: the ratios that were used, the mean and the 99.9th
percentile of the absolute difference in levels of 0..255, and the mean and the largest difference of MobileNetV2's features
relative to their length. Beside it, for measure, the same of a full decode with the accurate cosine transform, where the
full decode takes libjpeg's fast one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfl import backbones
from tfl.data import image, scan

SIZE = (224, 224)


def enlarge(path: Path, side: int) -> bytes:
    """The photo anew as JPEG of quality 90, its longer side `side`."""
    pixels = image.decode(tf.constant(path.read_bytes()))
    scale = side / max(pixels.shape[:2])
    enlarged = tf.image.resize(pixels, [round(length * scale) for length in pixels.shape[:2]], "bicubic")
    data: bytes = tf.io.encode_jpeg(tf.cast(tf.clip_by_value(enlarged, 0, 255), tf.uint8), quality=90).numpy()
    return data


def difference(one: np.ndarray, other: np.ndarray, features: Callable[[np.ndarray], np.ndarray]) -> str:
    levels = np.abs(one - other)
    of_one, of_other = features(one), features(other)
    relative = np.linalg.norm(of_one - of_other, axis=-1) / np.linalg.norm(of_one, axis=-1)
    return f"{levels.mean():>8.2f}{np.percentile(levels, 99.9):>8.2f}{relative.mean():>8.1%}{relative.max():>8.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--sides", type=int, nargs="+", default=[800, 1200, 2000, 3000, 4000])
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--mode", choices=["crop", "squash", "pad"], default="crop")
    parser.add_argument("--spare", type=float, default=image.SPARE)
    given = parser.parse_args()
    image.SPARE = given.spare
    backbone = backbones.load("mobilenet_v2", weights=given.weights)
    found = sorted(given.photos.rglob("*.jpg"))
    chosen = found[:: max(1, len(found) // given.count)][: given.count]
    columns = f"{'mean':>8}{'99.9 %':>8}{'feature':>8}{'worst':>8}"
    print(f"{'side':>6}  {'ratios':<10}|{'reduced':^32}|{'full, accurate':^32}\n{'':>18}|{columns}|{columns}")
    for side in given.sides:
        photos = [enlarge(path, side) for path in chosen]
        used = sorted(set(scan.ratios(photos, SIZE, given.mode).tolist()))
        exact = [tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE") for data in photos]
        full, reduced = (
            np.stack([image.load_resized({"image": data}, SIZE, given.mode, way)["image"] for data in photos])
            for way in (False, True)
        )
        accurate = np.stack([image.resize(pixels, SIZE, given.mode) for pixels in exact])

        def features(images: np.ndarray) -> np.ndarray:
            return np.asarray(backbone.model({"image": backbone.preprocess(images)}))

        row = "|".join(difference(full, other, features) for other in (reduced, accurate))
        print(f"{side:>6}  {','.join(map(str, used)):<10}|{row}", flush=True)


if __name__ == "__main__":
    main()
