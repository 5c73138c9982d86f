"""How each method of a comparison trains, and how it is brought to the budget that all of them share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from tfl.methods.finetune import image_phases
from tfl.phases import Last, Lora, Phase
from tfl.studies.compare.plan import SCRATCH

POINTS = 10
"""Validations in a training, beside those before the first update and after the first and last epoch."""
MOST_EPOCHS = 100_000
"""Of a phase that ends when its seconds are over."""

RATES = {"image": {"scratch": 1e-3, "head": 3e-3, "rest": 1e-4}, "text": {"scratch": 3e-4, "head": 1e-2, "rest": 1e-4}}
"""Peak learning rates of AdamW. From random weights there is nothing to spoil, so that the rate is that of a new network. At
that of the head, a few hundred updates on frozen features come to their end: with 1e-3, 3e-3, 1e-2 and 3e-2, MiniLM had 0.68,
0.73, 0.74 and 0.74 on validation sentences of the Financial PhraseBank, and 0.76, 0.81, 0.83 and 0.81 on those of SST-2."""


def phases_of(method: str, modality: Literal["image", "text"], blocks: int, own: Sequence[Phase]) -> tuple[Phase, ...]:
    """The phases of `method` for a backbone of so many `blocks`; `own`: those of the config. Of their epochs, only the
    proportion matters.

    From scratch, everything trains, BatchNorm and its statistics included, at a learning rate for new networks; images are
    augmented for it as for the others (a comparison at the rates of fine-tuning would be lost before it began: He, Girshick
    and Dollár 2019, "Rethinking ImageNet Pre-training", arXiv:1811.08883).
    """
    rate = RATES[modality]
    head = Phase(trainable="head", epochs=3, learning_rate=rate["head"])
    if method == "config":
        return tuple(own)
    if method == SCRATCH:
        return (Phase(trainable="all", learning_rate=rate["scratch"], batch_norm="train"),)
    if method == "head":
        return (head,)
    if method == "top":
        images = image_phases(blocks)
        texts = (head, Phase(trainable=Last(last=max(1, round(blocks / 5))), epochs=7, learning_rate=rate["rest"]))
        return images if modality == "image" else texts
    if method == "full":
        return (head, Phase(trainable="all", epochs=7, learning_rate=rate["rest"], layer_decay=0.9))
    return (Phase(trainable=Lora(lora=8), learning_rate=1e-3),)


def epochs_for(updates: int, steps: int, phases: int) -> int:
    """Epochs of `steps` updates that make about `updates`, and at least one for each of so many `phases`."""
    return max(phases, round(updates / steps))


def with_epochs(phases: Sequence[Phase], epochs: int) -> tuple[Phase, ...]:
    """`phases` with `epochs` among them in their own proportion, at least one each."""
    total, passed, given = sum(phase.epochs for phase in phases), 0, 0
    made = []
    for place, phase in enumerate(phases):
        passed += phase.epochs
        left = len(phases) - place - 1
        end = max(given + 1, min(round(epochs * passed / total), epochs - left))
        made.append(dataclasses.replace(phase, epochs=end - given, **_whole(max(1, round(epochs / POINTS)))))
        given = end
    return tuple(made)


def _whole(every: int) -> dict[str, Any]:
    """Fields of a phase that the budget alone ends, looked at every so many epochs."""
    return {"validate_every": every, "early_stopping": None}


def with_seconds(phases: Sequence[Phase], every: int) -> tuple[Phase, ...]:
    """`phases` without an end of their own, at constant learning rates: nobody knows which step will be the last.

    `every`: epochs between validations.
    """
    free: dict[str, Any] = {"epochs": MOST_EPOCHS, "schedule": "constant", "warmup": 0.0, **_whole(every)}
    return tuple(dataclasses.replace(phase, **free) for phase in phases)


def deadlines(phases: Sequence[Phase], seconds: float) -> list[float]:
    """When each of `phases` ends, in seconds from the beginning of the first: each has its share of `seconds`."""
    total, passed, found = sum(phase.epochs for phase in phases), 0, []
    for phase in phases:
        passed += phase.epochs
        found.append(seconds * passed / total)
    return found
