"""What a run needs to go on where it was killed, written while it trains."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl import sealed
from tfl.config import UserError, require
from tfl.locks import lock

SUFFIX, LOCK = ".safetensors", ".lock"


@dataclass(frozen=True, kw_only=True)
class Config:
    """How often a run writes down where it is; what is written lasts until the run has ended."""

    seconds: float | None = 60.0
    """Seconds between checkpoints; null: none by time."""
    steps: int | None = None
    """Training steps between checkpoints, in addition; null: none by steps."""
    keep: int = 2
    """Number of latest checkpoints kept: where the last one is damaged, the one before it serves."""

    def __post_init__(self) -> None:
        checks = {
            "seconds": (self.seconds is None or self.seconds >= 0, "0 or more, or null"),
            "steps": (self.steps is None or self.steps >= 1, "at least 1, or null"),
            "keep": (self.keep >= 1, "at least 1"),
        }
        require(self, checks)


@dataclass(frozen=True, kw_only=True)
class State:
    """A run between two steps: `about` can be written as JSON, `arrays` are the values of variables."""

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with `prefix`, without it."""
        return {name[len(prefix) :]: array for name, array in self.arrays.items() if name.startswith(prefix)}


class Checkpoints:
    """The checkpoints of a run, in a folder of their own: `<number>-<digest>.safetensors`.

    They are written by another thread, from copies, so that a step waits no longer than the copying takes. One process has
    the folder at a time.
    """

    def __init__(self, folder: Path, config: Config, say: Callable[[str], None], *, writes: bool = True) -> None:
        """`writes`: whether this process does; of several that train together, one."""
        self.folder, self.config, self.say, self.writes = folder, config, say, writes
        self._lock: Any = None
        self._writer: threading.Thread | None = None
        self._failed = ""
        self._told = False
        self.last = ""
        """What `newest` has read."""
        self._steps, self._since = 0, time.monotonic()

    def claim(self) -> None:
        """Takes the folder. Raises `UserError` where another process has it, or nothing can be written there."""
        if not self.writes:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / LOCK).open("w")
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written to: {error.strerror}; name another directory (out)") from error
        if not lock(self._lock, exclusive=True, wait=False):
            raise UserError(f"{self.folder.parent}: another process is training this run; wait for it, or end it")
        self._sweep()

    def _sweep(self) -> None:
        """Removes what a process that was killed while it wrote has left."""
        for draft in self.folder.glob(f".{'[0-9]' * 6}-*{SUFFIX}.*"):
            with contextlib.suppress(OSError):
                draft.unlink()

    def files(self) -> list[Path]:
        """The checkpoints that are there, the oldest first."""
        found = self.folder.glob(f"{'[0-9]' * 6}-*{SUFFIX}") if self.folder.is_dir() else ()
        return sorted(found, key=lambda path: int(path.name.partition("-")[0]))

    def newest(self) -> State | None:
        """The last checkpoint that is whole; None where there is none. One that is damaged is told of, and left out."""
        for path in reversed(self.files()):
            try:
                sealed.check(path)
                self.last = path.stem
                return _read(path)
            except sealed.Damaged:
                self.say(f"checkpoints: {path} is damaged; the one before it is used")
                if self.writes:
                    with contextlib.suppress(OSError):
                        path.unlink()
            except OSError as error:
                self.say(f"checkpoints: {path} cannot be read ({_reason(error)}); the one before it is used")
        return None

    def room(self) -> int:
        """Steps until the next checkpoint by number of steps; a large number where only time counts."""
        return 1 << 30 if self.config.steps is None else max(self.config.steps - self._steps, 1)

    def passed(self, steps: int) -> bool:
        """Takes note of `steps` more; whether a checkpoint is due after them."""
        self._steps += steps
        if self._writer is not None and self._writer.is_alive():
            return False
        by_steps = self.config.steps is not None and self._steps >= self.config.steps
        return by_steps or (self.config.seconds is not None and time.monotonic() - self._since >= self.config.seconds)

    def write(self, state: State, *, wait: bool = False) -> None:
        """Writes `state`, whose arrays are nobody else's; `wait`: it is on disk when this returns, or has failed."""
        self.settle()
        self._steps, self._since = 0, time.monotonic()
        if not self.writes:
            return
        self._writer = threading.Thread(target=self._write, args=(state,), daemon=True)
        self._writer.start()
        if wait:
            self.settle()

    def settle(self) -> None:
        """Waits for what is being written, and tells of a failure: the run goes on, its last good checkpoint stays."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        if self._failed and not self._told:
            self.say(f"checkpoints: cannot be written ({self._failed}); training goes on, the last good one stays")
        self._told = bool(self._failed)

    def _write(self, state: State) -> None:
        try:
            there = self.files()
            number = int(there[-1].name.partition("-")[0]) + 1 if there else 1
            about = {"about": json.dumps(state.about, default=lambda value: value.tolist())}
            sealed.write(self.folder, f"{number:06d}", SUFFIX, state.arrays, about, sync=True)
            self._failed = ""
            for path in self.files()[: -self.config.keep]:
                path.unlink()
        except Exception as error:  # a thread has nobody else to tell
            self._failed = _reason(error)

    def clear(self) -> None:
        """Removes what is there: the run has ended and is written."""
        self.settle()
        if self.writes:
            self._sweep()
            with contextlib.suppress(OSError):  # it may hold something that is somebody else's
                for path in [*self.files(), self.folder / LOCK]:
                    path.unlink(missing_ok=True)
                self.folder.rmdir()
        self.release()

    def release(self) -> None:
        """Gives the folder to whoever wants it."""
        self.settle()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


class Recorder:
    """Writes checkpoints of one phase: what the loop says of itself, and with it what the run knows."""

    def __init__(self, checkpoints: Checkpoints, about: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        self.checkpoints, self.about, self.variables = checkpoints, about, variables
        self._copies: dict[str, np.ndarray] = {}

    @property
    def room(self) -> int:
        """Steps until the next checkpoint by number of steps."""
        return self.checkpoints.room()

    def passed(self, steps: int) -> bool:
        """Takes note of `steps` more; whether a checkpoint is due after them."""
        return self.checkpoints.passed(steps)

    def copied(self, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The values of `variables` by name, theirs until the next call.

        They lie where those of the last checkpoint did: copying into memory that is new to a process takes several times as
        long.
        """
        self.checkpoints.settle()  # the last ones are written from there
        for name, variable in variables.items():
            value = np.asarray(variable.numpy())
            np.copyto(self._copies.setdefault(name, np.empty_like(value)), value)
        return {name: self._copies[name] for name in variables}

    def write(self, loop: State | None, *, wait: bool = False) -> None:
        """A checkpoint now; `loop` is None between two phases."""
        arrays = self.copied({f"model/{name}": variable for name, variable in self.variables.items()})
        if loop is not None:
            arrays |= {f"loop/{name}": array for name, array in loop.arrays.items()}
        about = {**self.about, "loop": loop.about if loop is not None else None}
        self.checkpoints.write(State(about=about, arrays=arrays), wait=wait)


def assign(variables: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> None:
    """Gives `variables` the `values` of the same names. Raises `UserError` where they are not those of this model."""
    wrong = [name for name in values if name not in variables or tuple(variables[name].shape) != values[name].shape]
    wrong += [name for name in variables if name not in values]
    if wrong:
        raise UserError(f"the checkpoint is not one of this model: {wrong[0]} does not fit; name a new directory (out)")
    for name, variable in variables.items():
        variable.assign(values[name])


def named(variables: Sequence[Any], prefix: str = "") -> dict[str, Any]:
    """`variables` by their places in the sequence: what two models that were built alike call the same."""
    return {f"{prefix}{place}": variable for place, variable in enumerate(variables)}


def _read(path: Path) -> State:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["about"])
        return State(about=about, arrays={name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
