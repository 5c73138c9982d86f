"""From the examples of a split to the batches that a model takes, epoch by epoch and the same every time."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.data import augment as augmentation
from tfl.data import image as images
from tfl.data.augment import Augment
from tfl.data.batches import Batched, Batches, in_batches, stream_seed, weighted
from tfl.data.config import Resize
from tfl.data.examples import Columns, Examples, strings
from tfl.data.lengths import batches_by_length, padded_lengths
from tfl.data.served import NUMBER, served
from tfl.data.steady import AHEAD, steady
from tfl.data.text import tokenize
from tfl.lazy import tf
from tfl.share import Share, split, weights


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
    service: str | None = None
    """Address of the tf.data service that computes the batches of an epoch while training; None: this process does."""

    def epoch(self, epoch: int = 0, skip: int = 0, share: Share | None = None) -> tf.data.Dataset:
        """As in `Batches`, and the same to the last bit where a service computes them."""
        if self.service is None or not self.training:
            return super().epoch(epoch, skip, share)
        batches = in_batches(len(self.examples), self.batch_size, seed=stream_seed(self.seed, epoch), replicas=self.least)
        own = split(batches[skip:], share)
        return steady(served(self.service, functools.partial(self._numbered, epoch, own), len(own))).prefetch(AHEAD)

    def _numbered(self, epoch: int, own: Sequence[tuple[np.ndarray, np.ndarray]], numbers: np.ndarray) -> tf.data.Dataset:
        """Of the (part, whole batch) in `own` those with these `numbers`, each made of what is known here by its number."""
        examples, plain = self._shipped, tf.autograph.experimental.do_not_convert
        with tf.init_scope(), tf.device("CPU:0"):
            sizes = tf.constant([len(part) for part, _ in own], tf.int64)
            flat = np.concatenate([np.empty(0, np.int64), *(part for part, _ in own)])
            positions = tf.RaggedTensor.from_row_lengths(flat, sizes)
            counts = weights([len(batch) for _, batch in own])
        most = max((len(part) for part, _ in own), default=1)

        def rows(number: Any) -> tf.data.Dataset:
            listed = tf.data.Dataset.from_tensor_slices(positions[number])
            return listed.map(plain(lambda index: {**examples.gathered(index), NUMBER: number}))

        def batched(data: tf.data.Dataset) -> tf.data.Dataset:
            key, size = plain(lambda row: row[NUMBER]), plain(lambda number: tf.gather(sizes, number))
            whole = plain(lambda _, window: window.batch(most, drop_remainder=self.static))
            return data.group_by_window(key, whole, window_size_func=size)

        def one(batch: dict[str, Any]) -> dict[str, Any]:
            number = batch[NUMBER][0]
            return {**weighted(batch, tf.gather(counts, number)), NUMBER: number}

        data = tf.data.Dataset.from_tensor_slices(numbers).flat_map(plain(rows))
        return steady(self._batch(data, epoch, batched).map(plain(one)))

    @cached_property
    def _shipped(self) -> Columns:
        """The examples, whose paths lead to the same files wherever a worker was started."""
        assert isinstance(self.examples, Columns)
        paths = strings(os.path.abspath(path) for path in self.examples.inputs["path"])
        return replace(self.examples, inputs={**self.examples.inputs, "path": paths})

    @cached_property
    def _numbers(self) -> tf.Tensor:
        """[N] int64: what each example's augmentation is drawn from, in host memory."""
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(augmentation.example_numbers(self.examples.digests))

    def _batch(self, data: tf.data.Dataset, epoch: int, batched: Batched) -> tf.data.Dataset:
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

        plain = tf.autograph.experimental.do_not_convert  # quicker to trace
        data = batched(data.map(plain(one), num_parallel_calls=tf.data.AUTOTUNE))
        return data.map(plain(whole), num_parallel_calls=tf.data.AUTOTUNE)


