"""How far a run is: written down in its checkpoints while it trains, and gone on from where it was broken off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfl import checkpoint
from tfl.checkpoint import Checkpoints, Recorder, State, assign
from tfl.config import UserError, flat, plain, read
from tfl.directory import CONFIG, REPORT, begin, is_unfinished
from tfl.distribute import Workers
from tfl.models import statistics
from tfl.report import PhaseReport, phase_report

WHOLE = "run"
"""The part of a run that its model comes from; the others are its folds."""
FREE = ("checkpoints", "features.directory", "data.service")
"""Keys that change nothing of what comes out, and that a run may go on with another value of."""


class Course:
    """How far a run is; without `checkpoints` nothing is written, and everything begins at its beginning."""

    def __init__(self, checkpoints: Checkpoints | None = None, fingerprint: str = "", *, records: bool = True) -> None:
        """`fingerprint`: of what the run starts from; `records`: whether checkpoints are written, and not only read."""
        self.checkpoints, self.fingerprint, self.records = checkpoints, fingerprint, records
        self.results: list[Any] = []
        """Of the folds that are done."""
        self._state: State | None = None

    @classmethod
    def of_run(cls, directory: Path, config: Any, fingerprint: str, workers: Workers, say: Callable[[str], None]) -> Course:
        """That of the run in `directory`, which becomes its own: it begins there, or goes on from the last checkpoint.

        All `workers` call this; the chief writes. Raises `UserError` where it cannot go on, see `go_on`, where another
        process trains it, or where the workers do not see the same.
        """
        workers.wait()  # all have seen what the directory held
        recording = config.checkpoints or checkpoint.Config()
        checkpoints = Checkpoints(directory / "checkpoints", recording, say, writes=workers.is_chief)
        course = cls(checkpoints, fingerprint, records=config.checkpoints is not None)
        if workers.is_chief:
            checkpoints.claim()
            if (directory / REPORT).is_file() and not is_unfinished(directory):  # by a process that has ended just now
                checkpoints.clear()
                raise UserError(f"out: {directory} holds a run that another process has just finished; name a new directory")
            if not is_unfinished(directory):
                begin(directory, config)
        workers.wait()
        if told := course.go_on(config, directory):
            say(told)
        seen = int.from_bytes(hashlib.sha256(checkpoints.last.encode()).digest()[:6], "big")
        largest, smallest = workers.most([seen, -seen])
        if largest != -smallest:
            raise UserError(f"out: the workers see different checkpoints in {directory}; they have to share its disk")
        if workers.is_chief:
            begin(directory, config)
        return course

    def go_on(self, config: Any, directory: Path) -> str:
        """Takes the last checkpoint of the run in `directory`; says where it goes on, "" where it begins.

        Raises `UserError` where it is that of other data, of other weights, or of another config.
        """
        if self.checkpoints is None:
            return ""
        self._state = self.checkpoints.newest()
        if self._state is None:
            return ""
        about = self._state.about
        done = len(about["reports"]) if about["part"] == WHOLE else None
        changed = changes(read(directory / CONFIG), plain(config))
        fixed = [line for key, line in changed.items() if not _may_change(key, done)]
        if fixed:
            raise UserError(
                f"{directory} holds an unfinished run of another config, and it cannot go on with this one:\n"
                + "".join(f"  {line}\n" for line in fixed)
                + "take those values, or name a new directory (out)"
            )
        if about["fingerprint"] != self.fingerprint:
            raise UserError(
                f"{directory} holds an unfinished run on other data, or from other weights; restore them, or name a new "
                f"directory (out)"
            )
        self.results = list(about["results"])
        finished = len(about["reports"]) == len(config.phases)
        where = "the evaluation" if finished else f"phase {len(about['reports']) + 1}"
        where += "" if about["part"] == WHOLE else f" of {about['part']}"
        loop = about["loop"]
        at = f", epoch {len(loop['history']) + 1}, step {len(loop['losses'])}" if loop else ""
        told = f"; changed: {', '.join(changed.values())}" if changed else ""
        return f"going on from a checkpoint: {where}{at}{told}"

    def part(self, name: str) -> Part:
        """The part called `name`, as far as it is."""
        state, self._state = self._state, None
        if state is not None and state.about["part"] != name:
            state, self._state = None, state
        return Part(self, name, state)


class Part:
    """One training of all phases: that of the run, or that of a fold."""

    def __init__(self, course: Course, name: str, state: State | None) -> None:
        self.course, self.name, self._state = course, name, state
        self.reports: list[PhaseReport] = [phase_report(raw) for raw in state.about["reports"]] if state else []
        """Of the phases that are done."""
        self._touched: set[int] = set()
        self.declared = int(state.about["declared"]) if state else 0
        """Phases that have been declared in the model."""

    @property
    def resumed(self) -> bool:
        """Whether it goes on from a checkpoint."""
        return self._state is not None

    def restore(self, model: Any) -> None:
        """Gives `model`, in which all phases up to the present one have been declared, the values that it had."""
        assert self._state is not None
        values = self._state.under("model/")
        variables = {str(place): variable for place, variable in enumerate(model.variables)}
        assign({name: variable for name, variable in variables.items() if name in values}, values)
        self._touched = {id(variables[name]) for name in values}

    def recorder(self, model: Any, before: Sequence[bytes]) -> Recorder | None:
        """What writes the checkpoints of the phase that is declared in `model` now; `before`: its `models.snapshot`."""
        if self.course.checkpoints is None or not self.course.records:
            return None
        drawn = [variable for variable in model.variables if "seed_generator" in variable.path]
        self._touched |= {id(variable) for variable in [*model.trainable_variables, *statistics(model), *drawn]}
        about = {
            "part": self.name,
            "declared": self.declared,
            "fingerprint": self.course.fingerprint,
            "results": list(self.course.results),
            "reports": [plain(report) for report in self.reports],
            "before": [digest.hex() for digest in before],
        }
        touched = {str(place): one for place, one in enumerate(model.variables) if id(one) in self._touched}
        return Recorder(self.course.checkpoints, about, touched)

    def loop(self) -> tuple[State | None, list[bytes]]:
        """Of the phase that was broken off: the loop's state, and the snapshot from before it; (None, []) for others."""
        state, self._state = self._state, None
        if state is None or state.about["loop"] is None:
            return None, []
        before = [bytes.fromhex(digest) for digest in state.about["before"]]
        return State(about=state.about["loop"], arrays=state.under("loop/")), before


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """Keys, dotted, of which two configs have different values, with a line for each."""
    old, new = flat(before), flat(after)
    missing = "not there"
    return {
        key: f"{key}: {old.get(key, missing)} there, {new.get(key, missing)} now"
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key, missing) != new.get(key, missing)
    }


def _may_change(key: str, done: int | None) -> bool:
    """Whether `key` may change; `done`: phases that are behind, None while folds run."""
    if any(key == free or key.startswith(f"{free}.") for free in FREE):
        return True
    head, *rest = key.split(".")
    return head == "phases" and done is not None and bool(rest) and rest[0].isdecimal() and int(rest[0]) > done
