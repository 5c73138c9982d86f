"""The server's routes: TensorFlow Serving's REST API, what watches over a server, and a page to try the models."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from tfl.data import scan
from tfl.lazy import tf
from tfl.serving import openapi, shapes, wire
from tfl.serving.batching import Batcher, Busy
from tfl.serving.shelf import Shelf, Version


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request, and all of them, may take."""

    batch: int = 32
    """Rows that are computed together; 1: no batching."""
    delay: float = 0.002
    """Seconds that the first request of a batch waits for others while nothing is computed."""
    queue: int = 512
    """Rows that may wait; beyond, 429."""
    rows: int = 256
    """Of one request; beyond, 413."""
    body: int = 32 << 20
    """Bytes of a request; beyond, 413."""
    pixels: int = 50_000_000
    """Of one image, as its header says; beyond, 413."""
    seconds: float = 60.0
    """Until the body is there; beyond, 408. Then until an answer; beyond, 503."""


class Refused(Exception):
    """A request that gets no answer: an HTTP status and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Server:
    """The state behind the routes."""

    def __init__(self, shelf: Shelf, limits: Limits, token: str | None = None) -> None:
        self.shelf, self.limits, self._token = shelf, limits, token
        self.stopping = False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._batchers: weakref.WeakKeyDictionary[Version, dict[str, Batcher]] = weakref.WeakKeyDictionary()
        self.registry = CollectorRegistry()
        self._requests = Counter("tfl_requests", "Requests for predictions", ["model", "code"], registry=self.registry)
        self._latency = Histogram("tfl_request_seconds", "Seconds until an answer", ["model"], registry=self.registry)
        sizes = tuple(2**power for power in range(9))
        self._rows = Histogram("tfl_batch_rows", "Rows of a computed batch", registry=self.registry, buckets=sizes)

    def app(self, lifespan: Any = None) -> Starlette:
        """What an ASGI server runs; `lifespan`: as Starlette takes it."""
        return Starlette(
            lifespan=lifespan,
            routes=[
                Route("/", self._page),
                Route("/healthz", self._health),
                Route("/readyz", self._ready),
                Route("/metrics", self._metrics),
                Route("/openapi.json", self._description),
                Route("/v1/models/{rest:path}", self._model, methods=["GET", "POST"]),
            ],
            exception_handlers={404: _not_found, 405: _not_found},
        )

    # --- TensorFlow Serving's ---------------------------------------------------------------------------------------------

    async def _model(self, request: Request) -> Response:
        path, began, name = request.path_params["rest"], time.perf_counter(), "-"
        try:
            self.allow(request.headers.get("authorization", ""))
            place, _, verb = path.partition(":")
            version, name = self._version(place, request)
            if request.method == "POST" and verb == "predict":
                return self._counted(name, began, _json(await self._predict(request, version)))
            if request.method == "GET" and not verb:
                return _json(_metadata(version, name) if place.endswith("/metadata") else _status(version))
            raise Refused(404, f"Malformed request: {request.method} {request.url.path}")
        except MemoryError:  # the limits should not let it come to this
            refused = Refused(413, "not enough memory for a request of this size; send fewer rows in each")
        except Refused as error:
            refused = error
        headers = {"Retry-After": "1"} if refused.status in (429, 503) else None
        return self._counted(name, began, _json({"error": refused.reason}, refused.status, headers))

    def _counted(self, name: str, began: float, response: Response) -> Response:
        self._requests.labels(name, response.status_code).inc()
        self._latency.labels(name).observe(time.perf_counter() - began)
        return response

    def allow(self, authorization: str) -> None:
        """Raises `Refused` where a request with this header gets no answer."""
        if self._token is not None and not hmac.compare_digest(authorization.encode(), f"Bearer {self._token}".encode()):
            raise Refused(401, "this server wants the header Authorization: Bearer TOKEN")
        if self.stopping:
            raise Refused(503, "the server is stopping")

    def _version(self, place: str, request: Request) -> tuple[Version, str]:
        """The version that NAME, NAME/versions/N or either with /metadata behind it names, and the model's name."""
        name, *rest = place.removesuffix("/metadata").split("/")
        if rest and (len(rest) != 2 or rest[0] != "versions" or not (rest[1].isascii() and rest[1].isdigit())):
            raise Refused(404, f"Malformed request: {request.method} {request.url.path}")
        return self.find(name, int(rest[1][:18]) if rest else None), name

    def find(self, name: str, number: int | None) -> Version:
        """The version that is served of a model, where it is `number` or that is None. Raises `Refused`."""
        found = self.shelf.get(name, number)
        if found is None:
            which = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            raise Refused(404, f"Servable not found for request: {which}")
        return found

    async def _predict(self, request: Request, version: Version) -> dict[str, Any]:
        try:
            body = json.loads(await self._arrived(request))
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"JSON Parse error: {error}") from error
        signature = body.get("signature_name") or "serving_default" if isinstance(body, dict) else "serving_default"
        if not isinstance(signature, str) or signature not in version.signatures:
            raise Refused(400, f'Serving signature name: "{signature}" not found in signature def')
        try:
            inputs, by_row = wire.tensors(body, version.inputs(signature), rows=self.limits.rows, length=version.length)
        except shapes.Malformed as error:
            raise Refused(400, str(error)) from error
        except shapes.TooLarge as error:
            raise Refused(413, str(error)) from error
        return wire.answer(await self.outputs(version, signature, inputs), by_row)

    async def outputs(self, version: Version, signature: str, inputs: Any) -> dict[str, Any]:
        """What a signature gives for `inputs`, [n, …] each of shapes that `shapes.check` lets by, computed together with what
        others ask for. Raises `Refused`.
        """
        limits = self.limits
        for data in inputs.get("images", ()):
            if (found := scan.pixels(data)) > limits.pixels:
                raise Refused(413, f"an image claims {found:,} pixels; at most {limits.pixels:,}")
        try:
            return await asyncio.wait_for(self._batcher(version, signature)(inputs), limits.seconds)
        except Busy as error:
            raise Refused(429, f"{limits.queue} rows are waiting already; try again later") from error
        except TimeoutError as error:
            raise Refused(503, f"no answer within {limits.seconds:g} seconds") from error
        except tf.errors.InvalidArgumentError as error:
            raise Refused(400, scan.short(error)) from error
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise Refused(503, "not enough memory for this request") from error

    def _batcher(self, version: Version, signature: str) -> Batcher:
        own = self._batchers.setdefault(version, {})
        if signature not in own:
            held = weakref.ref(version)  # a batcher is kept as long as its version, and no longer

            def call(inputs: Any) -> Any:
                there = held()
                assert there is not None  # whoever waits for an answer holds it
                return there.call(signature, inputs)

            limits = self.limits
            own[signature] = Batcher(
                call, self._executor, size=limits.batch, delay=limits.delay, queue=limits.queue, seen=self._rows.observe
            )
        return own[signature]

    async def _arrived(self, request: Request) -> bytes:
        try:
            return await asyncio.wait_for(self._body(request), self.limits.seconds)
        except TimeoutError as error:
            raise Refused(408, f"the body did not arrive within {self.limits.seconds:g} seconds") from error
        except ClientDisconnect as error:  # nobody reads what is answered
            raise Refused(400, "the body did not arrive") from error

    async def _body(self, request: Request) -> bytes:
        parts, size, most = [], 0, self.limits.body
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise Refused(413, f"the body is larger than {most:,} bytes")
            parts.append(part)
        return b"".join(parts)

    # --- what watches over it, and the page -------------------------------------------------------------------------------

    async def _health(self, _: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _: Request) -> Response:
        return PlainTextResponse("stopping\n", 503) if self.stopping else PlainTextResponse("ready\n")

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(generate_latest(self.registry))

    async def _description(self, _: Request) -> Response:
        return _json(openapi.document(self._served(), self.limits.rows, self._token is not None))

    def _served(self) -> dict[str, Version]:
        found = {name: self.shelf.get(name) for name in self.shelf.names()}
        return {name: version for name, version in found.items() if version is not None}

    async def _page(self, _: Request) -> Response:
        page = resources.files("tfl.serving").joinpath("page.html").read_text(encoding="utf-8")
        models = {name: sorted(version.inputs("serving_default")) for name, version in self._served().items()}
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob:; connect-src 'self'"
        text = page.replace("{MODELS}", json.dumps(models).replace("<", "\\u003c"))
        return HTMLResponse(text, headers={"Content-Security-Policy": policy})


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON in ASCII, which can say all that a string of Python holds, and NaN as TensorFlow Serving does."""
    return Response(json.dumps(content), status, headers, "application/json")


async def _not_found(request: Request, _: Exception) -> Response:
    return _json({"error": f"Malformed request: {request.method} {request.url.path}"}, 404)


def _status(version: Version) -> dict[str, Any]:
    state = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    return {"model_version_status": [{"version": str(version.number), **state}]}


def _metadata(version: Version, name: str) -> dict[str, Any]:
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version.number)},
        "metadata": {"signature_def": {"signature_def": version.described}},
    }
