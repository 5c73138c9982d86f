"""Several workers on this machine, for trying and testing what a cluster runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

GRACE = 60.0
"""Seconds in which the others notice by themselves that a worker is gone."""


def launch(command: Sequence[str], workers: int, logs: Path) -> int:
    """Runs `tfl COMMAND` in `workers` processes that train together; the exit code is that of the first one that fails.

    Each has its output in `logs`/worker-N.log; that of the chief, number 0, also comes to the terminal. SIGINT and SIGTERM go
    on to all of them.
    """
    logs.mkdir(parents=True, exist_ok=True)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in _free_ports(workers)]}
    started = [_start(command, cluster, index, logs / f"worker-{index}.log") for index in range(workers)]
    shown = threading.Thread(target=_copy, args=(started[0].stdout, logs / "worker-0.log"), daemon=True)
    shown.start()
    before = {number: signal.signal(number, lambda got, _: _send(started, got)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _wait(started, logs)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _send(started, signal.SIGKILL)
        shown.join(timeout=5)


def _start(command: Sequence[str], cluster: dict[str, Any], index: int, log: Path) -> subprocess.Popen[bytes]:
    config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    out: Any = subprocess.PIPE if index == 0 else log.open("wb")
    return subprocess.Popen(
        [sys.executable, "-m", "tfl", *command],
        env={**os.environ, "TF_CONFIG": config, "PYTHONUNBUFFERED": "1"},
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C comes by way of this process alone, once
    )


def _copy(source: IO[bytes] | None, log: Path) -> None:
    assert source is not None
    with log.open("wb") as file:
        for line in iter(source.readline, b""):
            file.write(line)
            file.flush()
            sys.stdout.write(line.decode(errors="replace"))
            sys.stdout.flush()


def _wait(started: Sequence[subprocess.Popen[bytes]], logs: Path) -> int:
    code, deadline = 0, None
    while any(one.poll() is None for one in started):
        failed = next((index for index, one in enumerate(started) if one.poll() not in (None, 0)), None)
        if failed is not None and deadline is None:
            code, deadline = _code(started[failed]), time.monotonic() + GRACE
            print(f"tfl: worker {failed} ended with code {code}; its log: {logs / f'worker-{failed}.log'}", file=sys.stderr)
        if deadline is not None and time.monotonic() > deadline:
            _send(started, signal.SIGKILL)
        time.sleep(0.1)
    return code or next((_code(one) for one in started if one.returncode), 0)


def _code(one: subprocess.Popen[bytes]) -> int:
    """The exit code as a shell gives it: 128 and the number of the signal for one that was killed."""
    return one.returncode if one.returncode >= 0 else 128 - one.returncode


def _send(started: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for one in started:
        if one.poll() is None:
            one.send_signal(number)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at; all are held until all are found, so that no two are the same."""
    found = [socket.socket() for _ in range(count)]
    for one in found:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in found]
    for one in found:
        one.close()
    return ports
