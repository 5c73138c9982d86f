"""The page to try a model, in a real browser: a picture dropped, a text typed, an error shown. Skips where there is none."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.client import serving


@pytest.fixture(scope="module")
def address(both: Path) -> Iterator[str]:
    with serving(both) as client:
        yield client.address


@pytest.fixture(params=[(390, 844), (1280, 800)], ids=["phone", "desktop"])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.asked, page.wrong = [], []
    page.on("request", lambda one: page.asked.append(one.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(address)
    yield page
    assert page.wrong == []
    assert all(url.startswith((address, "blob:")) for url in page.asked), "nothing comes from elsewhere"
    context.close()


def rows(page: Any) -> list[tuple[str, float]]:
    page.wait_for_selector("#result tr")
    code = "rows => rows.map(row => [row.cells[0].textContent, row.cells[2].textContent])"
    cells = page.eval_on_selector_all("#result tr", code)
    return [(name, float(value.removesuffix(" %")) / 100) for name, value in cells]


def drop(page: Any, name: str, data: bytes) -> None:
    code = """([name, data]) => {
        const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name));
        document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
    }"""
    page.evaluate(code, [name, base64.b64encode(data).decode()])


def test_a_picture_is_dropped(page: Any, photos: Path, image_run: Any) -> None:
    page.select_option("#model", "photos")
    file = sorted(photos.rglob("*.png"))[0]
    drop(page, file.name, file.read_bytes())
    (expected,) = image_run.predict([str(file)]).to_dict("records")
    found = rows(page)
    assert found[0][0] == expected["predicted"]
    assert dict(found)["dark"] == pytest.approx(expected["p_dark"], abs=6e-4)
    assert page.is_visible("#shown")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out"


def test_a_text_is_typed(page: Any, text_run: Any) -> None:
    page.select_option("#model", "calls")
    page.fill("#text", "sales rose this year")
    page.click("button")
    assert rows(page)[0][0] == text_run.predict(["sales rose this year"])["predicted"][0]


def test_an_error_can_be_read(page: Any) -> None:
    page.select_option("#model", "photos")
    page.click("button")
    assert page.inner_text("[role=alert]") == "Choose a picture first."
    drop(page, "notes.txt", b"hello")
    page.wait_for_selector("[role=alert]:has-text('image')")
    told = page.inner_text("[role=alert]")
    assert "Unknown image file format" in told
    assert "{{" not in told
    assert page.is_hidden("#result")
