"""From what is typed, or given in Python, to what a method or a study takes: configs, plans, inputs, listings."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfl import config as configs
from tfl.config import UserError, did_you_mean
from tfl.validate import validate

METHOD_NAMES = ("finetune",)
CONFIG_SUFFIXES = (".yaml", ".yml")


def typed(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The raw config of a command, with what options say, and the overrides to it."""
    job, overrides = arguments.job, list(arguments.overrides)
    if arguments.config is not None:
        overrides, job = [*([job] if job else []), *overrides], arguments.config
    if job is None and getattr(arguments, "resume", False) and arguments.out:
        from tfl.directory import CONFIG

        job = unfinished(None, arguments.out) / CONFIG
    if job is None:
        raise UserError(f"name a .yaml config, a folder of images or a table of texts; `tfl {arguments.command} --help`")
    raw = configs.read(job) if str(job).endswith(CONFIG_SUFFIXES) else raw_of_source(job)
    shortcuts = {
        "backbone.name": arguments.backbone,
        "backbone.weights": arguments.weights,
        "data.text": arguments.text,
        "data.text_pair": arguments.text_pair,
        "data.image": arguments.image,
        "data.label": arguments.label,
        "seed": arguments.seed,
    }
    return configs.assign(raw, {key: value for key, value in shortcuts.items() if value is not None}), overrides


def typed_config(arguments: argparse.Namespace) -> Any:
    """The validated config of a command on a job."""
    return config_of(configs.override(*typed(arguments)))


def raw_of_source(source: str) -> dict[str, Any]:
    """The raw config of a fine-tuning job on the data at the path `source`."""
    from tfl.data.guess import guess

    return {"method": "finetune", "data": guess(source)}


def config_of(raw: Mapping[str, Any]) -> Any:
    """The validated config of the method that `raw` names. Raises `UserError`, a line for each mistake."""
    name = raw.get("method", "finetune")
    if name not in METHOD_NAMES:
        known = ", ".join(METHOD_NAMES)
        raise UserError(f"method: {name!r} is not valid; one of {known}{did_you_mean(str(name), METHOD_NAMES)}")
    if isinstance(raw.get("data"), Mapping) and "backbone" not in raw:
        raise UserError(
            "backbone: missing; name one with --backbone (backbone.name in a config): mobilenet_v2 or resnet50 for images, "
            "minilm or bert for texts; `tfl list backbones` names all"
        )
    from tfl.methods import METHODS

    _check_shape(METHODS[name].Config, raw)
    config = validate(METHODS[name].Config, raw)
    from tfl.backbones import check

    check(config.backbone)
    return config


def _check_shape(config: Any, raw: Mapping[str, Any]) -> None:
    """Raises a `UserError` for keys that stand one level too high, and for values that are not what stands there."""
    lines = _check_data(raw.get("data"))
    for key, word in {"backbone": "name", "task": "kind"}.items():
        if isinstance(value := raw.get(key), str):
            lines.append(f"{key}: {value!r} is not valid; it is a mapping: {key}: {{{word}: {value}}}")
    phases = raw.get("phases")
    if phases is not None and not isinstance(phases, (list, tuple)):
        lines.append(
            f"phases: {phases!r} is not valid; a list of phases: [{{trainable: head, epochs: 3}}], in Python "
            f"[tfl.Phase(epochs=3)]"
        )
    elif phases is not None:
        lines += [
            f"phases.{place}: {phase!r} is not valid; a phase is a mapping: phases: [{{trainable: {phase}}}], in Python "
            f"[tfl.Phase(trainable={phase!r})]"
            for place, phase in enumerate(phases)
            if isinstance(phase, str)
        ]
    lines += [
        f"{key}: false is not valid; null turns it off"
        for key in ("augment", "features", "checkpoints")
        if raw.get(key) is False
    ]
    top = {field.name for field in dataclasses.fields(config)}
    lines += [f"{key}: unknown key{place}" for key in raw if key not in top and (place := _place(key, raw))]
    if lines:
        raise UserError("\n".join(lines))


def _check_data(value: Any) -> list[str]:
    """What is wrong with `data`, where it is a path alone or does not name its source: a line, or none."""
    from tfl.data import SOURCES
    from tfl.data.guess import guess

    path = value.get("path") if isinstance(value, Mapping) else value
    try:
        guessed = guess(path) if isinstance(path, str) else {}
    except UserError:
        guessed = {}
    if isinstance(value, str):
        kind = "table" if Path(value).suffix else "folder"
        example = guessed or {"source": kind, "path": "photos" if value in SOURCES else value}
        inside = ", ".join(f"{name}: {text}" for name, text in example.items())
        return [f"data: {value!r} is not valid; it is a mapping, such as data: {{{inside}}}"]
    if isinstance(value, Mapping) and "source" not in value:
        sources = ", ".join(name for name in SOURCES if name != "memory")
        fits = f"; for {path} it is source: {guessed['source']}" if guessed else ""
        return [f"data.source: missing; it says how the data is read, one of {sources}{fits}"]
    return []


def _place(key: str, raw: Mapping[str, Any]) -> str:
    """Where the misplaced `key` belongs; "" where it belongs nowhere."""
    from tfl import backbones, data, tasks
    from tfl.phases import Phase

    source = raw["data"].get("source") if isinstance(raw.get("data"), Mapping) else None
    sources = data.SOURCES.get(str(source), data.table)
    inner = {"data": sources.Config, "backbone": backbones.Config, "task": tasks.Config}
    for name, config in inner.items():
        if key in {field.name for field in dataclasses.fields(config)}:
            return f'; did you mean {name}.{key}? In Python: {name}={{"{key}": …}}'
    if key in {field.name for field in dataclasses.fields(Phase)}:
        return f"; it belongs to a phase: phases='[{{{key}: …}}]', in Python phases=[tfl.Phase({key}=…)]"
    return ""


