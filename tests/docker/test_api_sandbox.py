"""What sandboxes over the API do beyond the conformance suite: faults, leftovers, layers, TLS."""

from __future__ import annotations

import dataclasses
import os
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from repodrome.envs.sandbox.base import SandboxLimits, SandboxSpec
from repodrome.envs.sandbox.docker.api.layers import KIND, ensure_layer, prune_layers
from repodrome.envs.sandbox.docker.api.sandbox import ApiSandbox
from repodrome.envs.sandbox.docker.egress import Egress
from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from repodrome.envs.sandbox.docker.labels import KIND as KIND_LABEL
from repodrome.envs.sandbox.docker.labels import labels
from repodrome.envs.sandbox.docker.reaper import reap
from repodrome.errors import SandboxError, WorkspaceError
from tests.docker.api_backend import ApiBackend
from tests.docker.certificates import make
from tests.docker.daemon import BASE, Daemon, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="module")
def engine(own_daemon: Daemon) -> Iterator[Engine]:
    engine = Engine(Address(own_daemon.tcp_url), connect)
    yield engine
    engine.close()


@pytest.fixture
def backend(engine: Engine) -> ApiBackend:
    return ApiBackend(engine)


@pytest.fixture
def spec(tmp_path: Path) -> SandboxSpec:
    return a_spec(tmp_path)


@pytest.fixture
async def sandbox(backend: ApiBackend, spec: SandboxSpec) -> AsyncIterator[ApiSandbox]:
    async with await backend.start(spec) as made:
        yield made


def a_spec(folder: Path) -> SandboxSpec:
    layer = folder / "layer"
    (layer / "workspace/pkg").mkdir(parents=True)
    (layer / "workspace/a.txt").write_text("a\n")
    for name in ("m.py", "n.py"):
        (layer / "workspace/pkg" / name).write_text("x = 1\n")
    (layer / "workspace/run.sh").write_text("echo ran\n")
    (layer / "workspace/run.sh").chmod(0o755)
    return SandboxSpec(layers=(layer,), limits=SandboxLimits(memory_mb=128, pids=64, disk_mb=32))


def left(engine: Engine) -> list[str]:
    """Containers, and volumes that are no layers."""

    def look(client: Any) -> list[str]:
        found = [f"container {c['Names'][0][1:]}" for c in client.containers(all=True)]
        for volume in client.volumes()["Volumes"] or ():
            if (volume["Labels"] or {}).get(KIND_LABEL) != KIND[KIND_LABEL]:
                found.append(volume["Name"])
        return found

    return engine.call_now(look)


