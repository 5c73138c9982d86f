"""What runs the trials of a sweep: in one session, on data and backbones that are loaded once."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl import data
from tfl.backbones import Backbone
from tfl.config import UserError, plain
from tfl.data.pipeline import check_max_tokens
from tfl.data.splits import Splits
from tfl.lazy import keras
from tfl.methods import finetune
from tfl.methods.loading import Start
from tfl.methods.session import Session
from tfl.tasks.regression import Regression

KEPT = 3
"""Pairs of data and backbone that stay in memory."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a trial came to; the loss of a regression in the unit of the first trial's, whatever it was trained on."""

    score: float
    loss: float
    config: dict[str, Any]
    """The resolved config; a run of it does the same."""


@dataclass(frozen=True)
class _Loaded:
    wants: Any
    """A config reduced to what decides the data and the backbone."""
    splits: Splits
    start: Start


class Bench:
    """Runs trials; each starts from the same bits, whatever those before it trained."""

    def __init__(self, session: Session, source: Any = None) -> None:
        """`source`: what the data of a `memory` source is, given in Python."""
        self.session, self.source, self.metric = session, source, "loss"
        self._kept: list[_Loaded] = []
        self._first: tuple[Any, str] | None = None
        self._scale: float | None = None

    def begin(self, config: finetune.Config) -> str:
        """Loads what `config` needs and finds out what trials are compared by, which is what phases keep an epoch by.

        Returns a fingerprint of the data and of the backbone's weights. Raises `UserError` where no phase of `config` can be
        run, whatever is tried.
        """
        splits, backbone = self._load(config)
        self.metric = {"regression": "loss", "multilabel": "label_accuracy"}.get(splits.kind, "accuracy")
        fingerprint = f"{splits.fingerprint} {backbone.weights.sha256}"
        self._first = _of_splits(config), _validation(splits)
        _, _, made = self._assemble(config, splits, backbone)
        self._scale = _scale(made)
        return fingerprint

    def changes_validation(self, config: finetune.Config) -> bool:
        """Whether `config` has another validation split than what `begin` was given; data that cannot be read has none."""
        if self._first is None or _of_splits(config) == self._first[0]:
            return False
        try:
            return _validation(data.load(config.data, config.seed, data=self.source)) != self._first[1]
        except UserError:  # the trial fails with it, and the others go on
            return False

    def run(self, config: finetune.Config) -> Outcome:
        """Trains as `config` says; the validation split's result at the kept epoch of the last phase.

        Raises `UserError` where `config` cannot be run, where its validation split is not that of the others, and where a loss
        is not finite. The test split is not touched.
        """
        splits, backbone = self._load(config)
        if self._first is not None and _validation(splits) != self._first[1]:
            raise UserError("the validation split is not that of the other trials; it cannot be compared with them")
        config, model, made = self._assemble(config, splits, backbone)
        last = finetune.train(self.session, config, backbone, model, made, splits, (), quiet=True)[-1]
        kept: dict[str, Any] = next((epoch for epoch in last.epochs if epoch["epoch"] == last.kept_epoch), {})
        score, loss = (float(kept.get(f"val_{name}", math.nan)) for name in (self.metric, "loss"))
        if not math.isfinite(score + loss):
            raise UserError(f"the validation {self.metric} is {score}, its loss {loss}")
        if self._scale is not None:
            unit = ((_scale(made) or self._scale) / self._scale) ** 2
            score, loss = score * unit, loss * unit
        return Outcome(score=score, loss=loss, config=plain(config))

    def _assemble(
        self, config: finetune.Config, splits: Splits, backbone: Backbone
    ) -> tuple[finetune.Config, Any, dict[str, Any]]:
        """The config made definite, its model and its tasks."""
        config = finetune.resolve(config, backbone.modality, len(backbone.blocks), len(splits.train))
        self.session.config = config
        model, made = finetune.assemble(self.session, config, backbone, splits)
        finetune.try_phases(self.session, config, backbone, model)
        return config, model, made

    def _load(self, config: finetune.Config) -> tuple[Splits, Backbone]:
        """The splits and the backbone of `config`, the latter as it was loaded; random numbers as after that."""
        keras.utils.set_random_seed(config.seed)
        wants = dataclasses.replace(
            config,
            phases=(),
            task=finetune.TaskConfig(),
            augment=None,
            features=None,
            data=dataclasses.replace(config.data, batch_size=1, max_tokens=None),
        )
        found = next((one for one in self._kept if one.wants == wants), None)
        if found is None:
            splits, backbone = finetune.load(self.session, config, self.source)
            found = _Loaded(wants, splits, Start.of(backbone))
        elif not found.start.restore():
            found = dataclasses.replace(found, start=Start.of(finetune.load_backbone(self.session, config)))
        self._kept = [found, *(one for one in self._kept if one.wants != wants)][:KEPT]
        backbone = found.start.backbone
        check_max_tokens(config.data.max_tokens, backbone.preprocess, backbone.modality)
        return found.splits, backbone


def _of_splits(config: finetune.Config) -> Any:
    """What of `config` can change the splits."""
    return dataclasses.replace(config.data, batch_size=1, max_tokens=None, resize="crop"), config.seed


def _validation(splits: Splits) -> str:
    """Changes with the examples of the validation split, by their ids, and with their labels.

    Their content may differ: which columns of the same rows are read is something to try.
    """
    ids, labels = splits.validation.ids, np.asarray(splits.validation.labels)
    order = np.argsort(ids)
    found = (splits.kind, splits.class_names, ids[order].tolist(), labels[order].tolist())
    return hashlib.blake2b(repr(found).encode(errors="surrogatepass")).hexdigest()


def _scale(made: dict[str, Any]) -> float | None:
    """Of a regression, the unit of its labels in the loss: it is that of the examples to train on, which a trial may change."""
    return next((task.scale for task in made.values() if isinstance(task, Regression)), None)
