"""A pre-trained network with named inputs and outputs, its preprocessing and its blocks, and what of it trains."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tfl.backbones.blocks import Block, Graph
from tfl.backbones.weights import WeightsReport
from tfl.config import UserError, did_you_mean
from tfl.lazy import keras
from tfl.phases import Last, Lora

What = bool | str | Last | Lora | Mapping[str, int]


class Backbone:
    """A pre-trained `keras.Model` and what is needed to use it and to train part of it.

    `model` maps a dict of inputs (`image`, or `token_ids`, `padding_mask`, …) to the pooled features [N, D], float32
    unless the dtype policy says otherwise. `outputs` has these features and the unpooled `map` [N, h, w, C] or
    `sequence` [N, L, C]. `preprocess` makes the inputs from what a batch of examples holds. `blocks` go from input to
    output, and every layer with weights is in exactly one of them.
    """

    def __init__(
        self,
        *,
        name: str,
        modality: Literal["image", "text"],
        model: keras.Model,
        outputs: Mapping[str, keras.KerasTensor],
        preprocess: Any,
        blocks: Sequence[Block],
        weights: WeightsReport,
    ) -> None:
        self.name = name
        self.modality = modality
        self.model = model
        self.inputs: dict[str, keras.KerasTensor] = {tensor.name: tensor for tensor in model.inputs}
        self.outputs = dict(outputs)
        self.preprocess = preprocess
        self.blocks = tuple(blocks)
        self.weights = weights

    def __call__(self, x: Any, **kwargs: Any) -> Any:
        """The pooled features of `x`: preprocessed inputs, as a dict (other keys are ignored) or, of one input, as a
        tensor.
        """
        inputs = {name: x[name] for name in self.inputs} if isinstance(x, Mapping) else x
        if not isinstance(inputs, dict) and len(self.inputs) == 1:
            inputs = dict.fromkeys(self.inputs, inputs)
        return self.model(inputs, **kwargs)

    def __repr__(self) -> str:
        return f"Backbone({self.name}, {self.weights.origin}, blocks {', '.join(block.name for block in self.blocks)})"

    @property
    def trainable(self) -> Any:
        """The names of the blocks in which something trains; set it to what `unfreeze` takes."""
        return tuple(block.name for block in self.blocks if any(v.trainable for layer in block.layers for v in layer.weights))

    @trainable.setter
    def trainable(self, what: What) -> None:
        self.unfreeze(what)

    def unfreeze(self, what: What, batch_norm: Literal["frozen", "train"] = "frozen") -> None:
        """Makes `what` trainable and all else frozen.

        `what`: True or "all"; False, "none" or "head" (nothing of the backbone); the name of a block, or a pattern of
        names (`fnmatch`), which means the lowest block that matches and all above it; the name, pattern or beginning of
        the name of layers, which means the lowest of them and everything that it does not depend on; `{"last": N}`, the
        last N blocks; `{"lora": RANK}`, adapters beside the query and value matrices of every attention layer, all else
        frozen.

        BatchNorm layers stay frozen, statistics included, unless `batch_norm` is "train"; a module of TF Hub, whose
        layers cannot be seen, runs as in inference so long. Raises `UserError` where `what` matches nothing or does not
        apply.
        """
        if isinstance(what, Mapping):
            what = _from_mapping(what)
        if isinstance(what, Lora):
            self._adapt(what.lora)
            return
        chosen = {id(layer) for layer in self._select(what)}
        self.model.trainable = True  # the container; whether a layer trains is decided by each layer below
        for block in self.blocks:
            for layer in block.layers:
                _set_trainable(layer, id(layer) in chosen)
        from tfl.backbones.hub_layer import HubLayer

        for leaf in self.model._flatten_layers():
            if isinstance(leaf, HubLayer):
                leaf.batch_norm = batch_norm
            elif batch_norm == "frozen" and isinstance(leaf, keras.layers.BatchNormalization):
                _set_trainable(leaf, False)

    def _select(self, what: bool | str | Last) -> tuple[keras.layers.Layer, ...]:
        if what is True or what == "all":
            return _layers(self.blocks)
        if what is False or what in ("none", "head"):
            return ()
        if isinstance(what, Last):
            if what.last > len(self.blocks):
                raise UserError(f"last: {what.last} is too many; {self._explain_blocks()}")
            return _layers(self.blocks[-what.last :])
        if not isinstance(what, str):
            raise UserError(
                f"trainable: {what!r} is not valid; all, none, a block's name or pattern, {{last: N}} or {{lora: RANK}}"
            )
        for number, block in enumerate(self.blocks):
            if fnmatch.fnmatchcase(block.name, what):
                return _layers(self.blocks[number:])
        return self._select_layers(what)

    def _select_layers(self, pattern: str) -> tuple[keras.layers.Layer, ...]:
        graph = Graph(self.model)
        everything = graph.layers((1 << len(graph.operations)) - 1)
        named = [layer for layer in everything if fnmatch.fnmatchcase(layer.name, pattern)]
        named = named or [layer for layer in everything if layer.name.startswith(pattern)]
        if not named:
            near = did_you_mean(pattern, [block.name for block in self.blocks])
            raise UserError(f"trainable: no block or layer of {self.name} matches {pattern!r}{near}; {self._explain_blocks()}")
        below = graph.below(named[0])
        return tuple(layer for layer in everything if not below >> graph.place(layer) & 1)

    def _explain_blocks(self) -> str:
        names = [block.name for block in self.blocks]
        listed = names if len(names) <= 12 else [*names[:6], "…", *names[-5:]]
        return f"{self.name} has {len(names)} block{'s' * (len(names) != 1)}, from input to output: {', '.join(listed)}"

    def _adapt(self, rank: int) -> None:
        targets = list(self._projections())
        if not targets:
            raise UserError(
                f"lora: {self.name} has no attention layer with query and value matrices to put LoRA beside; "
                "use a block's name, {last: N} or all"
            )
        for layer in targets:
            if not layer.lora_enabled:
                layer.enable_lora(rank)
            elif layer.lora_rank != rank:
                raise UserError(f"lora: {rank} differs from the rank {layer.lora_rank} of the adapters that are there already")
        adapters = {id(v) for layer in targets for v in (layer.lora_kernel_a, layer.lora_kernel_b)}
        self.model.trainable = True
        for block in self.blocks:
            for layer in block.layers:
                # a layer lists what trains in it only where it is trainable itself, so all above an adapter must be
                _set_trainable(layer, any(id(variable) in adapters for variable in layer.weights))
                for variable in layer.weights:
                    variable.trainable = id(variable) in adapters

    def _projections(self) -> list[Any]:
        """The query and value layers of every attention layer.

        By attribute and not, as KerasHub's `enable_lora` does, by the layers' names: a name that matches nothing says
        nothing.
        """
        if self.modality != "text":
            return []
        found = []
        for layer in self.model._flatten_layers():
            for attribute in ("_query_dense", "_value_dense"):
                projection = getattr(layer, attribute, None)
                if projection is not None and hasattr(projection, "enable_lora"):
                    found.append(projection)
        return found


def _set_trainable(layer: keras.layers.Layer, value: bool) -> None:
    """Sets `layer` and every layer in it, and their variables, by the property itself.

    `layer.trainable = value` does nothing where the layer has that value already, whatever its inner layers have: a
    block that is frozen while something in it trains (an adapter) would stay so.
    """
    for part in layer._flatten_layers():
        type(part).trainable.fset(part, value)


def _layers(blocks: Sequence[Block]) -> tuple[keras.layers.Layer, ...]:
    return tuple(layer for block in blocks for layer in block.layers)


def _from_mapping(what: Mapping[str, int]) -> Last | Lora:
    if set(what) == {"last"}:
        return Last(last=int(what["last"]))
    if set(what) == {"lora"}:
        return Lora(lora=int(what["lora"]))
    raise UserError(f"trainable: {dict(what)} is not valid; {{last: N}} or {{lora: RANK}}")
