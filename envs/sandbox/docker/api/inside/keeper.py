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
import select
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
from repodrome.envs.sandbox.docker.api.inside.layer import LayerWriter
from repodrome.envs.sandbox.docker.api.inside.live import (
    CancelledError,
    Live,
    LostError,
    Result,
    Shell,
    Wait,
    World,
    run_beside,
)
from repodrome.envs.sandbox.docker.api.inside.pack import Packer, unpack
from repodrome.envs.sandbox.docker.api.inside.processes import everyone, kill_all, look
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
Answer = tuple[dict[str, Any], bytes]


class Keeper:
    """Obeys orders, each by the method of its name.

    Args:
        config: uid and gid of the agent, its paths, the number of layers;
            ``inside``: this is the one in the agent's own container.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.uid, self.gid, self.layers = config["uid"], config["gid"], config["layers"]
        self.root: str = config["root"]
        self.max_sessions: int = config["max_sessions"]
        inside, control = config["inside"], config["control"]
        here = control if inside else CTL
        self.world = World(here, control, self.uid, self.gid)
        self._out = threading.Lock()
        self._stops: dict[int, int] = {}
        self._beneath: Beneath | None = None
        self._holder = 1 if inside else 0
        self._live: Live | None = None
        self._lives = 0
        self._shells: dict[str, Shell] = {}
        self._cwds: dict[str, bytes] = {}
        self._states: dict[str, bytes] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._changing = threading.RLock()
        self._oom_seen = 0
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
            method: Callable[..., Answer | None] = getattr(self, f"do_{op}")
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
        self._holder = holders[0]
        fd = self._entered(f"/proc/{self._holder}/root{self.root}")
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
        self._beneath, self._holder, self._oom_seen = None, 0, 0

    def _workspace(self) -> Beneath:
        if self._beneath is None or look(self._holder) is None:
            raise RuntimeError("the agent's container is gone")
        return self._beneath

    def do_alive(self, data: bytes, stop: int, number: int) -> Answer:
        """Whether the agent's container still runs."""
        return {"alive": look(self._holder) is not None}, b""

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

    # -- processes ---------------------------------------------------------------------------

    def do_init(self, data: bytes, stop: int, number: int) -> Answer:
        """Make the FIFOs of a new init, which the engine is to start; what ran before ends."""
        self._end_live()
        with self._changing:
            self._lives += 1
            self._live = Live(self.world, self._lives)
            return {"name": f"{self.world.there}/{self._lives}"}, b""

    def do_up(self, data: bytes, stop: int, number: int) -> None:
        """Wait until the new init answers."""
        live = self._live
        if live is None:
            raise LostError
        with live.used():
            live.ready(Wait(OPEN_SECONDS, stop))

    def _alive(self) -> Live:
        with self._changing:
            if self._live is None or not self._live.alive():
                raise LostError
            return self._live

    def do_end(self, data: bytes, stop: int, number: int) -> None:
        """Kill every process of the agent's; files stay."""
        self._end_live()

    def _end_live(self) -> None:
        with self._changing:
            kill_all(self.uid, self.gid)
            live, self._live = self._live, None
            shells, self._shells = self._shells, {}
        for name, shell in shells.items():
            shell.lost = True
            with self._locks[name]:  # its command sees the end first
                shell.close()
        if live is not None:
            live.close()

    def do_shell(
        self,
        data: bytes,
        stop: int,
        number: int,
        *,
        session: str,
        timeout: float,
        max_output: int,
    ) -> Answer:
        with self._changing:
            lock = self._locks.setdefault(session, threading.Lock())
        while not lock.acquire(timeout=0.02):  # no deadline: the one before has its own
            if _is_set(stop):
                raise CancelledError
        try:
            live = self._alive()
            with live.used():
                shell = self._shell(session, live)
                result = shell.run(data, timeout, max_output, stop)
                self._cwds[session] = shell.cwd
        finally:
            lock.release()
        return self._result(result)

    def _shell(self, session: str, live: Live) -> Shell:
        shell = self._shells.get(session)
        if shell is not None and not shell.lost and shell.live is live:
            return shell
        if shell is not None:
            shell.close()
            self._shells.pop(session, None)
        if len(self._shells) >= self.max_sessions:
            raise WorkspaceError(
                f"{self.max_sessions} shells are open already; use one of them",
                code="too_many_sessions",
            )
        shell = Shell(live, session, self._cwds.get(session, os.fsencode(self.root)))
        shell.open(self._states.pop(session, b""))  # used once: it may be what doesn't come up
        self._shells[session] = shell
        return shell

    def do_exec(
        self,
        data: bytes,
        stop: int,
        number: int,
        *,
        argv: int,
        cwd: int,
        env: dict[str, str],
        timeout: float,
        max_output: int,
    ) -> Answer:
        """Run a program. In ``data``: ``argv`` bytes of NUL-ended words, ``cwd`` of path, input."""
        words = data[:argv].split(b"\0")[:-1]
        place, stdin = data[argv : argv + cwd], data[argv + cwd :]
        live = self._alive()
        with live.used():
            ran = run_beside(live, words, stdin, place, env, timeout, max_output, stop)
        return self._result(ran)

    def _result(self, result: Result) -> Answer:
        out, err = result.out.value(), result.err.value() if result.err else b""
        dropped = result.out.dropped + (result.err.dropped if result.err else 0)
        oom = False
        if result.exit_code != 0 or result.shell_lost:
            kills = self._oom_kills()
            oom, self._oom_seen = kills > self._oom_seen, max(kills, self._oom_seen)
        return {
            "exit_code": result.exit_code,
            "out": len(out),
            "dropped": dropped,
            "timed_out": result.timed_out,
            "shell_lost": result.shell_lost,
            "oom_killed": oom,
            "alive": not result.shell_lost or look(self._holder) is not None,
        }, out + err

    def _oom_kills(self) -> int:
        """How often the limit of the agent's container has killed something (cgroup v1, v2)."""
        root = f"/proc/{self._holder}/root/sys/fs/cgroup"
        for name in ("memory/memory.oom_control", "memory.events"):
            with suppress(OSError), open(f"{root}/{name}") as file:
                for line in file:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        return 0

    def do_save(self, data: bytes, stop: int, number: int) -> Answer:
        """Each idle shell's cwd and the script that brings its state back."""
        saved = []
        parts = b""
        for session, shell in list(self._shells.items()):
            lock = self._locks[session]
            if shell.lost or not lock.acquire(blocking=False):
                continue
            try:
                state = shell.save(stop)
            finally:
                lock.release()
            saved.append([session, len(shell.cwd), len(state)])
            parts += shell.cwd + state
        return {"shells": saved}, parts

    def do_load(
        self, data: bytes, stop: int, number: int, *, shells: list[tuple[str, int, int]]
    ) -> None:
        """Have the next shells begin as ``do_save`` found them."""
        stream = io.BytesIO(data)
        for session, cwd, state in shells:
            self._cwds[session] = stream.read(cwd)
            self._states[session] = stream.read(state)

    # -- the change --------------------------------------------------------------------------

    def do_export(self, data: bytes, stop: int, number: int, *, max_file_bytes: int) -> None:
        """Everything that differs from the layers, one frame a file; nothing runs any more."""
        from pathlib import Path

        self._end_live()
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
        self._end_live()
        self._workspace()
        writer = LayerWriter(io.BufferedWriter(_Frames(self, number), CHUNK))
        for part, place in zip(PARTS, (self.root, "/env", "/home/agent"), strict=True):
            layers = [f"{LAYERS}/{i}/content/{part}" for i in range(self.layers)]
            merged = f"/proc/{self._holder}/root{place}"
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


def _is_set(stop: int) -> bool:
    return bool(select.select([stop], [], [], 0)[0])


def main(config: dict[str, Any]) -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # pid 1: the kernel reaps whom nobody waits for
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    os.umask(0o022)
    keeper = Keeper(config)
    keeper._send({"id": 0})
    keeper.serve()
    os._exit(0)
