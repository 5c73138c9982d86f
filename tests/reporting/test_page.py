"""Pages: everything that a user gave is escaped, nothing is fetched, and what is shown is what was kept."""

from __future__ import annotations

import base64
import io
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.data.cameras import noted, smooth
from tests.reporting import make
from tfl import reporting
from tfl.data import image
from tfl.reporting import figures, ink, mistakes
from tfl.reporting.evidence import Evidence

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
"""As the name of a class, a file, or a text."""


class Elements(HTMLParser):
    """The elements of a page and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def page_of(folder: Path) -> str:
    return reporting.write(folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page in which everything that a user can name is a script."""
    folder = tmp_path_factory.mktemp("evil")
    names = (EVIL, "$x_{1}$ & \"'", "plain")
    labels = np.arange(30) % 3
    examples = make.texts([f"{EVIL} {number}" for number in range(30)])
    config = {"data": {"source": "table", "path": EVIL}, "backbone": {"name": EVIL, "weights": "pretrained"}}
    data = {
        "sizes": {"test": 30},
        "duplicates": [[EVIL, "train", EVIL, "test"]],
        "class_counts": {"test": dict.fromkeys(names, 10)},
    }
    fields = {"config": config, "data": data, "backbone": {"name": EVIL, "parameters": 3, "origin": EVIL}}
    run = make.run(
        folder / EVIL.replace("/", ""), labels, np.eye(3)[(labels + labels % 2) % 3] * 0.8 + 0.1, names, examples, **fields
    )
    (run / "config.yaml").write_text(f"path: {EVIL}\n")
    found = [{"section": EVIL, "level": "serious", "size": 0.2, "text": EVIL}]
    measured = {EVIL: {EVIL: EVIL, "rows": [{EVIL: EVIL, "share": {"value": 0.5, "low": 0.4, "high": 0.6}}]}}
    sliced = {
        "columns": {EVIL: {"slices": [{"slice": EVIL, "value": 0.5, "low": 0.4, "high": 0.6, "examples": 9}], "gap": None}}
    }
    audit = {"findings": found, "sections": {**measured, "slices": sliced}, "skipped": {EVIL: EVIL}}
    (run / "audit.json").write_text(json.dumps(audit))
    return page_of(run)


def test_what_a_user_names_stays_text(evil: str) -> None:
    tags = [tag for tag, _ in Elements(evil).found]
    assert "script" not in tags
    assert "img" not in tags
    assert evil.count("&lt;script&gt;alert(1)") > 20
    assert "$x_{1}$" in evil, "and no formula"


def test_nothing_is_fetched_and_no_script_may_run(evil: str) -> None:
    for tag, attributes in Elements(evil).found:
        assert tag not in ("link", "iframe", "object", "form", "base")
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/")), (tag, attributes)
    assert re.search(r"url\((?!#)", evil) is None
    policy = next(attributes["content"] for _, attributes in Elements(evil).found if "http-equiv" in attributes)
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_ids_are_unique_and_links_lead_somewhere(evil: str) -> None:
    elements = Elements(evil).found
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in elements if tag == "a"]
    assert len(links) > 5
    used = [attributes[name] for _, attributes in elements for name in ("href", "xlink:href") if name in attributes]
    assert {str(link)[1:] for link in used if str(link).startswith("#")} <= set(ids)


def test_pictures_take_the_colours_of_the_page(evil: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", evil, re.DOTALL)
    assert len(drawings) >= 5
    for drawing in drawings:
        assert "var(--" in drawing
        painted = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawing))
        assert not painted, "a colour of its own would not change with light and dark"
        assert 'role="img" aria-label="' in drawing


def test_the_worst_mistakes_are_those_it_was_surest_of(tmp_path: Path) -> None:
    labels, said = make.two_classes(5, 15)
    sure = 0.6 + 0.02 * np.arange(20)
    said = np.where(said > 0.5, sure[:, None], 1 - sure[:, None])
    folder = make.run(tmp_path / "run", labels, said, examples=make.images(tmp_path / "photos", 20))
    section = mistakes.section(Evidence(folder))
    assert section is not None
    assert section.sentences == ("15 of 20 test examples are predicted wrong; those that the model was surest of first.",)
    assert [card.title for card in section.cards] == [f"{number:03}.png" for number in range(19, 7, -1)]
    assert section.cards[0].lines == ("label bees", "predicted ants, 0.980 sure")
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(section.cards[0].image.partition("base64,")[2]))) as shown:
        assert shown.format == "JPEG"
        assert shown.size == (96, 64)
        assert shown.getpixel((40, 30)) == pytest.approx((190, 190, 190), abs=3), "number 19 has the level 190"


