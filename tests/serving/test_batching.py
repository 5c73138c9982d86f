"""Rows of many requests in few batches, by a function that is no model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tfl.serving.batching import Batcher, Busy


def double(inputs: Any) -> dict[str, np.ndarray]:
    if (inputs["x"] < 0).any():
        raise ValueError("below zero")
    return {"y": 2 * inputs["x"]}


def run(work: Callable[[Batcher], Any], call: Any = double, **options: Any) -> tuple[Any, list[int]]:
    """What `work` gives for a batcher, and the rows of each batch."""
    seen: list[int] = []

    async def main() -> Any:
        with ThreadPoolExecutor(1) as executor:
            return await work(Batcher(call, executor, seen=seen.append, **{"size": 4, "delay": 0.05, "queue": 100, **options}))

    return asyncio.run(main()), seen


def rows(*values: float) -> dict[str, np.ndarray]:
    return {"x": np.array(values)}


def test_each_gets_its_own_rows() -> None:
    async def work(batcher: Batcher) -> Any:
        return await asyncio.gather(*(batcher(rows(place, place + 0.5)) for place in range(5)))

    answers, seen = run(work)
    assert [answer["y"].tolist() for answer in answers] == [[2 * place, 2 * place + 1] for place in range(5)]
    assert seen == [4, 4, 2]


def test_a_larger_request_is_computed_in_parts() -> None:
    async def work(batcher: Batcher) -> Any:
        return await asyncio.gather(batcher(rows(*range(10))), batcher(rows(20, 21)))

    (large, small), seen = run(work)
    assert large["y"].tolist() == [2.0 * value for value in range(10)]
    assert small["y"].tolist() == [40, 42]
    assert seen == [4, 4, 4]


def test_a_larger_request_fails_whole_and_alone() -> None:
    async def work(batcher: Batcher) -> Any:
        return await asyncio.gather(batcher(rows(-1, *range(19))), batcher(rows(20)), return_exceptions=True)

    (bad, small), seen = run(work)
    assert isinstance(bad, ValueError)
    assert small["y"].tolist() == [40]
    assert sum(seen) < 12  # nobody waits for its other parts


def test_a_bad_one_fails_alone() -> None:
    async def work(batcher: Batcher) -> Any:
        return await asyncio.gather(*(batcher(rows(value)) for value in (1, -1, 2)), return_exceptions=True)

    (first, bad, last), _ = run(work)
    assert (first["y"][0], last["y"][0]) == (2, 4)
    assert isinstance(bad, ValueError)


def test_other_shapes_are_another_batch() -> None:
    async def work(batcher: Batcher) -> Any:
        return await asyncio.gather(batcher({"x": np.ones((1, 2))}), batcher({"x": np.ones((1, 3))}))

    answers, seen = run(work)
    assert [answer["y"].shape for answer in answers] == [(1, 2), (1, 3)]
    assert seen == [1, 1]


def test_a_full_queue_is_said_and_a_client_that_is_gone_is_not_computed() -> None:
    goes_on = threading.Event()

    def slow(inputs: Any) -> dict[str, np.ndarray]:
        goes_on.wait(10)
        return double(inputs)

    async def work(batcher: Batcher) -> Any:
        first = asyncio.create_task(batcher(rows(1)))
        await asyncio.sleep(0.05)  # it is being computed
        gone, waits = asyncio.create_task(batcher(rows(2))), asyncio.create_task(batcher(rows(3)))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await batcher(rows(4))
        gone.cancel()
        goes_on.set()
        return [(await one)["y"].tolist() for one in (first, waits)]

    answers, seen = run(work, slow, delay=0.0, queue=2)
    assert answers == [[2.0], [6.0]]
    assert seen == [1, 1]
