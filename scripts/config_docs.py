"""Prints docs/config.md, made from the config's dataclasses: `python scripts/config_docs.py > docs/config.md`.

Each field's default, type and docstring become a row; a field without a docstring is an error.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
import textwrap
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from tfl import checkpoint
from tfl.backbones.config import Config as BackboneConfig
from tfl.config import plain
from tfl.data import SOURCES
from tfl.data.augment import Augment
from tfl.data.config import DataConfig
from tfl.data.table import ColumnConfig
from tfl.features.config import Features
from tfl.methods.finetune import Config
from tfl.phases import Phase
from tfl.tasks import Config as TaskConfig

INTRO = """\
# The keys of a fine-tuning config

Made from the docstrings of the code by `python scripts/config_docs.py > docs/config.md`; do not edit it by hand.

A config is a YAML file. On the command line, any key can be set behind it as `KEY=VALUE`: `data.batch_size=64`,
`phases.1.learning_rate=3e-6` (the second phase), `augment=null`, `phases.0.trainable='{last: 2}'`. An unknown key is an error
that names the nearest valid one. A run keeps its resolved config, all defaults filled in, as `config.yaml`.
"""
PARTS = {
    "backbone": (BackboneConfig, "The pre-trained network and the weights it starts from."),
    "task": (TaskConfig, "What is predicted, and the head that predicts it."),
    "phases.N": (Phase, "One entry of the list `phases`, counted from 0. Each phase is one stretch of training."),
    "augment": (
        Augment,
        "Random changes of training images, each drawn from (run seed, epoch, example). These are the defaults of an `augment` "
        "that you write yourself; `augment: auto` is milder (a run's own `config.yaml` shows it). For texts there is none.",
    ),
    "checkpoints": (
        checkpoint.Config,
        "A run writes down where it is while it trains, and goes on from there when it is broken off. `checkpoints: null`: it "
        "does not.",
    ),
    "features": (
        Features,
        "What a phase leaves frozen is computed once for each example and kept on disk, under a key of everything that can "
        "change a value. `tfl cache list` shows the store; `features: null` goes without.",
    ),
}
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}


def page() -> str:
    """The whole of docs/config.md."""
    parts = [INTRO, "## Top level\n", table(Config, "", top_level())]
    parts += ["## data\n", "Every source has these keys; `tfl list sources` names the sources.\n", table(DataConfig, "data")]
    parts += ["### Columns\n", "The sources `table` and `memory` have these as well.\n"]
    parts += [table(ColumnConfig, "data", own(ColumnConfig, DataConfig))]
    for name, module in SOURCES.items():
        base = ColumnConfig if issubclass(module.Config, ColumnConfig) else DataConfig
        fields = own(module.Config, base)
        about = " ".join((module.__doc__ or "").split("\n\n")[0].split())
        parts += [f"### source: {name}\n", f"{about}\n"]
        parts += [table(module.Config, "data", fields)] if fields else ["It has no keys of its own.\n"]
    for key, (kind, about) in PARTS.items():
        parts += [f"## {key}\n", f"{about}\n", table(kind, key)]
    return "\n".join(parts)


def keys() -> set[str]:
    """Every key that a config can have, list elements as `N`: `data.batch_size`, `phases.N.epochs`."""
    found = {field.name for field in dataclasses.fields(Config)}
    found |= {f"data.{field.name}" for module in SOURCES.values() for field in dataclasses.fields(module.Config)}
    for key, (kind, _) in PARTS.items():
        found |= {key} | {f"{key}.{field.name}" for field in dataclasses.fields(kind)}
    return found | {"phases.N.trainable.last", "phases.N.trainable.lora"}


def top_level() -> list[str]:
    """Keys that are not sections of their own."""
    return [field.name for field in dataclasses.fields(Config) if field.name not in ("data", "backbone", "task")]


def own(kind: Any, base: Any) -> list[str]:
    """The fields that `kind` has beyond those of `base`."""
    inherited = {field.name for field in dataclasses.fields(base)}
    return [field.name for field in dataclasses.fields(kind) if field.name not in inherited]


def table(kind: Any, prefix: str, only: list[str] | None = None) -> str:
    """A Markdown table of the fields of the dataclass `kind`."""
    described = {name: text for base in reversed(kind.__mro__) for name, text in docstrings(base)}
    hints = typing.get_type_hints(kind)
    lines = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(kind):
        if only is not None and field.name not in only:
            continue
        takes = words(hints[field.name])
        meaning = described.get(field.name)
        if meaning is None:
            assert typing.get_origin(hints[field.name]) is Literal, f"{kind.__name__}.{field.name} has no docstring"
            meaning = f"Which {field.name} this config is for."
        key = f"{prefix}.{field.name}" if prefix else field.name
        cells = (f"`{key}`", takes, default(field), meaning)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def docstrings(kind: Any) -> Iterator[tuple[str, str]]:
    """The fields that the class `kind` itself annotates, each with the string that stands below it."""
    if not dataclasses.is_dataclass(kind):
        return
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    for field, below in zip(body.body, body.body[1:], strict=False):
        text = below.value if isinstance(below, ast.Expr) else None
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Constant) and isinstance(text.value, str):
            yield ast.unparse(field.target), " ".join(text.value.split())


def words(hint: Any) -> str:
    """A type as a user reads it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(words, inner)))
    if origin is tuple:
        return f"list of {words(inner[0])}"
    if origin is dict:
        return "mapping of class name to number"
    if dataclasses.is_dataclass(hint):
        fields = [field.name for field in dataclasses.fields(hint)]
        return f"`{{{fields[0]}: N}}`" if len(fields) == 1 else "mapping"
    return WORDS[hint]


def default(field: Any) -> str:
    """A field's default as YAML writes it."""
    if field.default is dataclasses.MISSING:
        return "required" if field.default_factory is dataclasses.MISSING else "see below"
    value = plain(field.default)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


if __name__ == "__main__":
    sys.stdout.write(page())