def test_a_picture_that_is_gone_or_another_one_is_said_to_be(tmp_path: Path) -> None:
    examples = make.images(tmp_path / "photos", 4)
    labels, said = make.two_classes(0, 4)
    folder = make.run(tmp_path / "run", labels, said, examples=examples)
    (tmp_path / "photos" / "000.png").unlink()
    (tmp_path / "photos" / "001.png").write_bytes((tmp_path / "photos" / "002.png").read_bytes())
    section = mistakes.section(Evidence(folder))
    assert section is not None
    told = {card.title: card.text for card in section.cards}
    assert "not there any more" in told["000.png"]
    assert "another one" in told["001.png"]
    assert told["002.png"] == ""


def test_a_small_picture_keeps_its_pixels_and_what_is_no_picture_ends_nothing(tmp_path: Path) -> None:
    from PIL import Image

    out = io.BytesIO()
    Image.new("I;16", (8, 8), 256 * 77).save(out, format="PNG")
    address, side = mistakes.thumbnail(out.getvalue())
    assert side == 8
    with Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2]))) as shown:
        assert (shown.format, shown.size, shown.getpixel((1, 1))) == ("PNG", (8, 8), (77, 77, 77))
    assert mistakes.thumbnail(b"GIF89a")[0] == ""


def shown(data: bytes) -> np.ndarray:
    """The thumbnail of an encoded image."""
    from PIL import Image

    address, _ = mistakes.thumbnail(data)
    with Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2]))) as opened:
        return np.asarray(opened, int)


@pytest.mark.parametrize("number", range(1, 9))
def test_a_photo_is_shown_as_the_model_saw_it(number: int) -> None:
    data = noted(number, smooth(300, 400))
    size = (168, 224) if number < 5 else (224, 168)
    expected = image.decode_resized(tf.constant(data), size)
    found = shown(data)
    assert found.shape == (*size, 3)
    np.testing.assert_allclose(found, expected, atol=12)


def test_a_photo_is_shown_whatever_else_cameras_write() -> None:
    from PIL import Image

    pixels = smooth(300, 400)
    several = io.BytesIO()
    Image.fromarray(pixels).save(several, "MPO", save_all=True, append_images=[Image.fromarray(pixels)])
    marked = several.getvalue()
    segment = noted(6, pixels)
    segment = segment[2 : segment.index(b"\xff\xdb")]  # JFIF and EXIF
    assert shown(marked[:2] + segment + marked[2:]).shape == (224, 168, 3)
    cut = io.BytesIO()
    Image.fromarray(pixels).save(cut, "JPEG", dpi=(72, 72), exif=b"Exif\0\0MM\0*")
    assert shown(cut.getvalue()).shape == (168, 224, 3)


def test_texts_are_shown_and_long_ones_cut(tmp_path: Path) -> None:
    labels, said = make.two_classes(0, 2)
    folder = make.run(tmp_path / "run", labels, said, examples=make.texts(["costs rose", "word " * 500]))
    section = mistakes.section(Evidence(folder))
    assert section is not None
    short, long = (card.text for card in section.cards)
    assert short == "costs rose"
    assert len(long) < 520
    assert long.endswith(" …")


def test_a_model_without_mistakes_has_none(tmp_path: Path) -> None:
    folder = make.run(tmp_path / "run", *make.two_classes(20, 0), examples=make.texts(["word"] * 20))
    section = mistakes.section(Evidence(folder))
    assert section is not None
    assert section.cards == []
    assert "all 20 test examples are predicted right" in section.sentences[0]
    assert "all 20 test" in page_of(folder)


