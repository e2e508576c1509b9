"""What an agent may try against the host: forge, flood, stall, escape, outlive."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from repodrome.envs.sandbox.base import SandboxLimits, SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend
from repodrome.envs.sandbox.direct import seccomp
from repodrome.envs.sandbox.direct.cgroup import members
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox
from repodrome.envs.sandbox.direct.shells import MAX_SESSIONS
from repodrome.envs.sandbox.direct.treecopy import TreeCopy
from repodrome.envs.sandbox.registry import get_backend
from repodrome.errors import SandboxError, WorkspaceError

pytestmark = pytest.mark.anyio
SLOW_IN_DOCKER = True
OURS = 3
"""Processes in a container's cgroup that are none of the agent's: its own, and the next one's."""
LIMITS = SandboxLimits(memory_mb=512, pids=96, disk_mb=48, inodes=4000, file_mb=64)


@pytest.fixture
async def sandbox(layer: Path, sandbox_backend: str) -> AsyncIterator[DirectSandbox]:
    spec = SandboxSpec(layers=(layer,), limits=LIMITS)
    async with await get_backend(sandbox_backend).start(spec) as made:
        assert isinstance(made, DirectSandbox)
        yield made


async def script(sandbox: DirectSandbox, code: str) -> None:
    await sandbox.write("evil.py", code.encode())


# -- names, records, floods ------------------------------------------------------------------

RENAMED = """
import ctypes, os, sys, time
if os.fork(): os._exit(0)
os.setsid()
ctypes.CDLL(None).prctl(15, eval(sys.argv[1]), 0, 0, 0)
open("/tmp/here", "w").write(str(os.getpid()))
time.sleep(1000)
"""


@pytest.mark.parametrize("name", [r"b'\xff\xfe'", r"b'\rNSpid:\t1'", r"b'a) R 1 1'"])
async def test_a_name_hides_no_process_from_a_timeout(sandbox: DirectSandbox, name: str) -> None:
    await script(sandbox, RENAMED)
    result = await sandbox.shell(f'python3 evil.py "{name}"; sleep 1000', timeout=1)
    assert result.timed_out
    after = await sandbox.shell("sleep .1; kill -0 $(cat /tmp/here) 2>&1")
    assert b"No such process" in after.stdout


@pytest.mark.parametrize(
    "forgery",
    [
        "head -c 3000000 /dev/zero",
        "printf '2 %05000d /x\\0' 7",
        "head -c 3000000 /dev/urandom",
        "printf '2 7 %0200000d\\0' 1",
        "printf '2\\0 2 \\0 2 x y\\0 \\0'",
    ],
)
async def test_junk_in_the_status_does_no_harm(sandbox: DirectSandbox, forgery: str) -> None:
    await sandbox.shell("true")
    with anyio.fail_after(30):
        # bash keeps the status FIFO under another number while a command runs.
        found = "case $(readlink /proc/$$/fd/$n) in *.st*)"
        forge = (
            f"for n in 9 10 11 12; do {found} echo found; {forgery} > /proc/$$/fd/$n;; esac; done"
        )
        result = await sandbox.shell(forge, timeout=3)
        assert b"found" in result.stdout
        await sandbox.shell("exit 0")
        assert (await sandbox.shell("echo fine")).stdout == b"fine\n"


async def test_junk_in_the_channels_of_what_starts(sandbox: DirectSandbox) -> None:
    await sandbox.shell(
        "(while :; do for f in /run/repodrome/*.st; do"
        " [ -p $f ] && printf '0 0 %05000d\\0%05000d\\0x\\0\\0 \\0' 1 1 1<>$f; done; done)"
        " >/dev/null 2>&1 &"
    )
    for attempt in range(3):
        with anyio.fail_after(30):
            # Junk may end up inside the answer itself: then only the timeout ends the command.
            result = await sandbox.shell("echo x", session=f"s{attempt}", timeout=5)
            assert result.stdout in (b"x\n", b"")
            await sandbox.exec(["true"], timeout=2)


