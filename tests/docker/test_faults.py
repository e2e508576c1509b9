"""What the machine does wrong to this host's containers is an infrastructure failure."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox
from repodrome.envs.sandbox.docker.backend import DockerBackend
from repodrome.envs.sandbox.docker.engine import Engine
from repodrome.errors import SandboxError, SandboxUnavailableError
from tests.docker.daemon import Daemon
from tests.docker.specs import a_spec, container_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backend(own_daemon: Daemon) -> AsyncIterator[DockerBackend]:
    made = DockerBackend(hosts=[own_daemon.url])
    yield made
    await made.close()


@pytest.fixture
def spec(tmp_path: Path, backend: DockerBackend) -> SandboxSpec:
    return a_spec(tmp_path, backend.owner)


def engine(backend: DockerBackend) -> Engine:
    return backend.hosts.hosts[0].engine


async def fails_soon(sandbox: DirectSandbox, command: str = "sleep 60") -> None:
    """The command meets an infrastructure failure, and no timeout."""
    with anyio.fail_after(20), pytest.raises(SandboxError):
        await sandbox.shell(command, timeout=50)


async def remove(backend: DockerBackend, container: str) -> None:
    await engine(backend).call(lambda client: client.remove_container(container, force=True))


async def test_a_container_removed_in_mid_command(
    backend: DockerBackend, spec: SandboxSpec
) -> None:
    async with await backend.start(spec) as sandbox:
        async with anyio.create_task_group() as group:
            group.start_soon(fails_soon, sandbox)
            await anyio.sleep(0.3)
            await remove(backend, container_of(sandbox))
        await fails_soon(sandbox, "echo still there")
        with pytest.raises(SandboxError):
            await sandbox.run(["true"])
    async with await backend.start(spec) as sandbox:
        assert (await sandbox.shell("cat a.txt")).stdout == b"a\n"


async def test_a_container_removed_while_nobody_used_it(
    backend: DockerBackend, spec: SandboxSpec
) -> None:
    async with await backend.start(spec) as sandbox:
        first = container_of(sandbox)
    await backend.prefetch(spec, 1)
    await remove(backend, first)
    async with await backend.start(spec) as sandbox:
        assert container_of(sandbox) != first
        assert (await sandbox.shell("cat a.txt")).stdout == b"a\n"


async def test_a_container_stopped_in_the_middle_of_a_run(
    backend: DockerBackend, spec: SandboxSpec
) -> None:
    async with await backend.start(spec, live=False) as sandbox:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:

                async def program() -> None:
                    with pytest.raises(SandboxError):
                        await sandbox.run(["sleep", "60"])

                group.start_soon(program)
                await anyio.sleep(0.5)
                await remove(backend, container_of(sandbox))


@pytest.mark.slow
async def test_a_daemon_that_is_stopped_and_comes_back(breakable: Daemon, tmp_path: Path) -> None:
    backend = DockerBackend(hosts=[breakable.url])
    spec = a_spec(tmp_path, backend.owner)
    async with await backend.start(spec) as sandbox, anyio.create_task_group() as group:
        group.start_soon(fails_soon, sandbox)
        await anyio.sleep(0.3)
        await anyio.to_thread.run_sync(breakable.stop)

    async def play_when_it_is_back() -> None:
        async with await backend.start(spec) as sandbox:
            assert (await sandbox.shell("cat a.txt")).stdout == b"a\n"

    async with anyio.create_task_group() as group:
        group.start_soon(play_when_it_is_back)
        await anyio.to_thread.run_sync(breakable.start)
    await backend.close()


@pytest.mark.slow
async def test_a_daemon_that_crashes_harms_no_running_episode(
    breakable: Daemon, tmp_path: Path
) -> None:
    backend = DockerBackend(hosts=[breakable.url])
    spec = a_spec(tmp_path, backend.owner)
    async with await backend.start(spec) as sandbox:
        await anyio.to_thread.run_sync(breakable.kill)
        assert (await sandbox.shell("cat a.txt")).stdout == b"a\n"
        await sandbox.shell("echo b > b.txt")
        assert [f.path for f in (await sandbox.export()).files] == ["b.txt"]
    await anyio.to_thread.run_sync(breakable.start)
    async with await backend.start(spec) as sandbox:
        assert (await sandbox.shell("cat a.txt")).stdout == b"a\n"
    await backend.close()


async def test_no_daemon_there(tmp_path: Path) -> None:
    backend = DockerBackend(hosts=[f"unix://{tmp_path}/none.sock"])
    with pytest.raises(SandboxUnavailableError, match="Fix"):
        await backend.start(a_spec(tmp_path, backend.owner))
    with pytest.raises(SandboxUnavailableError, match="Fix"):
        backend.check()
    await backend.close()


@pytest.mark.slow
async def test_sixty_four_at_once(backend: DockerBackend, spec: SandboxSpec) -> None:
    async def play() -> None:
        async with await backend.start(spec) as sandbox:
            assert (await sandbox.shell("cat a.txt")).stdout == b"a\n"
            await everybody.wait()

    everybody = anyio.Event()
    async with anyio.create_task_group() as group:
        for _ in range(64):
            group.start_soon(play)
        await anyio.sleep(2)
        everybody.set()
    await backend.close()
    assert not await engine(backend).call(lambda client: client.containers(all=True))


CLIENT = """
import asyncio, sys
from pathlib import Path
from repodrome.envs.sandbox.docker.backend import DockerBackend
from repodrome.envs.sandbox.base import SandboxLimits, SandboxSpec

async def main():
    backend = DockerBackend(hosts=[sys.argv[1]])
    spec = SandboxSpec(layers=(Path(sys.argv[2]),), limits=SandboxLimits(memory_mb=64))
    made = await asyncio.gather(*(backend.start(spec) for _ in range(int(sys.argv[3]))))
    commands = [asyncio.ensure_future(sandbox.shell("sleep 4711")) for sandbox in made]
    print("ready", flush=True)
    await asyncio.gather(*commands)

asyncio.run(main())
"""


def a_client(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CLIENT, *words], stdout=subprocess.PIPE)


def sleepers() -> int:
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes() == b"sleep\x004711\x00"
        except OSError:
            continue
    return found


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.slow)])
async def test_a_client_that_is_killed_leaves_nothing(
    breakable: Daemon, tmp_path: Path, count: int
) -> None:
    backend = DockerBackend(hosts=[breakable.url])
    spec = a_spec(tmp_path, backend.owner)
    words = [engine(backend).address.url, str(spec.layers[0]), str(count)]
    with a_client(words) as client:
        assert client.stdout is not None and client.stdout.readline() == b"ready\n"
        assert len(engine(backend).call_now(lambda c: c.containers())) == count
        with anyio.fail_after(30):
            while sleepers() < count:  # noqa: ASYNC110 — another process's doing
                await anyio.sleep(0.05)
        client.kill()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        left = engine(backend).call_now(lambda c: c.containers(all=True))
        if not left and not sleepers():
            break
        await anyio.sleep(0.1)
    assert not left and not sleepers(), "the lease has ended, and with it all containers"
