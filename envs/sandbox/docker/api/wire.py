"""Orders to a keeper and its answers, many at once over one connection."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import anyio

from repodrome.envs.sandbox.docker.api.stream import Stream
from repodrome.errors import SandboxError, WorkspaceError

_HEAD = struct.Struct(">II")
_MOST_SAID = 4096


class _Box:
    """What has come for one order."""

    def __init__(self) -> None:
        self.frames: list[tuple[dict[str, Any], bytes]] = []
        self.event = anyio.Event()


class Wire:
    """The connection to a keeper: see :mod:`repodrome.envs.sandbox.docker.api.inside.keeper`.

    Whoever waits for an answer reads for all while nobody else does.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._numbers = itertools.count(1)
        self._boxes: dict[int, _Box] = {}
        self._buffer = bytearray()
        self._said = bytearray()
        self._reading = False

    @property
    def ended(self) -> bool:
        """Whether the keeper is gone."""
        return self._stream.ended

    async def hello(self, program: bytes) -> None:
        """Send the keeper its program and wait until it runs.

        Raises:
            SandboxError: it doesn't.
        """
        box = self._boxes[0] = _Box()
        try:
            await self._stream.write(program)
            await self._next(box)
        finally:
            del self._boxes[0]

    async def ask(self, op: str, data: bytes = b"", **order: Any) -> tuple[dict[str, Any], bytes]:
        """Send an order and wait for its one answer.

        Raises:
            WorkspaceError: as the workspace refuses it.
            SandboxError: it can't be carried out, or the keeper is gone.
        """
        last: tuple[dict[str, Any], bytes] = {}, b""
        async for frame in self.stream(op, data, **order):
            last = frame
        return last

    async def stream(
        self, op: str, data: bytes = b"", **order: Any
    ) -> AsyncGenerator[tuple[dict[str, Any], bytes], None]:
        """Send an order and yield its answers as they come; raises as :meth:`ask`."""
        number = next(self._numbers)
        head = json.dumps({"op": op, "id": number, **order}).encode()
        box = self._boxes[number] = _Box()
        finished = False
        try:
            await self._stream.write(_HEAD.pack(len(head), len(data)) + head + data)
            while not finished:
                answer, content = await self._next(box)
                finished = not answer.get("more")
                if "refused" in answer:
                    raise WorkspaceError(answer["refused"], code=answer["code"])
                if "error" in answer:
                    raise SandboxError(f"the sandbox failed to {op}: {answer['error']}")
                yield answer, content
        finally:
            del self._boxes[number]
            if not self._reading:  # it may have been this one's turn to read
                self._pass_on(box)
            if not finished and not self._stream.ended:
                with suppress(SandboxError):
                    await self._cancel(number)

    async def _cancel(self, number: int) -> None:
        head = json.dumps({"op": "cancel", "of": number}).encode()
        with anyio.CancelScope(shield=True):
            await self._stream.write(_HEAD.pack(len(head), 0) + head)

    async def _next(self, box: _Box) -> tuple[dict[str, Any], bytes]:
        while not box.frames:
            if self._stream.ended:
                raise SandboxError(f"the sandbox is gone{self._why()}")
            if self._reading:
                await box.event.wait()
                box.event = anyio.Event()
                continue
            self._reading = True
            try:
                for kind, data in await self._stream.read():
                    self._took(kind, data)
            finally:
                self._reading = False
                self._pass_on(box)
        return box.frames.pop(0)

    def _took(self, kind: int, data: bytes) -> None:
        if kind != 1:
            self._said = (self._said + data)[-_MOST_SAID:]
            return
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            first, second = _HEAD.unpack_from(self._buffer)
            middle, end = _HEAD.size + first, _HEAD.size + first + second
            if len(self._buffer) < end:
                return
            answer = json.loads(self._buffer[_HEAD.size : middle])
            content = bytes(memoryview(self._buffer)[middle:end])
            del self._buffer[:end]
            box = self._boxes.get(answer.pop("id"))
            if box is not None:  # else nobody waits for it any more
                box.frames.append((answer, content))
                box.event.set()

    def _pass_on(self, mine: _Box) -> None:
        """Somebody else reads from now on; at the end of all, everybody is to see it."""
        for box in self._boxes.values():
            if box is not mine and (self._stream.ended or not box.frames):
                box.event.set()
                if not self._stream.ended:
                    return

    def _why(self) -> str:
        said = self._said.decode(errors="replace").strip()
        return f": {said.splitlines()[-1]}" if said else ""

    def close(self) -> None:
        """Let go of the keeper: it ends, and all with it."""
        self._stream.close()
        for box in self._boxes.values():
            box.event.set()
