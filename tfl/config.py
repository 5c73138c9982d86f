"""Configuration: mappings, read from YAML with dotted overrides, that become frozen dataclasses once, at the edge.

`read` reads one from a file and applies overrides such as `phases.1.learning_rate=3e-6`; `tfl.validate` turns it into the
dataclass of its method. `dump` writes a config so that `read` and `validate` give it back.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class UserError(ValueError):
    """Something that the user can put right. The message says what arrived, what is valid and what to do."""


def extra(name: str) -> str:
    """How the extra `name` of the installation is had; from a clone, since the index has another project of this name."""
    return f"pip install '.[{name}]' in the clone of tfl"


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that is spelt most like `word`, or None where none is near."""
    return next(iter(difflib.get_close_matches(str(word), list(choices), n=1)), None)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the nearest of `choices`, to stand anywhere in a line, or `""` where none is near."""
    near = nearest(word, choices)
    return f" (did you mean {near!r}?)" if near is not None else ""


def near_file(path: Path) -> str:
    """`did_you_mean` for the name of a file or folder that is not there, by what is beside it."""
    return did_you_mean(path.name, os.listdir(path.parent)) if path.parent.is_dir() else ""


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
        why = getattr(error, "problem", None) or " ".join(str(error).split())
        is_open = any(text.count(mark) > text.count(end) for mark, end in ("[]", "{}"))
        hint = f"; close it, and quote it where it holds blanks: {item.partition('=')[0]}='[…]'" if is_open else ""
        raise UserError(f"{item!r}: the value is not valid YAML: {why.replace('<stream end>', 'the end')}{hint}") from error


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
        if not head.isdecimal() or int(head) >= len(node):
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


# --- writing -----------------------------------------------------------------------------------------------------------


def dump(config: Any) -> str:
    """`config`, a dataclass, as YAML text that `read` and `validate` turn into an equal one."""
    import yaml

    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


def flat(value: Any, key: str = "") -> dict[str, Any]:
    """The values of mappings and lists in `value` by their dotted keys (`phases.0.epochs`); empty ones are values."""
    if isinstance(value, Mapping) and value:
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)) and value:
        items = enumerate(value)
    else:
        return {key: value}
    return {name: leaf for part, inner in items for name, leaf in flat(inner, f"{key}.{part}" if key else str(part)).items()}


def plain(value: Any) -> Any:
    """Dataclasses as dicts and tuples as lists, all the way down: what YAML and JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, os.PathLike) else value
