"""From the examples of a split to the batches that a model takes, epoch by epoch and the same every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.data import augment as augmentation
from tfl.data import image as images
from tfl.data.augment import Augment
from tfl.data.config import Resize
from tfl.data.examples import Columns, Examples
from tfl.data.text import tokenize
from tfl.lazy import keras, tf

WINDOW = 32
"""Batches within which texts are sorted by length while training."""
LENGTH_STEP = 8
"""Texts are padded to a multiple of so many tokens, so that few lengths occur."""


def stream_seed(*parts: int) -> int:
    """One seed from several numbers, such as (run seed, phase, epoch); nearby numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The batches of one split. `epoch(e)` is a data set of dicts: the model's inputs, `index`, `label`, `share`.

    `index` is `[N] int64`, the place of each example in the split; `share` is `[N] float32`, 1 / the size of the whole
    global batch, so that a sum over the replicas' parts of it is the batch's mean.
    """

    examples: Examples
    batch_size: int
    """Global batch, across all replicas."""
    training: bool = False
    """Whether examples are shuffled and augmented."""
    seed: int = 0
    replicas: int = 1
    """Devices that share a batch. A last batch that has not one example for each is left out while training, and made up
    with examples that are there already otherwise."""
    drop_remainder: bool = False
    """Whether a last batch that is not full is left out (where shapes must be static)."""

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, rest = divmod(len(self.examples), self.batch_size)
        incomplete = rest >= self.replicas or (rest > 0 and not self.training)
        return whole + int(incomplete and not self.drop_remainder)

    def epoch(self, epoch: int = 0, skip: int = 0) -> tf.data.Dataset:
        """The batches of an epoch from batch number `skip` on, as an uninterrupted epoch would have gone on."""
        shuffle = stream_seed(self.seed, epoch) if self.training else None
        data = self._shared_out(self._examples(shuffle, skip * self.batch_size), skip)
        data = self._batch(data, epoch).map(_with_share, num_parallel_calls=tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.deterministic = True
        return data.with_options(options).prefetch(tf.data.AUTOTUNE)

    def in_order(self, view: int | None = None) -> tf.data.Dataset:
        """The batches in the order of the examples; with `view`, each example as it is augmented in that epoch."""
        data = replace(self, training=view is not None)._batch(self.examples.dataset(), view or 0)
        options = tf.data.Options()
        options.deterministic = True
        return data.with_options(options).prefetch(tf.data.AUTOTUNE)

    def _shared_out(self, data: tf.data.Dataset, skip: int) -> tf.data.Dataset:
        """`data` without a rest that is too small to give each replica an example, or with that rest made up."""
        rest = len(self.examples) % self.batch_size
        if not 0 < rest < self.replicas:
            return data
        if self.training:
            return data.take(len(self.examples) - rest - skip * self.batch_size)
        return data.concatenate(data.take(self.replicas - rest).repeat().take(self.replicas - rest))

    def _examples(self, shuffle_seed: int | None, skip: int) -> tf.data.Dataset:
        return self.examples.dataset(shuffle_seed=shuffle_seed, skip=skip)

    def _batch(self, data: tf.data.Dataset, epoch: int) -> tf.data.Dataset:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ImageBatches(Batches):
    """Batches of images, decoded, resized, augmented while training, and preprocessed for the backbone."""

    preprocess: Callable[[Any], Any]
    """`[N, H, W, 3] float32` in 0..255 to what the backbone takes."""
    size: tuple[int, int]
    """Height and width in pixels."""
    resize: Resize = "crop"
    augment: Augment | None = None
    reduced: bool = False
    """Whether a large JPEG is decoded at the scale that is needed (`image.decode_reduced`), not in full."""

    @cached_property
    def _numbers(self) -> tf.Tensor:
        """[N] int64: what each example's augmentation is drawn from, in host memory."""
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(augmentation.example_numbers(self.examples.digests))

    def _batch(self, data: tf.data.Dataset, epoch: int) -> tf.data.Dataset:
        augment = self.augment if self.training else None
        numbers = self._numbers if augment is not None else None

        def one(example: dict[str, Any]) -> dict[str, Any]:
            loaded = images.load_resized(example, self.size, self.resize, self.reduced)
            if augment is None:
                return loaded
            seed = augmentation.example_seed(self.seed, epoch, tf.gather(numbers, example["index"]))
            return {**loaded, "image": augmentation.augment(loaded["image"], seed, augment)}

        def whole(batch: dict[str, Any]) -> dict[str, Any]:
            if augment is not None and (augment.mixup or augment.cutmix):
                seed = augmentation.example_seed(self.seed, epoch, tf.gather(numbers, batch["index"][0]))
                batch = augmentation.mix(batch, seed, augment)
            return {**batch, "image": self.preprocess(batch["image"])}

        data = data.map(one, num_parallel_calls=tf.data.AUTOTUNE)
        data = data.batch(self.batch_size, drop_remainder=self.drop_remainder)
        return data.map(whole, num_parallel_calls=tf.data.AUTOTUNE)


