"""A model in two parts: what a phase leaves frozen, and what it trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tfl.lazy import keras


@dataclass(frozen=True)
class Part:
    """A stretch of a functional model's graph, run on tensors without making a Keras model of it.

    (`keras.Model(intermediate, output)` would do the same, but rewires the inputs that both parts share, after which
    the whole model can no longer be saved.)
    """

    inputs: Sequence[Any]
    """KerasTensors that the part starts from."""
    outputs: Sequence[Any]
    """KerasTensors that it yields."""
    nodes: Sequence[Any]
    """The calls between them, in order."""

    def __call__(self, tensors: Sequence[Any], *, training: bool) -> list[Any]:
        """The values of `outputs` for `tensors`, the values of `inputs`."""
        values = {id(key): tensor for key, tensor in zip(self.inputs, tensors, strict=True)}
        for node in self.nodes:
            args, kwargs = node.arguments.fill_in(values)
            if getattr(node.operation, "_call_has_training_arg", False):
                kwargs["training"] = training
            results = keras.tree.flatten(node.operation(*args, **kwargs))
            values.update((id(key), result) for key, result in zip(node.outputs, results, strict=True))
        return [values[id(key)] for key in self.outputs]

    @property
    def names(self) -> tuple[str, ...]:
        """What a batch calls the part's inputs, where they are a model's."""
        return tuple(tensor.name for tensor in self.inputs)

    @property
    def layers(self) -> list[Any]:
        """The layers that the part calls, each once, in order."""
        found = {id(node.operation): node.operation for node in self.nodes}
        return [operation for operation in found.values() if isinstance(operation, keras.layers.Layer)]

    @property
    def variables(self) -> list[Any]:
        """The weights and statistics that shape what the part yields, each once, in order."""
        found = {id(variable): variable for layer in self.layers for variable in layer.variables}
        return [variable for variable in found.values() if "seed_generator" not in variable.path]


@dataclass(frozen=True)
class Cut:
    """A model in two parts at the frontier: the last tensors that nothing which trains shapes.

    `frozen` goes from what a batch holds to the frontier, `upper` from there to the model's outputs; their composition
    is the model, to the last bit. Where nothing can be cut off, `frozen` has no nodes and hands the inputs on.
    """

    model: keras.Model
    frozen: Part
    upper: Part
    names: tuple[str, ...]
    """What a batch calls the tensors that `frozen` starts from."""
    in_memory: ClassVar[bool] = False
    """Whether all that it starts from is in memory: how long a step waits for a batch is not worth timing then."""

    def __call__(self, batch: Mapping[str, Any], *, training: bool) -> Any:
        """The model's outputs for `batch`, a dict of batched tensors; the frozen part always runs as in inference."""
        return self.from_frontier(self.to_frontier(batch), training=training)

    def to_frontier(self, batch: Mapping[str, Any]) -> list[Any]:
        """The frontier's tensors for `batch`, a dict of batched tensors."""
        return self.frozen([batch[name] for name in self.names], training=False)

    def from_frontier(self, tensors: Sequence[Any], *, training: bool) -> Any:
        """The model's outputs for the frontier's tensors."""
        return keras.tree.pack_sequence_as(self.model.output, self.upper(tensors, training=training))

    def split(self, below: Callable[[Any], bool] = lambda _: True) -> tuple[Part, Cut]:
        """The frozen part as far as `below` says yes of its operations, and a cut that starts from what that yields.

        The batches of the second one hold the yielded tensors as `frozen_0`, `frozen_1`, …
        """
        reached = {id(tensor): tensor for tensor in self.frozen.inputs}
        lower, rest = [], []
        for node in self.frozen.nodes:
            if below(node.operation) and all(id(tensor) in reached for tensor in node.arguments.keras_tensors):
                lower.append(node)
                reached.update((id(tensor), tensor) for tensor in node.outputs)
            else:
                rest.append(node)
        edge = _edge(reached, rest, self.frozen.outputs)
        for node in reversed(lower.copy()):  # to pool once more what is there anyway is cheaper than to keep both
            known = {id(tensor) for tensor in edge}
            sources = {id(tensor) for tensor in node.arguments.keras_tensors}
            if {id(tensor) for tensor in node.outputs} & known and sources <= known and not _has_weights(node.operation):
                lower.remove(node)
                rest.insert(0, node)
                edge = _edge({key: tensor for key, tensor in reached.items() if key in known}, rest, self.frozen.outputs)
                made = {id(tensor) for tensor in node.outputs}
                edge = [tensor for tensor in edge if id(tensor) not in made]
        names = tuple(f"frozen_{place}" for place in range(len(edge)))
        start = Part(self.frozen.inputs, edge, lower)
        return start, Cut(self.model, Part(edge, self.frozen.outputs, rest), self.upper, names)


def cut(model: keras.Model) -> Cut:
    """`model` cut where its frozen part ends, found by reachability from what trains.

    A layer is live when it trains (see `_trains`) or when any of its inputs comes from a live layer; the frontier is
    what live layers, and the outputs, take from the others.
    """
    live: set[int] = set()  # ids of the tensors that something which trains shapes
    frontier: dict[int, Any] = {}
    below, above = [], []
    for node in _nodes(model):
        tensors = list(node.arguments.keras_tensors)
        if _trains(node.operation) or any(id(tensor) in live for tensor in tensors):
            above.append(node)
            live.update(id(tensor) for tensor in node.outputs)
            frontier.update((id(tensor), tensor) for tensor in tensors if id(tensor) not in live)
        else:
            below.append(node)
    outputs = keras.tree.flatten(model.output)
    frontier.update((id(tensor), tensor) for tensor in outputs if id(tensor) not in live)
    edge = list(frontier.values())
    frozen = Part(keras.tree.flatten(model.input), edge, below)
    return Cut(model, frozen, Part(edge, outputs, above), frozen.names)


def _edge(reached: Mapping[int, Any], rest: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
    """Those of the tensors `reached`, by id, that the calls `rest` take or that are `outputs`, each once."""
    taken = [*(tensor for node in rest for tensor in node.arguments.keras_tensors), *outputs]
    return list({id(tensor): tensor for tensor in taken if id(tensor) in reached}.values())


def _has_weights(operation: Any) -> bool:
    return bool(getattr(operation, "weights", ()))


def _trains(operation: Any) -> bool:
    """Whether `operation` has trainable variables, or is a layer which is not frozen and draws at random in training, or
    moves its statistics, as a BatchNorm without scale and centre does.

    The dropout of a head has no variables and belongs to what trains all the same, even at a rate of 0: what is stored
    must not depend on it.
    """
    if getattr(operation, "trainable_variables", ()):
        return True
    if not isinstance(operation, keras.layers.Layer) or not operation.trainable:
        return False
    return any(
        hasattr(layer, "seed_generator")
        or hasattr(layer, "rate")
        or (isinstance(layer, keras.layers.BatchNormalization) and layer.trainable)
        for layer in operation._flatten_layers()
    )


def _nodes(model: keras.Model) -> list[Any]:
    """The calls of a functional model's layers, from input to output."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]
