"""Which backbone for these data? Candidates scored by what their frozen features tell, before anything is trained."""

from __future__ import annotations

import dataclasses
import gc
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl import backbones
from tfl import data as sources
from tfl.backbones.config import Config as BackboneConfig
from tfl.config import UserError, plain
from tfl.data.examples import Columns, Examples
from tfl.data.partition import by_class, together
from tfl.data.splits import Splits
from tfl.directory import new_folder
from tfl.interrupt import Terminated
from tfl.methods import finetune
from tfl.methods.facts import describe_data, hardware, versions
from tfl.methods.loading import check_modality, load_backbone
from tfl.methods.session import Session
from tfl.studies.folder import claimed
from tfl.studies.select import frozen, scores
from tfl.studies.select.candidates import defaults, label
from tfl.studies.select.ranking import Candidate, Depth, Ranking, Scores, Weighed, compared, ranked
from tfl.studies.select.scores import Folds
from tfl.whole import write_text

ABOUT, RESULT = "candidates.json", "select.json"
EXAMPLES = 2000
"""Of the training and validation splits, at most, by default."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked."""

    backbones: tuple[BackboneConfig, ...] | None
    """Candidates; None: those that `candidates.defaults` has for the data."""
    named: bool = False
    """Whether the config's own backbone is to be among the defaults."""
    examples: int = EXAMPLES
    """To score by, at most; drawn class by class from the training and validation splits."""
    depths: int = 0
    """Lower places to cut each backbone at that are scored too."""
    cost: Weighed = "seconds"
    """The cost by which those that the data cannot tell apart are chosen from."""

    def __post_init__(self) -> None:
        if self.examples < 10:
            raise UserError(f"examples: {self.examples} is not valid; at least 10")
        if self.depths < 0:
            raise UserError(f"depths: {self.depths} is not valid; 0 or more places below the top")
        if self.cost not in ("seconds", "parameters"):
            raise UserError(f"cost: {self.cost!r} is not valid; seconds or parameters")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a selection came to; `select.json` has it."""

    folder: Path
    plan: Plan
    ranking: Ranking | None
    """None where it was interrupted."""
    left_out: Mapping[str, str]
    """Candidates of the defaults that could not be loaded, and why."""
    examples: int
    folds: int
    """In a repeat of the cross-validation."""
    classes: int

    @property
    def recommended(self) -> BackboneConfig:
        """The backbone to take. Raises `UserError` where the selection was interrupted."""
        if self.ranking is None:
            raise UserError(f"the selection in {self.folder} was interrupted; the same call goes on")
        return self.ranking.recommended.backbone


def select(config: finetune.Config, plan: Plan, out: str | Path | None = None, *, source: Any = None) -> Selection:
    """Scores the candidates of `plan` on the data of `config` and writes what came of it to the directory `out`.

    Of the data, the training and the validation split are used, and never the test split. Features come from the store, so
    that the same call after an interruption goes on where it was, and a head that is trained later finds them. `source`: as in
    `finetune.run`. Raises `UserError` for data that has no classes, and for a named backbone that cannot be loaded.
    """
    folder = Path(out) if out else new_folder("select")
    about = {"config": plain(dataclasses.replace(config, phases=())), **plain(plan)}
    with claimed(folder, ABOUT, about, "selection"), Session(config, folder / "session") as session, session.interrupt:
        splits = session.stage("data", lambda: sources.load(config.data, config.seed, data=source))
        session.describe(splits)
        scorer = Scorer(session, config, splits, plan)
        found, left_out = _scored(scorer, config, splits.modality)
        count, folds = len(scorer.labels), scorer.folds.count
        result = Selection(
            folder=folder,
            plan=plan,
            ranking=None if session.interrupt.wanted else ranked(found, folds, count, plan.cost),
            left_out=left_out,
            examples=count,
            folds=folds,
            classes=len(splits.class_names),
        )
        if result.ranking is not None:
            _save(result, result.ranking, {**about, "data": describe_data(splits), "hardware": hardware(session.strategy)})
        return result


def _scored(scorer: Scorer, config: finetune.Config, modality: str) -> tuple[list[Candidate], dict[str, str]]:
    """The candidates that could be loaded, and of defaults why others could not; less of them where it was interrupted."""
    plan, session = scorer.plan, scorer.session
    chosen = plan.backbones or defaults(modality, config.backbone, plan.named)
    found: list[Candidate] = []
    left_out: dict[str, str] = {}
    for one in chosen:
        name = label(one, chosen)
        try:
            candidate = scorer.score(one, name)
        except UserError as error:
            if plan.backbones is not None or (plan.named and one == config.backbone):
                raise
            left_out[name] = str(error).splitlines()[0]
            session.say(f"{name}: left out; {left_out[name]}")
            continue
        if session.interrupt.terminated:
            raise Terminated
        if candidate is None:
            break
        found.append(candidate)
        session.say(f"{name}: probe accuracy {candidate.scores.accuracy:.3f}, {candidate.seconds:.1f} s")
    if not found and not session.interrupt.wanted:
        raise UserError(f"backbones: name some whose weights are here; none of the defaults could be loaded ({left_out})")
    return found, left_out


class Scorer:
    """Scores one backbone after the other on the same examples and the same folds."""

    def __init__(self, session: Session, config: finetune.Config, splits: Splits, plan: Plan) -> None:
        """Raises `UserError` where there is nothing to score by."""
        if splits.kind != "classification":
            raise UserError(f"data: labels are for {splits.kind}, but the scores are of classes: one label an example")
        self.session, self.config, self.plan, self._modality = session, config, plan, splits.modality
        both = {"train": splits.train, "validation": splits.validation}
        taken = _shares(both, plan.examples, config.seed)
        self.parts = [examples.take(taken[name]) for name, examples in both.items()]
        if all(isinstance(part, Columns) for part in self.parts):  # one pass is quicker to make than two
            self.parts = [sources.concatenate(*self.parts)]
        self.labels = np.concatenate([finetune.known(part.labels) for part in self.parts])
        if np.sum(np.bincount(self.labels) >= 2) < 2:
            raise UserError("data: fewer than two classes have two examples to train on and to validate; add examples")
        groups = None
        if splits.groups is not None:
            groups = np.concatenate([splits.groups[name][taken[name]] for name in both])
        groups = together(np.concatenate([part.digests for part in self.parts]), groups)
        self.folds: Folds = scores.folds_of(self.labels, config.seed, groups)

    def score(self, one: BackboneConfig, name: str) -> Candidate | None:
        """The scores of a backbone; None where it was interrupted."""
        began = time.perf_counter()
        check_modality(self._modality, one.name, backbones.entry(one.name).modality)
        config = dataclasses.replace(self.config, backbone=one, augment=None)
        self.session.config = config
        self.session.extractor.forget()  # the backbone before this one
        backbone = load_backbone(self.session, config)
        check_modality(self._modality, one.name, backbone.modality)
        lower = frozen.places(backbone, self.plan.depths) if self.plan.depths else []
        # The session remembers the tokens of a text by the object that holds it, and each backbone has its own.
        parts = [part.take(np.arange(len(part))) for part in self.parts]
        found, facts = frozen.features(self.session, backbone, parts, lower)
        if self.session.interrupt.stopping:
            return None
        cost = frozen.cost_of(self.session, backbone, parts[0])
        top = self._scores(found[frozen.TOP])
        candidate = Candidate(
            label=name,
            backbone=one,
            scores=top,
            cost=cost,
            dimensions=found[frozen.TOP].shape[1],
            seconds=0.0,
            stored=_stored(facts),
            depths=self._depths(backbone, lower, found, top),
        )
        del backbone, lower, parts
        gc.collect()  # a Keras model is a cycle; several large ones need not be in memory together
        return dataclasses.replace(candidate, seconds=time.perf_counter() - began)

    def _scores(self, features: np.ndarray) -> Scores:
        from threadpoolctl import threadpool_limits

        if not np.isfinite(features).all():
            raise UserError("its features are not finite numbers; other weights, or precision=float32")
        # The matrices are small: on a machine that does something else too, threads wait for each other for most of the time.
        with threadpool_limits(1):
            return Scores(
                probe=tuple(scores.probe(features, self.labels, self.folds).tolist()),
                nearest=tuple(scores.nearest(features, self.labels, self.folds).tolist()),
                log_me=scores.log_me(features, self.labels),
                h_score=scores.h_score(features, self.labels),
            )

    def _depths(
        self, backbone: backbones.Backbone, lower: Sequence[frozen.Place], found: Mapping[str, np.ndarray], top: Scores
    ) -> tuple[Depth, ...]:
        own = [self._scores(found[place.name]) for place in lower]
        gains = compared([(one.probe, top.probe) for one in own], self.folds.count, len(self.labels))
        names = [block.name for block in backbone.blocks]
        return tuple(
            Depth(
                block=place.name,
                above=names[names.index(place.name) + 1],
                scores=one,
                gain=gain,
                parameters=place.parameters,
            )
            for place, one, gain in zip(lower, own, gains, strict=True)
        )


def _shares(parts: Mapping[str, Examples], most: int, seed: int) -> dict[str, np.ndarray]:
    """Positions in each of `parts`, ascending: at most so many together, each part and class in proportion."""
    total, found = sum(map(len, parts.values())), {}
    for name, examples in parts.items():
        count = len(examples) if total <= most else max(1, round(most * len(examples) / total))
        found[name] = by_class(examples, finetune.known(examples.labels), count, seed, spare=False)
    return found


def _stored(facts: Mapping[str, Any]) -> str:
    if "computed" not in facts:
        return f"not stored: {facts.get('why', 'nothing to store')}"
    return f"{facts['computed']} computed by {facts['engine']}, {facts['read']} read"


def _save(result: Selection, ranking: Ranking, about: Mapping[str, Any]) -> None:
    """Writes select.json."""
    shown = {
        "recommended": ranking.recommended.label,
        "best": ranking.best.label,
        "alike": [one.label for one in ranking.alike],
        "ranked": [_row(one, ranking) for one in ranking.candidates],
        "left_out": result.left_out,
        "split": "train and validation",
        "examples": result.examples,
        "folds": result.folds,
        "repeats": scores.REPEATS,
        "versions": versions(),
        **{name: value for name, value in about.items() if name != "examples"},
        "examples_at_most": result.plan.examples,
    }
    write_text(result.folder / RESULT, json.dumps(shown, indent=1, default=str) + "\n")


def _row(one: Candidate, ranking: Ranking) -> dict[str, Any]:
    """A candidate as select.json has it: means of the folds beside the folds."""

    def told(its: Scores) -> dict[str, Any]:
        return {"accuracy": its.accuracy, "neighbours": its.neighbours, **plain(its)}

    return {
        **plain(one),
        "scores": told(one.scores),
        "behind": plain(ranking.of(one)),
        "depths": [{**plain(depth), "scores": told(depth.scores)} for depth in one.depths],
    }
