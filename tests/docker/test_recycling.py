"""A kept container shows nothing of the episode before, and what happens in it stays in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.docker.backend import DockerBackend
from tests.docker.specs import a_spec, container_of

pytestmark = pytest.mark.anyio

LITTER = r"""
for place in /workspace /env /home/agent /tmp /dev/shm /tests /logs /run /etc /var/tmp /opt; do
    echo SECRET > $place/litter; mkdir -p $place/d && echo SECRET > $place/d/litter
done 2>/dev/null
export SECRET=1; cd /tmp; ulimit -n 100; umask 077; trap 'echo SECRET' EXIT
(setsid nohup bash -c 'while :; do echo SECRET > /tmp/again; sleep 0.05; done' &) >/dev/null 2>&1
mkfifo /tmp/fifo; ln -s /etc/passwd /workspace/link; chmod 0 /workspace
python3 - <<'PY'
import ctypes, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
IPC_CREAT = 0o1000
print("shm", libc.shmget(4711, 4096, IPC_CREAT | 0o666))
print("sem", libc.semget(4711, 1, IPC_CREAT | 0o666))
print("msg", libc.msgget(4711, IPC_CREAT | 0o666))
rt = ctypes.CDLL("librt.so.1", use_errno=True)
print("mq", rt.mq_open(b"/litter", os.O_CREAT | os.O_RDWR, 0o666, None))
if os.fork() == 0:
    os.setsid()
    abstract = socket.socket(socket.AF_UNIX); abstract.bind("\0litter"); abstract.listen()
    tcp = socket.create_server(("127.0.0.1", 4711))
    sys.stdout.flush(); os.close(1); os.close(2)
    time.sleep(600)
PY
echo left
"""
LOOK = r"""
grep -rIl SECRET /workspace /env /home /tmp /dev/shm /dev/mqueue /tests /logs /run /etc /var /root \
    /opt /proc/*/environ /proc/*/cmdline 2>/dev/null | grep -v "^/proc/\(self\|thread-self\|$$\)/"
find / -xdev \( -name litter -o -name again -o -name fifo \) 2>/dev/null
find /workspace /env /home/agent /tmp /dev/shm /tests /logs -name 'litter' 2>/dev/null
echo "env=[$SECRET] cwd=$PWD umask=$(umask) files=$(ulimit -n) mode=$(stat -c %a /workspace)"
for p in /proc/[0-9]*; do tr '\0' ' ' < $p/cmdline; done 2>/dev/null | grep -c '[n]ohup'
tail -n +2 /proc/sysvipc/shm; tail -n +2 /proc/sysvipc/sem; tail -n +2 /proc/sysvipc/msg
grep -c litter /proc/net/unix; grep -ci :1267 /proc/net/tcp
python3 -c 'import ctypes, os
rt = ctypes.CDLL("librt.so.1", use_errno=True)
print("queue" if rt.mq_open(b"/litter", os.O_RDWR) >= 0 else "no queue")'
"""


@pytest.fixture
def spec(tmp_path: Path, own_backend: DockerBackend) -> SandboxSpec:
    return a_spec(tmp_path, own_backend.owner)


@pytest.fixture
async def own_backend() -> AsyncIterator[DockerBackend]:
    backend = DockerBackend()
    yield backend
    await backend.close()


async def test_nothing_of_the_episode_before_can_be_seen(
    own_backend: DockerBackend, spec: SandboxSpec
) -> None:
    async with await own_backend.start(spec) as fresh:
        clean = await fresh.shell(LOOK)
        first = container_of(fresh)
    async with await own_backend.start(spec) as dirty:
        assert container_of(dirty) == first
        littered = await dirty.shell(LITTER)
        assert littered.stdout.endswith(b"left\n") and b"-1" not in littered.stdout
        assert b"litter" in (await dirty.shell(LOOK)).stdout
    async with await own_backend.start(spec) as after:
        assert container_of(after) == first, "recycled, or this proves nothing"
        again = await after.shell(LOOK)
    assert again.stdout == clean.stdout
    assert b"env=[] cwd=/workspace umask=0022 files=4096 mode=755\n0\n" in again.stdout


async def test_an_oom_kill_spoils_neither_the_container_nor_the_next_episode(
    own_backend: DockerBackend, spec: SandboxSpec
) -> None:
    bomb = "python3 -c 'x = bytearray()\nwhile True: x += bytes(1 << 24)'"
    async with await own_backend.start(spec) as sandbox:
        first = container_of(sandbox)
        result = await sandbox.shell(bomb, timeout=60)
        assert result.oom_killed and not result.timed_out
        assert (await sandbox.shell("echo on")).stdout == b"on\n"
    async with await own_backend.start(spec) as sandbox:
        assert container_of(sandbox) == first
        calm = await sandbox.shell("false")
        assert calm.exit_code == 1 and not calm.oom_killed


async def test_another_limit_is_another_container(
    own_backend: DockerBackend, spec: SandboxSpec
) -> None:
    from dataclasses import replace

    async with await own_backend.start(spec) as small:
        first = container_of(small)
    other = replace(spec, limits=replace(spec.limits, memory_mb=300))
    async with await own_backend.start(other) as sandbox:
        assert container_of(sandbox) != first


async def test_closing_the_backend_leaves_no_container(
    own_backend: DockerBackend, spec: SandboxSpec
) -> None:
    await own_backend.prefetch(spec, 3)
    async with await own_backend.start(spec) as sandbox:
        inside = container_of(sandbox)
        await own_backend.close()
        assert (await sandbox.shell("echo mine still")).stdout == b"mine still\n"
    await own_backend.close()
    assert inside not in {
        c["Id"]
        for c in own_backend.hosts.hosts[0].engine.call_now(
            lambda client: client.containers(all=True)
        )
    }
