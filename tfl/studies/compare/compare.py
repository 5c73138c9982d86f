"""Did the transfer help? Pre-trained against the same architecture from scratch, on the same budget, with paired seeds."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfl.config import plain
from tfl.directory import new_folder
from tfl.methods import finetune
from tfl.methods.facts import describe_data, hardware, versions
from tfl.methods.session import Session
from tfl.reporting.transfer import labels_in_words
from tfl.studies.compare import effects, recipes, trial
from tfl.studies.compare.effects import Effect, Key, Trials
from tfl.studies.compare.plan import Plan, described
from tfl.studies.compare.subsets import Labels
from tfl.studies.compare.trainer import Trainer
from tfl.studies.compare.trial import Trial
from tfl.studies.folder import claimed
from tfl.whole import write_text

ABOUT, TRIALS, RESULT, TABLE = "declared.json", "trials", "compare.json", "compare.csv"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a comparison came to; `compare.json` has it, and `compare.csv` a row for each training."""

    folder: Path
    plan: Plan
    trials: Trials | None
    """None where it was interrupted."""

    @property
    def effects(self) -> list[Effect]:
        """The differences, those of the primary end point first."""
        return effects.effects(self.trials) if self.trials is not None else []


def compare(config: finetune.Config, plan: Plan, out: str | Path | None = None, *, source: Any = None) -> Comparison:
    """Trains every method with every count of labels and every seed, and writes what came of it to the directory `out`.

    The same call on the same directory goes on with a comparison that was interrupted: what is trained is not trained
    again. `source`: what the data of a `memory` source is, given in Python. Raises `UserError` for data that cannot be compared
    on, and where `out` holds something else.
    """
    folder = Path(out) if out else new_folder("compare")
    about = {"config": plain(config), **described(plan)}
    with claimed(folder, ABOUT, about, "comparison"), Session(config, folder / "session") as session, session.interrupt:
        trainer = Trainer(session, config, plan, source)
        plan = trainer.plan
        session.say(f"primary end point, declared before the run: {plan.measure} with {labels_in_words(plan.endpoint_labels)}")
        (folder / TRIALS).mkdir(exist_ok=True)
        done: dict[Key, Trial] = {}
        keys = list(_keys(plan, config.seed))
        for number, key in enumerate(keys, start=1):
            found = trial.read(trial.place(folder / TRIALS, *key), trainer.fingerprint, trainer.phases(key[0]))
            if found is None:
                found = trainer.run(*key)
                if found is None or session.interrupt.wanted:
                    return Comparison(folder=folder, plan=plan, trials=None)
                found.write(folder / TRIALS)
                session.say(_line(found, number, len(keys)))
            done[key] = found
        result = Comparison(folder=folder, plan=plan, trials=Trials(plan, done))
        _save(result, {**about, "data": describe_data(trainer.splits), "recipes": _recipes(trainer, session)})
        return result


def _keys(plan: Plan, seed: int) -> Iterator[Key]:
    """All trainings. The largest subset comes first, since the store then has the features of those within it."""
    for number in range(plan.seeds):
        for labels in plan.labels[::-1]:
            for method in plan.methods:
                yield method, labels, seed + number


def _line(done: Trial, number: int, count: int) -> str:
    return (
        f"{number}/{count}  {done.method}, {labels_in_words(done.labels)}, seed {done.seed}: "
        f"test accuracy {done.accuracy:.3f}, {done.updates} updates, {done.seconds:.1f} s"
    )


def _recipes(trainer: Trainer, session: Session) -> dict[str, Any]:
    """How each method trains, as it stands in the report."""
    return {
        "methods": {method: plain(trainer.phases(method)) for method in trainer.plan.methods},
        "augment": plain(session.config.augment),
        "points": recipes.POINTS,
        "versions": versions(),
        "hardware": hardware(session.strategy),
    }


def _save(result: Comparison, about: dict[str, Any]) -> None:
    """Writes compare.json and compare.csv."""
    trials, plan = result.trials, result.plan
    assert trials is not None
    each = [(method, labels) for labels in plan.labels for method in plan.methods]
    shown = {
        "primary": {"measure": plan.measure, "labels": plan.endpoint_labels},
        "effects": plain(result.effects),
        "methods": [effects.means(trials, *one) for one in each],
        "efficiency": effects.efficiency(trials),
        "trials": [plain(one) | {"shape": dataclasses.asdict(trials.shape(one))} for one in _in_order(trials, each)],
        "seeds": trials.seeds,
        "labels": list(plan.labels),
        **{name: value for name, value in about.items() if name not in ("labels", "seeds", "methods")},
    }
    write_text(result.folder / RESULT, json.dumps(shown, indent=1, default=str) + "\n")
    rows = [_row(trials, one) for one in _in_order(trials, each)]
    with (result.folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def _in_order(trials: Trials, each: list[tuple[str, Labels]]) -> Iterator[Trial]:
    for method, labels in each:
        yield from trials.of(method, labels)


def _row(trials: Trials, one: Trial) -> dict[str, Any]:
    shape = dataclasses.asdict(trials.shape(one))
    reached = {f"reached_{level}": place for level, place in shape.pop("reached").items()}
    return {**trial.cells(one), "end": one.accuracy, **shape, **reached}
