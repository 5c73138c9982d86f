"""Configuration: frozen dataclasses, read from YAML with dotted overrides, validated once, at the edge.

A config is a mapping. `load` reads it from a file, applies overrides such as `phases.1.learning_rate=3e-6`, and `validate`
turns it into the dataclass of its method; every mistake in it becomes one line that names the key. `dump` writes a
config so that `load` gives it back.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal


class UserError(ValueError):
    """Something that the user can put right. The message says what arrived, what is valid and what to do."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that is spelt most like `word`, or None where none is near."""
    return next(iter(difflib.get_close_matches(str(word), list(choices), n=1)), None)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the nearest of `choices`, to stand anywhere in a line, or `""` where none is near."""
    near = nearest(word, choices)
    return f" (did you mean {near!r}?)" if near is not None else ""


def require(config: Any, checks: Mapping[str, tuple[bool, str]]) -> None:
    """Raises a `UserError` for the first field of `config` whose check is false: `{field: (holds, "what is valid")}`."""
    for name, (holds, valid) in checks.items():
        if not holds:
            raise UserError(f"{name}: {getattr(config, name)!r} is not valid; {valid}")


# --- reading -----------------------------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping in the YAML file `path`, with dotted overrides (`data.batch_size=64`) applied.

    Raises `UserError` where the file is missing, is no YAML, is not a mapping, or an override does not fit it.
    """
    import yaml

    file = Path(path)
    if not file.is_file():
        raise UserError(f"{path}: no such config file")
    try:
        raw = yaml.load(file.read_text(encoding="utf-8"), Loader=_yaml_loader())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(raw, dict):
        found = "it is empty" if raw is None else f"not {type(raw).__name__}"
        raise UserError(f"{path}: a config is a mapping (`method: …`, `data: …`); {found}")
    return override(raw, overrides)


def override(raw: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`raw` with each `a.b.0.c=value` set; the value is read as YAML, a list element is named by its number."""
    result = dict(raw)
    for item in overrides:
        key, sign, text = item.partition("=")
        if not sign or not key:
            raise UserError(f"{item!r} is not an override; write key=value, for example data.batch_size=64")
        result = assign(result, {key: _value(item, text)})
    return result


MARKS = re.compile(r"""(?!~$|\[.*\]$|\{.*\}$|".*"$|'.*'$)[^\w\s]+""")
"""Punctuation that is no null, list, mapping or quoted text: what it says in YAML (`|`, `-`, `#`) nobody means here."""


def _value(item: str, text: str) -> Any:
    """What `text`, the value in the override `item`, is as YAML; punctuation such as the separator `|` is itself."""
    import yaml

    if MARKS.fullmatch(text.strip()):
        return text
    try:
        return yaml.load(text, Loader=_yaml_loader())
    except (yaml.YAMLError, UserError) as error:
        raise UserError(f"{item!r}: the value is not valid YAML: {' '.join(str(error).split())}") from error


def assign(raw: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with each `{"a.b": value}` set to the value as it is: nothing is read as YAML."""
    result: dict[str, Any] = copy.deepcopy(dict(raw))
    for key, value in values.items():
        _set(result, key.split("."), value, key)
    return result


LISTS = {"phases": "phases='[{trainable: head, epochs: 3}]'"}
"""Lists of which an override may name an element, and how to give one where a config leaves it to the defaults."""


def _set(node: Any, path: list[str], value: Any, key: str) -> None:
    head, *rest = path
    place: Any = head
    if isinstance(node, list):
        if not head.isdigit() or int(head) >= len(node):
            raise UserError(f"{key}: {head!r} is not the number of an element; there are {len(node)}, counted from 0")
        place = int(head)
    elif not isinstance(node, dict):
        raise UserError(f"{key}: {head!r} does not lead anywhere; what stands above it is {node!r}")
    if not rest:
        node[place] = value
        return
    if isinstance(node, dict) and node.get(head) is None:
        if head in LISTS:
            raise UserError(
                f"{key}: this job has no `{head}` list to override (it takes the defaults); give one: {LISTS[head]}"
            )
        node[head] = {}
    _set(node[place], rest, value, key)


def _yaml_loader() -> Any:
    """PyYAML's safe loader, which reads `3e-6` as a number, as YAML 1.2 does (1.1 wants `3.0e-6`), and no key twice."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            lines: dict[str, int] = {}
            for key, _ in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in lines:
                    raise UserError(f"{name}: it is there twice, in lines {lines[name]} and {line}; keep one of them")
                lines[name] = line
            return node

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.[\d_]+)[eE][-+]?\d+$"),
        list("-+0123456789."),
    )
    return Loader


# --- validating --------------------------------------------------------------------------------------------------------


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
    is_exact = lambda detail: isinstance((detail.get("ctx") or {}).get("error"), UserError)  # noqa: E731
    exact_by_key = {key: list(filter(is_exact, own)) for key, own in by_key.items()}
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


def _kind(detail: Any) -> str:
    """What a type that was tried would have taken, in words; "" where there are no words for it."""
    words = {"string_type": "a word", "none_required": "null", "tuple_type": "a list", "dict_type": "a mapping"}
    if detail["type"] == "dataclass_type":
        return f"a mapping for {detail['ctx']['class_name']}"
    if detail["type"] == "literal_error":
        return str(detail["ctx"]["expected"]).replace("'", "")
    return words.get(detail["type"], "")


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
    cause = (detail.get("ctx") or {}).get("error")
    if isinstance(cause, UserError):
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
    return f"{key}: {detail['input']!r} is not valid; {detail['msg'][0].lower()}{detail['msg'][1:]}"


# --- writing -----------------------------------------------------------------------------------------------------------


def dump(config: Any) -> str:
    """`config`, a dataclass, as YAML text that `read` and `validate` turn into an equal one."""
    import yaml

    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


def plain(value: Any) -> Any:
    """Dataclasses as dicts and tuples as lists, all the way down: what YAML and JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, os.PathLike) else value
