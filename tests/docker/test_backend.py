"""The backend as a whole: how it drives which daemon, and that an episode doesn't notice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox
from repodrome.envs.sandbox.docker.api.sandbox import ApiSandbox
from repodrome.envs.sandbox.docker.backend import DockerBackend
from repodrome.envs.sandbox.docker.engine import remove_container
from repodrome.errors import SandboxError
from tests.docker.daemon import Daemon
from tests.docker.specs import a_spec

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["socket", "tcp"])
async def backend(
    request: pytest.FixtureRequest, own_daemon: Daemon
) -> AsyncIterator[DockerBackend]:
    url = own_daemon.url if request.param == "socket" else own_daemon.tcp_url
    made = DockerBackend(hosts=[url])
    yield made
    await made.close()


@pytest.fixture
def spec(tmp_path: Path, backend: DockerBackend) -> SandboxSpec:
    return a_spec(tmp_path, backend.owner)


async def test_a_daemon_on_a_socket_is_entered_and_one_over_tcp_is_not(
    backend: DockerBackend, spec: SandboxSpec
) -> None:
    over_tcp = backend.hosts.hosts[0].name.startswith("tcp")
    async with await backend.start(spec) as sandbox:
        assert isinstance(sandbox, ApiSandbox if over_tcp else DirectSandbox)
        assert (await sandbox.shell("cat a.txt; echo b > b.txt")).stdout == b"a\n"
        async with await sandbox.fork() as twin:
            assert await twin.read("b.txt") == b"b\n"
        assert [f.path for f in (await sandbox.export()).files] == ["b.txt"]


async def test_prefetched_sandboxes_are_taken_and_dead_ones_are_not(
    backend: DockerBackend, spec: SandboxSpec
) -> None:
    await backend.prefetch(spec, 2)
    engine = backend.hosts.hosts[0].engine
    before = {c["Id"] for c in engine.call_now(lambda client: client.containers())}
    async with await backend.start(spec) as sandbox:
        assert (await sandbox.shell("cat a.txt")).stdout == b"a\n"
        after = {c["Id"] for c in engine.call_now(lambda client: client.containers())}
        assert after == before, "no new one was made"
        for container in before:
            remove_container(engine, container)
        with pytest.raises(SandboxError):
            await sandbox.shell("cat a.txt")
    async with await backend.start(spec) as sandbox:
        assert (await sandbox.shell("cat a.txt")).stdout == b"a\n"


async def test_places_on_a_daemon_are_given_back(
    own_daemon: Daemon, backend: DockerBackend, spec: SandboxSpec
) -> None:
    host = backend.hosts.hosts[0]
    async with await backend.start(spec) as sandbox, await sandbox.fork():
        assert host.used == 2
    assert host.used == 0
    with pytest.raises(SandboxError):
        await backend.start(SandboxSpec(layers=spec.layers, image="sha256:" + "0" * 64))
    assert host.used == 0