@pytest.mark.parametrize("kind", ["regression", "multilabel"])
def test_other_tasks_have_a_page(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(0)
    labels = random.normal(size=40) if kind == "regression" else (random.random((40, 2)) < 0.4).astype(np.float32)
    said = labels + 0.1 * random.normal(size=40) if kind == "regression" else random.random((40, 2))
    names = () if kind == "regression" else make.NAMES
    text = page_of(make.run(tmp_path / "run", labels, said, names, make.texts(["a text"] * 40), kind=kind))
    assert "a text" in text
    assert "The worst mistakes" in text
    assert ("Predictions against labels" in text) == (kind == "regression")


def test_a_run_without_predictions_test_split_or_epochs_has_a_page(tmp_path: Path) -> None:
    folder = make.run(tmp_path / "run", *make.two_classes(8, 2), phases=(), seconds={})
    (folder / "predictions.csv").unlink()
    assert "All metrics" in page_of(folder)
    other = make.run(tmp_path / "other", *make.two_classes(8, 2))
    raw = json.loads((other / "report.json").read_text())
    (other / "report.json").write_text(json.dumps(raw | {"metrics": {"label": {"test": {"examples": 0}}}}))
    (other / "predictions.csv").write_text("id,label,predicted,probability\n")
    assert "nothing is known of the model" in page_of(other)


def test_many_classes_make_no_huge_page(tmp_path: Path) -> None:
    names = tuple(f"class {number}" for number in range(100))
    labels = np.arange(200) % 100
    folder = make.run(tmp_path / "run", labels, np.roll(np.eye(100), 1, axis=1)[labels] * 0.5 + 0.001, names)
    start = time.perf_counter()
    text = page_of(folder)
    assert len(text) < 400_000
    assert time.perf_counter() - start < 10
    assert "The 60 of 100 classes with the lowest F1." in text


def test_an_audit_is_shown_its_serious_findings_at_the_top(tmp_path: Path) -> None:
    folder = make.run(tmp_path / "run", *make.two_classes(8, 2))
    assert 'id="audit"' not in page_of(folder)
    gap = {"worst": "south", "best": "north", "value": 0.3, "low": 0.2, "high": 0.4, "p": 0.001, "adjusted_p": 0.002}
    scratch = {"scratch": {"value": 0.1, "low": 0.0, "high": 0.2}}
    rows = [{"slice": name, "value": 0.9, "low": 0.8, "high": 0.95, "examples": 1234} for name in ("north", "south")]
    findings = [
        {"section": "slices", "level": "serious", "size": 0.2, "text": "south does worse"},
        {"section": "labels", "level": "notable", "size": 0.02, "text": "some labels may be wrong"},
    ]
    sections = {
        "slices": {"measure": "accuracy", "columns": {"site": {"slices": rows, "gap": gap, "scratch": scratch}}},
        "calibration": {"bins": [{"low": 0.0}], "temperature": {"value": 1.25, "why": None}},
        "labels": {"suspects": [{"id": f"{number}.jpg", "label": "ants"} for number in range(100)]},
        "strange": [1, [2], {"a": {"b": 3}}, None],
    }
    audit = {"schema": 1, "findings": findings, "sections": sections, "skipped": {"cues": "texts have no corners"}}
    (folder / "audit.json").write_text(json.dumps(audit))
    text = page_of(folder)
    top = text[: text.index("<nav")]
    assert "Audit, slices: south does worse" in top
    assert "some labels may be wrong" not in top
    assert "some labels may be wrong" in text
    assert "cues: not asked; texts have no corners" in text
    assert "site: south does worse than north by 0.300 (0.200–0.400), p 0.002; from scratch the gap is 0.100" in text
    for part in ("1,234", "0.800–0.950", "1.250", "labels: suspects (the first 40 of 100)", "39.jpg"):
        assert part in text
    assert "40.jpg" not in text
    (folder / "audit.json").write_text("[]")
    assert 'id="audit"' not in page_of(folder)


def test_the_reliability_diagram_has_the_bins_of_the_calibration_error() -> None:
    confidence = np.array([0.62, 0.64, 0.95, 0.99])
    picture = figures.reliability(confidence, np.array([True, False, True, True]))
    from matplotlib.figure import Figure

    axes = Figure(layout="constrained").add_subplot()
    picture.draw(axes, ink.FILE)
    np.testing.assert_allclose(axes.collections[-1].get_offsets(), [[0.63, 0.5], [0.97, 1.0]])
    spreads = [segment[:, 1] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(spreads, [[0.0945, 0.9055], [0.3424, 1.0]], atol=1e-3)  # Wilson, 1 of 2 and 2 of 2
