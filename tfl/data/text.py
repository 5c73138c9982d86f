"""Texts to token ids, once: examples keep their own length, and a batch is padded to its longest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfl.data.examples import Columns, Examples
from tfl.lazy import tf

Tokenize = Callable[..., Mapping[str, Any]]
"""`(texts [N] string, pairs [N] string or None) -> {name: [N, L] tensor}` with a `padding_mask` among them."""

CHUNK = 1024  # texts tokenised at a time: enough for speed, little memory


def tokenize(examples: Examples, preprocess: Tokenize) -> Columns:
    """`examples` with their `text` (and `text_pair`) columns replaced by ragged columns of token ids and masks.

    Examples that have been through this are returned as they are.
    """
    if not isinstance(examples, Columns):
        examples = _in_memory(examples)
    if "padding_mask" in examples.inputs:
        return examples
    texts = examples.inputs["text"]
    pairs = examples.inputs.get("text_pair")
    ragged: dict[str, list[Any]] = {}
    for start in range(0, len(examples), CHUNK):
        part = slice(start, start + CHUNK)
        encoded = preprocess(_strings(texts[part]), None if pairs is None else _strings(pairs[part]))
        lengths = tf.reduce_sum(tf.cast(encoded["padding_mask"], tf.int64), axis=-1)
        for name, tensor in encoded.items():
            ragged.setdefault(name, []).append(tf.RaggedTensor.from_tensor(tensor, lengths=lengths))
    return dataclasses.replace(examples, inputs={name: tf.concat(parts, axis=0) for name, parts in ragged.items()})


def _in_memory(examples: Examples) -> Columns:
    """A stream's texts as columns; texts are small beside the token ids that are made of them anyway."""
    rows: dict[str, list[bytes]] = {}
    for example in examples.dataset().as_numpy_iterator():
        for name in ("text", "text_pair"):
            if name in example:
                rows.setdefault(name, []).append(example[name])
    inputs = {name: np.asarray(values, object) for name, values in rows.items()}
    return Columns(ids=examples.ids, inputs=inputs, labels=examples.labels, digests=examples.digests)


def _strings(values: np.ndarray) -> Any:
    return tf.constant(list(values), tf.string)
