"""What every sandbox backend must do: one suite, run on each of them.

A backend of somebody else's passes it too: ``pytest tests/conformance/test_sandbox.py
--sandbox-backend NAME``.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from repodrome.envs.sandbox.base import Sandbox, SandboxBackend, SandboxLimits, SandboxSpec
from repodrome.envs.sandbox.registry import get_backend
from repodrome.errors import SandboxError, WorkspaceError

pytestmark = pytest.mark.anyio
LIMITS = SandboxLimits(memory_mb=256, pids=64, disk_mb=48, inodes=2000, file_mb=32)


def count(pattern: str) -> str:
    """Bash that says how many processes have such a command line (bare machines lack pgrep)."""
    pattern = pattern.replace(" ", "\\ ")
    return (
        "n=0; for p in /proc/[0-9]*/cmdline; do { c=$(tr '\\0' ' ' <$p); } 2>/dev/null; "
        f"[[ $c == {pattern}\\  ]] && n=$((n+1)); done; echo $n"
    )


@pytest.fixture
def layer(tmp_path: Path, backend: SandboxBackend) -> Path:
    root = tmp_path / "layer"
    workspace = root / "workspace"
    (workspace / "pkg/sub").mkdir(parents=True)
    for name in ("env", "home"):
        (root / name).mkdir()
    (workspace / "a.txt").write_text("one\ntwo\n")
    (workspace / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (workspace / "run.sh").chmod(0o755)
    (workspace / "pkg/m.py").write_text("x = 1\n")
    (workspace / "pkg/sub/n.py").write_text("y = 2\n")
    (workspace / "inside").symlink_to("pkg/m.py")
    tmp_path.chmod(0o755)
    owner = getattr(backend, "owner", (os.getuid(), os.getgid()))
    for path in (root, *root.rglob("*")):
        os.chown(path, *owner, follow_symlinks=False)
    return root


@pytest.fixture
def backend(sandbox_backend: str) -> SandboxBackend:
    return get_backend(sandbox_backend)


@pytest.fixture
def spec(layer: Path) -> SandboxSpec:
    return SandboxSpec(layers=(layer,), limits=LIMITS, env=(("TASK_VARIABLE", "set"),))


@pytest.fixture
async def sandbox(backend: SandboxBackend, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
    async with await backend.start(spec) as made:
        yield made


# -- shells ----------------------------------------------------------------------------------


async def test_shell_answers_with_status_and_output(sandbox: Sandbox) -> None:
    result = await sandbox.shell("echo out; echo err >&2; (exit 7)")
    assert (result.exit_code, result.stdout) == (7, b"out\nerr\n")


async def test_shell_state_survives_between_commands(sandbox: Sandbox) -> None:
    await sandbox.shell("cd pkg; export A=1; b=2; f() { echo f$1; }")
    result = await sandbox.shell('pwd; echo $A$b; f 3; sh -c "echo $A"')
    assert result.stdout == b"/workspace/pkg\n12\nf3\n1\n"


async def test_sessions_are_apart_but_share_processes_and_network(sandbox: Sandbox) -> None:
    await sandbox.shell("v=main; cd /tmp; sleep 60 & echo $! > /tmp/pid")
    other = await sandbox.shell(
        'echo "v=$v"; pwd; kill -0 $(cat /tmp/pid) && echo seen', session="b"
    )
    assert other.stdout == b"v=\n/workspace\nseen\n"
    assert (await sandbox.shell("echo $v; pwd")).stdout == b"main\n/tmp\n"


@pytest.mark.parametrize(
    "command",
    [
        "echo 'unclosed",
        'echo "unclosed',
        "cat <<EOF\nno end",
        "if true",
        "f() {",
        "echo $((1+",
        ")",
    ],
)
async def test_unfinished_syntax_cannot_wedge_the_shell(sandbox: Sandbox, command: str) -> None:
    await sandbox.shell("kept=yes")
    await sandbox.shell(command, timeout=10)
    assert (await sandbox.shell("echo $kept", timeout=10)).stdout == b"yes\n"


@pytest.mark.parametrize("command", ["exit 3", "kill -9 $$", "exec true", "set -e; false"])
async def test_an_ended_shell_is_said_and_replaced(sandbox: Sandbox, command: str) -> None:
    await sandbox.shell("cd pkg; v=1")
    assert (await sandbox.shell(command)).shell_lost
    after = await sandbox.shell('pwd; echo "v=$v"')
    assert after.stdout == b"/workspace/pkg\nv=\n"
    assert not after.shell_lost


async def test_killing_everything_inside_leaves_a_working_sandbox(sandbox: Sandbox) -> None:
    await sandbox.shell("kill -9 -1; kill -9 1; kill -9 $$")
    assert (await sandbox.shell("echo back")).stdout == b"back\n"


async def test_timeout_kills_the_tree_and_keeps_the_shell(sandbox: Sandbox) -> None:
    await sandbox.shell("v=kept; sleep 300 & echo $! > /tmp/before")
    began = time.monotonic()
    result = await sandbox.shell("(sleep 301 & sleep 302) | cat", timeout=0.5)
    assert result.timed_out and result.exit_code is None
    assert time.monotonic() - began < 5
    after = await sandbox.shell(
        f"echo $v; {count('sleep 30[12]')}; kill -0 $(cat /tmp/before) && echo job"
    )
    assert after.stdout == b"kept\n0\njob\n"


async def test_a_shell_that_will_not_stop_is_replaced(sandbox: Sandbox) -> None:
    result = await sandbox.shell("trap '' INT TERM; while :; do :; done", timeout=0.5)
    assert result.timed_out and result.shell_lost
    assert (await sandbox.shell("echo back")).stdout == b"back\n"


async def test_cancelled_command_does_not_answer_the_next(sandbox: Sandbox) -> None:
    with anyio.move_on_after(0.3):
        await sandbox.shell("sleep 1; echo late")
    result = await sandbox.shell(f"echo mine; {count('sleep 1')}")
    assert result.stdout == b"mine\n0\n"


async def test_forged_status_harms_only_the_forger(sandbox: Sandbox) -> None:
    await sandbox.shell("for n in 8 9 10 11 12; do printf '2 0 /etc\\0' >&$n; done 2>/dev/null")
    await sandbox.shell("printf() { :; }; eval() { :; }; read() { :; }", timeout=10)
    first = await sandbox.shell("echo first", timeout=3)
    second = await sandbox.shell("echo second", timeout=3)
    assert b"second" in second.stdout or first.shell_lost or second.shell_lost


async def test_background_output_does_not_hold_up_the_command(sandbox: Sandbox) -> None:
    began = time.monotonic()
    result = await sandbox.shell("sleep 5 & echo started")
    assert result.stdout == b"started\n"
    assert time.monotonic() - began < 2


async def test_big_commands_and_odd_bytes_arrive_whole(sandbox: Sandbox) -> None:
    text = "héllo \udcff\t" * 4000
    result = await sandbox.shell(f"cat <<'EOF'\n{text}\nEOF")
    assert result.stdout.decode(errors="surrogateescape") == text + "\n"
    assert (await sandbox.shell("printf 'a\\0b\\377'")).stdout == b"a\0b\xff"


async def test_output_is_capped_head_and_tail(sandbox: Sandbox) -> None:
    result = await sandbox.shell("seq 1 200000", max_output=10_000)
    assert result.stdout.startswith(b"1\n2\n")
    assert result.stdout.endswith(b"199999\n200000\n")
    assert result.dropped > 1_000_000 and len(result.stdout) < 11_000


async def test_ten_megabytes_on_one_line(sandbox: Sandbox) -> None:
    result = await sandbox.shell("head -c 10000000 /dev/zero | tr '\\0' x", max_output=1000)
    assert result.exit_code == 0
    assert result.dropped == 10_000_000 - 1000


async def test_commands_read_nothing_from_the_host(sandbox: Sandbox) -> None:
    assert (await sandbox.shell("cat; read x; echo $?", timeout=10)).stdout == b"1\n"


@pytest.mark.slow  # bash tries for 15 s
async def test_no_process_left_for_init_is_not_the_end(sandbox: Sandbox) -> None:
    bomb = """import os, time
