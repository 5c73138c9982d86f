"""What the configs of all sources share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tfl.config import UserError, require

ADDRESS = re.compile(r"grpc://[^\s/:]+:\d{1,5}")
Resize = Literal["crop", "squash", "pad"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The fields that every source has; a source's own `Config` adds its own."""

    source: str
    """Which source reads the data; `tfl list sources` names them."""
    batch_size: int = 32
    """Examples in a global batch, across all replicas."""
    max_tokens: int | None = None
    """Tokens in a global batch at most, padding included: long texts come in batches of fewer than `batch_size`. A batch's
    loss is the mean over its examples, however many. A text that is longer is a batch by itself; null: no bound but
    `batch_size`. Texts only."""
    validation: float = 0.15
    """Where the source brings no validation split: the fraction cut for it (of all, or of train where a test split
    exists)."""
    test: float = 0.15
    """Where the source brings no test split: the fraction cut for it."""
    max_train: int | None = None
    """Upper limit on training examples, drawn class by class by the seed; null: none."""
    on_error: Literal["skip", "fail"] = "skip"
    """What an unreadable example does: it is skipped, reported and counted, or it ends the run."""
    resize: Resize = "crop"
    """How an image becomes square: its middle cut out, its sides squashed, or its short side padded. Images only."""
    service: str | None = None
    """Address of a tf.data service (grpc://host:port) whose workers read, decode and augment the training images in place of
    this process; what comes out is the same. Image files only, on a disk that the workers share; null: none."""

    def __post_init__(self) -> None:
        checks = {
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "max_tokens": (self.max_tokens is None or self.max_tokens >= 16, "at least 16, or null"),
            "validation": (0 < self.validation < 1, "a fraction between 0 and 1"),
            "test": (0 < self.test < 1, "a fraction between 0 and 1"),
            "max_train": (self.max_train is None or self.max_train >= 1, "at least 1, or null"),
            "service": (self.service is None or bool(ADDRESS.fullmatch(self.service)), "grpc://host:port, or null"),
        }
        require(self, checks)
        if self.validation + self.test >= 1:
            raise UserError(f"validation: {self.validation} and test: {self.test} leave nothing to train on; together below 1")
