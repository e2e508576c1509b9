"""What is particular to the embedded backend: dead owners, floods, crowds, what is missing."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from repodrome.envs.sandbox.base import SandboxLimits, SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend
from repodrome.envs.sandbox.direct.cgroups import detect
from repodrome.envs.sandbox.owner import Owner
from repodrome.envs.sandbox.reaper import reap
from repodrome.errors import SandboxError, SandboxUnavailableError

pytestmark = pytest.mark.anyio
SRC = str(Path(__file__).parents[3] / "src")
HOLD = """
import sys
from pathlib import Path
import anyio
from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend

async def main():
    backend, kept = BubblewrapBackend(), []
    for _ in range(int(sys.argv[2])):
        sandbox = await backend.start(SandboxSpec(layers=(Path(sys.argv[1]),)))
        await sandbox.shell("sleep 1000 & setsid sleep 1000 &")
        kept.append(sandbox)
    print("ready", flush=True)
    await anyio.sleep(1000)

anyio.run(main)
"""


def left_of(owner: Owner) -> list[str]:
    """Everything on this machine that carries an owner's name."""
    found = [
        str(path)
        for directory in set(detect().directories.values())
        for path in Path(directory).iterdir()
        if path.name.startswith(str(owner))
    ]
    found += [str(path) for path in Path("/tmp").glob(f"repodrome-{owner}-*")]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(owner).encode() in line:
                found.append(line.decode(errors="replace"))
    with open("/proc/self/mounts") as mounts:
        found += [line for line in mounts if str(owner) in line]
    return found


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=pytest.mark.slow)])
async def test_kill_9_of_the_owner_leaves_nothing(layer: Path, count: int) -> None:
    child = subprocess.Popen(  # noqa: ASYNC220 — must outlive the event loop's own handling
        [sys.executable, "-c", HOLD, str(layer), str(count)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SRC},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    mine = Owner.current()
    owner = Owner(mine.boot, mine.namespace, child.pid, int(stat[19]))
    assert left_of(owner)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with anyio.fail_after(20):
        while left_of(owner):
            await anyio.sleep(0.05)
            reap()


async def test_reaper_spares_the_living_and_other_peoples(layer: Path) -> None:
    mine = Owner.current()
    dead = Owner(mine.boot, mine.namespace, 2**22 - 1, 1)
    old = Owner("0123456789ab", mine.namespace, mine.pid, mine.started)
    recycled = Owner(mine.boot, mine.namespace, mine.pid, mine.started - 1)
    elsewhere = Owner(mine.boot, mine.namespace + 1, 2**22 - 1, 1)
    paths = {
        owner: Path(f"/tmp/repodrome-{owner}-test")
        for owner in (mine, dead, old, recycled, elsewhere)
    }
    stranger = Path("/tmp/repodrome-something-else")
    try:
        for path in (*paths.values(), stranger):
            path.mkdir()
        reap()
        assert {o for o, path in paths.items() if path.exists()} == {mine, elsewhere}
        assert stranger.exists()
    finally:
        for path in (*paths.values(), stranger):
            if path.exists():
                path.rmdir()


async def test_a_dead_spawner_is_an_infrastructure_error_and_is_replaced(layer: Path) -> None:
    from repodrome.envs.sandbox.direct.client import spawner

    backend = BubblewrapBackend()
    sandbox = await backend.start(SandboxSpec(layers=(layer,)))
    process = spawner()._process
    process.kill()
    process.wait()
    with anyio.fail_after(10), pytest.raises(SandboxError):
        await sandbox.shell("sleep 10")
    await sandbox.close()
    async with await backend.start(SandboxSpec(layers=(layer,))) as fresh:
        assert (await fresh.shell("echo x")).stdout == b"x\n"


async def test_a_forked_child_gets_a_spawner_of_its_own(layer: Path) -> None:
    backend = BubblewrapBackend()
    async with await backend.start(SandboxSpec(layers=(layer,))) as sandbox:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)  # noqa: ASYNC222 — it has ended already
        assert (await sandbox.shell("echo still")).stdout == b"still\n"


