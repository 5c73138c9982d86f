"""Which values of some keys do best on the validation split? Trials share data, backbone and frozen features."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfl.config import UserError, dump, plain, read
from tfl.directory import CONFIG, is_unfinished, new_folder
from tfl.lazy import tf
from tfl.methods import finetune
from tfl.methods.session import Session
from tfl.run import Run, load
from tfl.studies.folder import claimed
from tfl.studies.sweep import space as spaces
from tfl.studies.sweep.bench import Bench
from tfl.studies.sweep.journal import Journal, Trial, optuna
from tfl.studies.sweep.space import Space
from tfl.whole import write_text

ABOUT, DATA, JOURNAL, RESULT, BEST = "space.json", "data.txt", "trials.log", "sweep.json", "best.yaml"
SHOWN = 20
"""Trials in the table."""

Make = Callable[[Mapping[str, Any]], finetune.Config]
"""From a raw config to a valid one."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All trials; in `sweep.json`."""

    metric: str
    """`accuracy`, of several labels `label_accuracy` (the higher the better), or `loss` (the lower)."""
    trials: tuple[Trial, ...]
    folder: Path
    interrupted: bool = False
    run: Run | None = None
    """That of the best, where it was asked for."""

    @property
    def ranked(self) -> list[Trial]:
        """The trials that did not fail, best first."""
        sign = 1 if self.metric == "loss" else -1
        done = [trial for trial in self.trials if trial.score is not None]
        return sorted(done, key=lambda trial: (sign * (trial.score or 0.0), trial.loss))


def sweep(
    raw: Mapping[str, Any],
    space: Space,
    make: Make,
    *,
    trials: int = 20,
    out: str | Path | None = None,
    source: Any = None,
) -> Sweep:
    """Tries `trials` sets of values of `space` and writes all of them, and the config of the best, to the directory `out`.

    `raw`: the config that they change, whose `seed` also decides what is proposed; `make` makes a valid config of a raw
    one. Every combination is tried where there are no more than `trials`; else Optuna proposes. The same call on the same
    directory goes on with a sweep that was interrupted, or adds to one that had fewer trials. `source`: what the data of a
    `memory` source is, given in Python. Raises `UserError` for values that are not valid, and where `out` holds something
    else, or a sweep on other data, and for a key that changes the validation split.
    """
    spaces.check(raw, space, make)
    optuna()
    seed, first = int(raw.get("seed", 0)), make(spaces.applied(raw, spaces.first(space)))
    folder = Path(out) if out else new_folder("sweep")
    about = {"config": plain(dict(raw)), "space": spaces.describe(space)}
    with claimed(folder, ABOUT, about, "sweep"), Session(first, folder / "session") as session, session.interrupt:
        bench = Bench(session, source)
        _check_data(folder, bench.begin(first))
        _check_validation(bench, raw, space, make)
        journal = Journal(folder / JOURNAL, space, seed, maximize=bench.metric != "loss")
        done = _saved(journal, bench.metric, folder, about)
        grid = spaces.grid(space, trials)
        wanted = len(done.trials) + len(journal.left(grid)) if grid else trials
        while len(done.trials) < wanted and not session.interrupt.wanted:
            values = journal.left(grid)[0] if grid else journal.propose()
            trial = _tried(bench, make, raw, values, len(done.trials) + 1)
            if trial is None:
                break
            journal.add(trial)
            done = _saved(journal, bench.metric, folder, about)
            session.say(_line(trial, bench.metric, wanted))
        return Sweep(metric=done.metric, trials=done.trials, folder=folder, interrupted=session.interrupt.wanted)


def _check_data(folder: Path, fingerprint: str) -> None:
    """Holds a sweep that goes on to the data and weights that it began with: its trials are compared with one another."""
    place = folder / DATA
    if place.is_file() and place.read_text(encoding="utf-8").strip() != fingerprint:
        raise UserError(f"out: {folder} holds a sweep on other data or weights; name another folder")
    write_text(place, fingerprint + "\n")


