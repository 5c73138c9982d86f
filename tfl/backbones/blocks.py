"""Where a network can be cut: its layers as a graph, and the blocks that they form, in order from input to output."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tfl.lazy import keras


@dataclass(frozen=True)
class Block:
    """Layers that are frozen and trained together."""

    name: str
    layers: tuple[keras.layers.Layer, ...]


class Graph:
    """The operations of a functional model in topological order, and what each of them depends on.

    Sets of operations are bit masks (bit i is operation i): NASNet has over a thousand operations.
    """

    def __init__(self, model: keras.Model) -> None:
        self.operations: list[Any] = []
        self._place: dict[int, int] = {}
        self._strict: list[int] = []
        self._edges: list[tuple[int, int]] = []
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                self._add(node)

    def _add(self, node: Any) -> None:
        place = self._place.setdefault(id(node.operation), len(self.operations))
        if place == len(self.operations):
            self.operations.append(node.operation)
            self._strict.append(0)
        for parent in node.parent_nodes:  # a layer called several times (ALBERT) has several nodes, and may be its own parent
            above = self._place[id(parent.operation)]
            if above != place:
                self._edges.append((above, place))
                self._strict[place] |= (self._strict[above] | 1 << above) & ~(1 << place)

    def place(self, operation: Any) -> int:
        """The position of `operation` in `operations`."""
        return self._place[id(operation)]

    def below(self, operation: Any) -> int:
        """The mask of all that `operation` depends on, without itself."""
        return self._strict[self.place(operation)]

    def up_to(self, operation: Any) -> int:
        """The mask of all that `operation` depends on, and itself."""
        return self.below(operation) | 1 << self.place(operation)

    def narrow(self, first: int, before: int) -> int | None:
        """The first operation in [first, before) through which alone all that is later sees all that is earlier."""
        last_user = [0] * len(self.operations)
        for source, target in self._edges:
            last_user[source] = max(last_user[source], target)
        reach = max(last_user[:first], default=0)
        for place in range(first, before):
            if reach <= place:
                return place
            reach = max(reach, last_user[place])
        return None

    def layers(self, mask: int) -> tuple[keras.layers.Layer, ...]:
        """The layers in `mask` in topological order, inputs left out."""
        found = (operation for place, operation in enumerate(self.operations) if mask >> place & 1)
        return tuple(
            item for item in found if isinstance(item, keras.layers.Layer) and not isinstance(item, keras.layers.InputLayer)
        )


def by_name(model: keras.Model, pattern: str) -> tuple[Block, ...]:
    """The blocks of `model` by the names of its layers.

    The one group of `pattern` names the block that a layer belongs to. A block ends at the last layer of its name or,
    where a branch runs beside that layer (the shortcuts of Xception have no name of their own), where the branches meet
    again. All that its end depends on and no block before it has is in it; what comes after the last end joins the last
    block.
    """
    graph = Graph(model)
    rule = re.compile(pattern)
    last: dict[str, int] = {}
    for place, operation in enumerate(graph.operations):
        found = rule.search(operation.name)
        if found:
            last[found.group(1)] = place
    names = sorted(last, key=lambda name: last[name])
    limits = [*(last[name] for name in names[1:]), len(graph.operations)]
    ends: list[tuple[str, int]] = []
    for name, limit in zip(names, limits, strict=True):
        end = graph.narrow(last[name], limit)
        ends.append((name, graph.up_to(graph.operations[last[name] if end is None else end])))
    return split(graph, ends)


def split(graph: Graph, ends: Iterable[tuple[str, int]]) -> tuple[Block, ...]:
    """Blocks of the masks `ends`, each without what those before it have; the last takes all that is left."""
    parts = list(ends)
    taken = 0
    blocks = []
    for number, (name, mask) in enumerate(parts):
        if number == len(parts) - 1:
            mask = (1 << len(graph.operations)) - 1
        blocks.append(Block(name, graph.layers(mask & ~taken)))
        taken |= mask
    return tuple(blocks)
