"""From the records of a source to train, validation and test: cut by seed, checked, fingerprinted."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from tfl.config import UserError
from tfl.data.config import DataConfig
from tfl.data.examples import Examples, Modality, Records, Unreadable
from tfl.data.partition import by_class, cut_all, strata_of
from tfl.kinds import Kind

T = TypeVar("T")

PARTS = ("train", "validation", "test")

UNREADABLE_LIMIT = 0.05
"""The part of a data set that may be unreadable; more means that something else is wrong."""

NAMES = {
    name + end: part
    for part, names in {
        "train": ("train", "training"),
        "validation": ("val", "valid", "validation", "dev"),
        "test": ("test", "testing"),
    }.items()
    for name in names
    for end in ("", "_set")
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
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)
    """As in `Records`."""

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
    def parted(self) -> tuple[tuple[str, str, str], ...]:
        """(group, split, split) of groups that the data itself puts into two splits; what tfl cuts keeps them together."""
        names = {name: set(map(str, groups)) for name, groups in (self.groups or {}).items()}
        pairs = itertools.combinations([name for name in PARTS if name in names], 2)
        return tuple((group, one, other) for one, other in pairs for group in sorted(names[one] & names[other]))

    @cached_property
    def contradictions(self) -> tuple[tuple[str, str], ...]:
        """(id, id) of an example and of one with the same content and the label that this content has most often, where
        the first has another; () where the kind is not classification."""
        return _contradictions(list(self.parts.values())) if self.kind == "classification" else ()

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
    check_records(records, config)
    if records.kind == "classification" and len(records.class_names) < 2:
        names = ", ".join(repr(name) for name in records.class_names)
        raise UserError(f"only one class: {names}; a classification needs at least two")
    if records.kind == "multilabel" and not records.class_names:
        raise UserError("no example has a label; a multi-label model needs at least one")
    broken = next((name for name in records.class_names if "\n" in name or "\r" in name), None)
    if broken is not None:
        raise UserError(
            f"the class {broken!r} has a line break in its name, which no list of classes in a file can hold; rename it"
        )
    parts, groups = cut_all(records, config, seed)
    if config.max_train is not None and config.max_train < len(parts["train"]):
        chosen = by_class(parts["train"], strata_of(parts["train"], records.kind), config.max_train, seed, spare=False)
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
        left_out=records.left_out,
    )
    _check_splits(splits, config)
    return splits


# --- checking ---------------------------------------------------------------------------------------------------------


def check_records(records: Records, config: DataConfig) -> None:
    """Raises `UserError` where a source brought nothing to train on, or too much that cannot be read."""
    read = sum(len(examples) for examples in records.splits.values())
    check_unreadable(read, records.unreadable, none=config.on_error == "fail")
    if read == 0:
        raise UserError("no examples found; the source is empty")
    if not {"all", "train"} & set(records.splits):
        raise UserError(f"no training examples: the source brings only {', '.join(records.splits)}")


def check_unreadable(read: int, unreadable: Sequence[Unreadable], none: bool = False) -> None:
    """Raises `UserError` where too many examples beside the `read` ones cannot be read; with `none`, where any cannot."""
    bad = len(unreadable)
    listed = "\n".join(f"  {item.id}: {item.reason}" for item in unreadable[:5])
    listed += f"\n  … and {bad - 5} more" if bad > 5 else ""
    if bad and none:
        raise UserError(f"{bad} of {read + bad} examples unreadable, and on_error is fail:\n{listed}")
    if bad > UNREADABLE_LIMIT * (read + bad):
        share = f"{100 * bad / (read + bad):.0f} %"
        raise UserError(
            f"{bad} of {read + bad} examples unreadable ({share}; at most {UNREADABLE_LIMIT:.0%} are skipped):\n{listed}"
        )


def _check_splits(splits: Splits, config: DataConfig) -> None:
    for name, examples in splits.parts.items():
        if len(examples) == 0:
            raise UserError(f"the {name} split is empty; it needs at least one example")
    if splits.kind == "regression":
        if splits.train.labels is not None and np.ptp(splits.train.labels) == 0:
            raise UserError(f"every training label is {splits.train.labels[0]:g}; there is nothing to learn")
        return
    counts = splits.class_counts["train"]
    empty = [name for name, count in counts.items() if count == 0]
    if empty:
        other = listed_suffixes({name: splits.left_out[name] for name in empty if name in splits.left_out})
        advice = "Add examples or remove the class" if config.max_train is None else "Add examples or raise max_train"
        raise UserError(
            f"no training example of class {shortened(empty)}"
            + (f", but {other}, which cannot be read: convert them to JPEG or PNG" if other else "")
            + f"; classes with training examples: {shortened([name for name in counts if name not in empty])}. {advice}"
        )


def listed_suffixes(left_out: Mapping[str, Mapping[str, int]]) -> str:
    """`15 .webp, 1 .heic`, of all classes of `left_out` together, the most frequent first."""
    return ", ".join(f"{count} {kind}" for kind, count in summed(left_out).items())


def summed(left_out: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """{suffix: files} of all classes of `left_out` together, the most frequent first."""
    counts: Counter[str] = Counter()
    for found in left_out.values():
        counts.update(found)
    return dict(counts.most_common())


def shortened(names: Sequence[str]) -> str:
    """The names of classes for a message: at most ten of them."""
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


def _contradictions(parts: list[Examples]) -> tuple[tuple[str, str], ...]:
    """Pairs as in `Splits.contradictions`, in the order of `parts`."""
    labelled = [(part, part.labels) for part in parts if part.labels is not None]
    labels = np.concatenate([values for _, values in labelled] or [np.empty(0)])
    ids = np.concatenate([part.ids for part, _ in labelled] or [np.empty(0)])
    hashed = np.concatenate([part.digests for part, _ in labelled] or [np.empty(0)])
    _, content, counts = np.unique(hashed, return_inverse=True, return_counts=True)
    copies: dict[int, list[int]] = {}
    for place in np.flatnonzero(counts[content] > 1).tolist():
        copies.setdefault(int(content[place]), []).append(place)
    found: list[tuple[int, int]] = []
    for places in copies.values():
        ((usual, _),) = Counter(labels[places].tolist()).most_common(1)
        original = next(place for place in places if labels[place] == usual)
        found += [(place, original) for place in places if labels[place] != usual]
    return tuple((str(ids[place]), str(ids[original])) for place, original in sorted(found))
