"""From examples without splits to those with: cut by seed, stratified, what belongs together on one side."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.data.config import DataConfig
from tfl.data.examples import Examples, Records
from tfl.kinds import Kind


def cut_all(records: Records, config: DataConfig, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
    """The examples of each split, those that are missing cut, and their groups where the source has some.

    What `together` names alike stays on one side, so that no cut makes the test easier than it is; but not where that would
    leave out a class of which two examples would be cut else, or half of the classes, as where few examples are different.
    """
    given: dict[str, Any] = dict(records.splits)
    groups = None if records.groups is None else dict(records.groups)
    if "all" in given:
        given = {"train": given.pop("all")}
        groups = None if groups is None else {"train": groups["all"]}
    whole = len(given["train"])
    had_test = "test" in given
    for place, (name, fraction) in enumerate((("test", config.test), ("validation", config.validation))):
        if name in given:
            continue
        # Where a test split came with the data, what is cut is a part of train; else of everything there was.
        count = round(fraction * (len(given["train"]) if had_test else whole))
        train, cut = _cut(given["train"], groups["train"] if groups else None, records.kind, count, (seed, place), name)
        if groups:
            groups = {**groups, "train": groups["train"][train], name: groups["train"][cut]}
        given = {**given, "train": given["train"].take(train), name: given["train"].take(cut)}
    return given, groups


def _cut(
    examples: Examples, groups: np.ndarray | None, kind: Kind, count: int, seed: Any, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Positions that stay and positions that are cut, about `count` of them, both ascending."""
    strata, count = strata_of(examples, kind), max(1, count)
    if groups is None:
        cut = by_class(examples, strata, count, seed, spare=True)
    else:
        cut = _by_group(examples, strata, groups, count, seed)
    joined = together(examples.digests, groups)
    if joined is not None and joined is not groups:
        apart = (_by_content if groups is None else _by_group)(examples, strata, joined, count, seed)
        cut = apart if _covers(strata[apart], strata[cut]) else cut
    if len(cut) == 0:
        what = "examples" if groups is None else f"groups ({len(set(groups.tolist()))})"
        raise UserError(
            f"too few {what} to cut a {name} split from: {len(examples)} examples, and every class must keep one to "
            f"train on; add examples or bring a {name} split of your own"
        )
    stay = np.ones(len(examples), dtype=bool)
    stay[cut] = False
    return np.flatnonzero(stay), cut


def _covers(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether a cut of the classes `found` is as good as one of those `wanted`: of rare ones, chance decides which are cut."""
    classes, counts = np.unique(wanted, return_counts=True)
    there = np.isin(classes, found)
    return bool(len(found) and there[counts > 1].all() and there.sum() >= min(len(classes), max(2, len(classes) / 2)))


def together(digests: np.ndarray, groups: np.ndarray | None) -> np.ndarray | None:
    """[N]: a name for each example, the same for those that belong on one side: of one of `groups`, or of one content.

    `digests` [N] are of contents. None where there are no groups and no content is there twice.
    """
    contents, content = np.unique(digests, return_inverse=True)
    if groups is None or len(contents) == len(digests):
        return groups if len(contents) == len(digests) else content
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, group = np.unique(groups.astype(str), return_inverse=True)
    nodes = len(names) + len(contents)
    edges = coo_array((np.ones(len(group)), (group, len(names) + content)), shape=(nodes, nodes))
    joined: np.ndarray = connected_components(edges, directed=False)[1][group]
    return joined


def strata_of(examples: Examples, kind: Kind) -> np.ndarray:
    """[N] int: what the cut keeps in proportion. Class; the rarest of an example's labels; quartile of the target."""
    labels = examples.labels
    if labels is None or len(examples) == 0:
        return np.zeros(len(examples), dtype=np.int64)
    if kind == "classification":
        return labels.astype(np.int64)
    if kind == "multilabel":
        counts = np.where(labels > 0, labels.sum(axis=0), np.inf)
        return np.where(labels.any(axis=1), counts.argmin(axis=1), labels.shape[1])
    return np.searchsorted(np.quantile(labels, [0.25, 0.5, 0.75]), labels)


def by_class(examples: Examples, strata: np.ndarray, count: int, seed: Any, *, spare: bool) -> np.ndarray:
    """About `count` positions, ascending, [count] int64, each of `strata` [N] int64 in proportion; with `spare`, none is taken
    whole.

    Shares are rounded by largest remainder; among equal remainders the seed decides, so that rare classes take turns.
    """
    random = np.random.default_rng(seed)
    by_id = np.argsort(examples.ids, kind="stable")
    by_id = by_id[random.permutation(len(by_id))]
    classes, sizes = np.unique(strata, return_counts=True)
    quota = sizes * min(1.0, count / max(1, len(strata)))
    shares = np.floor(quota + 1e-9).astype(np.int64)
    limit = sizes - 1 if spare else sizes
    order = np.lexsort((random.random(len(classes)), -(quota - shares)))
    for place in order[: max(0, count - int(shares.sum()))]:
        shares[place] += 1
    shares = np.minimum(shares, limit)
    taken = [by_id[strata[by_id] == label][:share] for label, share in zip(classes, shares, strict=True)]
    return np.sort(np.concatenate(taken)) if taken else np.empty(0, dtype=np.int64)


def _by_content(examples: Examples, strata: np.ndarray, contents: np.ndarray, count: int, seed: Any) -> np.ndarray:
    """Positions, ascending, as by `by_class` of one example of each content; its copies come along. A content that has
    examples in several strata is not cut.
    """
    _, first, content = np.unique(contents, return_index=True, return_inverse=True)
    several = np.zeros(len(first), dtype=bool)
    several[content[strata != strata[first][content]]] = True
    single = np.sort(first[~several])
    cut = by_class(examples.take(single), strata[single], round(count * len(first) / len(contents)), seed, spare=True)
    return np.flatnonzero(np.isin(contents, contents[single[cut]]))


def _by_group(examples: Examples, strata: np.ndarray, groups: np.ndarray, count: int, seed: Any) -> np.ndarray:
    """Positions of whole groups, ascending, whose class counts come near to `count` examples in proportion.

    Groups are taken in random order, each where it brings the counts nearer to the target and leaves every class an
    example; where every group is too large for that, the smallest one that leaves every class an example.
    """
    names, group_of = np.unique(groups.astype(str), return_inverse=True)
    classes, class_of = np.unique(strata, return_inverse=True)
    table = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(table, (group_of, class_of), 1)
    totals = table.sum(axis=0)
    target = totals * (count / len(examples))
    held, chosen = np.zeros_like(totals), []

    def distance(counts: np.ndarray) -> float:
        of_classes = (((counts - target) / totals) ** 2).mean()
        return float(of_classes + ((counts.sum() - target.sum()) / totals.sum()) ** 2)

    for group in np.random.default_rng(seed).permutation(len(names)):
        more = held + table[group]
        if distance(more) < distance(held) and np.all(more < totals):
            held = more
            chosen.append(group)
    if not chosen:
        small = [group for group in np.argsort(table.sum(axis=1), kind="stable") if np.all(table[group] < totals)]
        chosen = small[:1]
    return np.flatnonzero(np.isin(group_of, chosen))
