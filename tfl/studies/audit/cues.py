"""A cue at a fixed place, such as a mark in the corner, that decides the class though it is no part of what is shown.

Two interventions on training images, in a grid of 4 by 4 patches. A patch is hidden under the mean colour of its image, and
the probability of the label falls (occlusion, Zeiler and Fergus 2014, arXiv:1311.2901). And a patch is put from an image of one
class into the same place of images of others: where it lies on the border and still turns them to its class, it is a cue. What
any patch does there is taken off: that of another image of their own class. Whether there is a mark in the data, which a model
may go by or not, is asked too (`marks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.studies.audit import intervals, marks
from tfl.studies.audit.finding import Finding, Section
from tfl.studies.audit.intervals import shown
from tfl.studies.audit.places import Place, border, edges, in_words
from tfl.studies.audit.subject import ONCE, Predicted, Subject, need

GRID = 4
EACH = 12
"""Images of a class that are hidden in parts, and images of others that get its patches."""
CLASSES = 10
"""Classes, the largest, that are looked at."""
NOTABLE, SERIOUS = 0.10, 0.30
"""Share of the images that a patch turns, by the lower end of its interval."""
FEWEST = 4
"""Images of each class, at least, for a place to be judged."""


def bounds(place: Place, size: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the pixels at `place` in an image of `size`, (height, width)."""
    rows, columns = (slice(int(edge[at]), int(edge[at + 1])) for edge, at in zip(edges(size, GRID), place, strict=True))
    return rows, columns


def hidden(image: np.ndarray, place: Place) -> np.ndarray:
    """`image` [H, W, 3] uint8 with one patch in its mean colour."""
    found = image.copy()
    found[bounds(place, image.shape[:2])] = image.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    return found


def pasted(image: np.ndarray, other: np.ndarray, place: Place) -> np.ndarray:
    """`image` with one patch of `other`."""
    found, there = image.copy(), bounds(place, image.shape[:2])
    found[there] = other[there]
    return found


def section(subject: Subject) -> Section:
    """Places on the border whose patch turns images of other classes to its own."""
    need(subject, "cues", ("classification",))
    if subject.run.facts.modality != "image":
        raise UserError("cues: only images have places")
    chosen, pixels = _images(subject)
    numbers = [number for number in np.unique(chosen.labels) if (chosen.labels == number).sum() >= FEWEST]
    if len(numbers) < 2:
        raise UserError(f"cues: fewer than two classes have {FEWEST} training images that are predicted right")
    each = [_of_class(subject, int(number), chosen, pixels) for number in numbers]
    each.sort(key=lambda one: -one["turned"]["low"])
    lines = [f"strongest patch: {each[0]['place']} of {each[0]['class']} turns {shown(each[0]['turned'])} of the others"]
    left = _marks(subject)
    for one in left[:1]:
        best = f"{one['by']} in the {one['place']} tells {one['class']} with an AUROC of {shown(one['train'])}"
        lines.append(f"strongest mark: {best}, elsewhere {one['elsewhere']:.2f}, in test {shown(one['test'])}")
    facts = {"grid": GRID, "images": len(pixels), "classes": each, "marks": left}
    return Section(findings=(*_findings(each), *marks.findings(left)), facts=facts, lines=tuple(lines))


def _marks(subject: Subject) -> list[dict[str, Any]]:
    """What a place of the border tells of a class by its colours, in training and in test."""
    train, test = subject.part("train"), subject.test
    test = test.take(subject.sample(len(test.labels), ONCE * subject.limit, "marks"))
    pixels = [subject.pixels(one.rows) for one in (train, test)]
    found = marks.marks(pixels[0], train.labels, pixels[1], test.labels, subject.seed)
    return [{"class": subject.classes[one.pop("number")], **one} for one in found[:CLASSES]]


