"""BatchNorm statistics of the weights as they are now, in place of a moving average of what they were."""

from __future__ import annotations

from typing import Any

from tfl.cut import Cut
from tfl.data.batches import Batches
from tfl.distribute import distributed
from tfl.lazy import tf
from tfl.models import batch_norms

BATCHES = 50  # enough for a mean and a variance; more changes the third digit


class Reestimator:
    """Sets the statistics of every BatchNorm layer that trains to their mean over up to 50 training batches, each with the
    weight of its rows: a last batch of one has next to no variance.

    A moving average with momentum 0.999, as MobileNetV2 has, still remembers its first values after a thousand steps.
    Dropout is off meanwhile. (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3.)
    """

    def __init__(self, model: Cut, stream: Batches, strategy: Any) -> None:
        self._model, self._stream, self._strategy = model, stream, strategy
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._seen, self._keep = (tf.Variable(0.0, trainable=False, aggregation=first) for _ in range(2))
        self._function = tf.function(self._forward, autograph=False)

    def __call__(self) -> None:
        """Sets them, from the weights as they are now."""
        model = self._model.model
        layers = batch_norms(model)
        rates = [layer for layer in model._flatten_layers() if getattr(layer, "rate", 0)]
        momenta, dropped = [layer.momentum for layer in layers], [layer.rate for layer in rates]
        try:
            for layer in layers:
                layer.momentum = self._keep
            for layer in rates:
                layer.rate = 0.0
            iterator = iter(distributed(self._strategy, self._stream.epoch))
            self._seen.assign(0.0)
            for _ in range(min(BATCHES, len(self._stream))):
                self._function(iterator)
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
            for layer, rate in zip(rates, dropped, strict=True):
                layer.rate = rate

    def _forward(self, iterator: Any) -> None:
        self._strategy.run(self._replica, args=(next(iterator),))

    def _replica(self, batch: Any) -> None:
        rows = 1.0 / batch["share"][0]  # of the whole batch, across all replicas
        self._keep.assign(self._seen / (self._seen + rows))  # the running mean of so many rows
        self._seen.assign_add(rows)
        self._model(batch, training=True)
