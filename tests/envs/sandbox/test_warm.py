"""Sandboxes that run before their order comes: nothing tells them from others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from repodrome.envs.sandbox.base import SandboxLimits, SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox

pytestmark = pytest.mark.anyio
ODD = (("A", "it's $HOME"), ("odd-name", "x y"), ("UID", "7"), ("PATH", "/opt/x:/usr/bin:/bin"))


async def _filled(backend: BubblewrapBackend, spec: SandboxSpec) -> DirectSandbox:
    """The second sandbox of its kind, which ran before it was asked for."""
    async with await backend.start(spec):
        await anyio.sleep(0.5)  # the quiet moment in which the next is got ready
    return await backend.start(spec)


async def test_a_filled_sandbox_has_files_variables_and_quota(layer: Path) -> None:
    backend = BubblewrapBackend()
    limits = SandboxLimits(disk_mb=16, pids=40)
    spec = SandboxSpec(layers=(layer,), env=ODD, limits=limits)
    async with await _filled(backend, spec) as sandbox:
        seen = await sandbox.shell("pwd; ls -A | head -c 1 | wc -c; printenv A odd-name UID PATH")
        wanted = b"/workspace\n1\nit's $HOME\nx y\n7\n/opt/x:/usr/bin:/bin\n"
        assert seen.stdout == wanted
        assert (await sandbox.exec(["printenv", "A", "odd-name"])).stdout == b"it's $HOME\nx y\n"
        await sandbox.write("from-host", b"1")
        assert (await sandbox.shell("cat from-host; echo 2 > /workspace/own")).stdout == b"1"
        assert await sandbox.read("own") == b"2\n"
        full = await sandbox.shell("head -c 20000000 /dev/zero > big; ulimit -f; ls /proc/1/cwd/")
        assert b"No space left" in full.stdout
        assert "own" in {file.path for file in (await sandbox.export()).files}
        assert (await sandbox.shell("pwd; cat own")).stdout == b"/workspace\n2\n"
    await backend.close()


async def test_sandboxes_of_another_kind_are_not_taken(layer: Path) -> None:
    backend = BubblewrapBackend()
    spec = SandboxSpec(layers=(layer,))
    short = replace(spec, limits=SandboxLimits(file_mb=1))
    async with await _filled(backend, spec), await backend.start(short) as sandbox:
        assert (await sandbox.shell("ulimit -f")).stdout == b"1024\n"
    async with await _filled(backend, short) as sandbox:
        assert (await sandbox.shell("ulimit -f")).stdout == b"1024\n"
    await backend.close()


async def test_nothing_of_a_fork_bomb_outlives_its_timeout(layer: Path) -> None:
    backend = BubblewrapBackend()
    async with await backend.start(SandboxSpec(layers=(layer,))) as sandbox:
        bomb = await sandbox.shell("f() { f | f & }; f; sleep 60", timeout=1)
        assert bomb.timed_out
        for _ in range(50):
            left = (await sandbox.exec(["ps", "-e", "-o", "pid="])).stdout.split()
            if len(left) <= 4:  # init, the shell, ps and the wrapper that started it
                break
            await anyio.sleep(0.1)
        assert len(left) <= 4
    await backend.close()
