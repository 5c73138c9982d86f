"""The server's own description, an OpenAPI 3.1 document made of the signatures of the models that it serves.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

from tfl.serving.shelf import Version

Schema = dict[str, Any]

REASONS = {
    400: "the request cannot be understood, or an input cannot be read",
    401: "the token is missing or wrong",
    404: "there is no such model, version or path",
    408: "the body did not arrive in time",
    413: "the body, the number of rows, an image or a text in tokens is too large",
    429: "too many rows wait; try again later",
    503: "no answer in time, or the server is stopping",
}


def document(served: Mapping[str, Version], rows: int, token: bool) -> Schema:
    """The document; `rows`: of a request at most; `token`: whether `/v1` wants one."""
    paths: Schema = {}
    for name, version in served.items():
        for place in (f"/v1/models/{name}", f"/v1/models/{name}/versions/{version.number}"):
            paths[place] = {"get": _operation(f"Whether {name} is served", {"type": "object"}, 401, 404, 503)}
            paths[f"{place}/metadata"] = {"get": _operation(f"The signatures of {name}", {"type": "object"}, 401, 404, 503)}
            paths[f"{place}:predict"] = {"post": _prediction(name, version, rows)}
    for place, what in {"/healthz": "Whether it is alive", "/metrics": "Figures for Prometheus"}.items():
        paths[place] = {"get": {"summary": what, "security": [], "responses": {"200": _plain("as it says")}}}
    ready = {"200": _plain("it takes requests"), "503": _plain("it is stopping")}
    paths["/readyz"] = {"get": {"summary": "Whether it takes requests", "security": [], "responses": ready}}
    schemas = {
        "Error": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]},
        "Bytes": {
            "type": "object",
            "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
            "required": ["b64"],
            "additionalProperties": False,
        },
    }
    found: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "tfl serve", "version": metadata.version("tfl")},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _prediction(name: str, version: Version, rows: int) -> Schema:
    asked = [body for signature in version.signatures for body in _bodies(signature, version, rows)]
    told = [answer for signature in version.signatures for answer in _answers(version.outputs(signature))]
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": asked}}}},
        **_operation(f"Predictions of {name}", {"anyOf": told}, *REASONS),
    }


def _operation(summary: str, schema: Schema, *codes: int) -> Schema:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    answer = {"description": "the answer", "content": {"application/json": {"schema": schema}}}
    return {
        "summary": summary,
        "responses": {"200": answer, **{str(code): {"description": REASONS[code], "content": error} for code in codes}},
    }


def _plain(description: str) -> Schema:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _bodies(signature: str, version: Version, rows: int) -> list[Schema]:
    """A request of a signature, row by row and as columns; where it has one input, that may go without its name."""
    inputs = {name: _tensor(spec, 1, version.length) for name, spec in version.inputs(signature).items()}
    row = _object(inputs)
    columns = _object({name: _rows(one, rows) for name, one in inputs.items()})
    if len(inputs) == 1:
        (one,) = inputs.values()
        row, columns = {"anyOf": [one, row]}, {"anyOf": [_rows(one, rows), columns]}
    called: Schema = {"signature_name": {"const": signature}}
    needed = [] if signature == "serving_default" else ["signature_name"]
    return [
        {"type": "object", "properties": {**called, key: schema}, "required": [*needed, key]}
        for key, schema in {"instances": _rows(row, rows), "inputs": columns}.items()
    ]


def _answers(outputs: Mapping[str, Any]) -> list[Schema]:
    row = _object({name: _tensor(spec, 1) for name, spec in outputs.items()})
    columns = _object({name: {"type": "array", "items": row["properties"][name]} for name in outputs})
    if len(outputs) == 1:
        (row,), (columns,) = row["properties"].values(), columns["properties"].values()
    return [_object({"predictions": {"type": "array", "items": row}}), _object({"outputs": columns})]


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _rows(schema: Schema, most: int) -> Schema:
    return {"type": "array", "items": schema, "minItems": 1, "maxItems": most}


def _tensor(spec: Any, axis: int, longest: int | None = None) -> Schema:
    """JSON for a tensor from an axis on; `longest`: values of an axis that `spec` leaves open, None of an answer."""
    if axis < (spec.shape.rank or 0):
        size = spec.shape[axis]
        least, most = (1, longest) if size is None else (size, size)
        limits = {} if most is None else {"minItems": least, "maxItems": most}
        return {"type": "array", "items": _tensor(spec, axis + 1, longest), **limits}
    if spec.dtype.name != "string":
        return {"type": "integer" if spec.dtype.is_integer else "number"}
    return {"type": "string"} if longest is None else {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/Bytes"}]}
