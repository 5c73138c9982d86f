"""From a backbone and tasks to one Keras model; what of it trains, and what of it moved."""

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


def features_of(model: keras.Model) -> Any:
    """What the heads of a model that `build` made take: the tensor [N, D] of the backbone's features."""
    names = {layer.name for layer in model.layers}
    head = "head_of_task" if "head_of_task" in names else "head"
    first = next(name for name in (f"{head}_dropout_0", f"{head}_dropout") if name in names)
    return model.get_layer(first).input


def tempered(model: keras.Model, temperature: float) -> keras.Model:
    """`model` with its logits divided by `temperature`; the layers are those of `model`."""
    outputs = {
        name: keras.layers.Rescaling(1 / temperature, dtype="float32", name=f"temperature_{place}")(logits)
        for place, (name, logits) in enumerate(model.output.items())
    }
    return keras.Model(model.input, outputs, name=model.name)


def set_trainable(
    model: keras.Model, backbone: Backbone, trainable: Trainable, batch_norm: Literal["frozen", "train"] = "frozen"
) -> None:
    """Makes trainable what a phase declares: `trainable` of the backbone, and every head."""
    own = {id(layer) for layer in backbone.model.layers}
    for layer in model.layers:
        if id(layer) not in own:
            layer.trainable = True
    backbone.unfreeze("none" if trainable == "head" else trainable, batch_norm=batch_norm)


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


def synchronize(model: keras.Model, replicas: int) -> None:
    """Lets BatchNorm layers that train take their statistics of the whole global batch, not of a replica's part of it."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = replicas > 1 and layer.trainable


def hub_modules(model: keras.Model) -> list[Any]:
    """The layers of `model` that are TF Hub modules."""
    from tfl.backbones.hub_layer import HubLayer

    return [layer for layer in model._flatten_layers() if isinstance(layer, HubLayer)]


def statistics(model: keras.Model) -> list[Any]:
    """What training moves in `model` beside its trainable variables: statistics of BatchNorm layers that train, and of
    TF Hub modules that know that they do.
    """
    knowing = [module for module in hub_modules(model) if module.trainable and module.batch_norm == "train"]
    return [variable for layer in [*batch_norms(model), *knowing] for variable in layer.non_trainable_variables]
