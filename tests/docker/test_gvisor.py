"""gVisor: the conformance suite where the agent's containers have a kernel of their own.

What that kernel does otherwise is asserted here in place of the suite's own test of that name.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from repodrome.envs.sandbox.base import Sandbox, SandboxBackend, SandboxSpec
from repodrome.envs.sandbox.docker.api.apart import own_env
from repodrome.envs.sandbox.docker.backend import DockerBackend
from repodrome.envs.sandbox.docker.doctor import docker_checks
from repodrome.envs.sandbox.docker.labels import OWNER
from repodrome.errors import SandboxError, SandboxUnavailableError, WorkspaceError
from tests.conformance.test_sandbox import *  # noqa: F403
from tests.docker.daemon import Daemon, running

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("runsc") is None, reason="needs `apt-get install runsc`"),
]
STAT = "python3 -I -c 'import os, sys; print(os.stat(sys.argv[1]).st_size)'"
"""The runsc of 2022 refuses the flags that the stat and ls -l of coreutils 9 use."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    runtime = {"path": shutil.which("runsc"), "runtimeArgs": ["--network=none"]}
    with running(config={"runtimes": {"runsc": runtime}}) as daemon:
        yield daemon


@pytest.fixture
async def backend(daemon: Daemon) -> AsyncIterator[DockerBackend]:
    backend = DockerBackend([daemon.url], runtime="runsc")
    yield backend
    await backend.close()


# -- in place of the suite's -----------------------------------------------------------------


async def test_what_is_no_file_cannot_block_the_host(sandbox: Sandbox) -> None:
    """FIFOs and sockets are that kernel's own: the host sees none."""
    await sandbox.shell("mkfifo fifo; mkdir dir; ln -s /dev/zero zero")
    for path, code in (("fifo", "not_found"), ("dir", "is_directory"), ("zero", "escape")):
        with anyio.fail_after(5), pytest.raises(WorkspaceError) as caught:
            await sandbox.read(path)
        assert caught.value.code == code
    with anyio.fail_after(5):
        await sandbox.write("fifo", b"a file")
    assert await sandbox.read("fifo") == b"a file"


async def test_export_refuses_what_is_no_file(sandbox: Sandbox) -> None:
    await sandbox.shell(
        "ln -s /etc/passwd link; mkfifo fifo; rm a.txt; ln -s /etc/shadow a.txt;"
        "truncate -s 30M sparse; echo u > u; chmod 0 u"
    )
    change = await sandbox.export(max_file_bytes=1 << 20)
    assert {(f.path, f.kind) for f in change.files} == {
        ("link", "refused"),
        ("a.txt", "refused"),
        ("sparse", "refused"),
        ("u", "added"),
    }


