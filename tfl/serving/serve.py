"""A local server for an export: for trying, for testing, and for small deployments."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from tfl.config import UserError, extra

if TYPE_CHECKING:
    from tfl.serving.app import Server


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    batch: int = 32,
    delay: float = 0.002,
    grpc_port: int | None = None,
    token: str | None = None,
) -> None:
    """Answers until SIGTERM or SIGINT, then finishes what it has begun.

    `port` 0: any that is free; so for `grpc_port`, where None is no gRPC. `batch`, `delay`: as in `tfl.serving.app.Limits`.
    Raises `UserError` where the folder is no export, an address is taken, or the packages are not there.
    """
    needed = ("uvicorn", "starlette", "prometheus_client", "tensorflow_serving")
    if not all(map(importlib.util.find_spec, needed)):
        raise UserError(f"serve: its packages are not installed; {extra('serve')}")
    import uvicorn

    from tfl.serving.app import Limits, Server
    from tfl.serving.shelf import Shelf

    _check_token(token)
    listening = _listening("port", host, port)
    if grpc_port:  # gRPC takes the port itself, and says nothing that a user could read where it is taken
        _listening("grpc_port", host, grpc_port).close()
    shelf = Shelf(folder, lambda line: print(line, flush=True))
    own = Server(shelf, Limits(batch=batch, delay=delay), token)

    class Graceful(uvicorn.Server):
        def handle_exit(self, sig: int, frame: object) -> None:
            own.stopping = True
            super().handle_exit(sig, frame)  # type: ignore[arg-type]

    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises it once more when it has stopped
    where = listening.getsockname()
    print(f"http://{where[0]}:{where[1]}/v1/models/{shelf.names()[0]}:predict, and a page at /", flush=True)
    lifespan = None if grpc_port is None else _with_grpc(own, host, grpc_port)
    config = uvicorn.Config(own.app(lifespan), log_level="warning", timeout_graceful_shutdown=30)
    Graceful(config).run(sockets=[listening])
    shelf.close()


def _check_token(token: str | None) -> None:
    """Raises `UserError` for a token that clients cannot send: visible ASCII alone arrives in a header as it was sent."""
    for place, letter in enumerate(token or "", 1):
        if not "!" <= letter <= "~":
            raise UserError(
                f"TFL_SERVE_TOKEN: its character {place} of {len(token or '')} cannot be sent in a header; take visible ASCII "
                "without spaces, such as `openssl rand -hex 32` gives"
            )


def _listening(option: str, host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises `UserError` where the address is taken or none of this machine."""
    # With its protocol named, asyncio sends small answers at once; else one over a kept connection waits for 40 ms.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(2048)
    except OSError as error:
        made.close()
        raise UserError(f"{option} {port}: {host}:{port} cannot be listened at: {error.strerror}; name another") from error
    return made


def _with_grpc(server: Server, host: str, port: int) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """What lets a gRPC server run as long as the other one."""

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        from tfl.serving import rpc

        beside, at = await rpc.start(server, f"{host}:{port}")
        print(f"grpc: {host}:{at}", flush=True)
        yield
        await beside.stop(30)

    return lifespan
