"""What the first Ctrl-C says: what is kept, what is not trained any more, and what the second one does."""

from __future__ import annotations

import signal

import pytest

from tfl.interrupt import Interrupt


def test_the_first_interrupt_says_that_the_run_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.wanted
        said = capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert "keeping what is trained; no further phase is trained (Ctrl-C again to stop at once;" in said
    assert "the same command then goes on from the last checkpoint" in said
