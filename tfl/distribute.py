"""A name becomes a `tf.distribute.Strategy`; and what the processes of a cluster say to each other."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from tfl.config import UserError
from tfl.lazy import keras, tf
from tfl.share import Share

Name = Literal["auto", "cpu", "gpu", "mirrored", "multi_worker", "tpu"]


@functools.cache
def strategy(name: Name = "auto") -> tf.distribute.Strategy:
    """The strategy called `name`, always the same one (two of them in a process would confuse each other's reductions).

    `auto` takes every worker of the cluster that the process belongs to, or else the TPU that the environment variable
    TPU_NAME names, or else every GPU there is, or else the CPU. Raises `UserError` where what it needs is not there.
    """
    if name == "multi_worker" or (name == "auto" and _cluster() != "none"):
        return _without_optionals(_multi_worker())
    if name == "tpu" or (name == "auto" and os.environ.get("TPU_NAME")):
        return _without_optionals(_tpu())
    gpus = tf.config.list_logical_devices("GPU")
    if name == "gpu" and not gpus:
        raise UserError("distribute: no GPU is visible to TensorFlow; use distribute: cpu (or auto), or check nvidia-smi")
    if name == "mirrored":
        devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
        return _without_optionals(tf.distribute.MirroredStrategy(devices))
    if name == "cpu":
        return tf.distribute.OneDeviceStrategy("/cpu:0") if gpus else tf.distribute.get_strategy()
    if name == "auto" and len(gpus) > 1:
        return _without_optionals(tf.distribute.MirroredStrategy())
    return tf.distribute.OneDeviceStrategy("/gpu:0") if gpus else tf.distribute.get_strategy()


def _without_optionals(made: tf.distribute.Strategy) -> tf.distribute.Strategy:
    """Without TensorFlow's own handling of ends: every replica gets a part of every batch, and none is read behind the last."""
    made.extended.experimental_enable_get_next_as_optional = False
    return made


# --- TPUs -------------------------------------------------------------------------------------------------------------


def _tpu() -> tf.distribute.Strategy:
    """The TPU that TPU_NAME names, or the one of this machine ("local")."""
    name = os.environ.get("TPU_NAME", "local")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except Exception as error:  # TensorFlow has a kind of its own for each way in which there is none
        raise UserError(
            f"distribute: no TPU was found ({_first_line(error)}). The plain tensorflow package has no TPU operations: install "
            f"tensorflow-tpu and libtpu as docs/scaling.md says, and set TPU_NAME where the TPU is not this machine's own"
        ) from error


def _first_line(error: Exception) -> str:
    """The first line of what `error` says that is more than a heading, as TensorFlow sets above errors of graphs."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line and not line.endswith(":") and line[0] != "<"), type(error).__name__)[:200]


def needs_static_shapes(made: tf.distribute.Strategy) -> bool:
    """Whether what trains under the strategy is compiled for one shape."""
    return isinstance(made, tf.distribute.TPUStrategy)


# --- clusters ---------------------------------------------------------------------------------------------------------


def _cluster() -> str:
    """What describes a cluster of several processes that this one belongs to: TF_CONFIG, slurm, or none."""
    if os.environ.get("TF_CONFIG"):
        cluster = _tf_config().get("cluster", {})
        return "TF_CONFIG" if sum(len(cluster.get(kind, ())) for kind in ("chief", "worker")) > 1 else "none"
    return "slurm" if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1 else "none"


def _tf_config() -> dict[str, Any]:
    try:
        read = json.loads(os.environ["TF_CONFIG"])
        if isinstance(read, dict):
            return read
    except ValueError:
        pass
    raise UserError(
        "TF_CONFIG: it is not the JSON of a cluster; valid is "
        '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
    )


def _multi_worker() -> tf.distribute.Strategy:
    resolvers = tf.distribute.cluster_resolver
    found = _cluster()
    if found == "none":
        raise UserError(
            "distribute: multi_worker needs a cluster: set TF_CONFIG, start it by srun, or try it on this machine with "
            "`tfl launch --workers 2 -- train …`"
        )
    resolver = resolvers.TFConfigClusterResolver() if found == "TF_CONFIG" else resolvers.SlurmClusterResolver()
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except RuntimeError as error:  # "Collective ops must be configured at program startup"
        raise UserError(f"distribute: a cluster has to be joined before TensorFlow is used in this process: {error}") from error


@functools.cache
def workers(made: tf.distribute.Strategy) -> Workers:
    """The processes that a strategy joins; one, for all strategies but multi_worker."""
    return Workers(made)


class Workers:
    """The processes that train together, of which this is one. Every call has to be made by all of them, in the same order."""

    def __init__(self, strategy: tf.distribute.Strategy | None = None) -> None:
        self.count, self.index = 1, 0
        if strategy is not None and isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver: Any = strategy.cluster_resolver
            spec = resolver.cluster_spec().as_dict()
            self.count = sum(len(spec.get(kind, ())) for kind in ("chief", "worker"))
            self.index = resolver.task_id + (len(spec.get("chief", ())) if resolver.task_type == "worker" else 0)
        self._strategy: Any = strategy
        self._function = tf.function(self._gather, autograph=False)

    @property
    def is_chief(self) -> bool:
        """Whether this is the one that writes."""
        return self.index == 0

    def most(self, values: Sequence[float]) -> np.ndarray:
        """The largest of each of the values that the workers give, [n] float64, on all of them."""
        given = np.asarray(values, np.float64)
        if self.count == 1:
            return given
        return np.asarray(self._gathered(given).max(axis=0))

    def total(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The sum over the workers of each array."""
        if self.count == 1:
            return list(values)
        given = [np.asarray(value) for value in values]
        return [np.asarray(self._gathered(value).sum(axis=0), value.dtype) for value in given]

    def agree(self, yes: bool) -> bool:
        """Whether all of them say yes."""
        return bool(self.most([0.0 if yes else 1.0])[0] == 0)

    def wait(self) -> None:
        """Until all of them are here."""
        self.agree(True)

    def _gathered(self, value: np.ndarray) -> np.ndarray:
        """What each worker gives, [workers, …]; each of a worker's replicas gives the same."""
        found: np.ndarray = self._function(tf.constant(value)).numpy()
        return found[:: self._strategy.num_replicas_in_sync // self.count]

    def _gather(self, value: Any) -> Any:
        return self._strategy.gather(self._strategy.run(lambda one: one[None], args=(value,)), axis=0)


def distributed(made: tf.distribute.Strategy, read: Callable[..., tf.data.Dataset]) -> Any:
    """What `read(share=…)` gives for a share of each batch, or for None the whole of it, as the strategy's replicas take it.

    Who iterates counts: behind the last batch there is nothing.
    """
    replicas = made.num_replicas_in_sync
    if replicas == 1:
        return made.experimental_distribute_dataset(read(share=None))

    def of_pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = replicas // context.num_input_pipelines
        return read(share=Share(context.input_pipeline_id * count, count, replicas))

    return made.distribute_datasets_from_function(of_pipeline)


@functools.cache
def alone() -> Workers:
    """This process by itself."""
    return Workers()


class WorkerLost(RuntimeError):
    """Another worker of the cluster has ended, and this one cannot go on without it."""


def lost(error: BaseException | None) -> bool:
    """Whether `error` is what TensorFlow raises where another worker of the cluster does not answer."""
    kinds = tf.errors
    away = (kinds.UnavailableError, kinds.AbortedError, kinds.InternalError, kinds.CancelledError, kinds.DeadlineExceededError)
    return isinstance(error, away)


# --- random numbers ---------------------------------------------------------------------------------------------------


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