async def test_a_flood_starves_neither_others_nor_its_own_timeout(
    sandbox: DirectSandbox,
) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.02)
            ticks += 1

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        began = time.monotonic()
        flood = "for i in 1 2 3 4; do cat /dev/zero & done; wait"
        result = await sandbox.shell(flood, timeout=1, max_output=10_000)
        group.cancel_scope.cancel()
    assert result.timed_out and time.monotonic() - began < 4
    assert ticks > 8


async def test_half_a_surrogate_pair_is_the_agents_fault(sandbox: DirectSandbox) -> None:
    for attempt in (
        sandbox.shell("echo \ud800"),
        sandbox.exec(["echo", "\ud800"]),
        sandbox.read("\ud800"),
        sandbox.write("\ud800", b""),
    ):
        with pytest.raises(WorkspaceError):
            await attempt


# -- stalling --------------------------------------------------------------------------------


async def test_a_full_disk_silences_nobody(sandbox: DirectSandbox) -> None:
    await sandbox.shell(
        "i=0; while [ $i -lt 5000 ] && : > /tmp/$i; do i=$((i+1)); done 2>/dev/null;"
        " head -c 60000000 /dev/zero > /env/fill"
    )
    long = "echo " + "x" * 5000
    assert (await sandbox.shell(long)).stdout == b"x" * 5000 + b"\n"
    assert (await sandbox.shell("echo new", session="b")).stdout == b"new\n"
    assert (await sandbox.exec(["cat"], stdin=b"in" * 50_000)).stdout == b"in" * 50_000


@pytest.mark.slow
async def test_a_state_that_never_ends_does_not_hold_up_a_fork(sandbox: DirectSandbox) -> None:
    await sandbox.shell("export() { echo 'kill -STOP $$'; }; cd /tmp")
    with anyio.fail_after(30):
        async with await sandbox.fork() as twin:
            assert (await twin.shell("pwd")).stdout == b"/tmp\n"


@pytest.mark.slow
async def test_no_pids_left_for_a_new_session(sandbox: DirectSandbox) -> None:
    await sandbox.shell("while sleep 1000 & do :; done 2>/dev/null", timeout=5)
    await sandbox.shell("for i in $(seq 200); do sleep 1000 & done 2>/dev/null", timeout=20)
    with anyio.fail_after(40):
        assert (await sandbox.shell("echo b", session="b")).stdout == b"b\n"


async def test_sessions_are_bounded(sandbox: DirectSandbox) -> None:
    with pytest.raises(WorkspaceError, match="open already"):
        for number in range(MAX_SESSIONS + 1):
            await sandbox.shell("true", session=f"s{number}\0/../é\n")
    assert (await sandbox.shell("echo main")).stdout == b"main\n"


async def test_a_lease_does_not_stop_the_host(sandbox: DirectSandbox) -> None:
    await script(
        sandbox,
        "import fcntl, time, signal\n"
        "signal.signal(signal.SIGIO, signal.SIG_IGN)\n"
        "f = open('leased', 'w')\n"
        "fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n"
        "print('held', flush=True); time.sleep(1000)\n",
    )
    await sandbox.shell("python3 evil.py > /tmp/said 2>&1 & sleep 0.5; cat /tmp/said")
    began = time.monotonic()
    try:
        await sandbox.read("leased")
    except WorkspaceError as error:
        assert error.code == "permission"
    assert time.monotonic() - began < 2


# -- escaping --------------------------------------------------------------------------------


async def test_only_its_own_descriptors_are_open(sandbox: DirectSandbox) -> None:
    listing = "readlink /proc/1/fd/* /proc/self/fd/* | grep -v '/run/repodrome\\|/dev/null'"
    for result in (
        await sandbox.shell(listing),
        await sandbox.exec(["sh", "-c", listing]),
        await sandbox.run(["sh", "-c", listing]),
    ):
        for line in result.stdout.decode().split():
            assert line.startswith(
                ("pipe:", "/memfd:", "(deleted)", "/proc/", "anon_inode:[event")
            ), line


