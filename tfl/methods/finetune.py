"""Feature extraction and fine-tuning: a new head first, then some or all of the backbone at a lower learning rate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from tfl import checkpoint, data, distribute, models, tasks
from tfl.backbones.config import Config as BackboneConfig
from tfl.config import UserError, require
from tfl.cut import cut
from tfl.data.augment import Augment
from tfl.data.batches import stream_seed
from tfl.data.splits import Splits
from tfl.distribute import Name as StrategyName
from tfl.features.config import Features
from tfl.features.extract import Extracted
from tfl.interrupt import Terminated
from tfl.lazy import keras
from tfl.methods.course import WHOLE
from tfl.methods.folds import folds_of, known, summarise
from tfl.methods.loading import load, load_backbone
from tfl.methods.session import Session
from tfl.phases import Last, Lora, Phase
from tfl.report import PhaseReport
from tfl.run import Run
from tfl.tasks import Config as TaskConfig
from tfl.tasks import Task

Source = Annotated[data.AnyConfig, pydantic.Field(discriminator="source")]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a fine-tuning run."""

    method: Literal["finetune"] = "finetune"
    data: Source
    """Where the examples come from, and how they are split and batched."""
    backbone: BackboneConfig
    """The pre-trained network and its weights."""
    task: TaskConfig = field(default_factory=TaskConfig)
    """What is predicted, and the head that predicts it."""
    augment: Literal["auto"] | Augment | None = "auto"
    """Random changes of training images. auto: mirroring and cropping for images; null: none."""
    phases: tuple[Phase, ...] = ()
    """What trains, one phase after the other. Empty: the head, then the top of an image or all of a text backbone; with
    weights: none, all of it at once, BatchNorm included."""
    features: Features | None = field(default_factory=Features)
    """How what a phase leaves frozen is computed once and kept on disk; null: it runs in every epoch."""
    folds: int = 0
    """K-fold cross-validation over train and validation beside the run itself, for small sets; 0: none."""
    checkpoints: checkpoint.Config | None = field(default_factory=checkpoint.Config)
    """How often it is written down where the run is, so that it can go on when it is broken off; null: never."""
    seed: int = 0
    """Decides splits, order, augmentation, dropout and the head's first weights."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Keras dtype policy of the whole run."""
    distribute: StrategyName = "auto"
    """Devices: auto takes the cluster that the process belongs to, or else the TPU that TPU_NAME names, or else every GPU
    there is, or else the CPU. gpu is the first GPU, mirrored all of them."""
    deterministic: bool = True
    """Same machine, same config: the same bits. Costs about a quarter of the speed where a text backbone trains, and
    nothing that can be measured for images (measured on CPUs)."""

    def __post_init__(self) -> None:
        require(
            self,
            {
                "folds": (self.folds == 0 or self.folds >= 2, "0 for none, or at least 2"),
                "seed": (0 <= self.seed < 2**32, "from 0 to 4294967295"),
            },
        )


def resolve(config: Config, modality: str, blocks: int, examples: int) -> Config:
    """`config` with its defaults made definite for `examples` to train on and a backbone that has `blocks` blocks."""
    steps = math.ceil(examples / config.data.batch_size)
    phases = config.phases or default_phases(config.backbone.weights == "none", modality, blocks, steps)
    augment = config.augment
    _check_modality(config, modality)
    if modality == "text":
        if isinstance(augment, Augment):
            raise UserError("augment: it changes images, but this backbone reads texts; leave it out")
        augment = None
    elif augment == "auto":
        augment = Augment(crop=0.8, color=0.0)
    features = _views(config.features, augment, chosen=isinstance(config.augment, Augment))
    return dataclasses.replace(config, phases=phases, augment=augment, features=features)


def _check_modality(config: Config, modality: str) -> None:
    """Raises `UserError` for a key that changes nothing of what the backbone reads."""
    images = {"backbone.image_size": config.backbone.image_size is not None, "data.resize": config.data.resize != "crop"}
    texts = {"backbone.sequence_length": config.backbone.sequence_length is not None}
    for key, given in (images if modality == "text" else texts).items():
        if given:
            reads = "texts" if modality == "text" else "images"
            raise UserError(f"{key}: it changes nothing, since this backbone reads {reads}; leave it out")


