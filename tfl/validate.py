"""Raw configs to dataclasses, by their annotations: a mistake is one line that names the key and what is valid."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from tfl.config import UserError, did_you_mean, nearest

WORDS = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "none_required": "null",
    "string_type": "a word",
    "tuple_type": "a list",
}
"""What pydantic looked for, by the type of its error."""


def validate(kind: Any, raw: Mapping[str, Any]) -> Any:
    """`raw` as an instance of the dataclass (or annotated union) `kind`; a `UserError` names every wrong key, a line each."""
    import pydantic

    if unknown := list(_unknown_keys(kind, raw, "")):
        raise UserError("\n".join(unknown))
    try:
        return pydantic.TypeAdapter(kind).validate_python(raw)
    except pydantic.ValidationError as error:
        raise UserError("\n".join(_explain_all(error.errors(), raw))) from error


def _explain_all(details: Sequence[Any], raw: Mapping[str, Any]) -> list[str]:
    """One line a key; where a value fits none of several types, the line says what they are."""
    by_key: dict[str, list[Any]] = {}
    for detail in details:
        by_key.setdefault(".".join(_key(detail, raw)), []).append(detail)
    exact_by_key = {key: [detail for detail in own if _cause(detail) is not None] for key, own in by_key.items()}
    given = {key.rpartition(".")[0] for key, own in by_key.items() if any(detail["type"] != "missing" for detail in own)}
    lines = []
    for key, own in by_key.items():
        exact = exact_by_key[key]
        if not exact and any(other.startswith(f"{key}.") for other in by_key):
            continue  # a union: what is wrong deeper down says more
        if any(exact_by_key[other] and key.startswith(f"{other}.") for other in by_key):
            continue  # a union: another member fitted, but for its own check
        lacking = all(detail["type"] == "missing" and len(detail["loc"]) > len(_key(detail, raw)) for detail in own)
        if lacking and key.rpartition(".")[0] in given:
            continue  # a union: another member has the key that was given
        kinds = [_kind(detail) for detail in own]
        if len(own) > 1 and not exact and all(kinds):
            lines.append(f"{key}: {own[0]['input']!r} is not valid; it takes {' or '.join(dict.fromkeys(kinds))}")
        else:
            lines += [_explain(detail, raw) for detail in exact or own[:1]]
    return lines


def _cause(detail: Any) -> UserError | None:
    """The error that a dataclass raised of itself; None for one of pydantic's own."""
    cause = (detail.get("ctx") or {}).get("error")
    return cause if isinstance(cause, UserError) else None


def _kind(detail: Any) -> str:
    """What a type that was tried would have taken, in words; "" where there are no words for it."""
    if detail["type"] == "dataclass_type":
        return f"a mapping for {detail['ctx']['class_name']}"
    if detail["type"] == "literal_error":
        return str(detail["ctx"]["expected"]).replace("'", "")
    return WORDS.get(detail["type"], "")


def _unknown_keys(kind: Any, raw: Any, path: str) -> Iterable[str]:
    """One line for each key of `raw` that no dataclass of `kind` has."""
    if isinstance(raw, Mapping):
        options = _dataclasses(kind)
        tagged = [option for option in options if _tag_matches(option, raw)]
        hints = [typing.get_type_hints(option) for option in tagged or options]
        fields = {name: hint for own in hints for name, hint in own.items()}
        if not fields:
            return
        known = [key for key in raw if key in fields]
        if len(known) > 1 and all(len(own) == 1 for own in hints):  # as {last: N} and {lora: RANK}
            yield f"{path}: {' and '.join(known)} exclude each other; give one of them"
        for key, value in raw.items():
            full = f"{path}.{key}" if path else str(key)
            if key in fields:
                yield from _unknown_keys(fields[key], value, full)
            elif tagged and (others := [option for option in options if key in typing.get_type_hints(option)]):
                yield f"{full}: unknown key here; it goes with {' or '.join(tag for other in others for tag in _tags(other))}"
            else:
                near = nearest(key, fields)
                hint = f"did you mean {path}.{near}?" if path else f"did you mean {near}?"
                yield f"{full}: unknown key; {hint if near is not None else 'valid keys: ' + ', '.join(sorted(fields))}"
    elif isinstance(raw, Sequence) and not isinstance(raw, str):
        items = [argument for argument in typing.get_args(kind) if argument is not Ellipsis]
        for place, value in enumerate(raw):
            for item in items:
                yield from _unknown_keys(item, value, f"{path}.{place}")


def _dataclasses(kind: Any) -> list[Any]:
    """The dataclasses that `kind` allows: itself, or the members of a union or of an `Annotated` one."""
    if dataclasses.is_dataclass(kind):
        return [kind]
    if typing.get_origin(kind) in (typing.Union, types.UnionType, typing.Annotated):
        return [found for argument in typing.get_args(kind) for found in _dataclasses(argument)]
    return []


def _tags(option: Any) -> Iterable[str]:
    """The fields of `option` that can hold only one word, with that word: `source: table`."""
    for name, hint in typing.get_type_hints(option).items():
        if typing.get_origin(hint) is Literal and len(typing.get_args(hint)) == 1:
            yield f"{name}: {typing.get_args(hint)[0]}"


def _tag_matches(option: Any, raw: Mapping[str, Any]) -> bool:
    """Whether a field of `option` that can hold only one word (`source: Literal["tfds"]`) holds that word in `raw`."""
    for name, hint in typing.get_type_hints(option).items():
        if typing.get_origin(hint) is Literal and len(typing.get_args(hint)) == 1 and name in raw:
            return bool(raw[name] == typing.get_args(hint)[0])
    return False


def _key(detail: Any, raw: Mapping[str, Any]) -> list[str]:
    """The parts of the key that an error of pydantic's is about."""
    path: list[str] = []
    node: Any = raw
    for part in detail["loc"]:  # pydantic also puts the names of union members here, which are not the user's words
        inside = range(len(node)) if isinstance(node, (list, tuple)) else node if isinstance(node, Mapping) else ()
        if part in inside:
            node = node[part]
        elif detail["type"] != "missing" or part != detail["loc"][-1]:
            continue
        path.append(str(part))
    return path


def _explain(detail: Any, raw: Mapping[str, Any]) -> str:
    """One line for one of pydantic's errors, with the key as the user wrote it."""
    path = _key(detail, raw)
    key = ".".join(path)
    cause = _cause(detail)
    if cause is not None:
        return ".".join([*path, str(cause)]) if path else str(cause)
    if detail["type"] == "missing":
        return f"{key}: missing; it has no default"
    if detail["type"] in ("literal_error", "union_tag_invalid"):
        expected = (detail["ctx"].get("expected") or detail["ctx"].get("expected_tags", "")).replace("'", "")
        value = detail["ctx"].get("tag", detail["input"])
        tag = str(detail["ctx"].get("discriminator", "")).strip("'")
        choices = expected.replace(" or ", ", ").split(", ")
        full = ".".join([*path, tag] if tag else path)
        return f"{full}: {value!r} is not valid; one of {expected}{did_you_mean(value, choices)}"
    if detail["type"] == "union_tag_not_found":
        return f"{key}.{str(detail['ctx']['discriminator']).strip(chr(39))}: missing; it says which kind of {key} this is"
    valid = _kind(detail) or f"{detail['msg'][0].lower()}{detail['msg'][1:]}"
    if re.fullmatch(r"[-+]?\d+,\d+", str(value := detail["input"])) and valid == "a number":
        valid += f", with a point: {value.replace(',', '.')}"
    return f"{key}: {value!r} is not valid; {valid}"