@pytest.mark.slow
async def test_descriptors_numbered_high_stay_outside(layer: Path) -> None:
    """The spawner of many sandboxes holds many; what it receives then must not be passed on."""
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    kept = []
    try:
        for _ in range(130):
            kept.append(await backend.start(spec, live=False))
        async with anyio.create_task_group() as group:
            for one in kept * 4:
                group.start_soon(one.run, ["sleep", "20"])
            await anyio.sleep(12)
            async with await backend.start(spec) as late:
                assert (await late.shell("ls /proc/1/fd")).stdout.split() == [b"0", b"1", b"2"]
            group.cancel_scope.cancel()
    finally:
        for one in kept:
            await one.close()


@pytest.mark.skipif(seccomp.program() is None, reason="needs the extra [seccomp]")
async def test_refused_calls_stay_refused_in_disguise(sandbox: DirectSandbox) -> None:
    await script(
        sandbox,
        "import ctypes, sys\n"
        "call = ctypes.CDLL(None, use_errno=True).syscall\n"
        "for high in (0, 1 << 32):\n"
        "    for family in (38, 40):\n"
        "        print(call(41, ctypes.c_long(family + high), ctypes.c_long(1), 0))\n"
        "print(call(272, ctypes.c_long(0x10000000 + (1 << 32))), flush=True)\n"
        "call(ctypes.c_long(0x40000000 + 39))\n",
    )
    result = await sandbox.shell("python3 evil.py")
    assert result.stdout.split()[:5] == [b"-1"] * 5
    assert result.exit_code == 159  # x32: killed by SIGSYS


async def test_a_copy_follows_no_swapped_link(tmp_path: Path) -> None:
    source, secret, target = (tmp_path / n for n in ("source", "secret", "target"))
    for path in (source / "upper/d", secret, target):
        path.mkdir(parents=True)
    (secret / "token").write_text("secret")
    (source / "upper/d/token").write_text("mine")
    (source / "upper/link").symlink_to(secret)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            (source / "upper/d").rename(source / "upper/e")
            (source / "upper/link").rename(source / "upper/d")
            (source / "upper/d").rename(source / "upper/link")
            (source / "upper/e").rename(source / "upper/d")

    thread = threading.Thread(target=swap)
    thread.start()
    fd = os.open(source, os.O_PATH)
    try:
        for number in range(300):
            place = target / str(number)
            place.mkdir()
            to = os.open(place, os.O_PATH)
            TreeCopy(to).copy(fd, "upper")
            os.close(to)
    finally:
        stop.set()
        thread.join()
        os.close(fd)
    for parent, _directories, files in os.walk(target):
        assert all(Path(parent, name).read_text() == "mine" for name in files)


# -- outliving -------------------------------------------------------------------------------

TAKE_OVER = r"""
import ctypes, os, struct, sys
c = ctypes.CDLL(None, use_errno=True)
c.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
c.ptrace.restype = ctypes.c_long
def pt(request, address=0, data=0):
    if c.ptrace(request, 1, address, data) == -1 and ctypes.get_errno():
        sys.exit("ptrace: " + os.strerror(ctypes.get_errno()))
pt(0x4206)                                  # SEIZE
pt(0x4207)                                  # INTERRUPT
os.waitpid(1, 0x40000000)
regs = (ctypes.c_ulonglong * 27)()
pt(12, 0, ctypes.addressof(regs))           # GETREGS
with open("/proc/1/mem", "r+b", buffering=0) as memory:
    memory.seek(regs[16])
    memory.write(b"\x0f\x05\xeb\xfe")       # syscall; jmp .
regs[10], regs[14], regs[13], regs[15] = 157, 1, 0, (1 << 64) - 1   # prctl(PR_SET_PDEATHSIG, 0)
pt(13, 0, ctypes.addressof(regs))           # SETREGS
pt(9)                                       # SINGLESTEP
os.waitpid(1, 0x40000000)
pt(12, 0, ctypes.addressof(regs))
print("taken", regs[10], flush=True)
pt(17)                                      # DETACH: it spins for ever
"""


