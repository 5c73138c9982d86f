"""Requests of many clients answered together: while one batch is computed, the next one gathers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray]


class Busy(Exception):
    """As many rows wait as may."""


@dataclass(eq=False)
class _Waiting:
    inputs: Tensors
    rows: int
    answer: asyncio.Future[dict[str, np.ndarray]] = field(repr=False)


class Batcher:
    """Gathers the rows of requests to one function into batches.

    A batch goes off when it is full, or when nothing is being computed and its first request has waited for `delay` seconds. A
    request of more rows than a batch has is computed in parts. A request that makes a batch fail is found by computing its
    requests one by one, so that the others get their answers.
    """

    def __init__(
        self,
        call: Callable[[Tensors], dict[str, np.ndarray]],
        executor: Executor,
        *,
        size: int,
        delay: float,
        queue: int,
        seen: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """`size`: rows of a batch at most; `queue`: rows that may wait; `seen` gets the rows of each batch."""
        self._call, self._executor, self._seen = call, executor, seen
        self._size, self._delay, self._queue = size, delay, queue
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Rows that wait."""
        return sum(one.rows for one in self._waiting)

    async def __call__(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """The outputs for `inputs`, [n, …] each. Raises `Busy`, and whatever the function raises for them."""
        rows = len(next(iter(inputs.values())))
        if self._waiting and self.waiting + rows > self._queue:
            raise Busy
        parts = [self._part(inputs, start, min(self._size, rows - start)) for start in range(0, rows, self._size)]
        self._waiting.extend(parts)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        try:
            answers = await asyncio.gather(*(part.answer for part in parts))
        finally:
            for part in parts:  # where one failed, nobody waits for the others
                part.answer.cancel()
        if len(answers) == 1:
            return answers[0]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _part(self, inputs: Tensors, start: int, rows: int) -> _Waiting:
        own = {name: values[start : start + rows] for name, values in inputs.items()}
        return _Waiting(own, rows, asyncio.get_running_loop().create_future())

    async def _work(self) -> None:
        await self._gathered()
        while self._waiting:
            await self._answer(self._next())

    async def _gathered(self) -> None:
        """Until a batch is full or the first request has waited long enough."""
        end = asyncio.get_running_loop().time() + self._delay
        while self.waiting < self._size and (left := end - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, 0.0005))

    def _next(self) -> list[_Waiting]:
        """The first requests that wait, of like shapes, as many as make a batch."""
        first, rows = self._waiting[0], 0
        batch: list[_Waiting] = []
        for one in self._waiting:
            if batch and (rows + one.rows > self._size or _shapes(one.inputs) != _shapes(first.inputs)):
                break
            batch.append(one)
            rows += one.rows
        del self._waiting[: len(batch)]
        return [one for one in batch if not one.answer.done()]  # a client that is gone is not answered

    async def _answer(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        self._seen(sum(one.rows for one in batch))
        try:
            inputs = {name: np.concatenate([one.inputs[name] for one in batch]) for name in batch[0].inputs}
            outputs = await loop.run_in_executor(self._executor, self._call, inputs)
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    await self._answer([one])
            elif not batch[0].answer.done():
                batch[0].answer.set_exception(error)
            return
        start = 0
        for one in batch:
            own = {name: values[start : start + one.rows] for name, values in outputs.items()}
            start += one.rows
            if not one.answer.done():
                one.answer.set_result(own)


def _shapes(inputs: Tensors) -> list[Any]:
    return [values.shape[1:] for values in inputs.values()]
