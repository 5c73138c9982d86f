"""Which values of some keys do best on the validation split? Trials share data, backbone and frozen features."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfl.config import UserError, assign, dump, plain
from tfl.data.pipeline import stream_seed
from tfl.data.splits import Splits
from tfl.methods import finetune
from tfl.methods.loading import Start
from tfl.methods.session import Session
from tfl.studies import space as spaces
from tfl.studies.space import Space

RESULT, BEST, JOURNAL = "sweep.json", "best.yaml", "trials.log"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One set of values and what came of it."""

    number: int
    """From 1."""
    values: dict[str, Any]
    score: float | None
    """Of the validation split, after the last phase; null where the trial failed."""
    loss: float | None
    """Of the validation split likewise; of equal scores, the lower loss is better."""
    seconds: float
    failed: str = ""
    """Why."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All trials; in `sweep.json`."""

    metric: str
    """`accuracy` (the higher the better) or `loss` (the lower)."""
    trials: tuple[Trial, ...]
    folder: Path

    @property
    def ranked(self) -> list[Trial]:
        """The trials that did not fail, best first."""
        sign = -1 if self.metric == "accuracy" else 1
        done = [trial for trial in self.trials if trial.score is not None]
        return sorted(done, key=lambda trial: (sign * (trial.score or 0.0), trial.loss))


def sweep(
    raw: Mapping[str, Any],
    space: Space,
    make: Callable[[Mapping[str, Any]], finetune.Config],
    *,
    trials: int = 20,
    seed: int = 0,
    out: str | Path | None = None,
) -> Sweep:
    """Tries `trials` sets of values of `space` and writes all of them, and the config of the best, to the directory `out`.

    `raw`: the config that they change; `make` makes a config of a raw one. A grid where all are choices and it has no
    more than `trials` points; else the tree-structured Parzen estimator (Bergstra et al. 2011) of Optuna. The same
    command on the same directory goes on with a sweep that was interrupted. Raises `UserError` for values that are not
    valid, and where `out` holds something else.
    """
    spaces.configs(raw, space, make)
    optuna = _optuna()
    first = make(assign(raw, {key: dimension.ends[0] for key, dimension in space.items()}))
    folder = Path(out) if out else Path("runs") / f"sweep-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    _claim(folder, {"config": plain(dict(raw)), "space": spaces.describe(space), "seed": seed})
    grid = list(spaces.grid(space) or ())
    if 0 < len(grid) <= trials:
        trials = len(grid)
    else:
        grid = []
    with Session(first, folder / "session") as session, session.interrupt:
        bench = _Bench(session)
        study = _study(optuna, folder, maximise=bench.metric_of(first) == "accuracy")
        while len(_finished(study)) < trials and not session.interrupt.wanted:
            number = len(_finished(study))
            study.sampler = optuna.samplers.TPESampler(seed=stream_seed(seed, number))
            if grid:
                study.enqueue_trial({key: json.dumps(value) for key, value in grid[number].items()})
            _one(study, session, bench, raw, space, make, number, trials)
        done = _result(study, bench.metric_of(first), space, folder)
    best = done.ranked[0] if done.ranked else None
    (folder / RESULT).write_text(json.dumps(_plain(done, raw, space, seed), indent=1) + "\n", encoding="utf-8")
    if best is not None:
        (folder / BEST).write_text(dump(make(assign(raw, best.values))), encoding="utf-8")
    return done


def _one(
    study: Any,
    session: Session,
    bench: _Bench,
    raw: Mapping[str, Any],
    space: Space,
    make: Callable[[Mapping[str, Any]], finetune.Config],
    number: int,
    trials: int,
) -> None:
    """Runs one trial and tells the study."""
    trial = study.ask()
    values = spaces.suggest(trial, space)
    started = time.perf_counter()
    score, loss, failed = None, None, ""
    try:
        score, loss = bench.score(make(assign(raw, values)))
    except UserError as error:
        failed = str(error).splitlines()[0]
    if session.interrupt.wanted:
        study.tell(trial, state=_optuna().trial.TrialState.PRUNED)  # half a trial says nothing; it comes again
        return
    seconds = time.perf_counter() - started
    trial.set_user_attr("seconds", seconds)
    trial.set_user_attr("loss", loss)
    trial.set_user_attr("failed", failed)
    study.tell(trial, score) if score is not None else study.tell(trial, state=_optuna().trial.TrialState.FAIL)
    told = f"failed: {failed}" if score is None else f"validation {bench.metric} {score:.4f}"
    listed = "  ".join(f"{key}={_short(value)}" for key, value in values.items())
    session.say(f"trial {number + 1}/{trials}  {listed}  {told}  {seconds:.1f} s")


