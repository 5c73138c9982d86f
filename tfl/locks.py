"""Locks on files between processes; one goes with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
from typing import Any


def lock(file: Any, *, exclusive: bool, wait: bool = True) -> bool:
    """Locks the open `file` until it is closed or the process ends; False where it would have to wait and must not."""
    how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(file, how | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system that has none; there, one process at a time may use a folder
        return True
    return True
