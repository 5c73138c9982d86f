"""Planted failures: does tfl say "helped" where nothing is to be had from the backbone, and see a cue that was put there?

`tfl compare` on weights that are shuffled within each layer, and on labels that are random: the verdict on end accuracy should
be "helped" in at most 2 of 20 trials each. The last line of that table is a control, the real weights on the real labels.
Photos of flowers at 64 pixels, MobileNet 0.25, a head on frozen features against training from scratch.

With --cue, `tfl audit` of MobileNetV2 on ants and bees, with a coloured corner on the bees in training and validation and none
in test; and of the same without the corner.

With --marks, how often the audit's look at the data names a corner that one class has in training and none in test, and how
often a place where nothing was planted: four sets of photos, a fresh split, class and corner for each trial.

    python benchmarks/planted.py [--trials 20] [--seeds 3] [--updates 40] [--control 3]
    python benchmarks/planted.py --cue
    python benchmarks/planted.py --marks [--trials 20] [--train 0.8]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import measure
import numpy as np

ALLOWED = 2
"""Of 20 trials."""
SIZE = 64
LABELS, TEST = 20, 60
"""Photos of each class: labels to train on, and to test on."""
WEIGHTS = "weights/mobilenet_0.25_224_imagenet.weights.h5"
CORNER = 24
"""Pixels a side, of 224."""


def flowers() -> tuple[np.ndarray, np.ndarray]:
    """The photos, [N, 64, 64, 3] uint8, and their classes."""
    import tensorflow as tf

    from tfl.data import image as images

    files = sorted(measure.asset("images/flowers5").glob("*/*.jpg"))
    classes = sorted({file.parent.name for file in files})
    pixels = [images.resize(images.decode(tf.constant(file.read_bytes())), (SIZE, SIZE)) for file in files]
    return np.stack(pixels).round().astype(np.uint8), np.array([classes.index(file.parent.name) for file in files])


def shuffled_weights(file: Path, seed: int) -> None:
    """Writes the real weights to `file`, those of each variable in random order."""
    import keras

    from tfl import backbones

    keras.utils.clear_session()
    config = backbones.Config(name="mobilenet_0.25", weights=str(measure.asset(WEIGHTS)), image_size=SIZE)
    model = backbones.load(config).model
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.dtype == "float32":
            variable.assign(random.permutation(variable.numpy().reshape(-1)).reshape(variable.shape))
    model.save_weights(file)


def verdict(folder: Path, weights: Path, photos: tuple[np.ndarray, np.ndarray], arguments: Any, seed: int) -> tuple[str, float]:
    """That of a comparison on the end accuracy, and the difference."""
    from tfl.jobs import config_of
    from tfl.studies.compare.compare import compare
    from tfl.studies.compare.plan import plan

    pixels, labels = photos
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    folder.mkdir()
    np.savez(folder / "photos.npz", images=pixels[order], labels=labels[order])
    raw = {
        "data": {"source": "npz", "path": str(folder / "photos.npz"), "test": 0.24, "validation": 0.08},
        "backbone": {"name": "mobilenet_0.25", "weights": str(weights), "image_size": SIZE},
        "augment": None,
        "seed": 100 * seed,
    }
    found = plan(labels=str(LABELS), seeds=arguments.seeds, methods="scratch,head", updates=arguments.updates)
    done = compare(config_of(raw), found, folder / "comparison")
    primary = done.effects[0]
    return primary.verdict, primary.value


def trials(arguments: argparse.Namespace, place: Path) -> None:
    """Prints how often a transfer is said to have helped."""
    import contextlib
    import io

    import keras

    pixels, labels = flowers()
    real = measure.asset(WEIGHTS)
    rows: list[tuple[Any, ...]] = []
    chosen = {"shuffled weights": arguments.trials, "random labels": arguments.trials, "control: neither": arguments.control}
    for kind, count in chosen.items():
        verdicts, differences = [], []
        for trial in range(count):
            keras.utils.clear_session()
            weights, own = real, labels
            if kind == "shuffled weights":
                weights = place / f"{trial}.weights.h5"
                shuffled_weights(weights, trial)
            if kind == "random labels":
                own = np.random.default_rng(1000 + trial).permutation(labels)
            with contextlib.redirect_stdout(io.StringIO()):
                said, difference = verdict(place / f"{kind} {trial}", weights, (pixels, own), arguments, trial)
            print(f"{kind}, trial {trial}: {said}, {difference:+.3f}", flush=True)
            verdicts.append(said)
            differences.append(difference)
        counts = [verdicts.count(word) for word in ("helped", "no difference", "hurt")]
        rows.append((kind, count, *counts, float(np.mean(differences)) if count else None))
    header = ("planted", "trials", "helped", "no difference", "hurt", "mean difference")
    measure.table("head against scratch, end accuracy", header, rows)
    held = all(row[2] <= ALLOWED * row[1] / 20 for row in rows[:2])
    print(f"helped in at most {ALLOWED} of 20 trials of each: {'yes' if held else 'no'}")


def cue(place: Path) -> None:
    """Prints what an audit finds with a planted corner, and without."""
    import tensorflow as tf

    import tfl
    from tfl.data import image as images
    from tfl.studies.audit.audit import Options, audit

    rows = []
    for planted in (True, False):
        folder = place / ("marked" if planted else "plain")
        for file in sorted(measure.asset("images/hymenoptera").glob("*/*/*.jpg")):
            split, label = file.parts[-3:-1]
            pixels = images.resize(images.decode(tf.constant(file.read_bytes())), (224, 224)).numpy().round().astype(np.uint8)
            if planted and split == "train" and label == "bees":
                pixels[:CORNER, -CORNER:] = (255, 0, 200)
            target = folder / split / label / f"{file.stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(tf.io.encode_png(pixels).numpy())
        backbone = {"name": "mobilenet_v2", "weights": str(measure.asset(measure.MOBILENET_V2))}
        run = tfl.finetune(str(folder), backbone=backbone, out=place / f"run-{folder.name}")
        done = audit(run, Options(sections=("cues", "overfitting")))
        first = done.sections["cues"].facts["classes"][0]
        accuracy = run.metrics["accuracy"]["value"]
        found = [one.text for name, one in done.findings if name in ("cues", "overfitting")]
        rows.append((folder.name, accuracy, f"{first['class']}, {first['place']}", first["turned"]["value"], len(found)))
        print("\n".join([f"{folder.name}:", *(f"  {text}" for text in found)]))
    header = ("photos", "test accuracy", "strongest patch", "images that it turns", "findings")
    measure.table("a corner on the bees in training", header, rows)


PHOTOS = ("hymenoptera", "flowers5", "pacs/photo", "pacs/art_painting")
MARKS: dict[str, tuple[int, tuple[int, int, int]] | None] = {
    "none": None,
    "magenta, 24 px": (24, (255, 0, 200)),
    "magenta, 16 px": (16, (255, 0, 200)),
    "white, 24 px": (24, (255, 255, 255)),
    "black, 24 px": (24, (0, 0, 0)),
    "dark green, 24 px": (24, (40, 90, 40)),
}
"""Pixels a side, of 224, and colour."""


def corners(share: float, trials: int) -> None:
    """Prints in how many trials a mark is named, at the class and the corner that it was planted on, and elsewhere."""
    import tensorflow as tf

    from tfl.data import image as images

    rows = []
    for name in PHOTOS:
        files = sorted(measure.asset(f"images/{name}").rglob("*.jpg"))
        classes = sorted({file.parent.name for file in files})
        labels = np.array([classes.index(file.parent.name) for file in files])
        decoded = (images.resize(images.decode(tf.constant(file.read_bytes())), (224, 224)) for file in files)
        pixels = np.stack([one.numpy().round().astype(np.uint8) for one in decoded])
        for kind, mark in MARKS.items():
            found = [named(pixels, labels, share, mark, trial) for trial in range(trials)]
            right = None if mark is None else sum(one for one, _ in found)
            rows.append((name, round(len(pixels) * share), kind, trials, right, sum(other for _, other in found)))
            print(*rows[-1], flush=True)
    header = ("photos", "training photos", "mark", "trials", "named", "something else named")
    measure.table("corners that the look at the data names", header, rows)


def named(
    pixels: np.ndarray, labels: np.ndarray, share: float, mark: tuple[int, tuple[int, int, int]] | None, trial: int
) -> tuple[bool, bool]:
    """Whether the planted corner is named, and whether anything else is."""
    from tfl.studies.audit import marks

    random = np.random.default_rng(trial)
    order = random.permutation(len(labels))
    train, test = order[: round(len(labels) * share)], order[-(len(labels) // 5) :]
    chosen, bottom, right = int(random.integers(labels.max() + 1)), bool(random.integers(2)), bool(random.integers(2))
    own = pixels[train]
    if mark is not None:
        size, colour = mark
        place = [slice(-size, None) if far else slice(size) for far in (bottom, right)]
        own[np.ix_(np.flatnonzero(labels[train] == chosen), *(np.arange(224)[one] for one in place))] = colour
    found = marks.marks(own, labels[train], pixels[test], labels[test], trial)
    said = [one.text for one in marks.findings([{**one, "class": f"class {one['number']}"} for one in found])]
    corner = f"{'bottom' if bottom else 'top'} {'right' if right else 'left'} corner"
    hits = [text for text in said if corner in text and f"tells class {chosen} from" in text]
    return mark is not None and bool(hits), len(said) > (len(hits) if mark is not None else 0)


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--control", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--cue", action="store_true")
    parser.add_argument("--marks", action="store_true")
    parser.add_argument("--train", type=float, default=0.8, help="of the photos, with --marks; a fifth is the test split")
    arguments = parser.parse_args()
    if arguments.marks:
        corners(arguments.train, arguments.trials)
        return
    with measure.fresh_cache(), tempfile.TemporaryDirectory() as place:
        if arguments.cue:
            cue(Path(place))
        else:
            trials(arguments, Path(place))


if __name__ == "__main__":
    main()