@dataclass(frozen=True, kw_only=True)
class TextBatches(Batches):
    """Batches of tokenised texts, padded to the longest of each batch (rounded up: `padded_lengths`).

    Texts of like length share a batch, so that little of it is padding: see `batches_by_length`. With `max_tokens` the
    batches differ in rows. The loss of each is the mean over its examples (`share`), so an example in a batch of few
    counts for more in that step.
    """

    examples: Columns
    pad_values: Mapping[str, int | bool]
    max_tokens: int | None = None
    """Tokens in a global batch at most, padding included; None: no bound but `batch_size`."""
    limit: int | None = None
    """Tokens that the backbone takes at most, and no text has more of; None: not known."""

    def __len__(self) -> int:
        """Batches an epoch; the same number in each."""
        return len(self._positions(0))

    def epoch(self, epoch: int = 0, skip: int = 0, share: Share | None = None) -> tf.data.Dataset:
        """As in `Batches`; a part is padded to the length of the whole batch."""
        return self._dataset(self._positions(epoch)[skip:], share)

    def in_order(self, view: int | None = None) -> tf.data.Dataset:
        """The batches of `batch_size` in the order of the examples; texts are the same in every view."""
        count, size = len(self.examples), self.batch_size
        return self._dataset([np.arange(start, min(start + size, count)) for start in range(0, count, size)])

    def padding(self, epoch: int = 0) -> float:
        """The share of an epoch's tokens that are padding, 0 to 1."""
        batches = self._positions(epoch)
        tokens = sum(len(batch) * int(self._padded[batch].max()) for batch in batches)
        return (tokens - sum(int(self._lengths[batch].sum()) for batch in batches)) / max(tokens, 1)

    @cached_property
    def _lengths(self) -> np.ndarray:
        """[N] int64: tokens of each text."""
        return np.asarray(self.examples.inputs["padding_mask"].row_lengths(), np.int64)

    @cached_property
    def _padded(self) -> np.ndarray:
        """[N] int64: tokens of each text where it is the longest of its batch."""
        if self.static:
            return np.full(len(self._lengths), self._lengths.max(initial=0))
        return padded_lengths(self._lengths)

    def _positions(self, epoch: int) -> list[np.ndarray]:
        return batches_by_length(
            self._padded if self.static else self._lengths,
            self.batch_size,
            max_tokens=self.max_tokens,
            seed=stream_seed(self.seed, epoch) if self.training else None,
            replicas=self.least,
        )

    def _dataset(self, batches: list[np.ndarray], share: Share | None = None) -> tf.data.Dataset:
        """The examples at the positions of each of `batches`, gathered and padded batch by batch."""
        pads, examples = self.pad_values, self.examples
        rows = self.batch_size if self.static and share is None else None
        length_of_all = int(self._lengths.max(initial=0)) if self.static else None
        own = split(batches, share)

        def gather(positions: Any, length: Any, weight: Any) -> dict[str, Any]:
            batch = examples.gathered(tf.ensure_shape(positions, [rows]))
            for name, pad in pads.items():
                padded = batch[name].to_tensor(pad, shape=tf.stack([-1, length]))
                batch[name] = tf.ensure_shape(padded, [rows, length_of_all])
            return weighted(batch, weight)

        flat = np.concatenate([np.empty(0, np.int64), *(part for part, _ in own)])
        with tf.device("CPU:0"):
            sizes = tf.constant([len(part) for part, _ in own], tf.int64)
            positions = tf.RaggedTensor.from_row_lengths(flat, sizes)
            lengths = tf.constant([self._padded[batch].max() for _, batch in own], tf.int64)
        columns = (positions, lengths, weights([len(batch) for _, batch in own]))
        data = tf.data.Dataset.from_tensor_slices(columns).map(gather, num_parallel_calls=tf.data.AUTOTUNE)
        return steady(data).prefetch(AHEAD)


@dataclass(frozen=True, kw_only=True)
class StringBatches(Batches):
    """Batches of texts as they are, for a backbone that has its tokeniser inside."""

    def _batch(self, data: tf.data.Dataset, epoch: int, batched: Batched) -> tf.data.Dataset:
        return batched(data)


def check_max_tokens(max_tokens: int | None, preprocess: Any, modality: str) -> None:
    """Raises `UserError` where there is a budget of tokens for a backbone that is not given tokens."""
    if max_tokens is None or (modality == "text" and preprocess.pad_values):
        return
    reads = "images" if modality == "image" else "texts as they are"
    raise UserError(f"data.max_tokens: this backbone reads {reads}, not tokens; leave it out, and set data.batch_size")


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
    static: bool = False,
    reduced: bool = False,
    max_tokens: int | None = None,
    service: str | None = None,
) -> Batches:
    """The batches of `examples` for a backbone whose `preprocess` this is; texts are tokenised here, once,
    unless the backbone does it (its preprocess then pads nothing). `reduced`: as in `ImageBatches`; `max_tokens`: as in
    `TextBatches`; `service`: as in `ImageBatches`."""
    check_max_tokens(max_tokens, preprocess, modality)
    common: dict[str, Any] = {
        "batch_size": batch_size,
        "training": training,
        "seed": seed,
        "replicas": replicas,
        "static": static,
    }
    if modality == "text" and not preprocess.pad_values:
        if "text_pair" in examples.element_spec:
            raise UserError("text_pair: this backbone reads one text; for pairs take one that is given tokens (minilm, bert)")
        return StringBatches(examples=examples, **common)
    if modality == "text":
        tokens = tokenize(examples, preprocess)
        limit = preprocess.sequence_length
        return TextBatches(examples=tokens, pad_values=preprocess.pad_values, max_tokens=max_tokens, limit=limit, **common)
    return ImageBatches(
        examples=examples,
        preprocess=preprocess,
        size=preprocess.size,
        resize=resize,
        augment=augment,
        reduced=reduced,
        service=service,
        **common,
    )
