"""Signals that end a phase between two steps: Ctrl-C, which keeps what is trained, and SIGTERM, which leaves a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a run that was asked to end by SIGTERM."""


class Terminated(SystemExit):
    """The process was asked to end, and did so between two steps."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


class Interrupt:
    """While entered, the first SIGINT only sets `wanted`, and SIGTERM `terminated`; a second one acts at once, as ever."""

    def __init__(self) -> None:
        self.wanted = False
        """What is done is to be kept, and the run to go on to its evaluation."""
        self.terminated = False
        """The process is to end as soon as it is known where it was."""
        self._before: dict[int, Any] = {}

    @property
    def stopping(self) -> bool:
        """Whether nothing new is to be begun."""
        return self.wanted or self.terminated

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
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True
        os.write(2, b"\ninterrupted: ending after this step and keeping what is trained (Ctrl-C again to stop at once)\n")

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        if self.terminated:
            raise Terminated
        self.terminated = True
        os.write(2, b"\nterminated: ending after this step; the same command goes on from there\n")