while True:
    try:
        if os.fork():
            time.sleep(0.001)
        else:
            time.sleep(600)
    except OSError:
        pass
"""
    await sandbox.write("bomb.py", bomb.encode())
    await sandbox.shell("setsid python3 bomb.py >/dev/null 2>&1 & sleep 1")
    for _ in range(2):
        result = await sandbox.exec(["echo", "hi"], timeout=20)
        assert result.exit_code in (None, 0)  # gVisor keeps room for one
    with anyio.fail_after(90):  # a further line or two may be lost on the way, and a shell
        while (await sandbox.shell("kill -9 -1; echo here")).stdout != b"here\n":
            pass
        while (await sandbox.exec(["echo", "hi"], timeout=5)).exit_code != 0:
            pass


# -- exec and run ----------------------------------------------------------------------------


async def test_exec_keeps_streams_apart(sandbox: Sandbox) -> None:
    argv = ["sh", "-c", 'cat; echo "$V" >&2; pwd; exit 4']
    result = await sandbox.exec(argv, stdin=b"in ", cwd="/workspace/pkg", env={"V": "a b'c"})
    assert (result.exit_code, result.stdout) == (4, b"in /workspace/pkg\n")
    assert result.stderr == b"a b'c\n"


async def test_exec_times_out_with_its_tree(sandbox: Sandbox) -> None:
    result = await sandbox.exec(["sh", "-c", "echo begun; sleep 311 & sleep 312"], timeout=0.5)
    assert result.timed_out and result.stdout == b"begun\n"
    assert (await sandbox.shell(count("sleep 31[12]"))).stdout == b"0\n"


async def test_exec_beside_a_busy_shell(sandbox: Sandbox) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(sandbox.shell, "sleep 1")
        began = time.monotonic()
        assert (await sandbox.exec(["echo", "x"])).stdout == b"x\n"
        assert time.monotonic() - began < 0.9


async def test_run_reports_the_hosts_own_status(sandbox: Sandbox) -> None:
    await sandbox.write("made.txt", b"by the host")
    code = "import sys; print(open('made.txt').read()); sys.stderr.write(sys.stdin.read()); exit(9)"
    result = await sandbox.run(["python3", "-c", code], stdin=b"x" * 100_000)
    assert (result.exit_code, result.stdout) == (9, b"by the host\n")
    assert result.stderr == b"x" * 100_000


async def test_run_sees_none_of_the_shells_processes(sandbox: Sandbox) -> None:
    # The child is bash's copy until it has become sleep.
    seen = await sandbox.shell(f"sleep 60 & until [ $({count('sleep *')}) = 1 ]; do :; done")
    assert seen.exit_code == 0
    assert (await sandbox.run(["bash", "-c", count("sleep *")])).stdout == b"0\n"


async def test_run_times_out(sandbox: Sandbox) -> None:
    result = await sandbox.run(["sh", "-c", "echo begun; sleep 60"], timeout=0.5)
    assert result.timed_out and result.exit_code is None and result.stdout == b"begun\n"


async def test_run_works_without_live_processes(backend: SandboxBackend, spec: SandboxSpec) -> None:
    async with await backend.start(spec, live=False) as sandbox:
        assert (await sandbox.run(["cat", "a.txt"])).stdout == b"one\ntwo\n"
        missing = await sandbox.run(["no-such-program"])
        assert missing.exit_code not in (0, None)


async def test_environment_is_clean(sandbox: Sandbox) -> None:
    os.environ["SECRET_OF_THE_HOST"] = "leak"
    for result in (await sandbox.shell("env"), await sandbox.run(["env"])):
        names = {line.partition(b"=")[0] for line in result.stdout.splitlines()}
        assert b"SECRET_OF_THE_HOST" not in names and b"TASK_VARIABLE" in names
    shown = await sandbox.shell("cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'")
    assert b"SECRET_OF_THE_HOST" not in shown.stdout


# -- files -----------------------------------------------------------------------------------


async def test_files_by_host_and_shell_are_the_same(sandbox: Sandbox) -> None:
    await sandbox.write("new/deep/f.txt", b"host\n")
    result = await sandbox.shell("cat new/deep/f.txt; echo more >> new/deep/f.txt; rm a.txt")
    assert result.stdout == b"host\n"
    assert await sandbox.read("new/deep/f.txt") == b"host\nmore\n"
    with pytest.raises(WorkspaceError) as caught:
        await sandbox.read("a.txt")
    assert caught.value.code == "not_found"


async def test_read_windows_stat_and_listing(sandbox: Sandbox) -> None:
    assert await sandbox.read("/workspace/a.txt", offset=4, limit=3) == b"two"
    assert await sandbox.read("inside") == b"x = 1\n"
    info = await sandbox.stat("run.sh")
    assert info.kind == "file" and info.executable
    assert (await sandbox.stat("inside")).kind == "link"
    names = {entry.path: entry.kind for entry in await sandbox.list_dir("pkg")}
    assert names == {"pkg/m.py": "file", "pkg/sub": "dir"}


async def test_writing_keeps_mode_and_sets_it(sandbox: Sandbox) -> None:
    await sandbox.write("run.sh", b"#!/bin/sh\necho again\n")
    assert (await sandbox.shell("./run.sh")).stdout == b"again\n"
    await sandbox.write("tool", b"#!/bin/sh\necho tool\n", executable=True)
    assert (await sandbox.shell("./tool")).stdout == b"tool\n"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "pkg/../../x", "/workspace/../etc/passwd"])
async def test_paths_out_of_the_workspace_are_refused(sandbox: Sandbox, path: str) -> None:
    for call in (sandbox.read(path), sandbox.write(path, b""), sandbox.stat(path)):
        with pytest.raises(WorkspaceError) as caught:
            await call
        assert caught.value.code == "escape"


async def test_links_out_of_the_workspace_are_refused(sandbox: Sandbox) -> None:
    await sandbox.shell("ln -s /etc/passwd out; ln -s / root; ln -s ../.. up; ln -s loop loop")
    for path in ("out", "root/etc/passwd", "up/etc/passwd", "loop"):
        with pytest.raises(WorkspaceError):
            await sandbox.read(path)
        with pytest.raises(WorkspaceError):
            await sandbox.write(path, b"owned")
    await sandbox.delete("out")
    assert "out" not in {entry.path for entry in await sandbox.list_dir()}


async def test_what_is_no_file_cannot_block_the_host(sandbox: Sandbox) -> None:
    await sandbox.shell("mkfifo fifo; mkdir dir; ln -s /dev/zero zero")
    for path, codes in (
        ("fifo", {"not_regular"}),
        ("dir", {"is_directory"}),
        ("zero", {"escape"}),
    ):
        for call in (sandbox.read(path), sandbox.write(path, b"x")):
            with anyio.fail_after(5), pytest.raises(WorkspaceError) as caught:
                await call
            assert caught.value.code in codes


async def test_odd_names(sandbox: Sandbox) -> None:
    name = "new\nline \udcff 'q' é"
    await sandbox.write(name, b"1")
    assert name in {entry.path for entry in await sandbox.list_dir()}
    assert await sandbox.read(name) == b"1"
    with pytest.raises(WorkspaceError):
        await sandbox.read("a\0b")
    with pytest.raises(WorkspaceError):
        await sandbox.write("n" * 300, b"")


async def test_delete(sandbox: Sandbox) -> None:
    with pytest.raises(WorkspaceError) as caught:
        await sandbox.delete("pkg")
    assert caught.value.code == "not_empty"
    await sandbox.delete("pkg/sub/n.py")
    await sandbox.delete("pkg/sub")
    with pytest.raises(WorkspaceError):
        await sandbox.delete(".")


# -- isolation and limits --------------------------------------------------------------------


async def test_no_network_but_loopback(sandbox: Sandbox) -> None:
    result = await sandbox.shell(
        "python3 -I -c \"import socket; s=socket.create_server(('127.0.0.1',0));"
        "socket.create_connection(s.getsockname()); print('loopback')\n"
        "try: socket.create_connection(('192.0.2.1', 80), 2); print('out')\n"
        "except OSError: print('none')\""
    )
    assert result.stdout == b"loopback\nnone\n"


async def test_the_host_is_out_of_reach(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    result = await sandbox.shell(
        f"cat {secret}; touch /usr/x; touch /etc/x; touch /x; mount -t tmpfs t /mnt; "
        "unshare -Ur true; chroot / true; ls -A /root; echo 1 > /proc/sys/kernel/panic"
    )
    assert b"secret\n" not in result.stdout
    assert result.stdout.count(b"Read-only file system") >= 3
    for words in (b"unshare", b"chroot", b"mount"):
        assert words in result.stdout


async def test_no_capabilities_and_no_new_ones(sandbox: Sandbox) -> None:
    result = await sandbox.shell(
        "grep -E 'CapEff|CapPrm|CapBnd|NoNewPrivs' /proc/self/status; id -u"
    )
    text = result.stdout.decode()
    assert "CapEff:\t0000000000000000" in text and "CapPrm:\t0000000000000000" in text
    assert "NoNewPrivs:\t1" in text and text.splitlines()[-1] != "0"


async def test_disk_quota_bytes_and_inodes(sandbox: Sandbox) -> None:
    full = await sandbox.shell("for i in 1 2 3 4; do head -c 20000000 /dev/zero > big$i; done")
    assert b"No space left" in full.stdout
    with pytest.raises(WorkspaceError) as caught:
        await sandbox.write("more", b"x" * 30_000_000)
    assert caught.value.code == "disk_full"
    await sandbox.shell("rm -f big* more")
    many = await sandbox.shell("mkdir many; cd many; seq 1 3000 | xargs touch")
    assert b"No space left" in many.stdout
    await sandbox.shell("cd ..; rm -rf many")
    await sandbox.write("fits", b"again")


async def test_one_file_has_a_limit(sandbox: Sandbox) -> None:
    result = await sandbox.shell("head -c 40000000 /dev/zero > big; stat -c %s big")
    assert int(result.stdout.split()[-1]) <= 32 << 20


async def test_memory_bomb_is_killed_and_told_apart(sandbox: Sandbox) -> None:
    bomb = "python3 -I -c 'x = bytearray(); \nwhile True: x += b\"x\" * (1 << 24)'"
    result = await sandbox.shell(bomb, timeout=60)
    assert not result.timed_out and result.exit_code != 0
    assert result.oom_killed or b"MemoryError" in result.stdout
    assert (await sandbox.shell("echo alive")).stdout == b"alive\n"


async def test_fork_bomb_is_contained(sandbox: Sandbox) -> None:
    result = await sandbox.shell("f() { f | f & }; f; sleep 60", timeout=3)
    assert result.timed_out or result.shell_lost or result.exit_code != 0
    with anyio.fail_after(30):
        assert (await sandbox.shell("echo alive", timeout=20)).stdout.endswith(b"alive\n")


# -- export, snapshot, fork ------------------------------------------------------------------


async def test_export_tells_exactly_what_changed(sandbox: Sandbox) -> None:
    await sandbox.shell(
        "echo three >> a.txt; rm pkg/m.py; mkdir new; printf 'b\\0' > new/bin; chmod +x new/bin;"
        "touch pkg/sub/n.py; cp run.sh same && mv same run.sh; echo .git > .gitignore"
    )
    change = await sandbox.export()
    assert {(f.path, f.kind, f.data) for f in change.files} == {
        ("a.txt", "modified", b"one\ntwo\nthree\n"),
        ("pkg/m.py", "deleted", None),
        ("new/bin", "added", b"b\0"),
        (".gitignore", "added", b".git\n"),
    }
    assert next(f for f in change.files if f.path == "new/bin").executable


async def test_export_of_moved_and_replaced_directories(sandbox: Sandbox) -> None:
    await sandbox.shell("mv pkg moved; rm -rf moved/sub; mkdir pkg; echo z > pkg/z.py; mv pkg pkg2")
    change = await sandbox.export()
    assert {(f.path, f.kind, f.data) for f in change.files} == {
        ("pkg/m.py", "deleted", None),
        ("pkg/sub/n.py", "deleted", None),
        ("moved/m.py", "added", b"x = 1\n"),
        ("pkg2/z.py", "added", b"z\n"),
    }


async def test_export_refuses_what_is_no_file(sandbox: Sandbox) -> None:
    await sandbox.shell(
        "ln -s /etc/passwd link; mkfifo fifo; rm a.txt; ln -s /etc/shadow a.txt;"
        "truncate -s 30M sparse; mkdir hidden; echo h > hidden/f; chmod 0 hidden; echo u > u;"
        "chmod 0 u;"
        "python3 -I -c \"import socket; socket.socket(socket.AF_UNIX).bind('sock')\";"
        "touch $'new\\nline'"
    )
    change = await sandbox.export(max_file_bytes=1 << 20)
    kinds = {f.path: f.kind for f in change.files}
    assert {"link", "fifo", "sock", "sparse", "a.txt"} <= {
        path for path, kind in kinds.items() if kind == "refused"
    }
    assert kinds["new\nline"] == "added"
    assert {kinds["hidden/f"], kinds["u"]} == {"added"}
    assert all(f.data is None for f in change.files if f.kind == "refused")


async def test_export_of_file_in_place_of_directory(sandbox: Sandbox) -> None:
    await sandbox.shell("rm -rf pkg; echo f > pkg; rm run.sh; mkdir run.sh; echo i > run.sh/i")
    change = await sandbox.export()
    assert {(f.path, f.kind) for f in change.files} == {
        ("pkg", "added"),
        ("pkg/m.py", "deleted"),
        ("pkg/sub/n.py", "deleted"),
        ("run.sh", "deleted"),
        ("run.sh/i", "added"),
    }


async def test_untouched_workspace_has_no_change(sandbox: Sandbox) -> None:
    await sandbox.shell("cat a.txt; ls -R; touch /tmp/x; echo h > ~/h")
    assert (await sandbox.export()).files == ()


async def test_the_sandbox_goes_on_after_export(sandbox: Sandbox) -> None:
    await sandbox.shell("cd pkg; sleep 60 &")
    await sandbox.export()
    assert (await sandbox.shell(f"pwd; {count('sleep *')}")).stdout == b"/workspace/pkg\n0\n"


async def test_snapshot_and_restore(sandbox: Sandbox) -> None:
    await sandbox.shell(
        "cd pkg; export V=1; f() { echo f; }; echo s > s; rm ../a.txt; echo t > /tmp/t"
    )
    snapshot = await sandbox.snapshot()
    await sandbox.shell("cd /; V=2; rm -rf /workspace/pkg; echo more > /workspace/a.txt")
    await sandbox.restore(snapshot)
    after = await sandbox.shell("pwd; echo $V; f; cat s /tmp/t; ls /workspace/a.txt")
    assert after.stdout.startswith(b"/workspace/pkg\n1\nf\ns\nt\n")
    assert b"No such file" in after.stdout
    await sandbox.shell("rm s")
    await sandbox.restore(snapshot)
    assert (await sandbox.shell("cat s")).stdout == b"s\n"
    await snapshot.release()
    await snapshot.release()
    with pytest.raises(SandboxError):
        await sandbox.restore(snapshot)


async def test_fork_goes_its_own_way(sandbox: Sandbox) -> None:
    await sandbox.shell(
        "cd pkg; V=1; export V; echo parent > p; git mv x y 2>/dev/null; mv sub sub2"
    )
    async with await sandbox.fork() as twin:
        assert (await twin.shell("pwd; echo $V; cat p; ls")).stdout == (
            b"/workspace/pkg\n1\nparent\nm.py\np\nsub2\n"
        )
        await twin.shell("echo twin > p")
        assert (await sandbox.shell("cat p")).stdout == b"parent\n"
        mine, its = await sandbox.export(), await twin.export()
        assert [f.path for f in mine.files] == [f.path for f in its.files]


# -- the end ---------------------------------------------------------------------------------


async def test_close_twice_and_use_after(backend: SandboxBackend, spec: SandboxSpec) -> None:
    sandbox = await backend.start(spec)
    await sandbox.close()
    await sandbox.close()
    with pytest.raises(SandboxError):
        await sandbox.shell("true")
    with pytest.raises(SandboxError):
        await sandbox.read("a.txt")
    with pytest.raises(SandboxError):
        await sandbox.run(["true"])


async def test_close_in_the_middle_of_a_command(backend: SandboxBackend, spec: SandboxSpec) -> None:
    sandbox = await backend.start(spec)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:

            async def command() -> None:
                with pytest.raises(SandboxError):
                    await sandbox.shell("sleep 60")

            group.start_soon(command)
            await anyio.sleep(0.3)
            await sandbox.close()


async def test_missing_layer_is_an_infrastructure_error(
    backend: SandboxBackend, tmp_path: Path
) -> None:
    with pytest.raises(SandboxError):
        await backend.start(SandboxSpec(layers=(tmp_path / "gone",)))


async def test_many_at_once_leave_no_descriptors(
    backend: SandboxBackend, spec: SandboxSpec
) -> None:
    async def play() -> None:
        async with await backend.start(spec) as sandbox:
            assert (await sandbox.shell("echo x")).stdout == b"x\n"

    await play()
    await backend.close()
    before = len(os.listdir("/proc/self/fd"))
    async with anyio.create_task_group() as group:
        for _ in range(24):
            group.start_soon(play)
    await backend.close()  # what it keeps for the next ones
    assert len(os.listdir("/proc/self/fd")) <= before + 1