@pytest.mark.slow
async def test_a_gigabyte_of_output_stays_out_of_memory(layer: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with await BubblewrapBackend().start(SandboxSpec(layers=(layer,))) as sandbox:
        result = await sandbox.shell("head -c 1000000000 /dev/zero", timeout=120, max_output=10_000)
        assert result.dropped == 1_000_000_000 - 10_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.slow
async def test_two_hundred_at_once(layer: Path) -> None:
    backend = BubblewrapBackend()
    spec = SandboxSpec(layers=(layer,), limits=SandboxLimits(memory_mb=256))
    kept = []
    try:
        for _ in range(200):
            kept.append(await backend.start(spec))
        answers = [await sandbox.shell(f"echo {n}") for n, sandbox in enumerate(kept)]
        assert [a.stdout for a in answers] == [b"%d\n" % n for n in range(200)]
    finally:
        for sandbox in kept:
            await sandbox.close()


async def test_missing_bwrap_is_refused_with_the_fix(layer: Path, tmp_path: Path) -> None:
    class Elsewhere(BubblewrapBackend):
        search_path = str(tmp_path)

    with pytest.raises(SandboxUnavailableError, match="apt-get install bubblewrap"):
        Elsewhere().check()
    with pytest.raises(SandboxUnavailableError):
        await Elsewhere().start(SandboxSpec(layers=(layer,)))


_LACKING = "-sys_admin,-dac_override,-dac_read_search"  # may neither mount nor pass by modes
UNPRIVILEGED = f"exec setpriv --bounding-set {_LACKING} --inh-caps {_LACKING} "


def test_without_user_namespaces_it_refuses_with_the_fix() -> None:
    """As in a container that was given neither mounts nor user namespaces."""
    code = (
        "from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend\n"
        "from repodrome.errors import SandboxUnavailableError\n"
        "try: BubblewrapBackend().check()\n"
        "except SandboxUnavailableError as error: print(error)\n"
    )
    script = f"echo 0 > /proc/sys/user/max_user_namespaces; {UNPRIVILEGED} {sys.executable} -c "
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", script + shlex.quote(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SRC},
        check=False,
    )
    assert "repodrome doctor" in done.stdout, done.stderr


def test_the_conformance_suite_passes_rootless() -> None:
    """All of it again, as somebody who may not mount outside a user namespace."""
    suite = Path(__file__).parents[2] / "conformance/test_sandbox.py"
    command = [sys.executable, "-m", "pytest", str(suite), "-q", "-p", "no:cacheprovider"]
    command += ["--sandbox-backend", "bubblewrap"]
    done = subprocess.run(
        ["sh", "-c", UNPRIVILEGED + shlex.join(command)],
        capture_output=True,
        text=True,
        cwd=suite.parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


async def test_host_packages_cannot_be_imported(layer: Path) -> None:
    async with await BubblewrapBackend().start(SandboxSpec(layers=(layer,))) as sandbox:
        result = await sandbox.shell(
            "for p in $(ls /usr/bin/python3* /usr/local/bin/python3* | grep -v config);"
            " do $p -c 'import pip; print(pip)'; done; ls -d /usr/lib/python3/dist-packages/*"
        )
        assert b"<module 'pip'" not in result.stdout
        assert b"\n/usr/lib/python3/dist-packages/" not in result.stdout


async def test_prefetched_sandboxes_are_handed_out_once(layer: Path) -> None:
    backend = BubblewrapBackend()
    spec = SandboxSpec(layers=(layer,))
    await backend.prefetch(spec, 2)
    taken = [await backend.start(spec) for _ in range(3)]
    assert len({id(sandbox) for sandbox in taken}) == 3
    await backend.prefetch(spec, 1)
    await backend.close()
    for sandbox in taken:
        assert (await sandbox.shell("echo x")).stdout == b"x\n"
        await sandbox.close()


async def test_what_set_up_writes_becomes_a_layer(layer: Path, tmp_path: Path) -> None:
    backend = BubblewrapBackend()
    staged = tmp_path / "staged"
    staged.mkdir()
    sandbox = await backend.start(SandboxSpec(layers=(layer,)), live=False, persist=staged)
    done = await sandbox.run(["sh", "-c", "echo b > b.txt; rm a.txt; echo t > /env/tool"])
    assert done.exit_code == 0
    await sandbox.commit(tmp_path / "made")
    async with await backend.start(SandboxSpec(layers=(layer, tmp_path / "made"))) as twin:
        assert (await twin.shell("ls; cat /env/tool")).stdout == b"b.txt\nt\n"
        await twin.shell("rm b.txt; echo a > a.txt")
        change = await twin.export()
        assert {(f.path, f.kind) for f in change.files} == {
            ("b.txt", "deleted"),
            ("a.txt", "added"),
        }
