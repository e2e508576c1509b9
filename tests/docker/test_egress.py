"""A sandbox whose task allows certain hosts reaches those, through the proxy, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.docker.api.sandbox import start_api_sandbox
from repodrome.envs.sandbox.docker.backend import DockerBackend
from repodrome.envs.sandbox.docker.egress import Egress, Outlet
from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from repodrome.envs.sandbox.docker.labels import OWNER
from repodrome.envs.sandbox.docker.reaper import release
from repodrome.errors import SandboxError
from tests.docker.daemon import BASE, Daemon

pytestmark = pytest.mark.slow

SITE = "site.example"
OUTSIDE = "outside"


@pytest.fixture(scope="module")
def engine(own_daemon: Daemon) -> Iterator[Engine]:
    engine = Engine(Address(own_daemon.url), connect)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def world(engine: Engine) -> Iterator[str]:
    """A network with a web server of that name on port 80; gives its address."""
    client = engine.client()
    client.create_network(OUTSIDE)
    made = client.create_container(
        BASE,
        ["python3", "-m", "http.server", "--directory", "/etc", "80"],
        name=SITE,
        networking_config=client.create_networking_config(
            {OUTSIDE: client.create_endpoint_config()}
        ),
    )
    client.start(made)
    found = client.inspect_container(made)["NetworkSettings"]["Networks"][OUTSIDE]
    yield found["IPAddress"]
    client.remove_container(made, force=True)
    client.remove_network(OUTSIDE)


@pytest.fixture
def egress(engine: Engine, world: str) -> Iterator[Egress]:
    egress = Egress(engine, BASE, uplink=OUTSIDE)
    yield egress
    egress.close()
    assert left(engine) == []


def left(engine: Engine) -> list[str]:
    client, marks = engine.client(), {"label": OWNER}
    containers = [c["Id"] for c in client.containers(all=True, filters=marks)]
    return containers + [v["Name"] for v in client.volumes(filters=marks)["Volumes"] or ()]


def inside(engine: Engine, outlet: Outlet, code: str) -> Any:
    """Run Python in a container that goes out there; what it calls ``answer``."""
    client = engine.client()
    program = f"import json\n{textwrap.dedent(code)}\nprint(json.dumps(answer))"
    made = client.create_container(
        BASE,
        ["python3", "-c", program],
        user="60700:60700",
        environment=dict(outlet.env),
        host_config=client.create_host_config(network_mode=outlet.network, cap_drop=["ALL"]),
    )
    try:
        client.start(made)
        client.wait(made)
        said = client.logs(made)
        return json.loads(said.splitlines()[-1])
    finally:
        client.remove_container(made, force=True)


FETCH = """
import urllib.request, urllib.error
def fetch(url):
    try:
        return urllib.request.urlopen(url, timeout=10).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return repr(error)
