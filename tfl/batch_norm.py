"""BatchNorm statistics of the weights as they are now, in place of a moving average of what they were."""

from __future__ import annotations

from typing import Any

from tfl.cut import Cut
from tfl.data.batches import Batches
from tfl.distribute import distributed
from tfl.lazy import tf
from tfl.models import batch_norms

BATCHES = 50  # enough for a mean and a variance; more changes the third digit


def reestimate(model: Cut, stream: Batches, strategy: Any) -> None:
    """Sets the statistics of every BatchNorm layer that trains to their mean over up to 50 training batches.

    A moving average with momentum 0.999, as MobileNetV2 has, still remembers its first values after a thousand steps.
    Dropout is off meanwhile. (Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, section 3.)
    """
    layers = batch_norms(model.model)
    rates = [layer for layer in model.model._flatten_layers() if getattr(layer, "rate", 0)]
    momenta, dropped = [layer.momentum for layer in layers], [layer.rate for layer in rates]
    keep = tf.Variable(0.0, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
    try:
        for layer in layers:
            layer.momentum = keep
        for layer in rates:
            layer.rate = 0.0
        forward = tf.function(lambda batch: strategy.run(lambda part: _run(model, part), args=(batch,)), autograph=False)
        for number, batch in zip(range(min(BATCHES, len(stream))), distributed(strategy, stream.epoch), strict=False):
            keep.assign(number / (number + 1))  # the running mean of so many batches
            forward(batch)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for layer, rate in zip(rates, dropped, strict=True):
            layer.rate = rate


def _run(model: Cut, batch: Any) -> None:
    model(batch, training=True)
