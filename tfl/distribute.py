"""A name becomes a `tf.distribute.Strategy`."""

from __future__ import annotations

import functools
from typing import Any, Literal

from tfl.config import UserError
from tfl.lazy import keras, tf

Name = Literal["auto", "cpu", "gpu", "mirrored"]


@functools.cache
def strategy(name: Name = "auto") -> tf.distribute.Strategy:
    """The strategy called `name`, always the same one (two of them in a process would confuse each other's reductions).

    `auto` takes every GPU there is, or else the CPU. Raises `UserError` where the devices that it needs are not there.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "gpu" and not gpus:
        raise UserError("distribute: no GPU is visible to TensorFlow; use distribute: cpu (or auto), or check nvidia-smi")
    if name == "mirrored":
        return tf.distribute.MirroredStrategy([device.name for device in gpus or tf.config.list_logical_devices("CPU")])
    if name == "cpu":
        return tf.distribute.OneDeviceStrategy("/cpu:0") if gpus else tf.distribute.get_strategy()
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.OneDeviceStrategy("/gpu:0") if gpus else tf.distribute.get_strategy()


def per_replica_seeds(model: Any) -> None:
    """Lets each replica draw dropout masks of its own; Keras gives all replicas the same ones under `strategy.run`."""
    for layer in model._flatten_layers():
        generator = getattr(layer, "seed_generator", None)
        if isinstance(generator, keras.random.SeedGenerator):
            generator.next = _PerReplica(generator)


class _PerReplica:
    """`SeedGenerator.next` with the replica's number worked into the seed."""

    def __init__(self, generator: Any) -> None:
        self._next = type(generator).next.__get__(generator)

    def __call__(self, ordered: bool = True) -> Any:
        seed = self._next(ordered)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return seed
        replica = tf.cast(context.replica_id_in_sync_group, seed.dtype)
        return seed + tf.stack([replica * 1_000_003, tf.zeros_like(replica)])
