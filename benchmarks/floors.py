"""Raw floors: what the same machine needs for the bare operations below ours."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpus import make_workspace
from benchmarks.timing import PYTHON, Row, in_ms, paces, sample

NAMESPACES = {
    "all": 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000 | 0x02000000,
    "all but network": 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x02000000,
}
BWRAP = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc"]
BWRAP += ["--dev", "/dev", "/bin/bash", "--noprofile", "--norc", "-c", "echo ready; read"]
LOOP = r'while IFS= read -r -d "" line; do eval "$line"; printf "%s\0" "$?"; done'


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    for words, pause, n in paces(quick):
        yield in_ms(f"fork+exec /bin/true, {words}", sample(spawn_true, n, pause=pause), floor=True)
        yield in_ms(f"bwrap to first bash output, {words}", bwrap_starts(n, pause), floor=True)
    n = 50 if quick else 300
    for what, seconds in _kernel(n).items():
        yield in_ms(what, seconds, floor=True)
    yield from shell_rows(n)
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        make_workspace(Path(scratch, "from"), 1000)
        copies = sample(lambda: _copy(Path(scratch)), 3 if quick else 10, warm_up=1)
        yield in_ms("copying a 1,000-file repository instead", copies, floor=True)


def spawn_true() -> None:
    """One process, from fork to reaped."""
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def bwrap_starts(n: int, pause: float = 0.0) -> list[float]:
    """Seconds from starting bare bwrap, all namespaces, to bash's first output."""
    taken = []
    for _ in range(n):
        if pause:
            time.sleep(pause)
        taken.append(bwrap_start())
    return taken


def bwrap_start() -> float:
    """One such start; its end isn't counted."""
    began = time.perf_counter()
    with subprocess.Popen(BWRAP, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        seconds = time.perf_counter() - began
        process.stdin.close()
    return seconds


def shell_rows(n: int) -> Iterator[Row]:
    """A bare bash on two pipes, nothing else: the floor of a terminal step."""
    with subprocess.Popen(
        ["/bin/bash", "--noprofile", "--norc", "-c", LOOP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        for what, line in (("a builtin", b":\0"), ("fork+exec", b"/bin/true\0")):
            for words, pause in (("paced", 0.01), ("back to back", 0.0)):

                def call(line: bytes = line) -> None:
                    process.stdin.write(line)  # type: ignore[union-attr]
                    process.stdout.read(16)  # type: ignore[union-attr]

                seconds = sample(call, n, pause=pause)
                yield in_ms(f"bare bash on pipes, {what}, {words}", seconds, floor=True)
        process.stdin.close()


def _copy(scratch: Path) -> None:
    target = scratch / "to"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(scratch / "from", target)


def _kernel(n: int) -> dict[str, list[float]]:
    """Mounts and namespaces, measured in a small process of their own; {} where not allowed."""
    command = [PYTHON, "-c", "import benchmarks.floors as f; f.measure_kernel()", str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        return {}
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def measure_kernel() -> None:
    """Time unshare(2) and overlay mounts here; prints JSON. Run as a process of its own."""
    n = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    found = {
        f"namespaces: {what}": [_unshared(libc, f) for _ in range(n)]
        for what, f in NAMESPACES.items()
    }
    flags = 0x00020000 | (0 if os.getuid() == 0 else 0x10000000)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare: mounts can't be measured")
    libc.mount(b"none", b"/", None, ctypes.c_ulong(16384 | 1 << 18), None)
    base = tempfile.mkdtemp()
    libc.mount(b"bench", base.encode(), b"tmpfs", ctypes.c_ulong(0), None)
    os.makedirs(f"{base}/lower")
    found["overlay mount, upper on tmpfs"] = taken = []
    for number in range(n):
        for name in ("upper", "work", "at"):
            os.makedirs(f"{base}/{number}/{name}")
        here = f"{base}/{number}"
        options = f"lowerdir={base}/lower,upperdir={here}/upper,workdir={here}/work,userxattr"
        began = time.perf_counter()
        failed = libc.mount(
            b"bench", f"{here}/at".encode(), b"overlay", ctypes.c_ulong(0), options.encode()
        )
        taken.append(time.perf_counter() - began)
        if failed:
            raise OSError(ctypes.get_errno(), "overlay mount")
        libc.umount2(f"{here}/at".encode(), 2)
    libc.umount2(base.encode(), 2)
    with contextlib.suppress(OSError):
        os.rmdir(base)
    print(json.dumps(found))


def _unshared(libc: ctypes.CDLL, flags: int) -> float:
    """Seconds that unshare(2) took in a forked child."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            began = time.perf_counter()
            failed = libc.unshare(ctypes.c_int(flags if os.getuid() == 0 else flags | 0x10000000))
            seconds = time.perf_counter() - began
            os.write(write, b"" if failed else repr(seconds).encode())
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(write)
    os.waitpid(pid, 0)
    said = os.read(read, 64)
    os.close(read)
    return float(said or "nan")
