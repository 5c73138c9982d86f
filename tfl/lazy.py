"""Heavy libraries, imported when first used, so that `import tfl` and `tfl --help` are instant.

`from tfl.lazy import keras, tf` costs nothing; the first attribute access imports the library, quietly: what TensorFlow's
C++ code writes to stderr meanwhile is shown only if the import fails, or if `TF_CPP_MIN_LOG_LEVEL` asks for it (`tfl -v`
sets it to 0).
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

_IMPORTING = threading.RLock()
"""Held while a library is imported, so that no other thread takes half of it for the whole."""


class _Lazy:
    """Stands for a module until an attribute is asked of it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        with _IMPORTING:
            if self._name in sys.modules:
                module = sys.modules[self._name]
            else:
                with quiet():
                    module = importlib.import_module(self._name)
            if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":  # and no advice on retracing, which a phase has to do
                logging.getLogger("tensorflow").setLevel(logging.ERROR)
        value = getattr(module, attribute)
        setattr(self, attribute, value)  # the next access is a plain attribute
        return value


@contextmanager
def quiet() -> Iterator[None]:
    """Holds back what is written to the process's stderr; TensorFlow's first lines ignore its own log level."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(stderr, 2)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


if TYPE_CHECKING:
    import keras
    import keras_hub
    import pandas as pd
    import tensorflow as tf
    import tensorflow_datasets
else:
    keras = _Lazy("keras")
    keras_hub = _Lazy("keras_hub")
    pd = _Lazy("pandas")
    tf = _Lazy("tensorflow")
    tensorflow_datasets = _Lazy("tensorflow_datasets")

__all__ = ["keras", "keras_hub", "pd", "quiet", "tensorflow_datasets", "tf"]
