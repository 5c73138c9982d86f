"""What a selection chooses from: backbones with their weights, as they are typed or written in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfl import backbones
from tfl.backbones.config import Config
from tfl.config import UserError, plain
from tfl.validate import validate

DEFAULTS = {
    "image": ("mobilenet_v2", "efficientnet_v2_b0", "densenet121", "resnet50", "convnext_tiny"),
    "text": ("minilm", "distilbert", "bert", "roberta"),
}
"""What is tried where nobody names any, from small to large; those whose weights cannot be had are left out."""


def candidates(named: str | Sequence[Any], base: Mapping[str, Any]) -> tuple[Config, ...]:
    """The backbones that are `named`: `a,b@WEIGHTS,…`, a `.yaml` file with a list, or a list. `base`: keys of all of them.

    An element of a list is a name, `NAME@WEIGHTS`, or a mapping with the keys of `backbone`. Raises `UserError` for what
    is no backbone, and where two are the same.
    """
    found = tuple(_config(one, base) for one in _listed(named))
    for one in found:
        backbones.check(one)
    if not found:
        raise UserError("backbones: none are named; NAME or NAME@WEIGHTS, with commas between them")
    twice = next((one for place, one in enumerate(found) if one in found[:place]), None)
    if twice is not None:
        raise UserError(f"backbones: {label(twice, found)} is named twice")
    return found


def defaults(modality: str, base: Config, named: bool) -> tuple[Config, ...]:
    """Those of `DEFAULTS` with the keys of `base`, which itself comes first where it is `named`."""
    others = (dataclasses.replace(base, name=name, weights="pretrained") for name in DEFAULTS[modality])
    return tuple(dict.fromkeys([*([base] if named else []), *others]))


def label(one: Config, among: Sequence[Config]) -> str:
    """What a candidate is called: its name, with as much more as tells it apart from the others."""
    own = {other.weights for other in among if other.name == one.name} - {"none"}
    weights = "random" if one.weights == "none" else Path(one.weights).name if len(own) > 1 else ""
    if any(other.weights != one.weights and Path(other.weights).name == weights for other in among):
        weights = one.weights
    parts = [weights] if weights else []
    for key in ("image_size", "sequence_length", "pooling"):
        values = {getattr(other, key) for other in among if (other.name, other.weights) == (one.name, one.weights)}
        parts += [f"{key} {getattr(one, key)}"] if len(values) > 1 else []
    return f"{one.name} ({', '.join(parts)})" if parts else one.name


def _listed(named: str | Sequence[Any]) -> Sequence[Any]:
    if not isinstance(named, str):
        if not isinstance(named, Sequence):
            raise UserError(f"backbones: {named!r} is not valid; a list of names")
        return named
    if not named.endswith((".yaml", ".yml")):
        return [word.strip() for word in named.split(",") if word.strip()]
    import yaml

    try:
        found = yaml.safe_load(Path(named).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"backbones: {named}: no YAML file that can be read ({' '.join(str(error).split())})") from error
    if not isinstance(found, list):
        raise UserError(f"backbones: {named}: a list of backbones (- mobilenet_v2), not {type(found).__name__}")
    return found


def _config(one: Any, base: Mapping[str, Any]) -> Config:
    if isinstance(one, Config):
        return one
    if isinstance(one, str):
        name, sign, weights = one.partition("@")
        one = {"name": name, "weights": weights} if sign else {"name": name}
    if not isinstance(one, Mapping):
        raise UserError(f"backbones: {one!r} is not valid; NAME, NAME@WEIGHTS, or a mapping with the keys of backbone")
    rest = {key: value for key, value in base.items() if key not in ("name", "weights")}
    try:
        return validate(Config, {**rest, **plain(dict(one))})
    except UserError as error:
        raise UserError("\n".join(f"backbones: {line}" for line in str(error).splitlines())) from error
