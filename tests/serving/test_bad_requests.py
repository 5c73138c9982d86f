"""2,000 requests that nobody should send, made from what the server says of itself: it refuses each, and goes on answering."""

from __future__ import annotations

import base64
import http.client
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.serving.client import Client, encoded, memory, serving
from tests.serving.pictures import PICTURES, REFUSED_PICTURES

pytest.importorskip("uvicorn")

GROWTH = 200
"""Megabytes by which the server may grow over all of them."""
REFUSED = 2000
"""Requests of this module that are answered with an error, at least."""


class Asked:
    """Asks one server over one connection, and looks at every answer."""

    def __init__(self, client: Client, good: Any) -> None:
        self.client, self.good, self.seen = client, good, Counter[int]()
        self._connection = http.client.HTTPConnection(urlsplit(client.address).netloc, timeout=60)
        self.document = client.ask("/openapi.json")[1]
        self.expected = client.ask("/v1/models/photos:predict", good)
        self.before = memory(client.process)

    def __call__(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self._connection.request(method, quote(path, safe="/:%", errors="surrogatepass"), body)
        response = self._connection.getresponse()
        status, text = response.status, response.read()
        self.seen[status] += 1
        assert status < 500 or status == 503, (method, path, body[:200], text)
        known = self.document["paths"].get(path, {}).get(method.lower(), {}).get("responses")
        assert known is None or str(status) in known, (method, path, status)
        answer = json.loads(text) if response.headers["content-type"] == "application/json" else text
        assert status == 200 or isinstance(answer["error"], str)
        return status, answer

    def image(self, data: bytes) -> tuple[int, Any]:
        body = json.dumps({"instances": [{"b64": base64.b64encode(data).decode()}]}).encode()
        return self("POST", "/v1/models/photos:predict", body)


@pytest.fixture(scope="module")
def ask(both: Path, photos: Path) -> Iterator[Asked]:
    good = {"instances": encoded(sorted(photos.rglob("*.png"))[:2])}
    with serving(both) as client:
        yield Asked(client, good)


def test_the_document_says_what_is_served(ask: Asked) -> None:
    assert ask.document["openapi"] == "3.1.0"
    assert {"/v1/models/photos:predict", "/v1/models/calls/versions/1:predict", "/readyz"} <= ask.document["paths"].keys()
    operation = ask.document["paths"]["/v1/models/calls:predict"]["post"]
    bodies = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert {body["properties"]["signature_name"]["const"] for body in bodies} == {
        "serving_default",
        "predict_tensors",
        "features",
    }
    assert bodies[0]["properties"]["instances"]["maxItems"] == 256


# --- requests made from the document ----------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from([10**400, 2**63, -(2**31) - 1, "\0", "\ud800", "AAAA", {"b64": "%"}, {"b64": "AA=="}, [[]], {}]),
)
JUNK = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3))