def _views(features: Features | None, augment: Augment | None, chosen: bool) -> Features | None:
    """`features` with a definite number of views; `chosen`: whether the user wrote down how images are augmented."""
    if features is None:
        return None
    if augment is None and features.views not in ("auto", 1):
        raise UserError(f"features.views: {features.views} is not valid; views are augmented, and nothing is here: 1 or auto")
    if features.views != "auto":
        return features
    return dataclasses.replace(features, views=1 if augment is None else 4 if chosen else 2)


def default_phases(scratch: bool, modality: str, blocks: int, steps: int) -> tuple[Phase, ...]:
    """The phases of a config that has none, for `steps` updates an epoch; from random weights there is nothing to keep."""
    if scratch:
        return (Phase(trainable="all", epochs=10, learning_rate=1e-3, batch_norm="train"),)
    return text_phases(steps) if modality == "text" else image_phases(blocks)


def text_phases(steps: int) -> tuple[Phase, ...]:
    """The head, then all of the backbone, for as many epochs as make about 250 updates, at `steps` an epoch.

    The last epoch is kept: the learning rate has come down to 0 by then, and the validation split of a small set is too
    small to tell its epochs apart.
    """
    epochs = min(max(math.ceil(250 / steps), 2), 6)
    return (
        Phase(trainable="head", epochs=1, learning_rate=1e-3),
        Phase(trainable="all", epochs=epochs, learning_rate=1e-4, layer_decay=0.9, keep="last"),
    )


def image_phases(blocks: int) -> tuple[Phase, ...]:
    """The head, then the top fifth of the blocks at a hundredth of the head's learning rate."""
    return (
        Phase(trainable="head", epochs=6, learning_rate=3e-3),
        Phase(trainable=Last(last=max(1, round(blocks / 5))), epochs=4, learning_rate=3e-5),
    )


def run(config: Config, out: str | Path | None = None, *, source: Any = None, callbacks: Sequence[Any] = ()) -> Run:
    """Fine-tunes as `config` says and returns the run, written to the directory `out` (or a new one below `runs/`).

    `source`: what the data of a `memory` source is, given in Python. `callbacks`: Keras callbacks for every phase.
    """
    with Session(config, out) as session:
        splits, backbone = load(session, config, source)
        config = resolve(config, backbone.modality, len(backbone.blocks), len(splits.train))
        model, made = assemble(session, config, backbone, splits)
        try_phases(session, config, backbone, model)
        session.start(config, f"{splits.fingerprint} {backbone.weights.sha256}")
        with session.interrupt:
            folds = session.stage("folds", cross_validate, session, config, splits, callbacks) if config.folds else None
            fits = session.stage("training", train, session, config, backbone, model, made, splits, callbacks)
        results = session.stage("evaluation", session.evaluate, model, made, backbone, splits)
        return session.finish(config, splits, backbone, model, made, fits, results, folds)


def assemble(session: Session, config: Config, backbone: Any, splits: Splits) -> tuple[Any, dict[str, Task]]:
    """The model of `backbone` with a new head for the data's task, and its tasks by name."""
    task = tasks.make(config.task, splits.kind, splits.class_names, known(splits.train.labels))
    smoothed = [number for number, phase in enumerate(config.phases) if phase.label_smoothing]
    if splits.kind == "regression" and smoothed:
        raise UserError(f"phases.{smoothed[0]}.label_smoothing: it changes nothing, since a regression has none; leave it out")
    name = data.label_name(config.data)
    with session.strategy.scope():
        model = models.build(backbone, {name: task})
    distribute.per_replica_seeds(model)
    return model, {name: task}


def try_phases(session: Session, config: Config, backbone: Any, model: Any) -> None:
    """Declares every phase once, so that one which matches nothing is known before the first has trained."""
    ranks = {phase.trainable.lora for phase in config.phases if isinstance(phase.trainable, Lora)}
    if len(ranks) > 1:
        raise UserError(f"phases: adapters of different ranks, {sorted(ranks)}; a backbone has adapters of one rank")
    for phase in config.phases:
        if not isinstance(phase.trainable, Lora) or backbone.modality == "image":
            session.declare(model, backbone, phase)


