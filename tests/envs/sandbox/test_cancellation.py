"""Cancelled, closed, out of descriptors, in several loops: nothing may be left, ever."""

from __future__ import annotations

import os
import random
import resource
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend
from repodrome.envs.sandbox.direct.cgroup import members
from repodrome.envs.sandbox.direct.client import READY_SANDBOXES, spawner
from repodrome.envs.sandbox.direct.dialogue import INIT
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox
from repodrome.errors import SandboxError

pytestmark = pytest.mark.anyio


def descriptors() -> list[str]:
    """Open descriptors of this process that a sandbox could have left."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return sorted(f.split(":[")[0] for f in found)


def processes() -> list[int]:
    """Host pids in our sandboxes' cgroups; not blanks, nor as many warm ones as may be."""
    made = spawner()
    groups = []
    for name in {
        path.name for d in made.cgroups.directories.values() for path in Path(d).iterdir()
    }:
        if name.split("-")[4:5] == [str(made._process.pid)]:
            lines = {pid: _line(pid) for pid in members(made.cgroups.named(name))}
            groups.append({pid: line for pid, line in lines.items() if b"main()" not in line})
    warm = [g for g in groups if g and all(INIT.encode() in line for line in g.values())]
    for group in warm[:READY_SANDBOXES]:
        groups.remove(group)
    return [pid for group in groups for pid in group]


def _line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b"main()"


async def settled(before: list[str]) -> None:
    """Wait until descriptors are as before and no process is left; fail if that doesn't come."""
    with anyio.move_on_after(15):
        while processes() or descriptors() != before:  # noqa: ASYNC110 — the kernel's doing
            await anyio.sleep(0.02)
    assert not processes()
    assert descriptors() == before


async def life(backend: BubblewrapBackend, spec: SandboxSpec) -> None:
    """A bit of everything."""
    async with await backend.start(spec) as sandbox:
        await sandbox.shell("echo x; sleep 1000 &")
        await sandbox.shell("sleep 0.005", session="b")
        await sandbox.exec(["sleep", "0.005"])
        await sandbox.run(["sleep", "0.005"])
        async with await sandbox.fork() as twin:
            await twin.shell("true")
        snapshot = await sandbox.snapshot()
        try:
            await sandbox.restore(snapshot)
            await sandbox.export()
        finally:
            await snapshot.release()


async def warm(backend: BubblewrapBackend, spec: SandboxSpec) -> list[str]:
    await life(backend, spec)
    await anyio.sleep(0.3)
    return descriptors()


@pytest.mark.parametrize("times", [40, pytest.param(200, marks=pytest.mark.slow)])
async def test_cancelled_anywhere_nothing_is_left(layer: Path, times: int) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    before = await warm(backend, spec)
    chance = random.Random(times)
    for _ in range(times):
        with anyio.move_on_after(chance.uniform(0, 0.12)):
            await life(backend, spec)
    await settled(before)


async def test_closed_while_a_shell_starts_leaves_none(layer: Path) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    before = await warm(backend, spec)
    for step in range(150):
        sandbox = await backend.start(spec)

        async def attempt(sandbox: DirectSandbox = sandbox) -> None:
            with suppress(SandboxError):
                await sandbox.shell("sleep 9", session="b")

        async with anyio.create_task_group() as group:
            group.start_soon(attempt)
            await anyio.sleep(0.0005 + step * 0.00003)
            await sandbox.close()
    await settled(before)


@pytest.mark.parametrize("what", ["shell", "session", "exec", "run", "fork", "snapshot"])
async def test_closed_from_elsewhere_at_any_moment(layer: Path, what: str) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    before = await warm(backend, spec)
    for step in range(8):
        sandbox = await backend.start(spec)
        made: list[DirectSandbox] = []

        async def fork(sandbox: DirectSandbox = sandbox, made: list = made) -> None:  # type: ignore[type-arg]
            made.append(await sandbox.fork())

        async def snapshot(sandbox: DirectSandbox = sandbox) -> None:
            await (await sandbox.snapshot()).release()

        doing: dict[str, Callable[[], Awaitable[object]]] = {
            "shell": lambda s=sandbox: s.shell("sleep 99"),  # type: ignore[misc]
            "session": lambda s=sandbox: s.shell("sleep 99", session="b"),  # type: ignore[misc]
            "exec": lambda s=sandbox: s.exec(["sleep", "99"]),  # type: ignore[misc]
            "run": lambda s=sandbox: s.run(["sleep", "99"]),  # type: ignore[misc]
            "fork": fork,
            "snapshot": snapshot,
        }

        async def attempt(action: Callable[[], Awaitable[object]] = doing[what]) -> None:
            try:
                await action()
            except SandboxError:
                return

        with anyio.fail_after(30):  # generous: the machine may be busy
            async with anyio.create_task_group() as group:
                group.start_soon(attempt)
                await anyio.sleep(step * 0.002)
                await sandbox.close()
        for twin in made:
            await twin.close()
    await settled(before)


async def test_a_close_ends_what_init_has_not_begun(layer: Path) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    before = await warm(backend, spec)
    for _ in range(5):
        sandbox = await backend.start(spec)
        await anyio.sleep(0.1)  # children of the spawner are forked meanwhile, with its descriptors
        assert sandbox._live is not None
        await sandbox._live.tell("sleep 99")  # init does nothing else
        ended = anyio.Event()

        async def attempt(sandbox: DirectSandbox = sandbox, ended: anyio.Event = ended) -> None:
            with suppress(SandboxError):
                await sandbox.exec(["true"])
            ended.set()

        async with anyio.create_task_group() as group:
            group.start_soon(attempt)
            await anyio.sleep(0.05)
            with anyio.fail_after(10):
                await sandbox.close()
                await ended.wait()
    await settled(before)


async def test_out_of_descriptors_is_said_and_leaves_nothing(layer: Path) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    before = await warm(backend, spec)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    refused = 0
    for room in range(30):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + room, hard))
        try:
            async with await backend.start(spec) as sandbox:
                await sandbox.shell("echo x")
                await sandbox.exec(["true"])
                await sandbox.run(["true"])
        except SandboxError:
            refused += 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 0 < refused < 30
    await settled(before)
    async with await backend.start(spec) as sandbox:
        assert (await sandbox.shell("echo x")).stdout == b"x\n"


def test_prefetched_in_one_loop_used_in_others(layer: Path) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    anyio.run(backend.prefetch, spec, 3)
    problems: list[BaseException] = []

    async def use() -> None:
        for _ in range(4):
            async with await backend.start(spec) as sandbox:
                async with anyio.create_task_group() as group:
                    for n in range(3):
                        group.start_soon(sandbox.shell, "echo x", name=str(n))
                    group.start_soon(sandbox.exec, ["true"])
                async with await sandbox.fork() as twin:
                    assert (await twin.shell("echo y")).stdout == b"y\n"

    def loop() -> None:
        try:
            anyio.run(use)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=loop) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    assert not any(thread.is_alive() for thread in threads)
    anyio.run(backend.close)


async def test_dead_prefetched_sandboxes_are_not_handed_out(layer: Path) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    await backend.prefetch(spec, 2)
    process = spawner()._process
    process.kill()
    process.wait()
    async with await backend.start(spec) as sandbox:
        assert (await sandbox.shell("echo x")).stdout == b"x\n"
    await backend.close()