"""


def test_listed_hosts_are_reached_and_others_refused_in_words(
    engine: Engine, egress: Egress, world: str
) -> None:
    outlet = egress.open([SITE, world])
    try:
        answer = inside(
            engine,
            outlet,
            FETCH + f"answer = [fetch('http://{SITE}/hostname'), fetch('http://evil.example/'),"
            f" fetch('http://{SITE}:22/'), fetch('https://evil.example/')]",
        )
    finally:
        outlet.close()
    assert answer[0].strip() and "refused" not in answer[0]
    assert "evil.example:80 is not allowed here" in answer[1]
    assert f"{SITE}:22 is not allowed here" in answer[2]
    assert "403" in answer[3]


def test_a_listed_name_on_a_private_address_is_refused_until_that_is_listed(
    engine: Engine, egress: Egress, world: str
) -> None:
    outlet = egress.open([SITE])
    try:
        answer = inside(engine, outlet, FETCH + f"answer = fetch('http://{SITE}/hostname')")
    finally:
        outlet.close()
    assert f"{SITE} stands for {world}, which is not public" in answer


def test_there_is_no_other_way_out(engine: Engine, egress: Egress, world: str) -> None:
    outlet = egress.open([SITE, world])
    try:
        answer = inside(
            engine,
            outlet,
            f"""
            import os, socket
            def attempt(action):
                try:
                    action()
                    return "reached"
                except OSError as error:
                    return type(error).__name__
            def name(): socket.getaddrinfo("{SITE}", 80)
            def direct(): socket.create_connection(("{world}", 80), timeout=3)
            def gateway(): socket.create_connection(("{world.rpartition(".")[0]}.1", 22), timeout=3)
            def datagram(): socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("{world}", 53))
            def raw(): socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
            answer = [attempt(a) for a in (name, direct, gateway, datagram, raw)]
            answer.append(os.listdir("/sys/class/net"))
            answer.append(os.path.exists("/run/egress"))
            """,
        )
    finally:
        outlet.close()
    *attempts, interfaces, socket_seen = answer
    assert "reached" not in attempts, attempts
    assert interfaces == ["lo"]
    assert not socket_seen


def test_ways_of_one_list_share_a_proxy_and_nothing_else(engine: Engine, egress: Egress) -> None:
    first, second = egress.open([SITE]), egress.open([SITE])
    third = egress.open(["other.example"])
    try:
        assert first.network != second.network
        assert len(left(engine)) == 3 + 2 * 2  # three inlets; two proxies, each with its volume
    finally:
        for outlet in (first, second, third):
            outlet.close()
            outlet.close()


def test_a_proxy_that_was_removed_is_made_again(engine: Engine, egress: Egress, world: str) -> None:
    egress.open([SITE, world]).close()
    client = engine.client()
    for container in client.containers(filters={"label": OWNER}):
        client.remove_container(container, force=True)
    outlet = egress.open([SITE, world])
    try:
        answer = inside(engine, outlet, FETCH + f"answer = fetch('http://{SITE}/hostname')")
    finally:
        outlet.close()
    assert answer.strip() and "refused" not in answer


def test_what_is_missing_is_named_and_nothing_stays(engine: Engine, world: str) -> None:
    for image, uplink in (("no/such:image", OUTSIDE), (BASE, "nosuchnetwork")):
        egress = Egress(engine, image, uplink=uplink)
        with pytest.raises(SandboxError, match=r"make-base-image|nosuchnetwork"):
            egress.open([SITE])
        egress.close()
    assert left(engine) == []


def test_containers_end_with_the_process_that_made_them(engine: Engine, world: str) -> None:
    code = (
        "import sys, os, signal\n"
        "from repodrome.envs.sandbox.docker.egress import Egress\n"
        "from repodrome.envs.sandbox.docker.engine import Address, Engine, connect\n"
        f"egress = Egress(Engine(Address(sys.argv[1]), connect), {BASE!r}, uplink={OUTSIDE!r})\n"
        f"outlet = egress.open([{SITE!r}])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, engine.address.url], check=False)
    deadline = time.monotonic() + 20
    client = engine.client()
    while client.containers(all=True, filters={"label": OWNER}):
        assert time.monotonic() < deadline, "they still run"
        time.sleep(0.05)
    [volume] = left(engine)  # volumes don't end: they are reaped
    client.remove_volume(volume)


# -- the whole -------------------------------------------------------------------------------------

FETCH_LENGTH = (
    "python3 -c 'import sys, urllib.request as r; "
    "print(len(r.urlopen(sys.argv[1], timeout=10).read()))' http://{}/hostname 2>&1 | tail -n 1"
)


@pytest.fixture
def site(engine: Engine) -> Iterator[str]:
    """The address of a web server on the daemon's own bridge, where proxies have their way out."""
    client = engine.client()
    made = client.create_container(BASE, ["python3", "-m", "http.server", "-d", "/etc", "80"])
    client.start(made)
    yield client.inspect_container(made)["NetworkSettings"]["IPAddress"]
    client.remove_container(made, force=True)


@pytest.mark.anyio
async def test_a_sandbox_of_the_backend_reaches_what_its_task_allows(
    engine: Engine, site: str, tmp_path: Path
) -> None:
    backend = DockerBackend([engine.address.url])
    layer = tmp_path / "layer"
    (layer / "workspace").mkdir(parents=True)
    for path in (tmp_path, layer, layer / "workspace"):
        path.chmod(0o755)
        os.chown(path, *backend.owner)
    spec = SandboxSpec(layers=(layer,), network="allowlist", allowed_hosts=(site,))
    async with await backend.start(spec) as sandbox:
        assert int((await sandbox.shell(FETCH_LENGTH.format(site))).stdout) > 0
        assert b"403" in (await sandbox.shell(FETCH_LENGTH.format("evil.example"))).stdout
        ran = await sandbox.run(["bash", "-c", FETCH_LENGTH.format(site)])
        assert int(ran.stdout) > 0
        direct = await sandbox.shell(f"exec 3<>/dev/tcp/{site}/80")
        assert direct.exit_code != 0 and b"unreachable" in direct.stdout
    containers = len(left(engine))
    async with await backend.start(spec) as again:  # in the same container, by the same way
        assert int((await again.shell(FETCH_LENGTH.format(site))).stdout) > 0
        assert len(left(engine)) == containers
    await backend.close()
    assert left(engine) == []


@pytest.mark.anyio
async def test_so_does_one_that_is_driven_over_the_api(
    own_daemon: Daemon, engine: Engine, site: str, tmp_path: Path
) -> None:
    far = Engine(Address(own_daemon.tcp_url), connect)
    egress = Egress(far, BASE)
    image = far.client().inspect_image(BASE)["Id"]
    layer = tmp_path / "layer"
    (layer / "workspace").mkdir(parents=True)
    spec = SandboxSpec(layers=(layer,), network="allowlist", allowed_hosts=(site,))
    path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    async with await start_api_sandbox(far, image, path, spec, egress=egress) as sandbox:
        for _ in range(2):
            assert int((await sandbox.shell(FETCH_LENGTH.format(site))).stdout) > 0
        assert b"403" in (await sandbox.shell(FETCH_LENGTH.format("evil.example"))).stdout
        ran = await sandbox.run(["bash", "-c", FETCH_LENGTH.format(site)])
        assert int(ran.stdout) > 0
    egress.close()
    release(far)
    far.close()
    assert left(engine) == []
