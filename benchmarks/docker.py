"""Episodes in containers, beside bare Docker and SWE-ReX on the same image in the same run.

Needs a daemon with the base image (``scripts/make-base-image``). The peer is installed from the
package index into a virtual environment of its own and into a layer of the container's.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.corpus import command, make_task
from benchmarks.timing import PYTHON, Row, child, in_ms, paces, sample, sample_async

if TYPE_CHECKING:
    from repodrome.envs.episode import Episode
    from repodrome.envs.sandbox.docker.backend import DockerBackend
    from repodrome.tasks.model import Task

PEER = "swe-rex==1.4.0"
CHANGE = 'for file in src/*/*.py; do printf "# changed\\n" >>"$file"; done'
DATA = b"x" * 10_000


def run(quick: bool, work: Path) -> Iterator[Row]:
    """The rows of this subject."""
    folder = make_task(work, 1000)
    yield from asyncio.run(_all(folder, quick))
    yield from _peer(folder, quick, work)
    yield from _killed(folder, 10 if quick else 50)


async def _all(folder: Path, quick: bool) -> list[Row]:
    from repodrome.envs.episode import Episode
    from repodrome.envs.sandbox.docker.backend import DockerBackend
    from repodrome.tasks.suites import resolve_task

    task = resolve_task(str(folder))
    backend = DockerBackend()
    first = await Episode.start(task, backend=backend)
    bare = Bare(backend, first.spec.image or "")
    rows = await _cold(task, backend, bare, 5 if quick else 20)
    rows += await _warm(task, backend, quick)
    rows += await _steps(first, bare, 20 if quick else 300)
    rows += await _forks(first, 5 if quick else 20)
    await first.close()
    rows += await _many(task, backend, 20 if quick else 100)
    rows += await _throughput(task, backend, 40 if quick else 300)
    bare.close()
    await backend.close()
    return rows


class Bare:
    """Containers as the daemon makes them, by the same Python client."""

    def __init__(self, backend: DockerBackend, image: str) -> None:
        self.client = backend.hosts.hosts[0].engine.client()
        self.image = image
        self._kept = self._start()

    def _start(self) -> str:
        made = self.client.create_container(
            self.image,
            entrypoint=["/bin/bash", "-c", "echo ready; cat"],
            stdin_open=True,
            host_config=self.client.create_host_config(network_mode="none"),
        )["Id"]
        stream = self.client.attach_socket(made, params={"stdout": 1, "stream": 1})
        self.client.start(made)
        stream._sock.recv(64)
        stream.close()
        return str(made)

    def start(self) -> float:
        """Seconds from create to the first output; its end isn't counted."""
        began = time.perf_counter()
        made = self._start()
        seconds = time.perf_counter() - began
        self.client.remove_container(made, force=True)
        return seconds

    def execute(self) -> None:
        """``docker exec true``."""
        number = self.client.exec_create(self._kept, ["true"])["Id"]
        self.client.exec_start(number)

    def put(self) -> None:
        """10 KB through the archive endpoint."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo("file")
            entry.size = len(DATA)
            archive.addfile(entry, io.BytesIO(DATA))
        self.client.put_archive(self._kept, "/tmp", packed.getvalue())

    def get(self) -> None:
        """The same back."""
        stream, _ = self.client.get_archive(self._kept, "/tmp/file")
        for _ in stream:
            pass

    def close(self) -> None:
        """Remove what was kept."""
        self.client.remove_container(self._kept, force=True)


async def _cold(task: Task, backend: DockerBackend, bare: Bare, n: int) -> list[Row]:
    from repodrome.envs.episode import Episode

    floor: list[float] = []
    ours: list[float] = []
    first: list[float] = []
    ratios: list[float] = []
    for _ in range(n):
        floor.append(bare.start())
        for taken in (ours, first):
            backend.pool.close()  # no container is kept
            if taken is first:
                await backend.close()
            began = time.perf_counter()
            episode = await Episode.start(task, backend=backend)
            taken.append(time.perf_counter() - began)
            await episode.close()
        ratios.append(ours[-1] / floor[-1])
    return [
        in_ms("bare create + start to first output, in turn", floor, floor=True),
        in_ms("cold Episode.start (a new container)", ours),
        Row("the same, times bare", tuple(ratios), unit="x", goal=1.3),
        in_ms("a backend's first (it looks at the daemon, and for what dead owners left)", first),
    ]


async def _warm(task: Task, backend: DockerBackend, quick: bool) -> list[Row]:
    from repodrome.envs.episode import Episode

    rows = []
    for words, pause, n in paces(quick):
        starts, ends = [], []
        for _ in range(n):
            await asyncio.sleep(pause)
            began = time.perf_counter()
            episode = await Episode.start(task, backend=backend)
            starts.append(time.perf_counter() - began)
            await asyncio.sleep(pause)
            began = time.perf_counter()
            await episode.close()
            ends.append(time.perf_counter() - began)
        rows += [
            in_ms(f"Episode.start on a recycled container, {words}", starts, 10, 25),
            in_ms(f"Episode.close, {words}", ends),
        ]
    return rows


async def _steps(episode: Episode, bare: Bare, n: int) -> list[Row]:
    sandbox = episode.sandbox
    rows = [in_ms("docker exec true", sample(bare.execute, max(5, n // 10)), floor=True)]
    for what, text, goal in (("builtin", ":", 0.5), ("fork+exec", "/bin/true", 1.5)):
        for words, pause in (("paced", 0.01), ("back to back", 0.0)):
            turn = command(text)
            seconds = await sample_async(lambda turn=turn: episode.step(turn), n, pause=pause)
            rows.append(in_ms(f"terminal, {what}, {words}", seconds, goal))
    rows += [
        in_ms("put_archive of 10 KB", sample(bare.put, max(5, n // 10)), floor=True),
        in_ms("get_archive of 10 KB", sample(bare.get, max(5, n // 10)), floor=True),
        in_ms("write of 10 KB", await sample_async(lambda: sandbox.write("f", DATA), n), 1),
        in_ms("read of 10 KB", await sample_async(lambda: sandbox.read("f"), n), 1),
    ]
    return rows


async def _forks(episode: Episode, n: int) -> list[Row]:
    await episode.step(command(CHANGE))
    taken = []
    for _ in range(n):
        began = time.perf_counter()
        twin = await episode.fork()
        taken.append(time.perf_counter() - began)
        await twin.close()
    return [in_ms("fork with 1,000 changed files", taken, 50)]


async def _many(task: Task, backend: DockerBackend, count: int) -> list[Row]:
    from repodrome.envs.episode import Episode

    before = _available_mb()
    began = time.perf_counter()
    episodes = await asyncio.gather(*(Episode.start(task, backend=backend) for _ in range(count)))
    seconds = time.perf_counter() - began
    for episode in episodes:
        await episode.step(command("echo $RANDOM > f"))
    each = (before - _available_mb()) / count
    await asyncio.gather(*(episode.close() for episode in episodes))
    return [
        in_ms(f"{count} containers live at once, all started", [seconds]),
        Row("memory each", (each,), unit="MB"),
    ]


async def _throughput(task: Task, backend: DockerBackend, count: int) -> list[Row]:
    from repodrome.envs.episode import Episode

    async def play() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            for text in ("ls", "cat src/pkg_00/module_0000.py", "echo done > done.txt"):
                await episode.step(command(text))

    async def worker(episodes: int) -> None:
        for _ in range(episodes):
            await play()

    await asyncio.gather(*(play() for _ in range(4)))
    rates = []
    for _ in range(3):
        began = time.perf_counter()
        await asyncio.gather(*(worker(count // 4) for _ in range(4)))
        rates.append(count // 4 * 4 / (time.perf_counter() - began))
    figure = "full episodes (start, 3 commands, close), 4 at once"
    return [Row(figure, tuple(rates), unit="/s", goal=30)]


def _available_mb() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 1024
    return 0.0


# -- the end of a client ---------------------------------------------------------------------------


def hold() -> None:
    """Start episodes and wait to be killed. Run as a process of its own."""
    from repodrome.envs.episode import Episode
    from repodrome.envs.sandbox.docker.backend import DockerBackend
    from repodrome.tasks.suites import resolve_task

    async def start() -> None:
        task, backend = resolve_task(sys.argv[1]), DockerBackend()
        starts = [Episode.start(task, backend=backend) for _ in range(int(sys.argv[2]))]
        kept = await asyncio.gather(*starts)
        print(len(kept), flush=True)
        await asyncio.sleep(600)

    asyncio.run(start())


def _killed(folder: Path, count: int) -> Iterator[Row]:
    import docker

    client = docker.APIClient(version="auto")
    ours = {"label": ["repodrome.kind=sandbox"]}
    words = [PYTHON, "-c", "import benchmarks.docker as d; d.hold()", str(folder), str(count)]
    with child(words) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = len(client.containers(all=True, filters=ours))
        process.send_signal(signal.SIGKILL)
        began = time.perf_counter()
        while client.containers(all=True, filters=ours) and time.perf_counter() < began + 60:
            time.sleep(0.05)
    seconds = time.perf_counter() - began
    left = len(client.containers(all=True, filters=ours))
    yield Row(f"left after kill -9 with {before} containers", (left,), unit="", goal=0)
    yield in_ms("until they were gone, nobody helping", [seconds])


# -- the peer --------------------------------------------------------------------------------------


def _peer(folder: Path, quick: bool, work: Path) -> Iterator[Row]:
    """SWE-ReX's own Docker deployment and session, on the same image."""
    try:
        python, layer, image = _install_peer(folder, work)
    except (subprocess.CalledProcessError, OSError, LookupError) as error:
        print(f"no peer: {error}", file=sys.stderr)
        return
    script = Path(__file__).with_name("docker_peer.py")
    n = 10 if quick else 100
    done = subprocess.run(
        [python, str(script), image, str(layer / "env"), str(n)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            yield in_ms(f"{PEER}: {found['figure']}", found["seconds"], floor=True)


def _install_peer(folder: Path, work: Path) -> tuple[str, Path, str]:
    """Its client here, its server as a layer for the container; both once."""
    from repodrome.envs.environment import prepare
    from repodrome.envs.sandbox.docker.backend import DockerBackend
    from repodrome.tasks.suites import resolve_task

    place = work / "peer"
    python = str(place / "bin" / "python")
    if not Path(python).exists():
        subprocess.run([PYTHON, "-m", "venv", str(place)], check=True)
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", PEER, "aiohttp"]
        subprocess.run(pip, check=True)
    task = resolve_task(str(folder))
    environment = task.environment.model_copy(update={"packages": (PEER,)})
    task = task.model_copy(update={"environment": environment})

    async def build() -> tuple[Path, str]:
        backend = DockerBackend()
        prepared = await prepare(task, backend)
        await backend.close()
        return prepared.spec.layers[-1], prepared.spec.image or ""

    layer, image = asyncio.run(build())
    return python, layer, image
