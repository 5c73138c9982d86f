"""What trains, for how long, at which learning rates."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

from tfl.config import UserError, require

NUMBERS: dict[str, tuple[type, str]] = {"int": (Integral, "a whole number"), "float": (Real, "a number")}


def _check_numbers(config: Any) -> None:
    """Raises a `UserError` for a field of `config` that holds something else than the number that it is declared to hold."""
    for field in dataclasses.fields(config):
        kind, *rest = str(field.type).split(" | ")
        value = getattr(config, field.name)
        if kind not in NUMBERS or (rest and value is None):
            continue
        number, valid = NUMBERS[kind]
        if isinstance(value, bool) or not isinstance(value, number):
            raise UserError(f"{field.name}: {value!r} is not valid; {valid}{', or null' if rest else ''}")


@dataclass(frozen=True, kw_only=True)
class Last:
    """The last so many blocks of the backbone, and the head."""

    last: int
    """Blocks, counted from the output; at least 1."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        if self.last < 1:
            raise UserError(f"last: {self.last} is not valid; at least 1 block")


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters beside the attention matrices of a text backbone, and the head (Hu et al. 2021, arXiv:2106.09685)."""

    lora: int
    """Rank of the adapters; 4 to 16 is usual."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        if self.lora < 1:
            raise UserError(f"lora: {self.lora} is not valid; the rank is at least 1")


Trainable = str | Last | Lora
"""`head`, `all`, `{last: N}`, `{lora: RANK}`, or the name or pattern of a block: that block and all above it."""


def in_words(trainable: Trainable) -> str:
    """`trainable` as the terminal shows it: `head`, `last 2`, `lora 4`."""
    if isinstance(trainable, str):
        return trainable
    return f"last {trainable.last}" if isinstance(trainable, Last) else f"lora {trainable.lora}"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One stretch of training: what is trainable, for how long, at which learning rates."""

    trainable: Trainable = "head"
    """What trains: head | all | {last: N} | {lora: RANK} | a block's name or pattern (it and all above it)."""
    epochs: int = 3
    """Passes over the training examples, at most (early stopping may end the phase before)."""
    learning_rate: float = 1e-3
    """Peak learning rate of the head and of the topmost block."""
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop", "lion"] = "adamw"
    """Keras optimizer; sgd has Nesterov momentum 0.9. adamw: Loshchilov and Hutter 2019, arXiv:1711.05101; lion: Chen et al.
    2023, arXiv:2302.06675."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate goes from its peak to the end of the phase: to 0 along a cosine or a line, or not at all."""
    warmup: float = 0.1
    """Part of the phase's steps, 0 to 1, over which the learning rate rises from 0 to its peak."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each block to the one below it, 0 to 1 (1: the same for all): the discriminative rates
    of Howard and Ruder 2018, arXiv:1801.06146."""
    weight_decay: float = 0.01
    """Decoupled weight decay; none on biases and normalisation weights. Used by adamw, sgd and lion."""
    label_smoothing: float = 0.0
    """Part of the target's mass, 0 to 1, that is spread over all classes (Szegedy et al. 2016, arXiv:1512.00567). For classes
    and several labels; a regression has none."""
    clip_norm: float | None = 1.0
    """Upper bound of the global norm of all gradients together; null: no clipping."""
    ema: float | None = None
    """Decay of an exponential moving average of the weights, which is what is evaluated and kept; null: none."""
    early_stopping: int | None = None
    """Patience: validations (one an epoch, unless `validate_every` says otherwise) without a better result than before, after
    which the phase ends; null: it runs to its end."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights the phase ends with. best: that of the highest validation accuracy, among equals that of the
    lowest validation loss; of several labels the accuracy of single ones counts, for a regression the loss alone."""
    validate_every: int = 1
    """Epochs from one validation to the next; the first and the last epoch, wherever the phase ends, are always validated."""
    batch_norm: Literal["frozen", "train"] = "frozen"
    """Whether BatchNorm layers in trainable blocks train, statistics included, or stay as pre-trained."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        checks = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "learning_rate": (0 < self.learning_rate < math.inf, "above 0"),
            "warmup": (0 <= self.warmup <= 1, "from 0 to 1"),
            "layer_decay": (0 < self.layer_decay <= 1, "above 0, at most 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "from 0 to below 1"),
            "clip_norm": (self.clip_norm is None or self.clip_norm > 0, "above 0, or null"),
            "ema": (self.ema is None or 0 < self.ema < 1, "between 0 and 1, or null"),
            "validate_every": (self.validate_every >= 1, "at least 1"),
            "early_stopping": (self.early_stopping is None or self.early_stopping >= 1, "at least 1, or null"),
        }
        require(self, checks)
