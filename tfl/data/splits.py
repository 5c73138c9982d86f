"""From the records of a source to train, validation and test: cut by seed, checked, fingerprinted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from tfl.config import UserError
from tfl.data.config import DataConfig
from tfl.data.examples import Examples, Kind, Modality, Records, Unreadable

T = TypeVar("T")

PARTS = ("train", "validation", "test")

UNREADABLE_LIMIT = 0.05
"""The part of a data set that may be unreadable; more means that something else is wrong."""

NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""What people call their splits: folders, shards and values of a split column, in lower case."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """Train, validation and test examples, ready for training."""

    train: Examples
    validation: Examples
    test: Examples
    class_names: tuple[str, ...]
    """() for regression."""
    modality: Modality
    kind: Kind
    unreadable: tuple[Unreadable, ...] = ()
    duplicates: tuple[tuple[str, str, str, str], ...] = ()
    """(id, split, id, split) of examples with the same content in two splits; the first is in the earlier split."""
    groups: dict[str, np.ndarray] | None = None
    """Per split, [N], where the source has groups."""

    @property
    def parts(self) -> dict[str, Examples]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def sizes(self) -> dict[str, int]:
        """Examples in each split."""
        return {name: len(examples) for name, examples in self.parts.items()}

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Examples of each class in each split; {} for regression."""
        if self.kind == "regression":
            return {}
        counts = {name: _class_counts(examples, len(self.class_names)) for name, examples in self.parts.items()}
        return {name: dict(zip(self.class_names, map(int, values), strict=True)) for name, values in counts.items()}

    @cached_property
    def fingerprint(self) -> str:
        """32 hex digits that change with any content, label, class name or the split that an example is in."""
        state = hashlib.blake2b(digest_size=16)
        state.update(repr((self.kind, self.modality, self.class_names)).encode())
        for name, examples in self.parts.items():
            labels = b"" if examples.labels is None else np.ascontiguousarray(examples.labels).tobytes()
            state.update(f"\n{name} {len(examples)}\n".encode())
            state.update(np.ascontiguousarray(examples.digests).tobytes() + labels)
        return state.hexdigest()


def held_out(found: Mapping[str, T]) -> dict[str, T]:
    """The splits that a source found by their names, where a single held-out one is the test split.

    Whoever brings `train` and `val` alone will quote the result on `val`. So it must stay untouched until the end, and
    the validation split, by which epochs are chosen, is cut from `train`.
    """
    if set(found) == {"train", "validation"}:
        return {"train": found["train"], "test": found["validation"]}
    return dict(found)


def split(records: Records, config: DataConfig, seed: int = 0) -> Splits:
    """`records` with the missing splits cut, stratified by class or with groups kept together, and everything checked.

    The cut depends on `seed` and on the examples' ids, not on the order they came in. A fraction is of all examples; of
    the training examples where a test split exists. Raises `UserError` for data that cannot be trained on.
    """
    _check_records(records, config)
    parts, groups = _cut_all(records, config, seed)
    if config.max_train is not None and config.max_train < len(parts["train"]):
        chosen = by_class(parts["train"], _strata(parts["train"], records.kind), config.max_train, seed, spare=False)
        parts["train"] = parts["train"].take(chosen)
        if groups:
            groups["train"] = groups["train"][chosen]
    splits = Splits(
        **parts,
        class_names=records.class_names,
        modality=records.modality,
        kind=records.kind,
        unreadable=records.unreadable,
        duplicates=_duplicates(parts),
        groups=groups,
    )
    _check_splits(splits)
    return splits


# --- cutting ----------------------------------------------------------------------------------------------------------


def _cut_all(records: Records, config: DataConfig, seed: int) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
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
    strata = _strata(examples, kind)
    if groups is None:
        cut = by_class(examples, strata, max(1, count), seed, spare=True)
    else:
        cut = _by_group(examples, strata, groups, max(1, count), seed)
    if len(cut) == 0:
        what = "examples" if groups is None else f"groups ({len(set(groups.tolist()))})"
        raise UserError(
            f"too few {what} to cut a {name} split from: {len(examples)} examples, and every class must keep one to "
            f"train on; add examples or bring a {name} split of your own"
        )
    stay = np.ones(len(examples), dtype=bool)
    stay[cut] = False
    return np.flatnonzero(stay), cut


def _strata(examples: Examples, kind: Kind) -> np.ndarray:
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
    """About `count` positions, ascending, each class in proportion; with `spare`, no class is taken whole.

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


# --- checking ---------------------------------------------------------------------------------------------------------


def _check_records(records: Records, config: DataConfig) -> None:
    read = sum(len(examples) for examples in records.splits.values())
    bad = len(records.unreadable)
    listed = "\n".join(f"  {item.id}: {item.reason}" for item in records.unreadable[:5])
    more = f"\n  … and {bad - 5} more" if bad > 5 else ""
    if bad and config.on_error == "fail":
        raise UserError(f"{bad} of {read + bad} examples unreadable, and on_error is fail:\n{listed}{more}")
    if read == 0 and not bad:
        raise UserError("no examples found; the source is empty")
    if bad > UNREADABLE_LIMIT * (read + bad):
        share = f"{100 * bad / (read + bad):.0f} %"
        raise UserError(
            f"{bad} of {read + bad} examples unreadable ({share}; at most {UNREADABLE_LIMIT:.0%} are skipped):\n{listed}{more}"
        )
    if not {"all", "train"} & set(records.splits):
        raise UserError(f"no training examples: the source brings only {', '.join(records.splits)}")


def _check_splits(splits: Splits) -> None:
    for name, examples in splits.parts.items():
        if len(examples) == 0:
            raise UserError(f"the {name} split is empty; it needs at least one example")
    if splits.kind == "regression":
        if splits.train.labels is not None and np.ptp(splits.train.labels) == 0:
            raise UserError(f"every training label is {splits.train.labels[0]:g}; there is nothing to learn")
        return
    if splits.kind == "classification" and len(splits.class_names) < 2:
        names = ", ".join(repr(name) for name in splits.class_names)
        raise UserError(f"only one class: {names}; a classification needs at least two")
    counts = splits.class_counts["train"]
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        raise UserError(
            f"no training example of class {_shortened(empty)}; classes with training examples: "
            f"{_shortened([name for name in counts if name not in empty])}. "
            "Add examples, remove the class, or raise max_train"
        )


def _shortened(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _class_counts(examples: Examples, classes: int) -> np.ndarray:
    labels = examples.labels
    if labels is None:
        return np.zeros(classes, dtype=np.int64)
    return np.bincount(labels, minlength=classes) if labels.ndim == 1 else labels.sum(axis=0).astype(np.int64)


def _duplicates(parts: dict[str, Any]) -> tuple[tuple[str, str, str, str], ...]:
    """One entry for each example and each earlier split that holds the same content."""
    found: list[tuple[str, str, str, str]] = []
    for place, name in enumerate(PARTS):
        for earlier in PARTS[:place]:
            common, first, _ = np.intersect1d(parts[earlier].digests, parts[name].digests, return_indices=True)
            original = dict(zip(common.tolist(), parts[earlier].ids[first].tolist(), strict=True))
            here = np.flatnonzero(np.isin(parts[name].digests, common))
            found += [(original[parts[name].digests[i]], earlier, parts[name].ids[i], name) for i in here]
    return tuple((str(a), b, str(c), d) for a, b, c, d in found)