# --- places to write to -----------------------------------------------------------------------------------------------


def check_folder(option: str, place: str | Path, *, empty: bool = False) -> None:
    """Raises `UserError` where no folder `place` can be made or written, or where it must be `empty` and is not."""
    if not isinstance(place, (str, os.PathLike)):
        raise UserError(f"{option}: {place!r} is not valid; a path")
    folder = Path(place)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{option}: {place} already holds something: it is a file; name a folder")
    if empty and folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{option}: {place} is not empty; name another folder")
    _check_writable(option, folder)


def check_file(option: str, place: str | Path) -> None:
    """Raises `UserError` where no file `place` can be written."""
    if Path(place).is_dir():
        raise UserError(f"{option}: {place} is a folder; name a file, such as {Path(place) / 'predictions.csv'}")
    _check_writable(option, Path(place).parent)


def _check_writable(option: str, folder: Path) -> None:
    """Tries to write into `folder`, or into the nearest folder above it that there is."""
    import tempfile

    there = next((above for above in (folder, *folder.parents) if above.exists()), Path())
    if not there.is_dir():
        raise UserError(f"{option}: {there} is a file, so that nothing can be made below it; name another place")
    try:
        tempfile.TemporaryDirectory(prefix=".tfl-", dir=there).cleanup()
    except OSError as error:
        raise UserError(f"{option}: {there} cannot be written to: {error.strerror}; name another place") from error


def unfinished(config: Any, out: str | Path | None) -> Path:
    """The directory of the unfinished run of `config`: `out`, or the newest below runs/. Raises `UserError` for none."""
    from tfl.directory import CONFIG, is_unfinished, stem

    if out is not None:
        if not is_unfinished(Path(out)):
            raise UserError(f"--resume: {out} holds no unfinished run; leave --resume out to begin one")
        return Path(out)
    found = [folder for folder in Path("runs").glob(f"{stem(config)}-*") if is_unfinished(folder)]
    if not found:
        raise UserError(f"--resume: no unfinished run below runs/ is called {stem(config)}-…; name its directory with --out")
    return max(found, key=lambda folder: (folder / CONFIG).stat().st_mtime)


# --- files to predict -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def with_standard_input(files: Sequence[str]) -> Iterator[list[str]]:
    """`files`, in them for `-` a .txt file of what came in by standard input: that can be read once, a file again and again.

    Raises `UserError` where nothing came in.
    """
    import shutil
    import sys
    import tempfile

    if "-" not in files:
        yield list(files)
        return
    with tempfile.TemporaryDirectory(prefix="tfl-") as folder:
        texts = Path(folder) / "stdin.txt"
        with texts.open("wb") as opened:
            shutil.copyfileobj(sys.stdin.buffer, opened)
        if not texts.stat().st_size:
            raise UserError("-: nothing came in by standard input; a text a line")
        yield [str(texts) if file == "-" else file for file in files]


def inputs_of_files(run: Any, files: Sequence[str], columns: Mapping[str, str | None]) -> Any:
    """What `run` is to predict, in files: images, or the texts (or image paths) of tables and .txt files.

    `columns`: the columns `text`, `text_pair` and `image` of tables, where they are not the run's own.
    """
    from tfl.data.given_files import GivenFiles
    from tfl.data.table import EXTENSIONS

    gone = [file for file in files if " " in file.strip() and not Path(file).exists()]
    texts = [file for file in gone if Path(file).suffix.lower() not in (*EXTENSIONS, ".txt")]
    if texts and run.facts.modality == "text":
        raise UserError(f"{texts[0]}: no such file; a text itself comes by standard input: echo '…' | tfl predict RUN -")
    own = {name: columns.get(name) or column for name, column in run.columns.items()}
    return GivenFiles(files, run.facts.modality, run.facts.pairs, own)


def listing(what: str) -> dict[str, str]:
    """Names with a line of description each: of the backbones, the sources, or KerasHub's presets."""
    if what == "sources":
        from tfl.data import SOURCES

        return {name: (module.__doc__ or "").strip().splitlines()[0] for name, module in SOURCES.items()}
    from tfl import backbones

    return backbones.presets() if what == "presets" else backbones.describe()


def selection(raw: Mapping[str, Any], named: str | Sequence[Any] | None, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """The config and the plan of a selection among the backbones `named` (None: the defaults). Raises `UserError`.

    `options`: fields of the selection's `Plan`, None where they are left to its defaults. What `raw` says of `backbone`
    holds for all of them but its name and weights.
    """
    from tfl.studies.select.candidates import DEFAULTS, candidates

    base = raw.get("backbone") or {}
    chosen = None if named is None else candidates(named, base if isinstance(base, Mapping) else {})
    first = {"name": DEFAULTS["image"][0]} if chosen is None else configs.plain(chosen[0])
    config = config_of({**raw, "backbone": {**first, **base} if isinstance(base, Mapping) else base})
    from tfl.studies.select.select import Plan

    given = {name: value for name, value in options.items() if value is not None}
    return config, Plan(backbones=chosen, named="name" in base, **given)


def comparison(raw: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Any, Any]:
    """The config and the plan of a comparison with training from scratch; `options` are those of `plan.plan`."""
    from tfl.studies.compare.plan import plan

    found = plan(**options, own_phases=bool(raw.get("phases")))
    config = config_of(raw)
    if config.backbone.weights == "none":
        raise UserError("backbone.weights: none is what scratch has already; name the pre-trained weights to compare with it")
    return config, found
