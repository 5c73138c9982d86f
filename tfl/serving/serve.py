"""A local server for an export: for trying, for testing, and for small deployments."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from tfl.config import UserError


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    batch: int = 32,
    delay: float = 0.002,
    grpc_port: int | None = None,
    token: str | None = None,
    every: float = 2.0,
) -> None:
    """Answers until SIGTERM or SIGINT, then finishes what it has begun.

    `port` 0: any that is free; so for `grpc_port`, where None is no gRPC. `batch`, `delay`: as in `tfl.serving.app.Limits`.
    `every`: seconds between two looks for new versions. Raises `UserError` where the folder is no export, the address is taken,
    or the packages are not there.
    """
    needed = ("uvicorn", "starlette", "prometheus_client", "tensorflow_serving")
    if not all(map(importlib.util.find_spec, needed)):
        raise UserError("serve: its packages are not installed; pip install 'tfl[serve]'")
    import uvicorn

    from tfl.serving.app import Limits, Server
    from tfl.serving.shelf import Shelf

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: {error.strerror}; name another") from error
    shelf = Shelf(folder, lambda line: print(line, flush=True), every)
    own = Server(shelf, Limits(batch=batch, delay=delay), token)

    class Graceful(uvicorn.Server):
        def handle_exit(self, sig: int, frame: object) -> None:
            own.stopping = True
            super().handle_exit(sig, frame)  # type: ignore[arg-type]

    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it once more when it has stopped
    where = listening.getsockname()
    print(f"http://{where[0]}:{where[1]}/v1/models/{shelf.names()[0]}:predict, and a page at /", flush=True)

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        if grpc_port is None:
            yield
            return
        from tfl.serving import rpc

        try:
            beside, at = await rpc.start(own, f"{host}:{grpc_port}")
        except RuntimeError as error:
            raise UserError(f"--grpc-port {grpc_port}: {error}; name another") from error
        print(f"grpc: {host}:{at}", flush=True)
        yield
        await beside.stop(30)

    config = uvicorn.Config(own.app(lifespan), log_level="warning", timeout_graceful_shutdown=30)
    Graceful(config).run(sockets=[listening])
    shelf.close()