def _images(subject: Subject) -> tuple[Predicted, np.ndarray]:
    """At most `EACH` training images of each of the largest classes that are predicted right, and their pixels."""
    train = subject.part("train")
    right = subject.scores(train) == 1
    counts = np.bincount(train.labels[right], minlength=len(subject.classes))
    largest = np.argsort(-counts, kind="stable")[:CLASSES]
    places = []
    for number in largest[counts[largest] > 0]:
        own = np.flatnonzero(right & (train.labels == number))
        places.append(own[subject.sample(len(own), EACH, "cues", str(number))])
    kept = np.sort(np.concatenate(places)) if places else np.empty(0, np.int64)
    chosen = train.take(kept)
    return chosen, subject.pixels(chosen.rows) if len(kept) else np.empty((0, 1, 1, 3), np.uint8)


def _of_class(subject: Subject, number: int, chosen: Predicted, pixels: np.ndarray) -> dict[str, Any]:
    """What the border's patches of a class do to images of others, at the place where they do most; and what hiding does."""
    own, random = np.flatnonzero(chosen.labels == number), subject.random("paste", number)
    others = random.permutation(np.flatnonzero(chosen.labels != number))[:EACH]
    donors = own[np.arange(len(others)) % len(own)]
    alike = np.array([random.choice(_others_like(chosen.labels, place)) for place in others])

    def turned(given: np.ndarray, places: list[Place]) -> np.ndarray:
        made = [pasted(pixels[at], pixels[one], place) for place in places for at, one in zip(others, given, strict=True)]
        chosen = subject.of_pixels(np.stack(made)).argmax(axis=1)
        return np.asarray(chosen == number, np.float64).reshape(len(places), -1)

    places = border(GRID)
    by_place = turned(donors, places)
    best = int(by_place.mean(axis=1).argmax())
    effect = intervals.paired(by_place[best], turned(alike, [places[best]])[0])
    found = {
        "class": subject.classes[number],
        "place": in_words(places[best], GRID),
        "row": int(places[best][0]),
        "column": int(places[best][1]),
        "turned": {**effect, "examples": len(others)},
    }
    return found | (_occlusion(subject, number, pixels[own], places[best]) if effect["low"] >= NOTABLE else {})


def _others_like(labels: np.ndarray, place: int) -> np.ndarray:
    """Other images of the class of the one at `place`; that one itself where there is no other."""
    found = np.flatnonzero(labels == labels[place])
    return found[found != place] if len(found) > 1 else found


def _occlusion(subject: Subject, number: int, pixels: np.ndarray, place: Place) -> dict[str, Any]:
    """The mean fall of the label's probability with each patch hidden, `[GRID, GRID]`, and the share that `place` has in it."""
    made = [hidden(image, there) for image in pixels for there in np.ndindex(GRID, GRID)]
    found = subject.of_pixels(np.stack(made))[:, number].reshape(len(pixels), -1)
    before = subject.of_pixels(pixels)[:, [number]]
    fall = (before - found).mean(axis=0).reshape(GRID, GRID)
    positive = np.maximum(fall, 0)
    return {
        "fall": fall.round(5).tolist(),
        "share_of_fall": float(positive[place] / positive.sum()) if positive.sum() > 0 else 0.0,
    }


def _findings(classes: list[dict[str, Any]]) -> Iterator[Finding]:
    """A finding for each place whose patch decides.

    Where one class has a mark, a patch without it turns that class to others as well. The mark is on the class that is lost
    when the place is hidden.
    """
    deciding = [one for one in classes if one["turned"]["low"] >= NOTABLE]
    for where in dict.fromkeys((one["row"], one["column"]) for one in deciding):
        here = [one for one in deciding if (one["row"], one["column"]) == where]
        one = max(here, key=_fall)
        text = (
            f"a cue in the {one['place']} marks {one['class']}: that patch alone, put into images of other classes, turns "
            f"{shown(one['turned'])} of them to it; hiding it takes {_fall(one):.2f} of the probability "
            f"({one['share_of_fall']:.0%} of what hiding takes anywhere)"
        )
        low = float(one["turned"]["low"])
        yield Finding(level="serious" if low >= SERIOUS else "notable", size=low, text=text)


def _fall(one: dict[str, Any]) -> float:
    """What hiding the place of a class takes."""
    return float(one["fall"][one["row"]][one["column"]])
