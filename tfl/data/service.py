"""A tf.data service: processes, on other machines too, that read, decode and augment what this one trains on."""

from __future__ import annotations

import socket
import threading
from typing import Any

from tfl.config import UserError
from tfl.data.examples import Columns
from tfl.lazy import tf

PREFIX = "grpc://"
ANSWER = 10.0
"""Seconds in which a dispatcher has to answer."""
NO_WORKERS = "it has no workers; start one: tfl service worker --dispatcher HOST:PORT"
GONE = 20.0
"""Seconds without a word after which a dispatcher leaves a worker out."""


def trouble(address: str, seconds: float = ANSWER) -> str:
    """Why the service at `address`, grpc://host:port, cannot be used now; "" where it can.

    Asks the dispatcher, within `seconds`, which workers it has: TensorFlow itself would wait without end.
    """
    import grpc

    with grpc.insecure_channel(address.removeprefix(PREFIX)) as channel:
        plain = {"request_serializer": bytes, "response_deserializer": bytes}
        ask = channel.unary_unary("/tensorflow.data.DispatcherService/GetWorkers", **plain)
        try:
            return "" if ask(b"", timeout=seconds) else NO_WORKERS
        except grpc.RpcError as error:
            why = " ".join((error.details() or error.code().name).split())[-200:]
            return f"no dispatcher of a tf.data service answers ({why}); start one: tfl service dispatcher"


def check(address: str | None) -> None:
    """Raises `UserError` where there is an `address` and the service there does not answer, or has no workers."""
    if address is not None and (found := trouble(address)):
        raise UserError(f"data.service: {address}: {found}; or leave data.service out")


def check_examples(address: str | None, examples: Any) -> None:
    """Raises `UserError` where there is an `address`, and a worker could not read `examples` by itself."""
    if address is None or (isinstance(examples, Columns) and "path" in examples.inputs):
        return
    have = "are held in memory here" if isinstance(examples, Columns) else "are read from their files in order"
    raise UserError(
        f"data.service: its workers read image files one by one, and the examples of this source {have}; give a folder of "
        "images or a table with a column of image paths, or leave data.service out"
    )


# --- the processes ----------------------------------------------------------------------------------------------------


def run(what: str, dispatcher: str | None, host: str | None, port: int | None) -> None:
    """Runs a "dispatcher", or a "worker" of `dispatcher`, host:port, until the process is ended.

    It listens at `port`; 0: any that is free; None: 5050, a worker at any. `host`: by which those who train reach a worker;
    None: its machine's name, or localhost where the dispatcher is there. Raises `UserError` where it cannot.
    """
    if (what == "worker") != (dispatcher is not None):
        raise UserError("dispatcher: it goes with worker, and names its dispatcher as HOST:PORT")
    if port is not None and not 0 <= port <= 65535:
        raise UserError(f"port: {port} is not valid; from 0 to 65535")
    if dispatcher is not None and (found := trouble(dispatcher)) not in ("", NO_WORKERS):
        raise UserError(f"dispatcher: {dispatcher}: {found}")
    try:
        started, address = _dispatcher(port) if dispatcher is None else _worker(dispatcher.removeprefix(PREFIX), host, port)
    except (RuntimeError, tf.errors.OpError) as error:
        raise UserError(f"port: cannot listen at {port}: {str(error).splitlines()[0]}; name another") from error
    print(f"{what}: {address}", flush=True)
    threading.Event().wait()
    del started


def _dispatcher(port: int | None) -> tuple[Any, str]:
    """A dispatcher, and its address for `data.service`."""
    service = tf.data.experimental.service
    config = service.DispatcherConfig(port=5050 if port is None else port, worker_timeout_ms=int(GONE * 1000))
    server = service.DispatchServer(config)
    return server, f"{PREFIX}{socket.gethostname()}:{server.target.rpartition(':')[2]}"


def _worker(dispatcher: str, host: str | None, port: int | None) -> tuple[Any, str]:
    """A worker, and its address."""
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})  # it computes as a run does
    local = dispatcher.rpartition(":")[0] in ("localhost", "127.0.0.1")
    name = host or ("localhost" if local else socket.gethostname())
    service = tf.data.experimental.service
    config = service.WorkerConfig(dispatcher_address=dispatcher, worker_address=f"{name}:%port%", port=port or 0)
    return service.WorkerServer(config), name
