"""The agent's processes: orders to start its init, to run commands and programs, and to end all.

Standard library only.
"""

from __future__ import annotations

import io
import os
import select
import threading
from contextlib import suppress
from typing import Any

from repodrome.envs.sandbox.direct.dialogue import OPEN_SECONDS
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
from repodrome.envs.sandbox.docker.api.inside.processes import kill_all, look
from repodrome.errors import WorkspaceError

Answer = tuple[dict[str, Any], bytes]


class Agent:
    """Obeys the orders that are about processes.

    Args:
        world: where they are.
        root: path of the workspace.
        max_sessions: shells at once.
        holder: the agent's container, by its first process.

    Attributes:
        holder: likewise; 0: there is none.
    """

    def __init__(self, world: World, root: str, max_sessions: int, holder: int) -> None:
        self._world, self._root, self._max_sessions = world, root, max_sessions
        self.holder = holder
        self._live: Live | None = None
        self._lives = 0
        self._shells: dict[str, Shell] = {}
        self._cwds: dict[str, bytes] = {}
        self._states: dict[str, bytes] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._changing = threading.RLock()
        self._oom_seen = 0

    def moved(self, holder: int) -> None:
        """Its container is another one now."""
        self.holder, self._oom_seen = holder, 0

    def do_alive(self, data: bytes, stop: int, number: int) -> Answer:
        """Whether the agent's container still runs."""
        return {"alive": look(self.holder) is not None}, b""

    def do_init(self, data: bytes, stop: int, number: int) -> Answer:
        """Make the FIFOs of a new init, which the engine is to start; what ran before ends."""
        self.end()
        with self._changing:
            self._lives += 1
            self._live = Live(self._world, self._lives)
            return {"name": f"{self._world.there}/{self._lives}"}, b""

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
        self.end()

    def end(self) -> None:
        """Kill every process of the agent's."""
        with self._changing:
            kill_all(self._world.uid, self._world.gid)
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
        if len(self._shells) >= self._max_sessions:
            raise WorkspaceError(
                f"{self._max_sessions} shells are open already; use one of them",
                code="too_many_sessions",
            )
        shell = Shell(live, session, self._cwds.get(session, os.fsencode(self._root)))
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
            "alive": not result.shell_lost or look(self.holder) is not None,
        }, out + err

    def _oom_kills(self) -> int:
        """How often the limit of the agent's container has killed something (cgroup v1, v2)."""
        root = f"/proc/{self.holder}/root/sys/fs/cgroup"
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


def _is_set(stop: int) -> bool:
    return bool(select.select([stop], [], [], 0)[0])