def _check_validation(bench: Bench, raw: Mapping[str, Any], space: Space, make: Make) -> None:
    """Raises `UserError` for a key of `space` that changes the examples which trials are compared on."""
    for key, dimension in space.items():
        for value in dimension.ends:
            if bench.changes_validation(make(spaces.applied(raw, {**spaces.first(space), key: value}))):
                raise UserError(
                    f"{key}: {value!r} changes the validation split; trials cannot be compared; name one value of {key} for "
                    "all trials, or bring data that has a validation split of its own"
                )


def _tried(bench: Bench, make: Make, raw: Mapping[str, Any], values: dict[str, Any], number: int) -> Trial | None:
    """The trial of `values`; None where it was interrupted: half a trial says nothing."""
    started = time.perf_counter()
    outcome, failed = None, ""
    try:
        outcome = bench.run(make(spaces.applied(raw, values)))
    except (UserError, tf.errors.ResourceExhaustedError) as error:
        failed = str(error).splitlines()[0]
    if bench.session.interrupt.wanted:
        return None
    seconds = time.perf_counter() - started
    if outcome is None:
        return Trial(number=number, values=values, score=None, loss=None, seconds=seconds, failed=failed)
    return Trial(number=number, values=values, seconds=seconds, **vars(outcome))


def _saved(journal: Journal, metric: str, folder: Path, about: dict[str, Any]) -> Sweep:
    """The sweep as it is now, also written to its directory: whenever it ends, what is done can be used."""
    done = Sweep(metric=metric, trials=tuple(journal.trials()), folder=folder)
    best = done.ranked[0] if done.ranked else None
    shown = {
        "metric": metric,
        "split": "validation",
        "best": best.number if best else None,
        "trials": [{name: value for name, value in vars(trial).items() if name != "config"} for trial in done.trials],
        **about,
    }
    write_text(folder / RESULT, json.dumps(shown, indent=1, default=str) + "\n")
    if best is not None:
        write_text(folder / BEST, dump(best.config))
    return done


def run_best(done: Sweep, make: Make, source: Any = None) -> Run:
    """The run of the best config, in the directory `best` of the sweep; the one that is there, if it is that, gone on with
    where it was broken off.

    Raises `UserError` where another run is there.
    """
    raw, place = read(done.folder / BEST), done.folder / "best"
    if not place.exists() or is_unfinished(place):
        return finetune.run(make(raw), place, source=source)
    if (place / CONFIG).is_file() and read(place / CONFIG) == raw:
        return load(place)
    raise UserError(
        f"{place}: it holds the run of a config that was the best before; move it away, or "
        f"`tfl train {done.folder / BEST} --out DIR` runs this one"
    )


# --- for the terminal -------------------------------------------------------------------------------------------------


def table(done: Sweep) -> Any:
    """The trials, best first."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    ranked = done.ranked
    keys = list(ranked[0].values) if ranked else []
    loss = [] if done.metric == "loss" else ["loss"]
    found = Table("trial", *keys, f"validation {done.metric}", *loss, "seconds", box=None)
    for trial in ranked[:SHOWN]:
        figures = [trial.score, *([trial.loss] if loss else [])]
        shown = [_short(value) for value in trial.values.values()] + [f"{figure:.4f}" for figure in figures]
        found.add_row(str(trial.number), *shown, f"{trial.seconds:.1f}")
    more = len(ranked) - SHOWN
    lines = [f"… and {more} more in {done.folder / RESULT}"] if more > 0 else []
    warning = f"the best of {len(ranked)} trials looks better on the validation split than it is; go by its test result"
    lines += [warning] if len(ranked) > 1 else []
    failed = len(done.trials) - len(ranked)
    lines += [f"{failed} of {len(done.trials)} trials failed; {done.folder / RESULT} says why"] if failed else []
    return Group(found, *(Text(line) for line in lines))


def _line(trial: Trial, metric: str, wanted: int) -> str:
    told = f"failed: {trial.failed}" if trial.score is None else f"validation {metric} {trial.score:.4f}"
    listed = "  ".join(f"{key}={_short(value)}" for key, value in trial.values.items())
    return f"trial {trial.number}/{wanted}  {listed}  {told}  {trial.seconds:.1f} s"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else json.dumps(value, default=str).strip('"')
