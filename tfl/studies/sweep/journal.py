"""The trials of a sweep on disk, in a journal of Optuna's, and what comes next.

Only what is finished is written, and what comes next depends on that and the seed alone: a sweep that was killed goes on as
one that was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfl.config import UserError, extra
from tfl.data.batches import stream_seed
from tfl.studies.sweep import space as spaces
from tfl.studies.sweep.space import Space

ASKED = 20
"""How often another proposal is asked for where one was tried before; the same values give the same bits."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One set of values and what came of it."""

    number: int
    """From 1."""
    values: dict[str, Any]
    score: float | None
    """Of the validation split, at the epoch that the last phase kept; null where the trial failed."""
    loss: float | None
    """Of the validation split likewise; of equal scores, the lower loss is better."""
    seconds: float
    failed: str = ""
    """Why."""
    config: dict[str, Any] | None = None
    """The resolved config."""


def optuna() -> Any:
    """The package, quiet. Raises `UserError` where it is not installed."""
    try:
        import optuna as package
    except ImportError as error:
        raise UserError(f"a sweep needs Optuna, which is not installed: {extra('sweep')}") from error
    package.logging.set_verbosity(package.logging.ERROR)
    return package


class Journal:
    """The finished trials in the file `path`; `maximize`: whether a high score is good."""

    def __init__(self, path: Path, space: Space, seed: int, maximize: bool) -> None:
        self.space, self.seed = space, seed
        self._direction = "maximize" if maximize else "minimize"
        self._distributions = spaces.distributions(space)
        _cut_to_lines(path)
        backend = optuna().storages.journal.JournalFileBackend(str(path))
        storage = optuna().storages.JournalStorage(backend)
        self._study = optuna().create_study(storage=storage, study_name="sweep", direction=self._direction, load_if_exists=True)

    def add(self, trial: Trial) -> None:
        """Writes `trial` down, whole or not at all."""
        states = optuna().trial.TrialState
        made = optuna().trial.create_trial(
            state=states.FAIL if trial.score is None else states.COMPLETE,
            value=trial.score,
            params=spaces.words(trial.values, self.space),
            distributions=self._distributions,
            user_attrs={
                "loss": trial.loss, "seconds": trial.seconds, "failed": trial.failed, "config": trial.config
            },
        )  # fmt: skip
        self._study.add_trial(made)

    def trials(self) -> list[Trial]:
        """What is there, in the order of time."""
        done = enumerate(self._study.get_trials(deepcopy=False), start=1)
        return [
            Trial(number=number, values=spaces.values(one.params, self.space), score=one.value, **one.user_attrs)
            for number, one in done
        ]

    def left(self, grid: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """What of `grid` has not been tried."""
        tried = [trial.values for trial in self.trials()]
        return [values for values in grid if values not in tried]

    def propose(self) -> dict[str, Any]:
        """What to try next, by the tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24).

        It takes a failed trial for worse than all others.
        """
        tried = [trial.values for trial in self.trials()]
        sampler = optuna().samplers.TPESampler(seed=stream_seed(self.seed, len(tried)))
        study = optuna().create_study(direction=self._direction, sampler=sampler)
        states = optuna().trial.TrialState
        for one in self._study.get_trials():
            one.state = states.PRUNED if one.state == states.FAIL else one.state
            study.add_trial(one)
        values: dict[str, Any] = {}
        for _ in range(ASKED):
            values = spaces.values(study.ask(self._distributions).params, self.space)
            if values not in tried:
                break
        return values


def _cut_to_lines(path: Path) -> None:
    """Takes off the journal what a process that was killed, or a full disk, has left of a last line: Optuna would write the
    next one behind it, and nobody could read either.
    """
    if path.is_file():
        with path.open("rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