def near(schema: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that `schema` describes, or nearly: in any place there may be anything."""
    if "$ref" in schema:
        return near(schemas[schema["$ref"].split("/")[-1]], schemas)
    if "anyOf" in schema:
        return st.one_of([near(one, schemas) for one in schema["anyOf"]])
    if "const" in schema:
        fits = st.just(schema["const"])
    elif schema["type"] == "object":
        fits = st.fixed_dictionaries(
            {name: near(inner, schemas) for name, inner in schema["properties"].items()},
            optional={name: JUNK for name in ("x", "inputs") if name not in schema["properties"]},
        )
    elif schema["type"] == "array" and schema.get("minItems", 0) > 8:
        fits = near(schema["items"], schemas).map(lambda one: [one] * schema["minItems"])
    elif schema["type"] == "array":
        fits = st.lists(near(schema["items"], schemas), max_size=3)
    else:
        fits = {"string": st.text(max_size=20), "integer": st.integers(), "number": st.floats()}[schema["type"]]
    return st.one_of(fits, fits, fits, JUNK)


def test_requests_that_nearly_fit(ask: Asked) -> None:
    paths = [path for path, operations in ask.document["paths"].items() if "post" in operations]
    schemas, chance = ask.document["components"]["schemas"], random.Random(0)
    asked = {path: ask.document["paths"][path]["post"]["requestBody"]["content"]["application/json"] for path in paths}
    bodies = st.one_of([st.tuples(st.just(path), near(asked[path]["schema"], schemas)) for path in paths])

    @settings(max_examples=550, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    @given(bodies)
    def each(drawn: tuple[str, Any]) -> None:
        path, body = drawn[0], json.dumps(drawn[1]).encode()
        ask("POST", path, body)
        ask("POST", chance.choice(paths), body[: chance.randrange(len(body))])
        place = chance.randrange(len(body))
        ask("POST", path, body[:place] + chance.randbytes(3) + body[place + chance.randrange(3) :])
        method, other = (
            chance.choice(["GET", "PUT", "DELETE", "POST"]),
            chance.choice(["x", "/", ":predict", "%FF", "\udcff", "é"]),
        )
        ask(method, path + other, body)

    each()


# --- images -----------------------------------------------------------------------------------------------------------


def claiming(width: int, height: int) -> dict[str, bytes]:
    """Images of a few bytes whose header says that they are large."""
    png, gif, bmp = bytearray(PICTURES["PNG RGB"]), bytearray(PICTURES["GIF P"]), bytearray(PICTURES["BMP RGB"])
    jpeg, webp = bytearray(PICTURES["JPEG RGB"]), bytearray(PICTURES["WEBP moving"])
    png[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    bmp[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    frame = gif.index(b",", 13 + 768)
    gif[frame + 5 : frame + 9] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    webp[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return {"PNG": bytes(png), "GIF": bytes(gif), "BMP": bytes(bmp), "JPEG": bytes(jpeg), "WEBP": bytes(webp)}


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "JPEG", "WEBP"])
def test_an_image_that_claims_too_much_is_not_decoded(ask: Asked, form: str) -> None:
    status, answer = ask.image(claiming(50_000, 50_000)[form])
    assert status == 413
    assert "2,500,0" in answer["error"]


def test_what_is_no_whole_image(ask: Asked) -> None:
    for data in (b"", b"text, not an image", b"\x89PNG", b"BM", b"GIF89a", b"RIFF", b"\xff\xd8\xff", bytes(1000)):
        assert ask.image(data)[0] == 400, data
    for name, data in PICTURES.items():
        half = ask.image(data[: len(data) // 2])[0]
        assert half == 400 or "moving" in name or name.startswith("GIF"), name


def test_images_with_broken_bytes(ask: Asked) -> None:
    chance = random.Random(0)
    for name, data in PICTURES.items():
        assert ask.image(data)[0] == (400 if name in REFUSED_PICTURES else 200), name
        for number in range(25):
            broken = bytearray(data)
            for _ in range(3):
                broken[chance.randrange(len(data) if number % 2 else 64)] = chance.randrange(256)
            ask.image(bytes(broken[: chance.randrange(len(data))] if number % 5 == 0 else broken))


# --- connections, and what is left ------------------------------------------------------------------------------------


def test_a_kept_connection_is_answered_at_once(ask: Asked) -> None:
    took = []
    for _ in range(21):
        begin = time.perf_counter()
        ask("POST", "/v1/models/calls:predict", b"{")
        took.append(time.perf_counter() - begin)
    assert sorted(took)[10] < 0.03  # 40 ms where the socket waits to be told that the header arrived


def test_clients_that_speak_no_http_or_leave(ask: Asked) -> None:
    place = urlsplit(ask.client.address)
    head = b"POST /v1/models/calls:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
    for said in (b"\0\0\0", b"GET \xff HTTP/1.1\r\nHost: a\r\n\r\n", head, head + b"{", head[:40]):
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(said)


def test_it_goes_on_as_before(ask: Asked) -> None:
    assert sum(count for status, count in ask.seen.items() if status != 200) >= REFUSED, ask.seen
    assert ask.client.process.poll() is None
    assert ask.client.ask("/v1/models/photos:predict", ask.good) == ask.expected
    assert memory(ask.client.process) < ask.before + GROWTH
