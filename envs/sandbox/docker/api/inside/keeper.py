"""The keeper: pid 1 of a sandbox's processes, in a container that they can't reach.

Where containers share no pid namespace (gVisor) there are two: this one for the files, and one for
the processes, as root and pid 1 in the agent's own container.

It holds the sandbox's files, and does with them and with the agent's processes what a host does
itself where it has both at hand. Orders come on its standard input; with that it ends, and with it
ends every process of the sandbox. Standard library only.

A frame, both ways: two big-endian 32-bit lengths, a JSON object, and bytes. An order names ``op``
and ``id``; its answer has the same ``id``, and ``more`` while there is more to come.
"""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, BinaryIO

from repodrome.envs.sandbox.beneath import Beneath
from repodrome.envs.sandbox.direct.changed import changed_in
from repodrome.envs.sandbox.direct.dialogue import OPEN_SECONDS
from repodrome.envs.sandbox.direct.export import Exporter
from repodrome.envs.sandbox.docker.api.inside.agent import Agent, Answer
from repodrome.envs.sandbox.docker.api.inside.layer import LayerWriter
from repodrome.envs.sandbox.docker.api.inside.live import (
    CancelledError,
    LostError,
    World,
)
from repodrome.envs.sandbox.docker.api.inside.pack import Packer, unpack
from repodrome.envs.sandbox.docker.api.inside.processes import everyone, look
from repodrome.errors import WorkspaceError

