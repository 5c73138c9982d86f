"""A server in a process of its own, and a client of the standard library."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Client:
    """Asks a server."""

    def __init__(self, address: str, process: subprocess.Popen[str]) -> None:
        self.address, self.process = address, process

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, JSON or text); `body` is posted, as JSON where it is no bytes."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text.decode()


@contextmanager
def serving(folder: Path, *words: str, **environment: str) -> Iterator[Client]:
    command = [sys.executable, "-m", "tfl", "serve", str(folder), "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("http://"):
                yield Client(line.split("/v1/")[0], process)
                break
    finally:
        process.kill()
        process.wait()


def encoded(files: list[Path]) -> list[dict[str, str]]:
    return [{"b64": base64.b64encode(file.read_bytes()).decode()} for file in files]


def memory(process: subprocess.Popen[str]) -> int:
    """Resident megabytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024