async def take_over(sandbox: DirectSandbox) -> Path:
    """Rob the sandbox's init of its parent-death signal; its place in the host's /proc."""
    await script(sandbox, TAKE_OVER)
    result = await sandbox.shell("python3 evil.py; sleep 1000 &", timeout=20)
    if not result.stdout.startswith(b"taken 0"):
        pytest.skip(f"this kernel guards it: {result.stdout!r}")
    assert sandbox._live is not None
    init = sandbox._live.init_pid()
    assert init is not None
    return Path(f"/proc/{init}")


async def test_an_init_that_was_taken_over_ends_with_the_spawner(
    sandbox: DirectSandbox,
) -> None:
    init = await take_over(sandbox)
    assert init.exists()
    sandbox._place.spawner._process.kill()
    with anyio.fail_after(5):
        while init.exists():  # noqa: ASYNC110 — the kernel's doing
            await anyio.sleep(0.01)


@pytest.mark.slow
async def test_an_init_that_was_taken_over_ends_with_its_sandbox(
    sandbox: DirectSandbox,
) -> None:
    init = await take_over(sandbox)
    with anyio.fail_after(30):  # nobody answers, so the whole is renewed
        assert (await sandbox.shell("echo b", session="b")).stdout == b"b\n"
    assert not init.exists()


async def test_nothing_runs_any_more_when_export_begins(sandbox: DirectSandbox) -> None:
    await sandbox.shell("for i in $(seq 30); do (while :; do echo $i > f$i; done) & done")
    assert sandbox._live is not None
    group = sandbox._live.order.cgroup
    if not group:
        pytest.skip("no cgroup to look into")
    assert len(members(group)) > 30
    await sandbox._end_live()
    assert len(members(group)) <= OURS
    await sandbox.export()


# -- the change ------------------------------------------------------------------------------


async def test_sparse_files_cannot_fill_the_hosts_memory(sandbox: DirectSandbox) -> None:
    await sandbox.shell("for i in $(seq 200); do truncate -s 3M s$i; done; echo b > z.txt")
    change = await sandbox.export(max_file_bytes=4 << 20)
    held = sum(len(f.data or b"") for f in change.files)
    assert held <= 16 << 20
    assert {f.note for f in change.files if f.kind == "refused"} == {
        "the change as a whole is too large"
    }


async def test_deep_directories_and_long_names(sandbox: DirectSandbox) -> None:
    deep = "import os\nfor _ in range(1500):\n    os.mkdir('d'); os.chdir('d')\nopen('f','w')\n"
    await script(sandbox, deep)
    await sandbox.shell("python3 evil.py; touch $(printf '%0255d' 1)")
    change = await sandbox.export()
    assert "0" * 254 + "1" in change.paths
    assert any("nested deeper" in f.note for f in change.files)
    async with await sandbox.fork() as twin:
        assert (await twin.shell("ls -d d a.txt")).stdout == b"a.txt\nd\n"


async def test_forged_overlay_marks_change_nothing(sandbox: DirectSandbox) -> None:
    await script(
        sandbox,
        "import os\n"
        "os.mkdir('d'); open('d/f', 'w').write('f')\n"
        "for path in ('.', 'd', 'd/f', 'a.txt'):\n"
        "    for space in ('user', 'trusted'):\n"
        "        for name in ('opaque', 'whiteout', 'redirect', 'metacopy', 'origin'):\n"
        "            for value in (b'y', b'x', b'/../../../etc'):\n"
        "                try: os.setxattr(path, f'{space}.overlay.{name}', value)\n"
        "                except OSError: pass\n",
    )
    await sandbox.shell("python3 evil.py; rm evil.py; cat a.txt")
    change = await sandbox.export()
    assert {(f.path, f.kind, f.data) for f in change.files} == {("d/f", "added", b"f")}
    assert (await sandbox.shell("ls; cat a.txt")).stdout == b"a.txt\nd\na\n"


# -- the caller's and the machine's ----------------------------------------------------------


async def test_a_command_line_too_long_harms_no_other_sandbox(sandbox: DirectSandbox) -> None:
    with pytest.raises(SandboxError, match="too long"):
        await sandbox.run(["echo", *["x" * 1000] * 300])
    assert (await sandbox.shell("echo x")).stdout == b"x\n"