PARTS = ("workspace", "env", "home")
COPIED = ("upper", "tmp")
"""What of a sandbox's files snapshots and forks take along."""
FILES, CTL, LAYERS = "/files", "/ctl", "/layers"
"""Where the keeper's container has the sandbox's files, the FIFOs and the layers."""
COMPLETE = "complete"
"""A file beside a layer's content, written last."""
CHUNK = 4 << 20
_HEAD = struct.Struct(">II")
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Keeper:
    """Obeys orders, each by the method of its name: here about files, in :class:`Agent` all others.

    Args:
        config: uid and gid of the agent, its paths, the number of layers;
            ``inside``: this is the one in the agent's own container.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.uid, self.gid, self.layers = config["uid"], config["gid"], config["layers"]
        self.root: str = config["root"]
        inside, control = config["inside"], config["control"]
        here = control if inside else CTL
        self.world = World(here, control, self.uid, self.gid)
        self._out = threading.Lock()
        self._stops: dict[int, int] = {}
        self._beneath: Beneath | None = None
        self._agent = Agent(self.world, self.root, config["max_sessions"], 1 if inside else 0)
        self._files = 0
        self._unpacking: _Unpacking | None = None

    # -- orders ------------------------------------------------------------------------------

    def serve(self) -> None:
        """Obey until the input ends."""
        stdin = sys.stdin.buffer
        while True:
            head = stdin.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            first, second = _HEAD.unpack(head)
            order, data = json.loads(stdin.read(first)), stdin.read(second)
            if order["op"] == "cancel":
                stop = self._stops.get(order["of"])
                if stop is not None:
                    os.eventfd_write(stop, 1)
                continue
            stop = self._stops[order["id"]] = os.eventfd(0, os.EFD_CLOEXEC)
            work = threading.Thread(target=self._obey, args=(order, data, stop), daemon=True)
            if order["op"] in _QUICK:
                work.run()
            else:
                work.start()

    def _obey(self, order: dict[str, Any], data: bytes, stop: int) -> None:
        number, op = order.pop("id"), order.pop("op")
        try:
            whose = self if hasattr(self, f"do_{op}") else self._agent
            method: Callable[..., Answer | None] = getattr(whose, f"do_{op}")
            try:
                answer, content = method(data, stop, number, **order) or ({}, b"")
            except WorkspaceError as error:
                answer, content = {"refused": str(error), "code": error.code}, b""
            except LostError:
                answer, content = {"need": "init"}, b""
            except CancelledError:
                answer, content = {"error": "cancelled"}, b""
            except TimeoutError:
                answer, content = {"silent": True}, b""
            except Exception as error:  # the caller's side of the wire raises it
                answer, content = {"error": f"{type(error).__name__}: {error}"}, b""
        finally:
            del self._stops[number]
            os.close(stop)
        self._send({**answer, "id": number}, content)

    def _send(self, answer: dict[str, Any], content: bytes = b"") -> None:
        head = json.dumps(answer).encode()
        with self._out:
            view = memoryview(_HEAD.pack(len(head), len(content)) + head + content)
            while view:
                view = view[os.write(1, view) :]

    # -- files -------------------------------------------------------------------------------

    def do_prepare(self, data: bytes, stop: int, number: int) -> Answer:
        """Make the directories that overlays and binds are to be mounted from."""
        missing = [i for i in range(self.layers) if not os.path.exists(f"{LAYERS}/{i}/{COMPLETE}")]
        if missing:
            return {"missing": missing}, b""
        for name in ("upper", "work", *(f"work/{part}" for part in PARTS)):
            os.mkdir(f"{FILES}/{name}", 0o755)
        owned = [("tmp", 0o1777), ("tests", 0o755), ("logs", 0o755)]
        for name, mode in [*((f"upper/{part}", 0o755) for part in PARTS), *owned]:
            os.mkdir(f"{FILES}/{name}")
            os.chown(f"{FILES}/{name}", self.uid, self.gid)
            os.chmod(f"{FILES}/{name}", mode)
        for part in PARTS:  # the overlay's root shows the upper one's mode
            for layer in range(self.layers):
                with suppress(FileNotFoundError):
                    mode = os.lstat(f"{LAYERS}/{layer}/content/{part}").st_mode
                    os.chmod(f"{FILES}/upper/{part}", stat.S_IMODE(mode))
        return {}, b""

    def do_pack(self, data: bytes, stop: int, number: int) -> None:
        """All that was written, the overlay's marks too, in frames."""
        packer = Packer(io.BufferedWriter(_Frames(self, number), CHUNK))
        fd = os.open(FILES, _DIRECTORY)
        try:
            for name in COPIED:
                packer.tree(fd, name)
        finally:
            os.close(fd)
        packer.close()

    def do_unpack(self, data: bytes, stop: int, number: int, *, last: bool) -> Answer | None:
        """Begin with what ``do_pack`` has sent, before the agent's container is there."""
        if self._unpacking is None:
            read, write = os.pipe()
            self._unpacking = _Unpacking(os.fdopen(read, "rb"), os.fdopen(write, "wb", 0))
        return self._unpacking.feed(data, last)

    def do_agent(self, data: bytes, stop: int, number: int) -> Answer:
        """Find the agent's container, which has just been started, and its view of the files."""
        self._forget_agent()
        holders = [process.pid for process in everyone() if process.parent == 0]
        if not holders:
            return {"apart": True}, b""
        self._agent.moved(holders[0])
        fd = self._entered(f"/proc/{holders[0]}/root{self.root}")
        self._beneath = Beneath(fd, self.root, (self.uid, self.gid))
        return {}, b""

    def _entered(self, path: str) -> int:
        """A directory of the agent's container; until its program runs nobody may look there."""
        deadline = time.monotonic() + OPEN_SECONDS
        while True:
            try:
                return os.open(path, _DIRECTORY)
            except PermissionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def _forget_agent(self) -> None:
        if self._beneath is not None:
            self._beneath.close()
        self._beneath = None
        self._agent.moved(0)

    def _workspace(self) -> Beneath:
        if self._beneath is None or look(self._agent.holder) is None:
            raise RuntimeError("the agent's container is gone")
        return self._beneath

    def do_stat(self, data: bytes, stop: int, number: int, *, path: str) -> Answer:
        return {"info": asdict(self._workspace().stat(path))}, b""

    def do_read(
        self, data: bytes, stop: int, number: int, *, path: str, offset: int, limit: int | None
    ) -> Answer:
        return {}, self._workspace().read(path, offset=offset, limit=limit)

    def do_write(
        self, data: bytes, stop: int, number: int, *, path: str, executable: bool | None
    ) -> None:
        self._workspace().write(path, data, executable=executable)

    def do_delete(self, data: bytes, stop: int, number: int, *, path: str) -> None:
        self._workspace().delete(path)

    def do_list(self, data: bytes, stop: int, number: int, *, path: str) -> Answer:
        found = [asdict(info) for info in self._workspace().list_dir(path)]
        return {}, json.dumps(found).encode()

    def do_changed(self, data: bytes, stop: int, number: int) -> Answer:
        """Paths of the workspace that the upper layer changes; null: too many."""
        upper = os.open(f"{FILES}/upper/workspace", _DIRECTORY)
        try:
            return {}, json.dumps(changed_in(upper)).encode()
        finally:
            os.close(upper)

    def do_file(self, data: bytes, stop: int, number: int) -> Answer:
        """Leave a file for a program in another container to read."""
        self._files += 1
        name = f"file-{self._files}"
        return {"name": name, "path": self.world.file(name, data)}, b""

    def do_remove(self, data: bytes, stop: int, number: int, *, name: str) -> None:
        self.world.remove(name)

    # -- the change --------------------------------------------------------------------------

    def do_export(self, data: bytes, stop: int, number: int, *, max_file_bytes: int) -> None:
        """Everything that differs from the layers, one frame a file; nothing runs any more."""
        from pathlib import Path

        self._agent.end()
        layers = [Path(f"{LAYERS}/{i}/content/workspace") for i in range(self.layers)]
        upper = os.open(f"{FILES}/upper/workspace", _DIRECTORY)
        try:
            change = Exporter(upper, self._workspace().fd, layers, max_file_bytes).run()
        finally:
            os.close(upper)
        for file in change.files:
            facts = {
                "path": file.path,
                "kind": file.kind,
                "executable": file.executable,
                "note": file.note,
                "data": file.data is not None,
            }
            self._send({"id": number, "more": True, **facts}, file.data or b"")

    def do_layer(self, data: bytes, stop: int, number: int) -> None:
        """All that was written, as a tar in frames."""
        self._agent.end()
        self._workspace()
        writer = LayerWriter(io.BufferedWriter(_Frames(self, number), CHUNK))
        for part, place in zip(PARTS, (self.root, "/env", "/home/agent"), strict=True):
            layers = [f"{LAYERS}/{i}/content/{part}" for i in range(self.layers)]
            merged = f"/proc/{self._agent.holder}/root{place}"
            writer.part(part, f"{FILES}/upper/{part}", merged, layers)
        writer.close()


