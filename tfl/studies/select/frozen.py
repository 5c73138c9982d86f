"""The features of a frozen backbone, by way of the store; what they cost; and those of lower places to cut."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.backbones import Backbone
from tfl.cut import Part, cut
from tfl.data.examples import Examples
from tfl.features.extract import Request
from tfl.features.frontier import frontiers
from tfl.lazy import keras, tf
from tfl.methods.session import Session
from tfl.predict import Forward

TOP = "features"
"""The output that a head takes."""
TIMED, ROWS = 3, 8
"""Calls that are timed, after one that is not (it traces), and the examples of each."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place to cut a backbone at."""

    name: str
    """The last block below it."""
    tensor: Any
    """What is pooled there: [N, D]."""
    part: Part
    """What is computed up to it."""

    @property
    def parameters(self) -> int:
        """Weights and statistics up to it."""
        return sum(int(np.prod(variable.shape)) for variable in self.part.variables)


def places(backbone: Backbone, count: int) -> list[Place]:
    """At most `count` ends of blocks below the top, evenly spaced, the highest first; images and sequences are pooled there.

    An end that is not one map or one sequence (a branch goes around it) is no place to take features from.
    """
    backbone.unfreeze("none")
    found = []
    for frontier in list(frontiers(cut(backbone.model), backbone.blocks))[1:]:
        tensors = [one for one in frontier.part.outputs if "float" in str(one.dtype) and len(one.shape) in (3, 4)]
        if len(tensors) == 1:
            found.append((frontier, tensors[0]))
    chosen = sorted({round(step) for step in np.linspace(0, len(found) - 1, min(count, len(found)))}) if found else []
    return [Place(name=found[at][0].name, tensor=_pooled(found[at][1], backbone), part=found[at][0].part) for at in chosen]


def _pooled(tensor: Any, backbone: Backbone) -> Any:
    if len(tensor.shape) == 4:
        return keras.layers.GlobalAveragePooling2D()(tensor)
    return keras.layers.GlobalAveragePooling1D()(tensor, mask=backbone.inputs.get("padding_mask"))


def features(
    session: Session, backbone: Backbone, parts: Sequence[Examples], lower: Sequence[Place] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """`{name: [N, D]}` of the examples of all `parts` one behind the other, and what the store says: at `TOP`, and at the
    places `lower`. What the store has is read.

    Without `lower`, the rows are those that a head would be trained on later, and it finds them.
    """
    backbone.unfreeze("none")
    outputs = {TOP: backbone.outputs["features"], **{place.name: place.tensor for place in lower}}
    whole = cut(keras.Model(backbone.model.input, outputs))
    streams = {str(place): session.batches(backbone, examples) for place, examples in enumerate(parts)}
    extracted = session.extractor.extract(Request(cut=whole, blocks=backbone.blocks, streams=streams, backbone=backbone.name))
    forward = Forward(extracted.cut, session.strategy)
    found = [forward(extracted.streams[name]) for name in streams]
    return {name: np.concatenate([one[name] for one in found]) for name in outputs}, dict(extracted.facts)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a backbone costs where it is used."""

    parameters: int
    megabytes: float
    """Of its weights in memory, 10^6 bytes."""
    seconds: float
    """A forward pass of one example, of a batch of 8; reading and decoding are not in it."""


def cost_of(session: Session, backbone: Backbone, examples: Examples) -> Cost:
    """The cost of `backbone` on inputs of the size of `examples`: the quickest of a few passes, since what disturbs only
    slows.
    """
    whole = cut(backbone.model)
    if any(None in tensor.shape[1:] or tensor.dtype == "string" for tensor in whole.frozen.inputs):  # texts have a length
        few = examples.take(np.arange(min(ROWS, len(examples))))
        batch = next(iter(session.batches(backbone, few).epoch()))
    else:
        batch = {tensor.name: tf.zeros([ROWS, *tensor.shape[1:]], tensor.dtype) for tensor in whole.frozen.inputs}
    run = tf.function(whole.to_frontier, autograph=False)
    inputs, seconds = {name: batch[name] for name in whole.names}, []
    for _ in range(TIMED + 1):
        began = time.perf_counter()
        [tensor.numpy() for tensor in run(inputs)]
        seconds.append(time.perf_counter() - began)
    variables = whole.frozen.variables
    return Cost(
        parameters=sum(int(np.prod(variable.shape)) for variable in variables),
        megabytes=sum(variable.numpy().nbytes for variable in variables) / 1e6,
        seconds=min(seconds[1:]) / int(next(iter(inputs.values())).shape[0]),
    )
