"""From a backbone and tasks to one Keras model, and from there to the part that trains and the part that does not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tfl.backbones.backbone import Backbone
from tfl.lazy import keras
from tfl.phases import Phase, Trainable
from tfl.report import Moved
from tfl.tasks import Task


def build(backbone: Backbone, tasks: Mapping[str, Task]) -> keras.Model:
    """One flat functional model from the backbone's inputs to `{task name: logits [N, …] float32}`.

    Flat means that the backbone's layers are the model's own, so that the model can be cut at any of them.
    """
    features = backbone.outputs["features"]
    taken = {layer.name for layer in backbone.model.layers}
    outputs = {}
    for number, (name, task) in enumerate(tasks.items()):
        layer = "head" if number == 0 else f"head_{number}"  # a label's own name need not be one that a layer can have
        outputs[name] = task.head(features, name=layer if layer not in taken else f"{layer}_of_task")
    return keras.Model(backbone.inputs, outputs, name="model")


def set_trainable(
    model: keras.Model, backbone: Backbone, trainable: Trainable, batch_norm: Literal["frozen", "train"] = "frozen"
) -> None:
    """Makes trainable what a phase declares: `trainable` of the backbone, and every head."""
    own = {id(layer) for layer in backbone.model.layers}
    for layer in model.layers:
        if id(layer) not in own:
            layer.trainable = True
    backbone.unfreeze("none" if trainable == "head" else trainable, batch_norm=batch_norm)


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


@dataclass(frozen=True)
class Cut:
    """A model in two parts at the frontier: the last tensors that no trainable variable shapes.

    `frozen` goes from the model's inputs to the frontier, `upper` from there to the model's outputs; their composition
    is the model, to the last bit. Where nothing can be cut off, `frozen` has no nodes and hands the inputs on.
    """

    model: keras.Model
    frozen: Part
    upper: Part

    def __call__(self, inputs: Mapping[str, Any], *, training: bool) -> Any:
        """The model's outputs for `inputs`, a dict of batched tensors; the frozen part always runs as in inference."""
        return self.from_frontier(self.to_frontier(inputs), training=training)

    def to_frontier(self, inputs: Mapping[str, Any]) -> list[Any]:
        """The frontier's tensors for `inputs`, a dict of batched tensors."""
        return self.frozen([inputs[key.name] for key in self.frozen.inputs], training=False)

    def from_frontier(self, tensors: Sequence[Any], *, training: bool) -> Any:
        """The model's outputs for the frontier's tensors."""
        return keras.tree.pack_sequence_as(self.model.output, self.upper(tensors, training=training))


def cut(model: keras.Model) -> Cut:
    """`model` cut where its frozen part ends, found by reachability from the trainable variables.

    A layer is live when it has trainable variables or when any of its inputs comes from a live layer; the frontier is
    what live layers, and the outputs, take from the others.
    """
    live: set[int] = set()  # ids of the tensors that a trainable variable shapes
    frontier: dict[int, Any] = {}
    below, above = [], []
    for node in _nodes(model):
        tensors = list(node.arguments.keras_tensors)
        if getattr(node.operation, "trainable_variables", ()) or any(id(tensor) in live for tensor in tensors):
            above.append(node)
            live.update(id(tensor) for tensor in node.outputs)
            frontier.update((id(tensor), tensor) for tensor in tensors if id(tensor) not in live)
        else:
            below.append(node)
    outputs = keras.tree.flatten(model.output)
    frontier.update((id(tensor), tensor) for tensor in outputs if id(tensor) not in live)
    edge = list(frontier.values())
    return Cut(model, Part(keras.tree.flatten(model.input), edge, below), Part(edge, outputs, above))


def _nodes(model: keras.Model) -> list[Any]:
    """The calls of a functional model's layers, from input to output."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]


def variables(model: keras.Model) -> list[Any]:
    """Every weight and statistic of `model`, without the counters of its random number generators."""
    return [variable for variable in model.variables if "seed_generator" not in variable.path]


@dataclass(frozen=True)
class Group:
    """Variables that share a learning rate."""

    name: str
    variables: Sequence[Any]
    scale: float
    """Factor on the phase's learning rate."""


def groups(model: keras.Model, backbone: Backbone, phase: Phase) -> list[Group]:
    """The trainable variables of `model` by learning rate: one group, or one a block where `layer_decay` is below 1."""
    if phase.layer_decay == 1:
        return [Group("all", list(model.trainable_variables), 1.0)]
    result: list[Group] = []
    claimed: set[int] = set()
    blocks = [(block.name, [v for layer in block.layers for v in layer.trainable_variables]) for block in backbone.blocks]
    blocks = [(name, members) for name, members in blocks if members]
    for distance, (name, members) in enumerate(reversed(blocks)):
        result.append(Group(name, members, phase.layer_decay**distance))
        claimed.update(id(variable) for variable in members)
    head = [variable for variable in model.trainable_variables if id(variable) not in claimed]
    return [Group("head", head, 1.0), *result]


def snapshot(model: keras.Model) -> list[bytes]:
    """A digest of the bytes of each of `variables(model)`, to find out later which of them moved."""
    return [hashlib.blake2b(variable.numpy().tobytes(), digest_size=16).digest() for variable in variables(model)]


def what_moved(model: keras.Model, before: Sequence[bytes]) -> Moved:
    """Compares `model` with its `snapshot` from before a phase and holds it to what was declared trainable.

    Raises `RuntimeError` naming the variables that were frozen and moved all the same; `statistics` may move, those of
    a frozen layer may not.
    """
    trainable = {id(variable) for variable in model.trainable_variables}
    free = {id(variable) for variable in statistics(model)}
    changed, still, broken, frozen = 0, [], [], 0
    for variable, old, new in zip(variables(model), before, snapshot(model), strict=True):
        if id(variable) in trainable:
            changed += old != new
            still += [variable.path] if old == new else []
        elif id(variable) not in free:
            frozen += 1
            broken += [variable.path] if old != new else []
    if broken:
        raise RuntimeError(
            f"{len(broken)} frozen variables moved in this phase, the first of them {', '.join(broken[:5])}. "
            f"The results would not be what the config declares. Something other than the training step writes to them: "
            f"a callback, or a layer that ignores trainable=False."
        )
    return Moved(changed=changed, frozen=frozen, still=tuple(still))


def batch_norms(model: keras.Model) -> list[Any]:
    """The BatchNorm layers of `model` that train."""
    layers = model._flatten_layers()
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def statistics(model: keras.Model) -> list[Any]:
    """What training moves in `model` beside its trainable variables: statistics of BatchNorm layers that train, and of
    TF Hub modules that know that they do.
    """
    from tfl.backbones.hub_layer import HubLayer

    modules = [layer for layer in model._flatten_layers() if isinstance(layer, HubLayer)]
    knowing = [module for module in modules if module.trainable and module.batch_norm == "train"]
    return [variable for layer in [*batch_norms(model), *knowing] for variable in layer.non_trainable_variables]
