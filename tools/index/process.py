"""Starts this package's modules as processes of their own, without the rest of repodrome."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final

_BOOTSTRAP = """
import importlib, json, sys, types
from pathlib import Path

sys.path[:] = json.loads(sys.argv[2])
# Our package's modules without its __init__, which would bring Gymnasium along.
name, place = "repodrome", Path(sys.argv[1])
for part in (None, "tools", "tools.index"):
    name = f"repodrome.{part}" if part else "repodrome"
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(place.joinpath(*(part or "").split(".")))]
importlib.import_module(f"repodrome.tools.index.{sys.argv[3]}").main()
"""
_PACKAGE = str(Path(__file__).parents[2])

_START_SECONDS: Final = 60.0
_MAX_ANSWER: Final = 16 << 20


def command(module: str, *arguments: str) -> list[str]:
    """What runs ``main()`` of a module of this package; it finds the arguments in ``sys.argv[4:]``.

    Neither the environment nor the working directory has a say in what is imported.
    """
    path = json.dumps(sys.path)
    return [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, _PACKAGE, path, module, *arguments]


class Worker:
    """A process that answers questions, one at a time; any thread may ask.

    It is started when it is first needed, replaced when it crashed or hangs, and ends with us. A
    question is a line of JSON, and bytes behind it; an answer is a line of JSON.

    Args:
        module: of this package; its ``main()`` answers until there are no more questions.
        arguments: for it.
        environment: its environment variables; it has no others.
        patience: seconds that an answer may take, the process's start aside.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        patience: float,
    ) -> None:
        self._module = module
        self._command = command(module, *arguments)
        self._environment = dict(environment or {})
        self._patience = patience
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._fresh = True
        _workers.add(self)

    def ask(self, question: object, data: bytes = b"") -> Any:
        """The answer to a question.

        Raises:
            EOFError: there is none: the process has ended, or took too long.
        """
        with self._lock:
            try:
                return self._asked(question, data)
            except (OSError, ValueError, EOFError) as error:
                self._end()
                raise EOFError(f"no answer from the process {self._module!r}") from error

    def close(self) -> None:
        """End the process; idempotent. The next question starts another one."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """In a forked child: the process is the parent's."""
        self._lock = threading.Lock()
        self._process = None

    def _asked(self, question: object, data: bytes) -> Any:
        process = self._process
        if process is None or process.poll() is not None:
            self._end()
            process = self._process = self._started()
            self._fresh = True
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(question).encode() + b"\n" + data)
        process.stdin.flush()
        deadline = monotonic() + self._patience + (_START_SECONDS if self._fresh else 0)
        answer = json.loads(_line(process.stdout.fileno(), deadline))
        self._fresh = False
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            cwd="/",
        )

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


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()


def _close_all() -> None:
    for worker in list(_workers):
        worker.close()


def _forget_all() -> None:
    for worker in list(_workers):
        worker.forget()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)
