"""What is said of a command line that cannot be taken, or of a mistake in what was typed."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Mapping, Sequence

from tfl.config import did_you_mean, nearest

SHORTCUTS = ("backbone", "weights", "text", "text_pair", "image", "label", "seed")
"""Options of a job that stand for keys of its config, by which mistakes are named."""


def unknown(arguments: argparse.Namespace, items: Sequence[str]) -> str:
    """What is wrong with `items`, which the command that was typed does not take."""
    options = re.findall(r"--[a-z-]+", arguments.parser.format_usage())
    keys = _keys() if hasattr(arguments, "overrides") else {}
    told, found = [], {}
    for item, after in zip(items, [*items[1:], ""], strict=True):
        option, _, value = item.partition("=")
        near = nearest(option, [*options, *keys]) if item.startswith("-") else None
        if near in keys and near not in options:
            found[keys[near]] = value or ("…" if after.startswith("-") or "=" in after else after or "…")
        told.append(item + (did_you_mean(option, options) if near in options else ""))
    if hasattr(arguments, "overrides") and any(value.count("[") > value.count("]") for value in arguments.overrides):
        return f"unrecognized arguments: {' '.join(told)}; quote a list: phases='[{{trainable: head, epochs: 1}}]'"
    hint = f"; keys of a config are set as KEY=VALUE{_settings(found)}" if hasattr(arguments, "overrides") else ""
    return f"unrecognized arguments: {' '.join(told)}{hint}"


def as_typed(arguments: argparse.Namespace, message: str) -> str:
    """`message` of a mistake, its first words (`max_loss: …`, an argument in Python) as options where that was typed."""
    shortcuts = SHORTCUTS if hasattr(arguments, "overrides") else ()
    found = {action.dest: action.option_strings[-1] for action in arguments.parser._actions if action.option_strings}
    options = {name: option for name, option in found.items() if name not in shortcuts}

    def typed(match: re.Match[str]) -> str:
        names = match[0].split(", ")
        return ", ".join(options[name] for name in names) if all(name in options for name in names) else match[0]

    return re.sub(r"^[a-z_]+(, [a-z_]+)*(?=( \w+)?: )", typed, message, flags=re.MULTILINE)


def _keys() -> dict[str, str]:
    """The keys of a config by the options that one might take them for: `--batch-size` for `data.batch_size`."""
    from tfl import backbones, data, tasks
    from tfl.methods import METHODS
    from tfl.phases import Phase

    inner = {"": METHODS["finetune"].Config, "phases.": Phase}
    inner |= {"task.": tasks.Config, "backbone.": backbones.Config, "data.": data.table.Config}
    keys = {f"--{field.name}": above + field.name for above, one in inner.items() for field in dataclasses.fields(one)}
    return {**{name.replace("_", "-"): key for name, key in keys.items()}, **keys, "--lr": "phases.learning_rate"}


def _settings(found: Mapping[str, str]) -> str:
    """How the values of keys that were `found` are set; those of a phase together, in its list."""
    words = [f"{key}={value}" for key, value in found.items() if not key.startswith("phases.")]
    inside = {key.removeprefix("phases."): value for key, value in found.items() if key.startswith("phases.")}
    if inside:
        phase = ", ".join(f"{name}: {value}" for name, value in {"trainable": "head", **inside}.items())
        words.append(f"those of a phase in its list, phases='[{{{phase}}}]'")
    return f": {', '.join(words)}" if words else ", such as data.batch_size=64"
