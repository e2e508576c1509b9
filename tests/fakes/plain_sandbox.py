"""A whole sandbox without isolation, for tests of what is built on one: a directory and bash.

Shell sessions keep no state here. Faults are asked for by command: ``fault:infra`` raises
``SandboxError`` as a lost sandbox would.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repodrome.envs.sandbox.base import ENV_PREFIX, Change, ChangedFile, SandboxSpec
from repodrome.errors import SandboxError
from repodrome.tools.workspace import SCRATCH, CommandResult
from tests.fakes.local_workspace import LocalWorkspace


@dataclass
class PlainSnapshot:
    """A copy of the directory."""

    path: Path

    async def release(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class PlainSandbox(LocalWorkspace):
    """Implements the whole Protocol."""

    def __init__(self, spec: SandboxSpec, backend: PlainBackend) -> None:
        self.spec = spec
        self._base = Path(tempfile.mkdtemp(prefix="repodrome-test-"))
        super().__init__(self._base / "workspace")
        self._root.mkdir()
        (self._base / "home").mkdir()
        for layer in spec.layers:
            shutil.copytree(
                layer / "workspace",
                self._root,
                symlinks=True,
                dirs_exist_ok=True,
                copy_function=_copy_over,
            )
        self.backend = backend
        self.closed = False
        self.running = asyncio.Event()
        backend.live.add(self)

    def environment(self) -> dict[str, str]:
        home = str(self._base / "home")
        return {"PATH": os.defpath, "HOME": home, "TMPDIR": home, **dict(self.spec.env)}

    def _tree(self, root: Path) -> dict[str, bytes]:
        return {
            file.relative_to(root).as_posix(): file.read_bytes()
            for file in sorted(root.rglob("*"))
            if file.is_file() and file.relative_to(root).parts[0] not in (".git", SCRATCH)
        }

    async def shell(
        self,
        command: str,
        *,
        timeout: float = 120.0,
        session: str = "main",
        max_output: int = 1 << 20,
    ) -> CommandResult:
        if self.closed or command == "fault:infra":
            raise SandboxError("the sandbox was lost")
        if command == "fault:bug":
            raise ZeroDivisionError("a bug of ours")
        if command == "true":
            return CommandResult(0, b"")
        if command == "hang":
            # What a command that never ends looks like, with the moment it began to wait for.
            self.running.set()
            await asyncio.sleep(timeout)
            return CommandResult(None, b"", timed_out=True, seconds=timeout)
        return await super().shell(command, timeout=timeout, session=session, max_output=max_output)

    async def exec(self, argv: Sequence[str], **options: Any) -> CommandResult:
        if self.closed:
            raise SandboxError("the sandbox was lost")
        return await super().exec(argv, **options)

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 600.0,
        max_output: int = 1 << 20,
    ) -> CommandResult:
        program = sys.executable if argv[0] == f"{ENV_PREFIX}/bin/python" else argv[0]
        return await self.exec(
            [program, *argv[1:]],
            stdin=stdin,
            cwd=cwd,
            env=env,
            timeout=timeout,
            max_output=max_output,
        )

    async def export(self, *, max_file_bytes: int = 64 << 20) -> Change:
        if self.backend.export_fails:
            raise SandboxError("the export failed")
        before = self._tree(self.spec.layers[0] / "workspace")
        after = self._tree(self._root)
        files = [
            ChangedFile(path, "modified" if path in before else "added", data)
            for path, data in after.items()
            if before.get(path) != data
        ]
        files += [ChangedFile(path, "deleted") for path in before if path not in after]
        return Change(tuple(sorted(files, key=lambda file: file.path)))

    async def snapshot(self) -> PlainSnapshot:
        self.backend.copies += 1
        path = self._base / f"snapshot-{self.backend.copies}"
        shutil.copytree(self._root, path, symlinks=True)
        return PlainSnapshot(path)

    async def restore(self, snapshot: PlainSnapshot) -> None:
        shutil.rmtree(self._root)
        shutil.copytree(snapshot.path, self._root, symlinks=True)

    async def fork(self) -> PlainSandbox:
        other = PlainSandbox(self.spec, self.backend)
        shutil.rmtree(other._root)
        shutil.copytree(self._root, other._root, symlinks=True)
        return other

    async def commit(self, target: Path) -> None:
        shutil.copytree(self._root, target / "workspace", symlinks=True)

    async def close(self) -> None:
        self.closed = True
        self.backend.live.discard(self)
        shutil.rmtree(self._base, ignore_errors=True)

    async def __aenter__(self) -> PlainSandbox:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class PlainBackend:
    """Starts :class:`PlainSandbox`.

    Attributes:
        live: sandboxes that aren't closed yet.
        start_fails: how many of the next starts raise ``SandboxError``.
        export_fails: exports raise ``SandboxError``.
    """

    name = "plain-fake"

    def __init__(self) -> None:
        self.owner = (os.getuid(), os.getgid())
        self.live: set[PlainSandbox] = set()
        self.started: list[SandboxSpec] = []
        self.prefetched: list[int] = []
        self.start_fails = 0
        self.export_fails = False
        self.copies = 0

    def __deepcopy__(self, memo: object) -> PlainBackend:
        return self

    def check(self) -> None:
        return None

    async def start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> PlainSandbox:
        if self.start_fails:
            self.start_fails -= 1
            raise SandboxError("no sandbox to be had")
        self.started.append(spec)
        return PlainSandbox(spec, self)

    async def prefetch(self, spec: SandboxSpec, count: int) -> None:
        self.prefetched.append(count)

    async def close(self) -> None:
        return None


def _copy_over(source: str, target: str) -> None:
    """Also over a file that may not be written, such as git's objects."""
    Path(target).unlink(missing_ok=True)
    shutil.copy2(source, target)
