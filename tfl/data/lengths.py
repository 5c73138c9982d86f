"""Which texts share a batch: those of like length, so that little of a batch is padding."""

from __future__ import annotations

import numpy as np

WINDOW = 64
"""Batches of full size, at least, within which texts are sorted by length while training: with 32 of them, a tenth of SST-2
is padding, with 64 a twentieth."""
STEPS = 8
"""Lengths between a power of two and the next to which texts are padded: few shapes, and little padding at any length."""


def padded_lengths(lengths: np.ndarray) -> np.ndarray:
    """`lengths` ([N] int) rounded up: those to 16 stay, to 32 they go in steps of 2, to 64 of 4, and so on.

    None is above the longest of `lengths`, since a backbone may have no more positions than that.
    """
    lengths = np.asarray(lengths, np.int64)
    octave = np.frexp(lengths.astype(np.float64))[1]  # 2 ** (octave - 1) <= length < 2 ** octave
    step = np.maximum(1, (1 << octave.astype(np.int64)) // (2 * STEPS))
    return np.minimum(-(-lengths // step) * step, lengths.max(initial=0))


def batches_by_length(
    lengths: np.ndarray,
    batch_size: int,
    *,
    max_tokens: int | None = None,
    seed: int | None = None,
    replicas: int = 1,
) -> list[np.ndarray]:
    """The positions of `lengths` ([N] int) in the batches of an epoch, each position once.

    A batch has at most `batch_size` rows and, at the padded length of its longest (`padded_lengths`), at most `max_tokens`
    tokens; but one row for each replica always, however long. With a `seed` (training) the batches come in random order,
    and who shares one is drawn anew: texts are sorted by length within windows of a shuffled epoch. Without, they come
    in order of length.

    How many batches there are, and of which sizes, is the same for every seed. At most one is not full. Where it has fewer
    rows than `replicas`, it is left out while training, and otherwise its rows are repeated until each replica has one.
    """
    random = None if seed is None else np.random.default_rng(seed)
    padded = padded_lengths(lengths)
    order = _longest_first(lengths, padded, random)
    most = _most_rows(padded[order], batch_size, max_tokens, replicas)
    windows = 1 if random is None else max(1, len(order) // (WINDOW * batch_size))
    blocks = len(order) // windows
    sizes = _full(most[: blocks * windows : windows])
    mixed = windows * sum(sizes)
    last_sizes = _full(most[mixed:])
    rest = len(order) - mixed - sum(last_sizes)
    start = len(order) - rest
    # The batch that is not full is taken out anywhere that it fits: what comes behind moves up, and is no longer than what
    # stood there, so the sizes of the others hold.
    if random is not None and rest:
        start = int(random.integers(np.searchsorted(most, rest), start, endpoint=True))
    incomplete = order[start : start + rest]
    order = np.concatenate([order[:start], order[start + rest :]])
    # Each window has one text of every `windows` neighbours in this order, so what fits the longest of each fits them all.
    dealt = order[:mixed].reshape(-1, windows)
    if random is not None:
        dealt = random.permuted(dealt, axis=1)
    batches = [part for window in dealt.T for part in _cut(window, sizes)] + _cut(order[mixed:], last_sizes)
    if len(incomplete) >= replicas:
        batches.append(incomplete)
    elif len(incomplete) and random is None:
        batches.append(np.resize(incomplete, replicas))
    if random is None:
        return [batch[::-1] for batch in reversed(batches)]
    return [batches[place] for place in random.permutation(len(batches))]


def _longest_first(lengths: np.ndarray, padded: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
    """All positions; with `random`, those of one padded length in random order."""
    if random is None:
        return np.argsort(lengths, kind="stable")[::-1]
    order = random.permutation(len(padded))
    return order[np.argsort(-padded[order], kind="stable")]


def _most_rows(padded: np.ndarray, batch_size: int, max_tokens: int | None, replicas: int) -> np.ndarray:
    """How many rows a batch may have whose longest is padded to each of `padded`; a multiple of `replicas` by tokens."""
    if max_tokens is None:
        return np.full(len(padded), batch_size)
    rows = max_tokens // np.maximum(padded, 1) // replicas * replicas
    return np.minimum(np.maximum(rows, replicas), batch_size)


def _full(most: np.ndarray) -> list[int]:
    """The sizes of the full batches, one behind the other, where one that starts at `i` may have `most[i]` rows."""
    limits, sizes, start = most.tolist(), [], 0
    while start < len(limits) and start + limits[start] <= len(limits):
        sizes.append(limits[start])
        start += limits[start]
    return sizes


def _cut(order: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    return np.split(order, np.cumsum(sizes)[:-1]) if sizes else []
