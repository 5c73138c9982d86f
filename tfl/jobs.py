"""From what is typed, or given in Python, to what a method takes: configs, inputs, listings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfl import config as configs
from tfl.config import UserError, did_you_mean

METHOD_NAMES = ("finetune",)


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

    config = configs.validate(METHODS[name].Config, raw)
    from tfl.backbones import check

    check(config.backbone)
    return config


def inputs_of_files(run: Any, files: Sequence[str], column: str | None) -> list[Any]:
    """What `run.predict` takes, read from files: the paths of images, or the texts of tables and .txt files."""
    if run.facts.modality == "image":
        return _images(files)
    texts: list[Any] = []
    for file in files:
        texts += _texts(run, Path(file), column)
    return texts


def _images(files: Sequence[str]) -> list[str]:
    from tfl.data.files import EXTENSIONS

    found: list[str] = []
    for file in files:
        path = Path(file)
        if path.is_dir():
            inside = sorted(str(item) for item in path.rglob("*") if item.suffix.lower() in EXTENSIONS)
            if not inside:
                raise UserError(f"{file}: no images in this folder; they end in {', '.join(EXTENSIONS)}")
            found += inside
        elif path.is_file():
            found.append(file)
        else:
            near = did_you_mean(path.name, [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else [])
            raise UserError(f"{file}: no such file{near}")
    return found


def _texts(run: Any, file: Path, column: str | None) -> list[Any]:
    if not file.is_file():
        raise UserError(f"{file}: no such file; give a table (.csv, .tsv, .jsonl, .parquet) or a .txt file, a text a line")
    if file.suffix.lower() == ".txt":
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    from tfl.data.table import LINE, read_table

    frame = read_table(file).drop(columns=LINE, errors="ignore")
    own = run.report.config["data"]
    wanted = column or own.get("text") or "text"
    columns = [wanted, *([own["text_pair"]] if run.facts.pairs else [])]
    for name in columns:
        if name not in frame.columns:
            raise UserError(
                f"{file}: no column {name!r}{did_you_mean(name, frame.columns)}; columns: {', '.join(frame.columns)}; "
                f"name the column of texts with --text"
            )
    rows = [tuple(str(value) for value in row) for row in frame[columns].itertuples(index=False)]
    return rows if run.facts.pairs else [row[0] for row in rows]


def listing(what: str) -> dict[str, str]:
    """Names with a line of description each: of the backbones, the sources, or KerasHub's presets."""
    if what == "sources":
        from tfl.data import SOURCES

        return {name: (module.__doc__ or "").strip().splitlines()[0] for name, module in SOURCES.items()}
    from tfl import backbones

    return backbones.presets() if what == "presets" else backbones.describe()


def finetune(
    source: Any,
    *,
    backbone: str | Mapping[str, Any],
    weights: str | None,
    out: str | Path | None,
    callbacks: Sequence[Any],
    fields: Mapping[str, Any],
) -> Any:
    """`tfl.finetune`: a config from Python values, and its run."""
    from tfl.methods import METHODS

    in_memory = not isinstance(source, (str, Path, Mapping))
    if in_memory:
        data = {"source": "memory"}
    else:
        data = dict(source) if isinstance(source, Mapping) else raw_of_source(str(source))["data"]
    raw = configs.plain(dict(fields))
    raw["data"] = {**data, **raw.get("data", {})}
    raw["backbone"] = dict(backbone) if isinstance(backbone, Mapping) else {"name": backbone}
    if weights is not None:
        raw["backbone"]["weights"] = weights
    config = config_of({"method": "finetune", **raw})
    return METHODS["finetune"].run(config, out, source=source if in_memory else None, callbacks=callbacks)
