"""What is said where a strategy cannot be had."""

from __future__ import annotations

import pytest

from tfl import distribute
from tfl.config import UserError
from tfl.lazy import tf


def test_no_tpu_is_said_by_the_line_that_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(name: str) -> None:
        raise RuntimeError(
            "Graph execution error:\n\nDetected at node x (most recent call last):\n<no stack>\nthe platform is away\nmore"
        )

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", away)
    with pytest.raises(UserError, match=r"no TPU was found \(the platform is away\).*libtpu"):
        distribute._tpu()
