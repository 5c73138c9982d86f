"""Where the stored part of a model may end, what its activations take on disk, and whether that is worth it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.backbones.blocks import Block
from tfl.cut import Cut, Part
from tfl.features.shard import numpy_dtype
from tfl.lazy import keras

WORTH = 100
"""Multiplications a stored byte, at least: a processor does about so many in the time in which a byte is read."""


@dataclass(frozen=True, eq=False)
class Frontier:
    """One place to cut: what comes before it is stored, what comes after it runs."""

    name: str
    """The block that is the last to be stored whole; `input` where none is."""
    part: Part
    """What is computed once."""
    rest: Cut
    """What runs on the stored tensors."""

    @property
    def dtypes(self) -> tuple[str, ...]:
        """In which the model takes the stored tensors."""
        return tuple(str(tensor.dtype) for tensor in self.part.outputs)

    @property
    def ragged(self) -> tuple[bool, ...]:
        """For each stored tensor, whether its second axis is one of tokens."""
        return tuple(len(tensor.shape) > 1 and tensor.shape[1] is None for tensor in self.part.outputs)

    def problem(self) -> str:
        """Why these tensors cannot be stored example by example, or ""."""
        for tensor in self.part.outputs:
            if not tensor.shape or tensor.shape[0] is not None or None in tensor.shape[2:]:
                return f"the tensor {tuple(tensor.shape)} at this cut is not one of each example"
            if str(tensor.dtype) == "string":
                return "nothing but the text itself is frozen"
        return ""

    def row_bytes(self, dtype: str) -> tuple[int, int]:
        """Bytes of a row stored as `dtype` where it was float32: those it always takes, and those for each token."""
        fixed = tokens = 0
        for tensor, ragged in zip(self.part.outputs, self.ragged, strict=True):
            item = numpy_dtype(dtype if str(tensor.dtype) == "float32" else str(tensor.dtype)).itemsize
            count = int(np.prod(tensor.shape[2:] if ragged else tensor.shape[1:], dtype=np.int64)) * item
            fixed, tokens = (fixed, tokens + count) if ragged else (fixed + count, tokens)
        return fixed, tokens

    def worth_it(self) -> bool:
        """Whether computing the tensors takes longer than reading them."""
        fixed, tokens = self.row_bytes("float32")
        return _work(self.part) >= WORTH * (fixed + tokens)

    def reaches(self, other: Frontier) -> bool:
        """Whether `other` lies above this one and can be computed from what is stored here."""
        own = {id(node) for node in self.part.nodes}
        above = [node for node in other.part.nodes if id(node) not in own]
        if not above or len(other.part.nodes) - len(above) < len(own):
            return False
        known = {id(tensor) for tensor in self.part.outputs} | {id(tensor) for node in above for tensor in node.outputs}
        taken = [*(tensor for node in above for tensor in node.arguments.keras_tensors), *other.part.outputs]
        return all(id(tensor) in known for tensor in taken)

    def shares(self, other: Frontier) -> bool:
        """Whether both are places in one network."""
        return not {id(node) for node in self.part.nodes}.isdisjoint(id(node) for node in other.part.nodes)

    def up_to(self, other: Frontier) -> Part:
        """What lies between this frontier and `other`, which it `reaches`."""
        own = {id(node) for node in self.part.nodes}
        return Part(self.part.outputs, other.part.outputs, [node for node in other.part.nodes if id(node) not in own])


def frontiers(cut: Cut, blocks: Sequence[Block]) -> Iterator[Frontier]:
    """The places where `cut`'s frozen part may be cut, the highest first: its end, and then the end of each block below."""
    part, rest = cut.split()
    if not part.variables:
        return
    called = {id(layer) for layer in part.layers}
    whole = [block for block in blocks if any(id(layer) in called and layer.weights for layer in block.layers)]
    yield Frontier(whole[-1].name if whole else "input", part, rest)
    for place in range(len(whole) - 1, 0, -1):
        above = {id(layer) for block in whole[place:] for layer in block.layers}
        part, rest = cut.split(lambda operation, above=above: id(operation) not in above)  # type: ignore[misc]
        yield Frontier(whole[place - 1].name, part, rest)


def _work(part: Part) -> int:
    """Multiplications for an example or, where there is an axis of tokens, for each of its tokens; about."""
    total = 0
    for node in part.nodes:
        if isinstance(node.operation, keras.layers.Layer):
            shape = node.outputs[0].shape
            positions = int(np.prod([size or 1 for size in shape[1:-1]], dtype=np.int64)) if len(shape) in (3, 4) else 1
            total += positions * sum(_kernel(layer) for layer in node.operation._flatten_layers())
    return total


def _kernel(layer: Any) -> int:
    """Numbers in the matrices that `layer` itself multiplies by; embeddings are looked up."""
    if "Embedding" in type(layer).__name__:
        return 0
    own = getattr(layer, "_trainable_variables", []) + getattr(layer, "_non_trainable_variables", [])
    return sum(int(np.prod(variable.shape)) for variable in own if len(variable.shape) >= 2)