class _Frames(io.RawIOBase):
    """Sends what is written as frames of an answer."""

    def __init__(self, keeper: Keeper, number: int) -> None:
        self._keeper, self._number = keeper, number

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._keeper._send({"id": self._number, "more": True}, content)
        return len(content)


class _Unpacking:
    """A thread that unpacks what it is fed."""

    def __init__(self, source: BinaryIO, feed: BinaryIO) -> None:
        self._source, self._feed = source, feed
        self._trouble: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            unpack(self._source, FILES)
        except Exception as error:
            self._trouble = error
        finally:
            self._source.close()  # or whoever feeds it would wait for good

    def feed(self, data: bytes, last: bool) -> Answer | None:
        """Take one piece; after the last one wait for the end."""
        with suppress(BrokenPipeError):  # the trouble says more
            view = memoryview(data)
            while view:
                view = view[self._feed.write(view) :]
        if last:
            self._feed.close()
            self._thread.join()
            if self._trouble is not None:
                raise self._trouble
        return None


_QUICK = frozenset(
    ("prepare", "agent", "alive", "stat", "read", "write", "delete", "list", "file", "remove")
)


def main(config: dict[str, Any]) -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # pid 1: the kernel reaps whom nobody waits for
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.umask(0o022)
    keeper = Keeper(config)
    keeper._send({"id": 0})
    keeper.serve()
    os._exit(0)