@dataclass(frozen=True, kw_only=True)
class TextBatches(Batches):
    """Batches of tokenised texts, padded to the longest of each batch, or all to `length`.

    Texts of like length share a batch, so that little of it is padding: while training among the next `WINDOW` batches
    of a shuffled epoch, and the batches are shuffled again.
    """

    examples: Columns
    pad_values: Mapping[str, int | bool]
    length: int | None = None
    """Tokens that every batch is padded to; None: the batch's longest, rounded up."""

    def _examples(self, shuffle_seed: int | None, skip: int) -> tf.data.Dataset:
        lengths = self.examples.inputs["padding_mask"].row_lengths().numpy()
        return self.examples.ordered(by_length(lengths, self.batch_size, shuffle_seed)[skip:])

    def _batch(self, data: tf.data.Dataset, epoch: int) -> tf.data.Dataset:
        pads = self.pad_values

        def one(example: Mapping[str, Any]) -> dict[str, Any]:
            if self.length is not None:
                return dict(example)
            length = tf.shape(example["padding_mask"])[0]
            room = -length % LENGTH_STEP
            return {
                name: tf.pad(value, [[0, room]], constant_values=pads[name]) if name in pads else value
                for name, value in example.items()
            }

        data = data.map(one, num_parallel_calls=tf.data.AUTOTUNE)
        shapes = keras.tree.map_structure(lambda spec: spec.shape, data.element_spec)
        shapes = {name: [self.length] if name in pads else shape for name, shape in shapes.items()}
        values = {
            name: tf.constant(pads.get(name, 0), spec.dtype) if spec.dtype != tf.string else ""
            for name, spec in data.element_spec.items()
        }
        return data.padded_batch(self.batch_size, shapes, values, drop_remainder=self.drop_remainder)


@dataclass(frozen=True, kw_only=True)
class StringBatches(Batches):
    """Batches of texts as they are, for a backbone that has its tokeniser inside."""

    def _batch(self, data: tf.data.Dataset, epoch: int) -> tf.data.Dataset:
        return data.batch(self.batch_size, drop_remainder=self.drop_remainder)


def by_length(lengths: np.ndarray, batch_size: int, shuffle_seed: int | None) -> np.ndarray:
    """An order of the positions of `lengths` ([N] int) in which runs of `batch_size` have like lengths.

    With a seed: a permutation, sorted by length within windows, whose full batches are shuffled. Without: by length.
    """
    if shuffle_seed is None:
        return np.argsort(lengths, kind="stable")
    random = np.random.default_rng(shuffle_seed)
    order = random.permutation(len(lengths))
    window = WINDOW * batch_size
    for start in range(0, len(order), window):
        part = order[start : start + window]
        order[start : start + window] = part[np.argsort(lengths[part], kind="stable")]
    whole = len(order) // batch_size * batch_size
    last = random.integers(0, whole // batch_size + 1) * batch_size  # where the incomplete batch is cut from
    tail = order[last : last + len(order) - whole]
    rest = np.concatenate([order[:last], order[last + len(order) - whole :]])
    batches = rest.reshape(-1, batch_size)
    return np.concatenate([batches[random.permutation(len(batches))].reshape(-1), tail])


def _with_share(batch: Mapping[str, Any]) -> dict[str, Any]:
    size = tf.shape(batch["index"])[0]
    return {**batch, "share": tf.fill([size], 1.0 / tf.cast(size, tf.float32))}


def prepare(
    examples: Examples,
    preprocess: Any,
    *,
    modality: str,
    batch_size: int,
    resize: Resize = "crop",
    training: bool = False,
    seed: int = 0,
    augment: Augment | None = None,
    replicas: int = 1,
    reduced: bool = False,
) -> Batches:
    """The batches of `examples` for a backbone whose `preprocess` this is; texts are tokenised here, once,
    unless the backbone does it (its preprocess then pads nothing). `reduced`: as in `ImageBatches`."""
    common: dict[str, Any] = {"batch_size": batch_size, "training": training, "seed": seed, "replicas": replicas}
    if modality == "text" and not preprocess.pad_values:
        if "text_pair" in examples.dataset().element_spec:
            raise UserError("text_pair: this backbone reads one text; for pairs take one that is given tokens (minilm, bert)")
        return StringBatches(examples=examples, **common)
    if modality == "text":
        return TextBatches(examples=tokenize(examples, preprocess), pad_values=preprocess.pad_values, **common)
    return ImageBatches(
        examples=examples,
        preprocess=preprocess,
        size=preprocess.size,
        resize=resize,
        augment=augment,
        reduced=reduced,
        **common,
    )
