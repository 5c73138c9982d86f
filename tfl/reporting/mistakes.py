"""The worst mistakes of a run on its test split, with what was seen: small pictures, or texts."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfl.data import kept, orientation
from tfl.lazy import pd
from tfl.reporting.evidence import Evidence
from tfl.reporting.section import Card, Section
from tfl.terminal import number

MOST = 12
"""Mistakes that are shown."""
SIDE = 224
"""Pixels of the longer side of a picture; one of less than a third of it is shown in squares."""
LENGTH = 500
"""Characters of a text that are shown."""


def section(run: Evidence) -> Section | None:
    """The worst mistakes; None where no predictions are kept."""
    table = run.predictions
    if table is None or not len(table):
        return None
    badness = _badness(run, table)
    worst = [int(place) for place in np.argsort(-badness, kind="stable")[:MOST] if badness[place] > 0]
    found = run.examples(worst)
    cards = [_card(str(table["id"].iloc[place]), found.get(place, {}), _lines(run, table.iloc[place])) for place in worst]
    return Section(name="mistakes", title="The worst mistakes", sentences=(_told(run, badness),), cards=cards, wide=True)


def _badness(run: Evidence, table: pd.DataFrame) -> np.ndarray:
    """How bad each prediction is, [N]; 0 where it is right."""
    if run.right is None:
        return np.abs(table["predicted"].to_numpy(np.float64) - table["label"].to_numpy(np.float64))
    sureness = _loss(run.classes, table) if run.kind == "multilabel" else table["probability"].to_numpy(np.float64)
    return np.where(run.right, 0.0, sureness)


def _lines(run: Evidence, row: Any) -> tuple[str, str]:
    """What is said of a prediction, a row of the table."""
    if run.kind == "regression":
        return f"label {number(float(row['label']))}", f"predicted {number(float(row['predicted']))}"
    if run.kind == "multilabel":
        return f"labels {row['label'] or 'none'}", f"predicted {row['predicted'] or 'none'}"
    return f"label {row['label']}", f"predicted {row['predicted']}, {row['probability']:.3f} sure"


def _told(run: Evidence, badness: np.ndarray) -> str:
    if run.right is None:
        return "The test examples whose prediction is farthest from the label."
    if run.right.all():
        return f"None: all {len(badness):,} test examples are predicted right."
    first = "the least likely labels" if run.kind == "multilabel" else "those that the model was surest of"
    return f"{int((~run.right).sum()):,} of {len(badness):,} test examples are predicted wrong; {first} first."


def _loss(names: Sequence[str], table: pd.DataFrame) -> np.ndarray:
    """[N]: the binary log-loss of each example, summed over classes."""
    total = np.zeros(len(table))
    for name in names:
        has = np.array([f";{name};" in f";{label};" for label in table["label"]])
        likely = table[f"p_{name}"].to_numpy(np.float64)
        total -= np.log(np.maximum(np.where(has, likely, 1 - likely), 1e-12))
    return total


def _card(name: str, example: dict[str, Any], lines: Sequence[str]) -> Card:
    texts = [example[key].decode(errors="replace") for key in ("text", "text_pair") if key in example]
    if texts:
        shown = "\n— ".join(text if len(text) <= LENGTH else f"{text[:LENGTH]} …" for text in texts)
        return Card(title=name, lines=lines, text=shown)
    data = _bytes(example)
    if isinstance(data, str):
        return Card(title=name, lines=lines, text=data)
    image, side = thumbnail(data)
    return Card(
        title=name, lines=lines, image=image, text="" if image else "This picture cannot be shown.", small=side < SIDE / 3
    )


def _bytes(example: dict[str, Any]) -> bytes | str:
    """The encoded image of an example, or why there is none."""
    if "image" not in example and "path" not in example:
        return "The example is not kept."
    told = {
        "missing": "The file is not there any more",
        "changed": "The file is another one than when the run was evaluated",
    }
    found = kept.image(example)
    return found if isinstance(found, bytes) else f"{told[found]}: {example['path'].decode()}"


def thumbnail(data: bytes) -> tuple[str, int]:
    """A `data:` address of a small JPEG of the encoded image `data`, and the longer side that it had; "" where it cannot be
    decoded. It is turned as it was for the model.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as opened:
            side = max(opened.size)
            opened.draft("RGB", (SIDE, SIDE))
            picture: Any = opened.convert("RGB") if not opened.mode.startswith("I") else _eight_bits(opened)
        picture.thumbnail((SIDE, SIDE))
        picture = Image.fromarray(np.asarray(orientation.turned(np.asarray(picture), orientation.of(data))))
        out = io.BytesIO()
        picture.save(out, format="JPEG" if side >= SIDE / 3 else "PNG", quality=78)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return "", SIDE
    kind = "jpeg" if side >= SIDE / 3 else "png"
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}", side


def _eight_bits(image: Any) -> Any:
    """An image of 16 bits a pixel in 8."""
    from PIL import Image

    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