async def test_the_host_is_out_of_reach(sandbox: Sandbox, tmp_path: Path) -> None:
    """It says who may write before it says that nobody may."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    result = await sandbox.shell(
        f"cat {secret}; for f in /usr/x /etc/x /x; do (: > $f) || echo refused; done; "
        "mount -t tmpfs t /mnt || echo refused; chroot / true || echo refused; "
        "(echo 1 > /proc/sys/kernel/panic) || echo refused"
    )
    assert b"secret\n" not in result.stdout
    assert result.stdout.count(b"refused\n") == 6


async def test_no_capabilities_and_no_new_ones(sandbox: Sandbox) -> None:
    """Its status has no line NoNewPrivs."""
    result = await sandbox.shell("grep -E 'CapEff|CapPrm' /proc/self/status; id -u")
    assert result.stdout.split()[1::2] == [b"0" * 16, b"0" * 16]
    assert result.stdout.split()[-1] != b"0"
    gained = await sandbox.shell(
        "find / -xdev -perm -4000 -type f 2>/dev/null | grep -q . && su -c id </dev/null; "
        "python3 -I -c 'import os; os.setuid(0)' || echo refused"
    )
    assert b"uid=0" not in gained.stdout and gained.stdout.endswith(b"refused\n")


async def test_one_file_has_a_limit(sandbox: Sandbox) -> None:
    result = await sandbox.shell(f"head -c 40000000 /dev/zero > big; {STAT} big")
    assert int(result.stdout.split()[-1]) <= 32 << 20


async def test_snapshot_and_restore(sandbox: Sandbox) -> None:
    await sandbox.shell(
        "cd pkg; export V=1; f() { echo f; }; echo s > s; rm ../a.txt; echo t > /tmp/t"
    )
    snapshot = await sandbox.snapshot()
    await sandbox.shell("cd /; V=2; rm -rf /workspace/pkg; echo more > /workspace/a.txt")
    await sandbox.restore(snapshot)
    after = await sandbox.shell("pwd; echo $V; f; cat s /tmp/t; cat /workspace/a.txt")
    assert after.stdout.startswith(b"/workspace/pkg\n1\nf\ns\nt\n")
    assert b"No such file" in after.stdout
    await snapshot.release()
    with pytest.raises(SandboxError):
        await sandbox.restore(snapshot)


# -- beyond the suite ------------------------------------------------------------------------


async def test_it_is_gvisor_for_agents_and_graders(sandbox: Sandbox) -> None:
    ours = os.uname().release
    for result in (await sandbox.shell("uname -r"), await sandbox.run(["uname", "-r"])):
        assert result.exit_code == 0 and result.stdout.decode().strip() != ours


async def test_the_keeper_inside_is_out_of_reach(sandbox: Sandbox) -> None:
    result = await sandbox.shell(
        "kill -9 1 || echo refused; (: < /proc/1/mem) || echo refused; "
        "(: < /proc/1/environ) || echo refused; (: > /run/x) || echo refused; "
        "d=$(dirname $(readlink /proc/$$/fd/8)); (: > $d/x) || echo refused; "
        "rm -f $d/* || echo refused"
    )
    assert result.stdout.count(b"refused\n") >= 5, result.stdout
    assert (await sandbox.shell("echo on")).stdout == b"on\n"


async def test_the_processes_that_a_task_allows_fit(sandbox: Sandbox) -> None:
    result = await sandbox.shell("for i in {1..60}; do sleep 2 & done; wait; echo all")
    assert result.stdout.endswith(b"all\n") and not result.shell_lost


async def test_memory_that_processes_take_together_is_limited(sandbox: Sandbox) -> None:
    """Each below the limit of one: then all ends, and is replaced, with the files as they were."""
    await sandbox.shell("echo kept > kept")
    takes = "x = bytearray(200 << 20); import time; time.sleep(60)"
    result = await sandbox.shell(f"for i in 1 2 3 4; do python3 -I -c '{takes}' & done; wait")
    assert result.oom_killed and result.shell_lost and result.exit_code is None
    assert (await sandbox.shell("cat kept")).stdout == b"kept\n"


async def test_a_kernel_that_ended_unseen_costs_nothing_but_shells(sandbox: Sandbox) -> None:
    await sandbox.shell("echo kept > kept; (sleep 1; f() { f | f & }; f) & disown")
    await anyio.sleep(4)
    assert await sandbox.read("kept") == b"kept\n"
    snapshot = await sandbox.snapshot()
    await snapshot.release()
    assert [file.path for file in (await sandbox.export()).files] == ["kept"]
    for _ in range(2):
        last = await sandbox.shell("echo on")
    assert last.stdout == b"on\n"


async def test_a_container_removed_from_outside_is_no_fault_of_the_agents(
    sandbox: Sandbox, daemon: Daemon
) -> None:
    with closing(daemon.client()) as client:
        for found in client.containers():
            if "-inside-" in found["Names"][0]:
                client.remove_container(found["Id"], force=True)
    with pytest.raises(SandboxError):
        await sandbox.shell("echo on")


async def test_nothing_is_left(backend: DockerBackend, spec: SandboxSpec, daemon: Daemon) -> None:
    async with await backend.start(spec) as sandbox:
        await sandbox.shell("f() { f | f & }; f; sleep 60", timeout=3)
        await sandbox.shell("echo on")
    with closing(daemon.client()) as client:
        assert not client.containers(all=True, filters={"label": OWNER})


async def test_a_list_of_hosts_is_refused(backend: SandboxBackend, layer: Path) -> None:
    spec = SandboxSpec(layers=(layer,), network="allowlist", allowed_hosts=("pypi.org",))
    with pytest.raises(SandboxUnavailableError, match="runc"):
        await backend.start(spec)


async def test_a_runtime_that_is_not_there_is_named(daemon: Daemon, spec: SandboxSpec) -> None:
    backend = DockerBackend([daemon.url], runtime="kata")
    with pytest.raises(SandboxUnavailableError, match=r"no runtime kata, but .*runsc"):
        await backend.start(spec)
    await backend.close()


async def test_the_variable_chooses_it(
    daemon: Daemon, spec: SandboxSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPODROME_DOCKER_RUNTIME", "runsc")
    monkeypatch.setenv("REPODROME_DOCKER_HOSTS", daemon.url)
    backend = DockerBackend()
    async with await backend.start(spec) as sandbox:
        assert (await sandbox.shell("uname -r")).stdout.decode().strip() != os.uname().release
    await backend.close()
    said = {check.name: check for check in docker_checks()}
    assert "runsc" in said["docker mode"].detail
    assert "runsc by REPODROME_DOCKER_RUNTIME" in said["docker runtimes"].detail


def test_the_keeper_finds_no_program_of_the_agents() -> None:
    env = {"PATH": "/env/bin:/usr/bin:bin:/app/../app/bin:/opt/py/bin", "LD_PRELOAD": "/env/x.so"}
    assert own_env(env, ["/env", "/app"]) == {"PATH": "/usr/bin:/opt/py/bin", "LANG": "C.UTF-8"}


async def test_what_set_up_writes_becomes_a_layer(
    backend: DockerBackend, spec: SandboxSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "persist"
    folder.mkdir()
    sandbox = await backend.start(spec, live=False, persist=folder)
    assert (await sandbox.run(["sh", "-c", "echo made > made; rm a.txt"])).exit_code == 0
    await sandbox.commit(tmp_path / "made")
    assert (tmp_path / "made/workspace/made").read_text() == "made\n"
    above = dataclasses.replace(spec, layers=(*spec.layers, tmp_path / "made"))
    async with await backend.start(above) as sandbox:
        seen = await sandbox.shell("cat made; cat a.txt")
        assert seen.stdout.startswith(b"made\n") and seen.exit_code != 0
