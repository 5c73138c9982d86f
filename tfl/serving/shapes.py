"""What a request may bring, over REST and gRPC: its shapes are looked at before anything of their size is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Malformed(ValueError):
    """A request that cannot be understood; the message says why."""


class TooLarge(ValueError):
    """A request that asks for more than one may; the message says what."""


def check(shapes: Mapping[str, Sequence[int]], specs: Mapping[str, Any], *, rows: int, length: int) -> None:
    """Looks at the shapes of a request's inputs, [n, …] each.

    `specs`: tensor specs by name. `rows`: n at most; `length`: of an axis whose size the specs leave open, at most. Raises
    `Malformed` and `TooLarge`.
    """
    lengths = {}
    for name, spec in specs.items():
        shape = list(shapes[name])
        if shape and shape[0] < 1:
            raise Malformed(f"{name}: there are no rows in the shape {shape}; at least 1 is expected")
        if shape and shape[0] > rows:
            raise TooLarge(f"{name}: {shape[0]} rows; at most {rows} in a request")
        if len(shape) != spec.shape.rank or any(want not in (None, size) for size, want in zip(shape, spec.shape, strict=True)):
            raise Malformed(f"{name}: the shape {shape} does not fit {spec.shape}")
        open_sizes = [size for size, want in zip(shape[1:], spec.shape[1:], strict=True) if want is None]
        if open_sizes and min(open_sizes) < 1:
            raise Malformed(f"{name}: the shape {shape} holds no values; at least 1 in each row is expected")
        if open_sizes and max(open_sizes) > length:
            raise TooLarge(f"{name}: the shape {shape} is too long; this model takes at most {length} values in a row")
        if open_sizes:
            lengths[name] = open_sizes
    counts = {name: shape[0] for name, shape in shapes.items()}
    if len(set(counts.values())) > 1:
        raise Malformed(f"inputs have different numbers of rows: {counts}; give each the same")
    if len(set(map(tuple, lengths.values()))) > 1:
        told = {name: sizes[0] for name, sizes in lengths.items()}
        raise Malformed(f"inputs have rows of different lengths: {told}; give each the same")