class _Bench:
    """Runs trials: what is loaded for one serves the next that needs the same."""

    def __init__(self, session: Session) -> None:
        self.session, self.metric = session, "loss"
        self._config: Any = None
        self._splits: Splits | None = None
        self._start: Start | None = None

    def _loaded(self, config: finetune.Config) -> tuple[Splits, Any]:
        """The splits and the backbone of `config`, the latter as it was loaded."""
        key = dataclasses.replace(
            config, phases=(), task=finetune.TaskConfig(), augment=None, features=None,
            data=dataclasses.replace(config.data, batch_size=1, max_tokens=None),
        )  # fmt: skip
        if self._start is None or self._splits is None or key != self._config or not self._start.restore():
            self._splits, backbone = finetune.load(self.session, config)
            self._start, self._config = Start.of(backbone), key
        return self._splits, self._start.backbone

    def metric_of(self, config: finetune.Config) -> str:
        """What trials of `config` are compared by."""
        splits, _ = self._loaded(config)
        self.metric = "accuracy" if splits.kind == "classification" else "loss"
        return self.metric

    def score(self, config: finetune.Config) -> tuple[float, float]:
        """The validation split's result, and its loss, after all phases of `config`.

        Raises `UserError` where the loss is not finite.
        """
        session = self.session
        splits, backbone = self._loaded(config)
        config = finetune.resolve(config, backbone.modality, len(backbone.blocks), len(splits.train))
        session.config = config
        model, made = finetune.assemble(session, config, backbone, splits)
        finetune.try_phases(session, config, backbone, model)
        last = finetune.train(session, config, backbone, model, made, splits, (), quiet=True)[-1]
        kept: dict[str, Any] = next((epoch for epoch in last.epochs if epoch["epoch"] == last.kept_epoch), {})
        value, loss = (float(kept.get(f"val_{name}", math.nan)) for name in (self.metric, "loss"))
        if not math.isfinite(value + loss) and not session.interrupt.wanted:
            raise UserError(f"the validation {self.metric} is {value}, its loss {loss}")
        return value, loss


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UserError("a sweep needs Optuna, which is not installed: pip install 'tfl[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _claim(folder: Path, about: dict[str, Any]) -> None:
    """Makes `folder` that of this sweep. Raises `UserError` where it holds another one, or something else."""
    about = json.loads(json.dumps(about, default=str))
    mark = folder / "space.json"
    if mark.is_file():
        before = json.loads(mark.read_text(encoding="utf-8"))
        changed = [name for name in about if before.get(name) != about[name]]
        if changed:
            raise UserError(f"--out: {folder} holds a sweep with another {' and '.join(changed)}; name another folder")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"--out: {folder} already holds something; name a new directory, or remove this one")
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _study(optuna: Any, folder: Path, maximise: bool) -> Any:
    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    storage = optuna.storages.JournalStorage(backend)
    direction = "maximize" if maximise else "minimize"
    return optuna.create_study(storage=storage, study_name="sweep", direction=direction, load_if_exists=True)


def _finished(study: Any) -> list[Any]:
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name in ("COMPLETE", "FAIL")]


def _result(study: Any, metric: str, space: Space, folder: Path) -> Sweep:
    trials = []
    for number, trial in enumerate(_finished(study), start=1):
        choices = {key for key, dimension in space.items() if isinstance(dimension, spaces.Choices)}
        values = {key: json.loads(value) if key in choices else value for key, value in trial.params.items()}
        attributes = trial.user_attrs
        trials.append(
            Trial(
                number=number,
                values=values,
                score=trial.value if trial.state.name == "COMPLETE" else None,
                loss=attributes.get("loss"),
                seconds=attributes.get("seconds", 0.0),
                failed=attributes.get("failed", ""),
            )
        )
    return Sweep(metric=metric, trials=tuple(trials), folder=folder)


def _plain(done: Sweep, raw: Mapping[str, Any], space: Space, seed: int) -> dict[str, Any]:
    best = done.ranked[0].number if done.ranked else None
    return {
        "metric": done.metric,
        "split": "validation",
        "best": best,
        "trials": plain(done.trials),
        "config": plain(dict(raw)),
        "space": spaces.describe(space),
        "seed": seed,
    }


def table(done: Sweep, most: int = 10) -> Any:
    """The best trials, for the terminal."""
    from rich.table import Table

    shown: Sequence[Trial] = done.ranked[:most]
    keys = list(shown[0].values) if shown else []
    found = Table("trial", *keys, f"validation {done.metric}", "seconds", box=None)
    for trial in shown:
        figures = [_short(trial.values[key]) for key in keys]
        found.add_row(str(trial.number), *figures, f"{trial.score:.4f}", f"{trial.seconds:.1f}")
    return found


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
