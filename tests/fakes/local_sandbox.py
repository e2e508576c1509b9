"""A sandbox without isolation, for tests of grading only: a temporary directory, subprocesses."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from repodrome.envs.sandbox.base import ENV_PREFIX, SandboxSpec
from repodrome.errors import WorkspaceError
from repodrome.tools.workspace import CommandResult


class LocalSandbox:
    """Implements what grading uses: write, delete, read, run, close."""

    def __init__(self, spec: SandboxSpec) -> None:
        self.spec = spec
        self._base = Path(tempfile.mkdtemp(prefix="repodrome-test-"))
        self._root = self._base / "workspace"
        self._root.mkdir()
        for layer in spec.layers:
            shutil.copytree(layer / "workspace", self._root, symlinks=True, dirs_exist_ok=True)

    @property
    def root(self) -> str:
        return str(self._root)

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> bytes:
        try:
            data = (self._root / path).read_bytes()
        except FileNotFoundError as error:
            raise WorkspaceError(f"{path} is not there", code="not_found") from error
        return data[offset:] if limit is None else data[offset : offset + limit]

    async def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
        target = self._root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        except OSError as error:
            raise WorkspaceError(f"{path}: {error}", code="bad_path") from error
        if executable is not None:
            target.chmod(0o755 if executable else 0o644)

    async def delete(self, path: str) -> None:
        target = self._root / path
        try:
            if target.is_dir() and not target.is_symlink():
                target.rmdir()
            else:
                target.unlink()
        except FileNotFoundError as error:
            raise WorkspaceError(f"{path} is not there", code="not_found") from error
        except OSError as error:
            raise WorkspaceError(f"{path}: {error}", code="not_empty") from error

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
        home = self._base / "home"
        home.mkdir(exist_ok=True)
        base = {"PATH": os.defpath, "HOME": str(home), "TMPDIR": str(home)}
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            program,
            *argv[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=cwd or self.root,
            env={**base, **dict(self.spec.env), **(env or {})},
            start_new_session=True,
        )
        timed_out = False
        talking = asyncio.ensure_future(process.communicate(stdin))
        done, _ = await asyncio.wait({talking}, timeout=timeout)
        if not done:
            timed_out = True
            os.killpg(process.pid, 9)
        out, err = await talking
        code = process.returncode
        return CommandResult(
            exit_code=None if timed_out or code is None else (128 - code if code < 0 else code),
            stdout=out[:max_output],
            stderr=err[-max_output:],
            seconds=time.monotonic() - began,
            timed_out=timed_out,
        )

    async def close(self) -> None:
        shutil.rmtree(self._base, ignore_errors=True)

    async def __aenter__(self) -> LocalSandbox:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class LocalBackend:
    """Starts :class:`LocalSandbox`."""

    name = "local-fake"

    def check(self) -> None:
        return None

    async def start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> LocalSandbox:
        return LocalSandbox(spec)

    async def prefetch(self, spec: SandboxSpec, count: int) -> None:
        return None

    async def close(self) -> None:
        return None
