"""Signals that end a phase between two steps: Ctrl-C, which keeps what is trained, and SIGTERM, which leaves a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a run that was asked to end by SIGTERM."""

SAID = (
    b"\ninterrupted: ending after this step, keeping what is trained; no further phase is trained "
    b"(Ctrl-C again to stop at once; the same command then goes on from the last checkpoint)\n"
)
"""What the first Ctrl-C is answered with."""

ENDING = b"ending after this step; the same command goes on from there\n"
"""What is said where nothing is kept but a checkpoint."""


class Terminated(SystemExit):
    """The process was asked to end, and did so between two steps."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


class Interrupt:
    """While entered, the first SIGINT only sets `wanted`, and SIGTERM `terminated`; a second one acts at once, as ever.

    Of several workers one may be asked before the others: there, both hold from the moment on at which `settle` has told all.
    """

    def __init__(self) -> None:
        self._asked, self._agreed = [False, False], [False, False]
        self._shared = self._whole = False
        self.by_hand = False
        """Whether it was Ctrl-C that ends the process."""
        self._before: dict[int, Any] = {}

    @property
    def wanted(self) -> bool:
        """What is done is to be kept, and the run to go on to its evaluation without the phases that are left."""
        return (self._agreed if self._shared else self._asked)[0]

    @property
    def terminated(self) -> bool:
        """The process is to end as soon as it is known where it was."""
        return (self._agreed if self._shared else self._asked)[1]

    @property
    def stopping(self) -> bool:
        """Whether nothing new is to be begun; known to this process alone."""
        return any(self._asked)

    @contextmanager
    def whole_or_nothing(self) -> Iterator[None]:
        """Within this context half of what is done is worth nothing, as of a fold: a first SIGINT ends the process as SIGTERM
        does, behind a checkpoint, and `by_hand` says so.
        """
        self._whole = True
        try:
            yield
        finally:
            self._whole = False

    def settle(self, most: Callable[[Sequence[float]], Any], several: bool) -> None:
        """Lets all workers know what any of them was asked; `most` gives the largest of what they give."""
        if several:
            self._shared = True
            self._agreed = [bool(asked) for asked in most(self._asked)]

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number, receive in ((signal.SIGINT, self._interrupt), (signal.SIGTERM, self._terminate)):
                self._before[number] = signal.signal(number, receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._asked[0] or self.by_hand:
            raise KeyboardInterrupt
        if self._whole:
            self._asked[1] = self.by_hand = True
            os.write(2, b"\ninterrupted: " + ENDING)
            return
        self._asked[0] = True
        os.write(2, SAID)

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        if self._asked[1]:
            raise Terminated
        self._asked[1] = True
        os.write(2, b"\nterminated: " + ENDING)
