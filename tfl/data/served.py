"""What a tf.data service computes, in the order in which this process would have."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tfl.data.service import trouble
from tfl.lazy import tf

NUMBER = "number"
"""The entry of an element that says which one it is."""
PATIENCE = 60.0
"""Seconds without any batch after which the service is no longer waited for."""
HELD = 2 << 30
"""Bytes of batches, but four of them, that may have come before the one whose turn it is; then that one is computed here."""
Made = Callable[[np.ndarray], Any]
"""From numbers, [n] int64, to a data set of the elements that have them."""


def served(address: str, made: Made, count: int) -> tf.data.Dataset:
    """The elements number 0 to `count` - 1, computed by the workers of the service at `address`, in the order of their numbers.

    `made(numbers)` is a data set of dicts with those numbers, each a function of its `NUMBER` alone. The dispatcher hands the
    numbers out to the workers, each to one of them, as they ask for more; what comes back is put in order here. An element that
    got lost with its worker is computed here, and so is all that is left of an epoch when the service is gone: it decides how
    long an epoch takes, and nothing else.
    """
    data = made(np.arange(count))
    spec = {name: one for name, one in data.element_spec.items() if name != NUMBER}

    def elements() -> Iterator[dict[str, Any]]:
        for element in _in_order(address, data, made, count):
            yield {name: element[name] for name in spec}

    return tf.data.Dataset.from_generator(elements, output_signature=spec)


def _in_order(address: str, data: tf.data.Dataset, made: Made, count: int) -> Iterator[Mapping[str, Any]]:
    """`data`, which is `made` of all numbers, as the service gives it, in order."""
    held: dict[int, Mapping[str, Any]] = {}
    most = 4
    gone = trouble(address)
    arrivals = None if gone else _Arrivals(address, data)
    try:
        for number in range(count):
            while arrivals is not None and not gone and not arrivals.ended and number not in held and len(held) < most:
                try:
                    came = arrivals.next()
                    if came is not None and int(came[NUMBER]) >= number:  # else it was computed here
                        held[int(came[NUMBER])] = came
                        most = max(4, HELD // sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in came.values()))
                except Unserved as error:
                    gone = str(error)
            if gone and not held:
                print(f"data.service: {address}: {gone}; this process reads what is left of the epoch", file=sys.stderr)
                yield from made(np.arange(number, count))
                return
            yield held.pop(number) if number in held else next(iter(made(np.array([number]))))
    finally:
        if arrivals is not None:
            arrivals.close()


class Unserved(Exception):
    """The service gives nothing any more."""


class _Arrivals:
    """What comes from the service, in any order, read by a thread of its own so that nobody waits without end."""

    def __init__(self, address: str, data: tf.data.Dataset) -> None:
        self._address, self._data = address, data
        self._came: queue.Queue[Any] = queue.Queue(maxsize=2)
        self._closed = threading.Event()
        self.ended = False
        """Whether nothing is left."""
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Mapping[str, Any] | None:
        """What came next; None where nothing is left. Raises `Unserved` where nothing comes."""
        try:
            came = self._came.get(timeout=PATIENCE)
        except queue.Empty:
            raise Unserved(f"no batch for {PATIENCE:.0f} s") from None
        if isinstance(came, Exception):
            raise Unserved(f"{type(came).__name__}: {str(came).splitlines()[0][:200]}") from came
        self.ended = came is None
        return came

    def close(self) -> None:
        """Ends the thread, after the element that it waits for."""
        self._closed.set()

    def _read(self) -> None:
        service = tf.data.experimental.service
        try:
            dealt = service.distribute(processing_mode=service.ShardingPolicy.DYNAMIC, service=self._address)
            for element in self._data.apply(dealt):
                if not self._put(element):
                    return
            self._put(None)
        except Exception as error:  # a thread has nobody else to tell
            self._put(error)

    def _put(self, value: Any) -> bool:
        """Whether somebody still wants it."""
        while not self._closed.is_set():
            try:
                self._came.put(value, timeout=0.5)
                return True
            except queue.Full:
                pass
        return False
