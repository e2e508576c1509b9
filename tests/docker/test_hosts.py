"""Several daemons as one, and every way of saying where a daemon is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from repodrome.envs.sandbox.docker.hosts import (
    Host,
    Hosts,
    HostSpec,
    default_capacity,
    parse_hosts,
    specs_of,
)
from repodrome.errors import SandboxError, SandboxUnavailableError, UsageError
from tests.docker import certificates
from tests.docker.daemon import Daemon, running

pytestmark = pytest.mark.anyio


# -- said ------------------------------------------------------------------------------------------


def test_hosts_are_read_from_one_line() -> None:
    read = parse_hosts("unix:///var/run/docker.sock=8 tcp://host:2376  gpu2=3")
    assert read == (
        HostSpec(Address("unix:///var/run/docker.sock"), 8),
        HostSpec(Address("tcp://host:2376")),
        HostSpec(Address(context="gpu2"), 3),
    )
    assert specs_of(["tcp://a:1", HostSpec(Address("tcp://b:1"))])[0].address.url == "tcp://a:1"


@pytest.mark.parametrize("text", ["tcp://a=0", "tcp://a=many", "=3", "ftp://a", "unix://", "a a"])
def test_hosts_that_do_not_read_are_refused_with_the_fix(text: str) -> None:
    with pytest.raises(UsageError, match=r"write|addresses are|give each once"):
        parse_hosts(text)


def test_default_capacity_is_what_memory_and_processors_allow() -> None:
    assert default_capacity({"NCPU": 2, "MemTotal": 24 << 30}) == 128
    assert default_capacity({"NCPU": 64, "MemTotal": 1 << 30}) == 16
    assert default_capacity({}) == 1


# -- placed ----------------------------------------------------------------------------------------


class Somewhere:
    """Stands for daemons that are up or down as the test says."""

    def __init__(self) -> None:
        self.down: set[str] = set()

    def __call__(self, address: Address) -> Somewhere.Client:
        return self.Client(self, address.url)

    class Client:
        def __init__(self, where: Somewhere, url: str) -> None:
            self.where, self.url = where, url

        def info(self) -> dict[str, Any]:
            if self.url in self.where.down:
                raise ConnectionRefusedError("refused")
            return {"NCPU": 1, "MemTotal": 128 << 20}

        def close(self) -> None:
            pass


@pytest.fixture
def somewhere() -> Somewhere:
    return Somewhere()


@pytest.fixture
def two(somewhere: Somewhere) -> Iterator[Hosts]:
    hosts = Hosts(specs_of(["tcp://a=1", "tcp://b=3"]), make=somewhere)
    yield hosts
    hosts.close()


def urls(hosts: list[Host]) -> list[str]:
    return sorted(host.engine.address.url for host in hosts)


async def test_places_are_shared_out_by_what_is_free(two: Hosts) -> None:
    with anyio.fail_after(5):
        got = [await two.acquire() for _ in range(4)]
    assert urls(got) == ["tcp://a", "tcp://b", "tcp://b", "tcp://b"]


async def test_a_full_house_is_waited_for_in_turn(two: Hosts) -> None:
    order: list[int] = []

    async def wait(number: int) -> None:
        order.append(number) if await two.acquire() else None

    with anyio.fail_after(5):
        got = [await two.acquire() for _ in range(4)]
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(wait, number)
                await anyio.wait_all_tasks_blocked()
            assert order == []
            for host in got[:3]:
                two.release(host)
    assert order == [0, 1, 2]


async def test_one_who_gives_up_waiting_takes_no_place(two: Hosts) -> None:
    with anyio.fail_after(5):
        got = [await two.acquire() for _ in range(4)]
        with anyio.move_on_after(0.05):
            await two.acquire()
        two.release(got[0])
        assert await two.acquire() is got[0]
    assert sum(host.used for host in two.hosts) == 4


async def test_a_place_given_to_one_who_is_cancelled_at_that_moment_comes_back(two: Hosts) -> None:
    with anyio.fail_after(5):
        got = [await two.acquire() for _ in range(4)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(two.acquire)
            await anyio.wait_all_tasks_blocked()
            two.release(got[0])
            tasks.cancel_scope.cancel()
    assert sum(host.used for host in two.hosts) == 3


async def test_what_a_sandbox_needs_to_go_on_never_waits(two: Hosts) -> None:
    with anyio.fail_after(5):
        got = [await two.acquire() for _ in range(4)]
        fork = await two.acquire(got[0], beyond=True)
        assert fork is got[0]
        grader = await two.acquire(beyond=True)
        assert grader.used > grader.capacity or fork.used > fork.capacity


async def test_no_host_that_answers_is_said_at_once(two: Hosts, somewhere: Somewhere) -> None:
    somewhere.down = {"tcp://a", "tcp://b"}
    with anyio.fail_after(5), pytest.raises(SandboxUnavailableError, match=r"tcp://a.*tcp://b"):
        await two.acquire()


async def test_a_lost_host_is_left_out_until_it_is_back(two: Hosts, somewhere: Somewhere) -> None:
    with anyio.fail_after(10):
        [await two.acquire() for _ in range(4)]
        b = two.hosts[1]
        somewhere.down = {"tcp://b"}
        with pytest.raises(SandboxError):
            await b.engine.call(lambda client: client.info())
        assert not b.answers
        for _ in range(3):
            two.release(b)
        with anyio.move_on_after(0.05) as waited:
            await two.acquire()
        assert waited.cancelled_caught, "its places are no places"
        somewhere.down = set()
        assert await two.acquire() is b


async def test_close_refuses_who_waits(two: Hosts) -> None:
    async def wait() -> None:
        with pytest.raises(SandboxError, match="closed"):
            await two.acquire()

    with anyio.fail_after(5):
        [await two.acquire() for _ in range(4)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            two.close()


# -- real ------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_real_daemons_die_and_come_back() -> None:
    with running(image=None) as first, running(image=None) as second:
        hosts = Hosts(specs_of([f"{first.url}=2", f"{second.url}=2"]))
        with anyio.fail_after(60):
            [await hosts.acquire() for _ in range(4)]
            a, b = hosts.hosts
            first.kill()
            with pytest.raises(SandboxUnavailableError, match="sock"):
                await a.engine.call(lambda client: client.containers())
            hosts.release(a)
            hosts.release(b)
            assert await hosts.acquire() is b
            first.start()
            assert await hosts.acquire() is a
        hosts.close()


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Path]]:
    server, client = certificates.make(tmp_path_factory.mktemp("tls"))
    with running(image=None, tls=server) as daemon:
        yield daemon, client


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The environment of a user who has said nothing, with a configuration directory of its own."""
    for name in ("HOST", "CONTEXT", "TLS", "TLS_VERIFY", "CERT_PATH"):
        monkeypatch.delenv(f"DOCKER_{name}", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return monkeypatch


def answers(address: Address) -> bool:
    engine = Engine(address, connect)
    try:
        return bool(engine.call_now(lambda client: client.ping()))
    finally:
        engine.close()


def write_context(folder: Path, name: str, url: str, certificates: Path | None = None) -> None:
    """As ``docker context create`` does."""
    key = hashlib.sha256(name.encode()).hexdigest()
    (folder / "contexts/meta" / key).mkdir(parents=True)
    (folder / "contexts/meta" / key / "meta.json").write_text(
        json.dumps(
            {
                "Name": name,
                "Metadata": {},
                "Endpoints": {"docker": {"Host": url, "SkipTLSVerify": False}},
            }
        )
    )
    if certificates is not None:
        place = folder / "contexts/tls" / key / "docker"
        place.mkdir(parents=True)
        for file in certificates.iterdir():
            (place / file.name).write_bytes(file.read_bytes())


@pytest.mark.slow
def test_tls_wants_a_certificate_and_gets_it_in_each_way(
    certified: tuple[Daemon, Path], clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    daemon, client = certified
    with pytest.raises(SandboxError):
        answers(Address(daemon.tcp_url))
    assert answers(Address(daemon.tcp_url, tls=str(client)))
    (tmp_path / "config.json").write_text("{}")
    write_context(tmp_path, "far", daemon.tcp_url, client)
    assert answers(Address(context="far"))
    clean.setenv("DOCKER_TLS_VERIFY", "1")
    clean.setenv("DOCKER_CERT_PATH", str(client))
    assert answers(Address(daemon.tcp_url))
    clean.setenv("DOCKER_HOST", daemon.tcp_url)
    assert answers(Address())
    assert answers(Address(daemon.url)), "the variables are for tcp"


@pytest.mark.slow
def test_host_goes_before_context_and_context_before_the_current_one(
    certified: tuple[Daemon, Path], clean: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    daemon, _ = certified
    write_context(tmp_path, "near", daemon.url)
    write_context(tmp_path, "nowhere", "unix:///nowhere.sock")
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "nowhere"}))
    with pytest.raises(SandboxUnavailableError, match="repodrome doctor"):
        answers(Address())
    clean.setenv("DOCKER_CONTEXT", "near")
    assert answers(Address())
    clean.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    with pytest.raises(SandboxUnavailableError):
        answers(Address())
    assert answers(Address(context="near"))
    with pytest.raises(SandboxUnavailableError, match="docker context ls"):
        answers(Address(context="misspelt"))
