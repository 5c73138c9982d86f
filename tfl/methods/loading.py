"""What a run starts from: its data, and its backbone with the weights as they were published."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl import backbones, data
from tfl.config import UserError
from tfl.data import service
from tfl.data.pipeline import check_max_tokens
from tfl.data.splits import Splits
from tfl.methods.session import Session


def load(session: Session, config: Any, source: Any = None) -> tuple[Splits, backbones.Backbone]:
    """The splits and the backbone that `config` names, held to fit each other; `source`: data given in Python."""
    service.check(config.data.service)
    splits = session.stage("data", lambda: data.load(config.data, config.seed, data=source))
    session.describe(splits)
    service.check_examples(config.data.service, splits.train)
    check_modality(splits.modality, config.backbone.name, backbones.entry(config.backbone.name).modality)
    backbone = session.stage("weights", load_backbone, session, config)
    check_modality(splits.modality, config.backbone.name, backbone.modality)
    check_max_tokens(config.data.max_tokens, backbone.preprocess, backbone.modality)
    return splits, backbone


@dataclass(frozen=True, eq=False)
class Start:
    """The state that everything starts from again, trial after trial: weights of a backbone, and random numbers."""

    backbone: backbones.Backbone
    values: list[np.ndarray]
    drawn: tuple[Any, Any]

    @classmethod
    def of(cls, backbone: backbones.Backbone) -> Start:
        """The state as it is now."""
        values = [variable.numpy() for variable in backbone.model.variables]
        return cls(backbone, values, (random.getstate(), np.random.get_state()))

    def restore(self) -> bool:
        """Puts the state back; False where the backbone has got other variables since (adapters), and must be loaded anew."""
        variables = self.backbone.model.variables
        if len(variables) != len(self.values):
            return False
        for variable, value in zip(variables, self.values, strict=True):
            if not np.array_equal(variable.numpy(), value, equal_nan=value.dtype.kind == "f"):
                variable.assign(value)
        random.setstate(self.drawn[0])
        np.random.set_state(self.drawn[1])
        return True


def load_backbone(session: Session, config: Any) -> backbones.Backbone:
    """The backbone of `config`, under its precision policy, seed and strategy."""
    from tfl.lazy import keras

    keras.config.set_dtype_policy(config.precision)
    keras.utils.set_random_seed(config.seed)
    with session.strategy.scope():
        return backbones.load(config.backbone)


def check_modality(data_is: str, name: str, backbone_reads: str | None) -> None:
    """Raises `UserError` where the data is images and the backbone `name` reads texts, or the other way round."""
    if backbone_reads not in (None, data_is):
        fit = "resnet50, mobilenet_v2" if data_is == "image" else "minilm, bert"
        raise UserError(
            f"backbone.name: {name} reads {backbone_reads}s, but the data is {data_is}s; "
            f"choose one that reads {data_is}s ({fit}; `tfl list backbones`)"
        )