def left_soon(engine: Engine) -> list[str]:
    """The same, after what goes by itself has gone."""
    deadline = time.monotonic() + 20
    while (found := left(engine)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


async def test_says_which_files_changed(sandbox: ApiSandbox) -> None:
    """Search reads those alone; also deleted ones, odd names and whole new directories."""
    assert await sandbox.changed_paths() == []
    await sandbox.write("pkg/m.py", b"x = 2\n")
    await sandbox.exec(
        ["sh", "-c", "rm a.txt; mkdir new; echo 1 > new/b; echo > \"$(printf '\\377')\""]
    )
    found = await sandbox.changed_paths()
    assert found is not None
    assert {"pkg/m.py", "a.txt", "\udcff"} <= set(found)
    assert {"new", "new/b"} & set(found)
    assert not {"run.sh", "pkg/n.py"} & set(found)


# -- what the machine does -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["agent", "keeper"])
async def test_a_container_removed_from_outside_is_the_machines_fault(
    sandbox: ApiSandbox, engine: Engine, kind: str
) -> None:
    name = f"{sandbox._containers.name}-{kind}"
    with anyio.fail_after(20), pytest.raises(SandboxError):
        async with anyio.create_task_group() as group:

            async def remove() -> None:
                await anyio.sleep(0.3)
                await engine.call(lambda c: c.remove_container(name, force=True))

            group.start_soon(remove)
            try:
                await sandbox.shell("sleep 60")
            except SandboxError as error:
                caught = error
        raise caught
    for call in (sandbox.shell("true"), sandbox.read("a.txt"), sandbox.exec(["true"])):
        with pytest.raises(SandboxError):
            await call


async def test_a_program_removed_from_outside_is_the_machines_fault(
    sandbox: ApiSandbox, engine: Engine
) -> None:
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:

            async def run() -> None:
                with pytest.raises(SandboxError):
                    await sandbox.run(["sleep", "60"])

            group.start_soon(run)
            await anyio.sleep(2)
            (name,) = (name.split()[1] for name in left(engine) if "-run-" in name)
            await engine.call(lambda c: c.remove_container(name, force=True))
    assert (await sandbox.shell("echo on")).stdout == b"on\n"


async def test_the_daemons_end_in_mid_step_is_the_machines_fault(tmp_path: Path) -> None:
    spec = a_spec(tmp_path)
    with running(tcp=True) as daemon, closing(Engine(Address(daemon.tcp_url), connect)) as engine:
        for end in (daemon.kill, daemon.stop):
            sandbox = await ApiBackend(engine).start(spec)
            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:

                    async def step(sandbox: ApiSandbox = sandbox) -> None:
                        with pytest.raises(SandboxError):
                            await sandbox.shell("sleep 60")

                    group.start_soon(step)
                    await anyio.sleep(0.3)
                    await anyio.to_thread.run_sync(end)
            with pytest.raises(SandboxError):
                await sandbox.shell("true")
            await sandbox.close()
            daemon.start()
            gone = [name for name in left_soon(engine) if name.startswith("container")]
            assert gone == []


async def test_no_image_and_no_bash_are_said(backend: ApiBackend, spec: SandboxSpec) -> None:
    with pytest.raises(SandboxError, match="no-such-image"):
        await backend.start(dataclasses.replace(spec, image="no-such-image"))
    assert left_soon(backend.engine) == []


# -- leftovers -------------------------------------------------------------------------------


async def test_close_and_cancelled_starts_leave_nothing(
    backend: ApiBackend, spec: SandboxSpec
) -> None:
    async with await backend.start(spec) as sandbox:
        snapshot = await sandbox.snapshot()
        async with await sandbox.fork() as twin:
            await twin.shell("true")
        await sandbox.restore(snapshot)
        await snapshot.release()
    for seconds in (0.05, 0.15, 0.3, 0.4):
        with anyio.move_on_after(seconds):
            async with await backend.start(spec):
                pass
    sandbox = await backend.start(spec, live=False)
    async with anyio.create_task_group() as group:
        for call in (sandbox.shell, sandbox.read, sandbox.stat):

            async def use(call: Callable[[str], Awaitable[object]] = call) -> None:
                with pytest.raises(SandboxError):
                    await call("a.txt")

            group.start_soon(use)
        await anyio.sleep(0.03)
        await sandbox.close()
    assert left_soon(backend.engine) == []


def test_a_killed_client_leaves_no_process_and_the_reaper_the_rest(
    engine: Engine, own_daemon: Daemon, tmp_path: Path
) -> None:
    a_spec(tmp_path)
    script = CLIENT.format(url=own_daemon.tcp_url, layer=tmp_path / "layer")
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        process.kill()
    deadline = time.monotonic() + 20
    while any(n.startswith("container") for n in left(engine)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [name for name in left(engine) if name.startswith("container")] == []
    reap(engine)
    assert left(engine) == []


CLIENT = """
import anyio, pathlib
from repodrome.envs.sandbox.docker.engine import Address, Engine, connect
from repodrome.envs.sandbox.base import SandboxSpec
from tests.docker.api_backend import ApiBackend

async def main():
    backend = ApiBackend(Engine(Address({url!r}), connect))
    spec = SandboxSpec(layers=(pathlib.Path("{layer}"),))
    for _ in range(3):
        await (await backend.start(spec)).shell("sleep 1000 &")
    print("up", flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""


# -- layers ----------------------------------------------------------------------------------


async def test_a_layer_is_brought_once_whoever_asks_and_again_when_it_was_removed(
    backend: ApiBackend, spec: SandboxSpec, tmp_path: Path
) -> None:
    engine = backend.engine
    found = []

    async def ensure() -> None:
        found.append(await ensure_layer(engine, BASE, spec.layers[0], labels=labels("layer")))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(ensure)
    assert len(set(found)) == 1
    async with await backend.start(spec) as sandbox:
        assert found[0].name not in await prune_layers(engine)
        assert (await sandbox.shell("./run.sh; cat a.txt")).stdout == b"ran\na\n"
    assert found[0].name in await prune_layers(engine)
    async with await backend.start(spec, live=False) as sandbox:
        assert (await sandbox.run(["cat", "a.txt"])).stdout == b"a\n"


async def test_set_up_becomes_a_layer(
    backend: ApiBackend, spec: SandboxSpec, tmp_path: Path
) -> None:
    tool = tmp_path / "tools"
    tool.mkdir()
    (tool / "word").write_text("from the host\n")
    single = tmp_path / "single"
    single.write_text("one file\n")
    (tmp_path / "staged").mkdir()
    building = dataclasses.replace(spec, toolchains=(str(tool), str(single)), network="full")
    sandbox = await backend.start(building, live=False, persist=tmp_path / "staged")
    script = (
        f"cat {tool}/word {single} >> a.txt; ln -s ../escape link; mkfifo fifo; mv pkg moved;"
        "mkdir pkg; echo new > pkg/m.py; chmod 700 pkg/m.py; rm run.sh; mkdir -p /env/bin;"
        "echo tool > /env/bin/tool; ln /env/bin/tool /env/bin/same"
    )
    result = await sandbox.run(["bash", "-ec", script])
    assert result.exit_code == 0, result.stderr
    target = tmp_path / "staged/layer"
    await sandbox.commit(target)
    assert (target / "workspace/a.txt").read_text() == "a\nfrom the host\none file\n"
    assert os.readlink(target / "workspace/link") == "../escape"
    assert stat.S_ISCHR(os.lstat(target / "workspace/run.sh").st_mode)
    above = dataclasses.replace(spec, layers=(spec.layers[0], target))
    async with await backend.start(above) as sandbox:
        seen = await sandbox.shell(
            "ls . pkg moved; cat pkg/m.py /env/bin/same; stat -c %a pkg/m.py"
        )
        assert seen.stdout == (
            b".:\na.txt\nlink\nmoved\npkg\n\nmoved:\nm.py\nn.py\n\npkg:\nm.py\nnew\ntool\n700\n"
        )
        assert (await sandbox.export()).files == ()
        await sandbox.shell("rm -r moved; echo x > run.sh")
        kinds = {f.path: f.kind for f in (await sandbox.export()).files}
        assert kinds == {"moved/m.py": "deleted", "moved/n.py": "deleted", "run.sh": "added"}


# -- the agent and its keeper ----------------------------------------------------------------


async def test_the_agent_cannot_reach_its_keeper(sandbox: ApiSandbox) -> None:
    result = await sandbox.shell(
        "kill -9 1 7; cat /proc/1/environ; ls /proc/1/root/ /proc/1/fd/; ls /files /ctl /layers;"
        "echo x > /run/repodrome/x; for p in /proc/[0-9]*; do : > $p/mem; done; echo done",
        timeout=20,
    )
    assert result.stdout.count(b"denied") >= 4 and result.stdout.endswith(b"done\n")
    assert (await sandbox.read("a.txt")) == b"a\n"


async def test_a_program_has_its_own_end_and_an_honest_status(sandbox: ApiSandbox) -> None:
    killed = await sandbox.run(["sh", "-c", "echo out; kill -9 $$"])
    assert (killed.exit_code, killed.stdout, killed.stderr) == (137, b"out\n", b"")
    bomb = "x = bytearray()\nwhile True: x += b'x' * (1 << 24)"
    burst = await sandbox.run(["python3", "-I", "-c", bomb])
    assert burst.oom_killed and burst.exit_code != 0
    again = await sandbox.shell(f'python3 -I -c "{bomb}"')
    assert again.oom_killed and not again.timed_out
    quiet = await sandbox.exec(["sh", "-c", "sleep 30 & echo started"], timeout=20)
    assert quiet.stdout == b"started\n"


async def test_many_calls_at_once_and_cancelled_ones_do_not_mix(sandbox: ApiSandbox) -> None:
    async def ask(number: int) -> None:
        with anyio.move_on_after(0.001 * (number % 7)):
            await sandbox.write(f"f{number}", b"%d" % number * 1000)
        await sandbox.write(f"g{number}", b"%d" % number * 1000)
        assert await sandbox.read(f"g{number}") == b"%d" % number * 1000
        result = await sandbox.exec(["echo", str(number)])
        assert result.stdout == b"%d\n" % number

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(ask, number)
    with pytest.raises(WorkspaceError):
        await sandbox.read("missing")


async def test_big_files_travel_whole(sandbox: ApiSandbox) -> None:
    data = os.urandom(1 << 20) * 20
    await sandbox.write("big", data)
    assert await sandbox.read("big") == data
    assert (await sandbox.export(max_file_bytes=1 << 25)).files[0].data == data


# -- transports and networks -----------------------------------------------------------------


async def test_all_of_it_over_tls(tmp_path: Path) -> None:
    for_daemon, for_client = make(tmp_path)
    with running(tls=for_daemon) as daemon:
        address = Address(daemon.tcp_url, str(for_client))
        with closing(Engine(address, connect)) as engine:
            async with await ApiBackend(engine).start(a_spec(tmp_path)) as sandbox:
                assert (await sandbox.shell("cat a.txt")).stdout == b"a\n"
                data = os.urandom(1 << 20) * 10
                await sandbox.write("big", data)
                assert await sandbox.read("big") == data
                result = await sandbox.run(["cat"], stdin=data[: 1 << 20], max_output=1 << 21)
                assert result.stdout == data[: 1 << 20]
            assert left_soon(engine) == []


async def test_listed_hosts_have_a_way_out_of_each_sandboxs_own(
    own_daemon: Daemon, engine: Engine, spec: SandboxSpec
) -> None:
    egress = Egress(engine, BASE)
    backend = ApiBackend(engine, egress=egress)
    listed = dataclasses.replace(spec, network="allowlist", allowed_hosts=("site.example",))
    ask = (
        "import urllib.request, urllib.error\n"
        "try: urllib.request.urlopen('http://other.example/')\n"
        "except urllib.error.HTTPError as e: print(e.code)"
    )
    try:
        async with await backend.start(listed) as sandbox, await sandbox.fork() as twin:
            for each in (sandbox, twin):
                assert (await each.exec(["python3", "-c", ask])).stdout == b"403\n"
            assert (await sandbox.run(["python3", "-c", ask])).stdout == b"403\n"
            serve = "import socket; s = socket.create_server(('', 8000)); s.accept()"
            await sandbox.shell(f'python3 -c "{serve}" &')
            find = "import socket; print(socket.socket().connect_ex(('127.0.0.1', 8000)))"
            assert (await twin.exec(["python3", "-c", find])).stdout != b"0\n"
    finally:
        egress.close()
    assert left_soon(engine) == []


async def test_no_program_of_the_agents_runs_as_the_keepers_user(sandbox: ApiSandbox) -> None:
    trap = "#!/bin/sh\nid -u > /tmp/who; exec /bin/cat"
    await sandbox.shell(f"mkdir -p /env/bin; echo '{trap}' > /env/bin/cat; chmod +x /env/bin/cat")
    async with await sandbox.fork() as twin:
        assert (await twin.shell("[ -e /tmp/who ]")).exit_code == 1
        assert (await twin.shell("cat </dev/null; /bin/cat /tmp/who")).stdout == b"60700\n"