def train(
    session: Session,
    config: Config,
    backbone: Any,
    model: Any,
    made: dict[str, Task],
    splits: Splits,
    callbacks: Sequence[Any],
    quiet: bool = False,
    name: str = WHOLE,
) -> list[PhaseReport]:
    """Runs the phases one after the other and returns their reports; ends early where the user interrupted one.

    `name`: of the part of the run that this is. It goes on where that part was broken off.
    """
    part = session.course.part(name)
    if part.resumed:
        for number, phase in enumerate(config.phases[: part.declared]):
            declare(session, config, model, backbone, number, phase)
        part.restore(model)
        if not quiet:
            session.resume(part)
    batches = session.batches(backbone, splits.validation)
    ahead = extract_ahead(session, config, backbone, model, splits, done=len(part.reports))
    for number, phase in list(enumerate(config.phases))[len(part.reports) :]:
        declare(session, config, model, backbone, number, phase)
        part.declared = number + 1
        stream = session.batches(backbone, splits.train, training=True, number=number)
        extracted = ahead.get(number) or session.extract(phase, backbone, model, stream, batches)
        if part.reports:
            session.end_if_asked(part, model)
            if session.interrupt.wanted:  # while it was extracted: no further phase begins
                break
        report = session.phase(number, phase, backbone, model, made, extracted, part, callbacks, quiet=quiet)
        part.reports.append(report)
        session.end_if_asked(part, model)
        if report.stopped == "interrupted":
            break
    return part.reports


def declare(session: Session, config: Config, model: Any, backbone: Any, number: int, phase: Phase) -> None:
    """Makes trainable what phase `number` declares; adapters begin as they do whatever was drawn before."""
    if isinstance(phase.trainable, Lora):
        keras.utils.set_random_seed(stream_seed(config.seed, number))
    session.declare(model, backbone, phase)


def extract_ahead(
    session: Session, config: Config, backbone: Any, model: Any, splits: Splits, done: int = 0
) -> dict[int, Extracted]:
    """Extracts first for the phase that trains most, so that what others leave frozen above that is computed from there.

    A phase counts only where no phase before it trains what it leaves frozen, and where it is not among the first `done`.
    """
    trained: set[int] = set()
    lowest: tuple[int, int] | None = None
    for number, phase in enumerate(config.phases):
        if isinstance(phase.trainable, Lora):  # adapters are made when their turn comes
            break
        session.declare(model, backbone, phase)
        frozen = cut(model).frozen
        if {id(variable) for variable in frozen.variables} & trained:
            break
        trained |= {id(variable) for variable in model.trainable_variables}
        if lowest is None or len(frozen.nodes) < lowest[0]:
            lowest = len(frozen.nodes), number
    if lowest is None or lowest[1] <= done:
        return {}
    phase = config.phases[lowest[1]]
    session.declare(model, backbone, phase)
    stream = session.batches(backbone, splits.train, training=True, number=lowest[1])
    return {lowest[1]: session.extract(phase, backbone, model, stream, session.batches(backbone, splits.validation))}


def cross_validate(session: Session, config: Config, splits: Splits, callbacks: Sequence[Any]) -> dict[str, Any]:
    """K-fold cross-validation over the training and validation examples: each fold is tested by a model of the others.

    The data is read and tokenised once for all folds; each fold starts from the pre-trained backbone.
    """
    results = session.course.results
    splits = session.tokenised(splits, load_backbone(session, config))
    for number, (train_part, validation, test) in enumerate(folds_of(splits, config.folds, config.seed)):
        if number < len(results):
            continue
        session.say(f"fold {number + 1} of {config.folds}")
        part = dataclasses.replace(splits, train=train_part, validation=validation, test=test)
        session.extractor.forget()
        backbone = load_backbone(session, config)
        model, made = assemble(session, config, backbone, part)
        try:
            with session.interrupt.whole_or_nothing():
                train(session, config, backbone, model, made, part, callbacks, quiet=True, name=f"fold {number + 1}")
        except Terminated:
            if session.interrupt.by_hand:
                raise KeyboardInterrupt from None
            raise
        if session.interrupt.wanted:  # asked before the fold began, or behind its last step
            raise KeyboardInterrupt
        results.append(session.evaluate(model, made, backbone, part))
    return summarise([next(iter(result.values()))["test"] for result in results])
