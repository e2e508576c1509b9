"""Asks a parsing process for the definitions in files; one that crashed or hangs is replaced."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import threading
from contextlib import suppress
from time import monotonic
from typing import Final

from repodrome.tools.index.definitions import PARSE_SECONDS, Definition
from repodrome.tools.index.languages import language_of
from repodrome.tools.index.process import command

MAX_PARSED: Final = 512 << 10
"""Bytes from which a file has no definitions, whatever its language."""
PATIENCE: Final = 4 * PARSE_SECONDS
"""Seconds that an answer may take; a process that takes longer is killed."""

_START_SECONDS = 60.0
_MAX_ANSWER = 16 << 20


class Parser:
    """A parsing process, started when it is first needed; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._fresh = True

    def definitions(self, path: str, data: bytes) -> list[Definition]:
        """The definitions in a file, outer ones first; none where parsing fails."""
        if language_of(path) is None or len(data) > MAX_PARSED:
            return []
        with self._lock:
            try:
                return self._asked(path, data)
            except (OSError, ValueError, TypeError, EOFError):
                self._end()
                return []

    def close(self) -> None:
        """End the process; idempotent. The next question starts another one."""
        with self._lock:
            self._end()

    def _asked(self, path: str, data: bytes) -> list[Definition]:
        process = self._process
        if process is None or process.poll() is not None:
            self._end()
            process = self._process = _started()
            self._fresh = True
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"path": path, "size": len(data)}).encode() + b"\n" + data)
        process.stdin.flush()
        deadline = monotonic() + (_START_SECONDS if self._fresh else PATIENCE)
        answer = json.loads(_line(process.stdout.fileno(), deadline))
        self._fresh = False
        return [Definition(*one) for one in answer]

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what could not be written any more
                    pipe.close()

    def forget(self) -> None:
        """In a forked child: the process is the parent's."""
        self._lock = threading.Lock()
        self._process = None


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("definitions"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={},
        cwd="/",
    )


def _line(fd: int, deadline: float) -> bytes:
    """Everything up to a newline, which is the last that comes.

    Raises:
        EOFError: the process has ended, takes too long, or says too much.
    """
    pieces = bytearray()
    while not pieces.endswith(b"\n"):
        left = deadline - monotonic()
        if left <= 0 or len(pieces) > _MAX_ANSWER or not _ready(fd, left):
            raise EOFError
        piece = os.read(fd, 1 << 16)
        if not piece:
            raise EOFError
        pieces += piece
    return bytes(pieces)


def _ready(fd: int, seconds: float) -> bool:
    # poll, since select fails where a process has more than 1024 files open.
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(seconds * 1000))


_parser = Parser()
atexit.register(_parser.close)
os.register_at_fork(after_in_child=_parser.forget)

definitions = _parser.definitions
"""As :meth:`Parser.definitions`, of a process that everybody shares."""
