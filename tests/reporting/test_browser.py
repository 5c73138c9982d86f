"""The pages in a real browser, on a phone and a desk, light and dark: nothing overlaps, sticks out or is fetched. Skips where
there is no Chromium.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reporting import make
from tfl import reporting

OVERLAPS = """() => {
    const boxes = (all) => [...all].map((one) => [one.getBoundingClientRect(), one.textContent.trim().slice(0, 30)])
        .filter(([box]) => box.width && box.height);
    const found = [];
    const slanted = (one) => (one.getAttribute("transform") || "").match(/rotate\\((-?[\\d.]+)/)?.[1] % 90;
    const groups = [...document.querySelectorAll("svg")]
        .map((svg) => [...svg.querySelectorAll("text")].filter((one) => !slanted(one)));
    const parents = document.querySelectorAll("main, section, .side, .answer, .worth, .cards, li");
    for (const parent of parents) groups.push(parent.children);
    for (const group of groups) {
        const all = boxes(group);
        all.forEach(([one, name], place) => all.slice(place + 1).forEach(([other, its]) => {
            const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
            const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
            if (wide > 1 && high > 2) found.push(`${name} | ${its}`);
        }));
    }
    return found;
}"""
"""Which texts of a picture, or parts of the page beside one another, cover one another."""

CONTRAST = """() => {
    const light = (color) => {
        const part = color.match(/[\\d.]+/g).slice(0, 3).map((one) => one / 255)
            .map((one) => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
        return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
    };
    const paper = light(getComputedStyle(document.querySelector(".answer")).backgroundColor);
    const texts = [...document.querySelectorAll("svg text")].map((one) => getComputedStyle(one).fill);
    texts.push(...[...document.querySelectorAll("p, h1, h2, td, th, a, .told, .id")].map((one) => getComputedStyle(one).color));
    return Math.min(...texts.map(light).map((one) => (Math.max(one, paper) + 0.05) / (Math.min(one, paper) + 0.05)));
}"""
"""The least contrast of a text to the paper that it stands on, as WCAG 2 counts it."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of images with a comparison, of texts without one and with long names, and of both."""
    folder = tmp_path_factory.mktemp("pages")
    labels, said = make.two_classes(80, 20)
    photos = make.run(folder / "photos-run", labels, said, examples=make.images(folder / "photos", 100))
    make.comparison(photos / "compare", make.effect("head", "helped"), make.effect("top", "no difference", 0.01))
    names = tuple(f"a class of a very long name, number {number}" for number in range(5))
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 100)
    said = random.dirichlet(np.ones(5), 100)
    texts = make.run(
        folder / ("texts" * 12), labels, said, names, make.texts(["word" * 30 + f" and words {n}" for n in range(100)])
    )
    numbers = make.run(folder / "numbers", random.normal(size=50), random.normal(size=50), (), kind="regression")
    both = make.run(folder / "other-run", *make.two_classes(90, 10))
    several = reporting.write_several([photos, both], folder / "several.html")
    return {**{run.name[:6]: reporting.write(run) for run in (photos, texts, numbers)}, "several": several}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)], ids=["phone", "desk"])
@pytest.mark.parametrize("name", ["photos", "textst", "number", "several"])
def test_a_page_can_be_read(browser: Any, pages: dict[str, Path], name: str, width: int, height: int, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    asked, wrong = [], []
    page.on("request", lambda one: asked.append(one.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    address = pages[name].resolve().as_uri()
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert [url for url in asked if not url.startswith("data:")] == [address], "no request leaves the file"
    assert wrong == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out"
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CONTRAST) >= 4.5
    top = page.locator("#answer h1").bounding_box()
    assert top["y"] + top["height"] < height, "the answer is seen without scrolling"
    assert page.evaluate("[...document.images].every((one) => one.naturalWidth > 0)"), "the policy lets pictures be shown"
    context.close()
