"""What labels are, and so what a task predicts: one class of several, any number of them, or a number."""

from typing import Literal

Kind = Literal["classification", "multilabel", "regression"]
AnyKind = Literal["auto", "classification", "multilabel", "regression"]
"""As a config names it; auto: what the labels look like."""
