"""The persistent shells of one sandbox, and what outlives each: where it was, and its state."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from repodrome.envs.sandbox.base import WORKSPACE
from repodrome.envs.sandbox.direct.live import Live
from repodrome.envs.sandbox.direct.shell import Shell
from repodrome.errors import WorkspaceError

MAX_SESSIONS = 32
"""Shells of one sandbox: each costs the host five descriptors."""


class Shells:
    """By session. A shell ends with the init that it runs below; its session goes on in another."""

    def __init__(self) -> None:
        self._open: dict[str, Shell] = {}
        self._cwds: dict[str, str] = {}
        self._states: dict[str, bytes] = {}
        self._locks: dict[str, anyio.Lock] = {}
        self._count = 0

    def lock(self, session: str) -> anyio.Lock:
        """To be held while a command of that session runs."""
        return self._locks.setdefault(session, anyio.Lock(fast_acquire=True))

    def find(self, session: str, live: Live) -> Shell | None:
        """The session's shell below this init, if there is one that can be used."""
        shell = self._open.get(session)
        if shell is None or (shell.live is live and not shell.lost):
            return shell
        shell.close()
        del self._open[session]
        return None

    async def open(self, session: str, live: Live) -> Shell:
        """Start a shell where the session was last; a state brought from elsewhere is used once.

        Raises:
            WorkspaceError: there are too many.
            SandboxError: the sandbox ended.
            TimeoutError: it doesn't come up; without its former state it may.
        """
        if len(self._open) >= MAX_SESSIONS:
            raise WorkspaceError(
                f"{MAX_SESSIONS} shells are open already; use one of them", code="too_many_sessions"
            )
        state = self._states.pop(session, b"")
        cwd = self._cwds.get(session, WORKSPACE)
        self._count += 1
        name = f"state-{self._count}"
        path = live.file(name, state) if state else ""
        try:
            shell = await Shell.open(live, session, cwd=cwd, state=path)
        finally:
            if path:
                live.remove(name)
        self._open[session] = shell
        return shell

    def note_cwd(self, shell: Shell) -> None:
        """Remember where a shell is, for the next one of its session."""
        self._cwds[shell.name] = shell.cwd

    def take_all(self) -> list[Shell]:
        """Every open shell, for the caller to close: the next ones start anew."""
        shells = list(self._open.values())
        self._open.clear()
        return shells

    async def save(self) -> dict[str, tuple[str, bytes]]:
        """Each idle shell's cwd and the script that brings its state back."""
        states = {}
        for session, shell in list(self._open.items()):
            lock = self.lock(session)
            if lock.statistics().locked or shell.lost:
                continue
            async with lock:
                states[session] = (shell.cwd, await shell.save())
        return states

    def restore(self, saved: Mapping[str, tuple[str, bytes]]) -> None:
        """Have the next shells begin as :meth:`save` found them."""
        self._cwds = {session: cwd for session, (cwd, _) in saved.items()}
        self._states = {session: state for session, (_, state) in saved.items()}
