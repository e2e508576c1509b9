"""Images: found, pulled, built from a task's Dockerfile; listed and pruned; what is in them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from typer.testing import CliRunner

from repodrome.envs.environment import prepare
from repodrome.envs.sandbox.docker import stock
from repodrome.envs.sandbox.docker.backend import DockerBackend
from repodrome.envs.sandbox.docker.engine import Address, Engine, NotFoundError, connect
from repodrome.envs.sandbox.docker.images import Images, base_reference, ensure_image
from repodrome.envs.sandbox.image import ImageSource
from repodrome.errors import SandboxError, SandboxUnavailableError, SetupError, UsageError
from repodrome.harness.cli.app import app
from repodrome.tasks.folder import load_task
from repodrome.tasks.model import Task
from tests.docker.api_backend import ApiBackend
from tests.docker.daemon import BASE, Daemon, image_tar, running
from tests.docker.tiny import registry, tiny_root
from tests.fakes.wheel import write_wheel

pytestmark = [pytest.mark.slow, pytest.mark.anyio]
ROOT = Path(__file__).resolve().parents[2]
TINY = "FROM scratch\nADD root.tar /\nENV PATH=/bin\n"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPODROME_CACHE", str(tmp_path / "cache"))
    tmp_path.chmod(0o755)


@pytest.fixture(scope="module")
def root_tar() -> bytes:
    return tiny_root()


@pytest.fixture
def engine(own_daemon: Daemon) -> Iterator[Engine]:
    engine = Engine(Address(own_daemon.url), connect)
    yield engine
    engine.close()


@pytest.fixture
def base(own_daemon: Daemon, engine: Engine) -> str:
    """The base image, also where a test has pruned it away."""
    try:
        engine.call_now(lambda client: client.inspect_image(base_reference()))
    except NotFoundError:
        load_base(own_daemon)
    return base_reference()


def load_base(daemon: Daemon) -> None:
    daemon.load(image_tar())
    with closing(daemon.client()) as client:
        client.tag(BASE, *base_reference().rsplit(":", 1))


@pytest.fixture
def make_context(tmp_path: Path, root_tar: bytes) -> Callable[..., ImageSource]:
    """Makes a folder with a Dockerfile over a root that has bash and no more."""

    def make(
        dockerfile: str, *, task: str = "test/one", timeout: float = 120, **files: str
    ) -> ImageSource:
        folder = tmp_path / f"context-{task.replace('/', '-')}"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(dockerfile)
        (folder / "root.tar").write_bytes(root_tar)
        for name, text in files.items():
            (folder / name).write_text(text)
        return ImageSource(context=folder, task=task, timeout=timeout)

    return make


@pytest.fixture
def make_task(tmp_path: Path, root_tar: bytes) -> Callable[..., Task]:
    """Makes a Harbor-like task folder with a Dockerfile and, where asked for, a workspace."""

    def make(name: str, dockerfile: str, toml: str = "", *, workspace: bool = False) -> Task:
        folder = tmp_path / name
        for part in ("environment", "tests", *(["workspace"] if workspace else [])):
            (folder / part).mkdir(parents=True)
        (folder / "environment" / "Dockerfile").write_text(dockerfile)
        (folder / "environment" / "root.tar").write_bytes(root_tar)
        (folder / "instruction.md").write_text("Write done.txt.\n")
        (folder / "tests" / "secret.txt").write_text("hidden\n")
        (folder / "task.toml").write_text(
            f'{toml}\n[verifier]\nkind = "command"\ncommand = "test -f done.txt"\n'
        )
        return load_task(folder)

    return make


def containers(engine: Engine) -> list[Any]:
    found: list[Any] = engine.call_now(lambda client: client.containers(all=True))
    return found


# -- found and pulled -----------------------------------------------------------------------------


async def test_the_base_image_is_described(engine: Engine, base: str) -> None:
    before = containers(engine)
    image = await ensure_image(engine)
    assert image.reference == base and image.id.startswith("sha256:")
    assert image.python.startswith("/usr/bin/python3") and image.python_version.count(".") == 2
    assert image.bash.endswith("/bash") and "/usr/bin" in dict(image.env)["PATH"]
    assert image.workdir == ""
    assert await ensure_image(engine, image.id) != image  # goes by another name, else
    assert (await ensure_image(engine, image.id)).python == image.python
    assert containers(engine) == before


async def test_an_image_that_is_not_to_be_had_names_the_fix(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SetupError, match=r"docker pull registry.invalid/none:1"):
        await ensure_image(engine, "registry.invalid/none:1")
    with pytest.raises(SetupError, match=r"no name of an image.*environment.docker_image"):
        await ensure_image(engine, "No Such Name")
    monkeypatch.setenv("REPODROME_BASE_IMAGE", "registry.invalid/base:1")
    with pytest.raises(SandboxUnavailableError, match=r"scripts/make-base-image.*docker pull"):
        await ensure_image(engine)


async def test_pulled_with_progress_and_carried_to_another_daemon(
    engine: Engine, base: str, root_tar: bytes
) -> None:
    said: list[str] = []
    with running(image=None, network="host") as daemon, registry(root_tar) as address:
        other = Engine(Address(daemon.url), connect)
        image = await ensure_image(other, f"{address}/tiny:1", said.append)
        assert dict(image.env)["TINY"] == "yes" and image.workdir == "/etc"
        assert image.bash == "/bin/bash" and image.python == ""
        assert said[0] == f"pulling {address}/tiny:1" and said[-1].endswith("1 of 1 layers")
        with pytest.raises(NotFoundError):
            engine.call_now(lambda client: client.inspect_image(image.id))
        images = Images()
        assert await images.ensure(other, image.reference, said.append) == image
        assert [await images.bring(engine, image.id) for _ in range(2)] == [image.id, image.id]
        assert (await ensure_image(engine, image.reference)) == image
        assert await images.bring(engine, None) == (await ensure_image(engine)).id
        other.close()


# -- built ----------------------------------------------------------------------------------------


async def test_a_dockerfile_is_built_once_a_content(
    engine: Engine, make_context: Callable[..., ImageSource]
) -> None:
    said: list[str] = []
    source = make_context(
        f"{TINY}WORKDIR /app\nCOPY note /app/\nRUN echo one; echo two >&2\n", note="x"
    )
    image = await ensure_image(engine, source, said.append)
    assert "one" in said and "two" in said and any("RUN echo one" in line for line in said)
    assert image.reference.startswith("repodrome/task:") and image.workdir == "/app"
    said.clear()
    assert await ensure_image(engine, source, said.append) == image and not said
    changed = make_context((source.context / "Dockerfile").read_text(), note="y")  # type: ignore[operator]
    assert (await ensure_image(engine, changed, said.append)).id != image.id and said


async def test_only_the_folder_itself_is_sent(
    engine: Engine, make_context: Callable[..., ImageSource], tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("s")
    source = make_context(f"{TINY}COPY . /all/\nRUN cd /all; echo *; [ ! -e link/secret ]\n")
    assert source.context is not None
    (source.context / "link").symlink_to(tmp_path / "outside")
    (source.context / "left").write_text("out")
    (source.context / ".dockerignore").write_text("# what stays\nleft\nroot.*\n!root.tar\n")
    said: list[str] = []
    await ensure_image(engine, source, said.append)
    assert "Dockerfile link root.tar" in said
    with pytest.raises(SetupError, match="outside"):
        await ensure_image(engine, make_context(f"{TINY}COPY ../outside /x\n", task="test/climbs"))


async def test_many_that_ask_at_once_build_once(
    engine: Engine, own_daemon: Daemon, make_context: Callable[..., ImageSource]
) -> None:
    source = make_context(f"{TINY}RUN echo $RANDOM > /random; read -t 1 x < /dev/zero || true\n")
    code = (
        "import sys, anyio; from pathlib import Path\n"
        "from repodrome.envs.sandbox.docker.engine import Address, Engine, connect\n"
        "from repodrome.envs.sandbox.docker.images import ensure_image\n"
        "from repodrome.envs.sandbox.image import ImageSource\n"
        "source = ImageSource(context=Path(sys.argv[2]), task='test/one', timeout=120)\n"
        "engine = Engine(Address(sys.argv[1]), connect)\n"
        "print(anyio.run(ensure_image, engine, source, lambda l: print(l, file=sys.stderr)).id)\n"
    )
    command = [sys.executable, "-c", code, own_daemon.url, str(source.context)]
    other = await anyio.open_process(command, cwd=ROOT)
    said: list[str] = []
    images = await asyncio.gather(*(ensure_image(engine, source, said.append) for _ in range(3)))
    assert other.stdout is not None and other.stderr is not None
    printed = (await other.stdout.receive()).decode().strip()
    assert {image.id for image in images} == {printed}
    theirs = b""
    async for block in other.stderr:
        theirs += block
    assert await other.wait() == 0
    assert [*said, *theirs.decode().splitlines()].count("building " + images[0].reference + (
        f" from {source.context}")) == 1  # fmt: skip


async def test_a_failing_build_shows_the_end_of_its_log(
    engine: Engine, make_context: Callable[..., ImageSource]
) -> None:
    source = make_context(f"{TINY}RUN echo the cause; exit 3\n")
    with pytest.raises(SetupError, match=r"task test/one.*code: 3") as caught:
        await ensure_image(engine, source)
    assert "the cause" in caught.value.log_tail
    assert not containers(engine)
    assert all("test/one" not in one.task or one.names for one in await stock.images(engine))
    for line, match in (
        ("RUN --mount=type=cache,target=/x true", "docker buildx build"),
        ("FROM registry.invalid/none:1", "registry.invalid/none:1 of task test/one is not on"),
        ("NONSENSE", "Dockerfile"),
    ):
        with pytest.raises(SetupError, match=match):
            await ensure_image(engine, make_context(f"{TINY}{line}\n"))


async def test_an_image_that_is_pruned_as_it_is_built_is_built_again(
    engine: Engine, make_context: Callable[..., ImageSource]
) -> None:
    said: list[str] = []

    def prune_the_first(line: str) -> None:
        said.append(line)
        if line.startswith("Successfully tagged") and said.count(line) == 1:
            engine.call_now(lambda client: client.remove_image(line.split()[-1]))

    source = make_context(f"{TINY}RUN echo pruned\n")
    image = await ensure_image(engine, source, prune_the_first)
    assert f"{image.reference} is gone already; building it again" in said
    assert engine.call_now(lambda client: client.inspect_image(image.reference))["Id"] == image.id


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_a_build_that_nobody_waits_for_ends(
    transport: str,
    own_daemon: Daemon,
    make_context: Callable[..., ImageSource],
    request: pytest.FixtureRequest,
) -> None:
    url = own_daemon.url if transport == "unix" else own_daemon.tcp_url
    engine = Engine(Address(url), connect)
    request.addfinalizer(engine.close)
    lost: list[str] = []
    engine.on_unreachable = lost.append
    forever = f"{TINY}RUN echo begun; while :; do :; done\n"
    with pytest.raises(SetupError, match=r"longer than 2 s; raise environment.build_timeout_sec"):
        await ensure_image(engine, make_context(forever, timeout=2))
    begun = anyio.Event()
    loop = asyncio.get_running_loop()

    def tell(line: str) -> None:
        if line == "begun":
            loop.call_soon_threadsafe(begun.set)

    async with anyio.create_task_group() as group:
        group.start_soon(ensure_image, engine, make_context(forever, timeout=600), tell)
        await begun.wait()
        group.cancel_scope.cancel()
    with anyio.fail_after(20):
        while containers(engine):  # noqa: ASYNC110
            await anyio.sleep(0.1)
    assert not lost


async def test_a_daemon_that_dies_while_it_builds(
    make_context: Callable[..., ImageSource],
) -> None:
    with running(image=None) as daemon:
        engine = Engine(Address(daemon.url), connect)

        def tell(line: str) -> None:
            if line == "begun":
                daemon.kill()

        source = make_context(f"{TINY}RUN echo begun; while :; do :; done\n")
        with pytest.raises(SandboxError, match=r"went away|can't be reached"):
            await ensure_image(engine, source, tell)
        daemon.start()
        quick = make_context(f"{TINY}RUN echo begun\n")
        assert (await ensure_image(engine, quick)).bash
        engine.close()


@pytest.fixture
def small_daemon() -> Iterator[Daemon]:
    """A daemon with little space."""
    folder = Path("/var/tmp") / f"rd-full-{os.getpid()}"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", folder], check=True)
    daemon = Daemon(folder)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.remove()
        subprocess.run(["umount", folder], check=False, capture_output=True)
        if folder.exists():
            folder.rmdir()


async def test_a_full_disk_is_no_fault_of_the_task(
    small_daemon: Daemon, make_context: Callable[..., ImageSource]
) -> None:
    engine = Engine(Address(small_daemon.url), connect)
    source = make_context(f"{TINY}COPY big1 big2 /\n")
    assert source.context is not None
    for name in ("big1", "big2"):
        with open(source.context / name, "wb") as big:
            big.truncate(60 << 20)
    with pytest.raises(SetupError, match=r"no space left.*repodrome image prune"):
        await ensure_image(engine, source)
    engine.close()


# -- tasks ----------------------------------------------------------------------------------------


@pytest.fixture
def backend(own_daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerBackend]:
    monkeypatch.setenv("DOCKER_HOST", own_daemon.url)
    backend = DockerBackend()
    yield backend
    asyncio.run(backend.close())


async def test_the_workspace_of_an_image(
    backend: DockerBackend, engine: Engine, make_task: Callable[..., Task]
) -> None:
    task = make_task(
        "harbor",
        f"{TINY}WORKDIR /srv/app\n"
        "COPY tool notes /srv/app/\n"
        "COPY tree /srv/app/tree\n"
        "ENV FROM_IMAGE=1\n",
        '[source]\nremove = ["notes"]\n',
    )
    environment = task.folder / "environment"
    (environment / "notes").write_text("n\n")
    (environment / "tool").write_text("#!/bin/sh\n")
    (environment / "tool").chmod(0o755)
    (environment / "tree" / ".git").mkdir(parents=True)
    (environment / "tree" / ".git" / "config").write_text("[core]\n\tfsmonitor = touch /owned\n")
    (environment / "tree" / "inside").symlink_to("../tool")
    (environment / "tree" / "out").symlink_to("/etc/passwd")
    (environment / "tree" / "up").symlink_to("../../../../etc/passwd")
    said: list[str] = []
    prepared = await prepare(task, backend, progress=said.append)
    workspace = prepared.materialised.workspace
    found = {p.relative_to(workspace).as_posix() for p in workspace.rglob("*")}
    assert {p for p in found if not p.startswith(".git")} == {"tool", "tree", "tree/inside"}
    assert (workspace / "tool").stat().st_mode & 0o777 == 0o755
    assert any("left out of the workspace: 2" in line for line in said)
    assert prepared.spec.image and prepared.spec.image.startswith("sha256:")
    assert dict(prepared.spec.env)["PATH"] == "/env/bin:/bin"
    assert await prepare(task, backend) is prepared
    image_env = {"PATH": "/bin", "FROM_IMAGE": "1"}
    for way in (backend, ApiBackend(engine, image_env=image_env)):
        async with await way.start(prepared.spec) as sandbox:
            both = "echo new > /srv/app/new; read x < new; echo $x $FROM_IMAGE"
            assert (await sandbox.shell(both)).stdout == b"new 1\n"
            script = 'read x < /srv/app/new; echo "$x"; cd /srv/app/tree; echo *'
            ran = await sandbox.run(["bash", "-c", script])
            assert ran.stdout == b"new\ninside\n", ran
            assert (await sandbox.export()).paths == ("new",)
    again = await prepare(load_task(task.folder), backend)
    assert again.spec == prepared.spec  # so that sandboxes can be shared

    from repodrome.envs.sandbox.registry import get_backend

    with pytest.raises(UsageError, match=r"--sandbox docker"):
        await prepare(task, get_backend("bubblewrap"))


async def test_packages_and_set_up_over_the_images_own_python(
    backend: DockerBackend,
    base: str,
    make_task: Callable[..., Task],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    # Not below /tmp, which every sandbox has of its own.
    links = Path(tempfile.mkdtemp(prefix="rd-links-", dir="/var/tmp"))
    request.addfinalizer(lambda: shutil.rmtree(links))
    links.chmod(0o755)
    write_wheel(links)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    task = make_task(
        "packages",
        f"FROM {base}\nENV PATH=/opt/own:$PATH\n",
        '[environment]\npackages = ["demopkg"]\nsetup = ["pwd > made", "echo $PATH >> made"]\n',
        workspace=True,
    )
    prepared = await prepare(task, backend)
    assert prepared.python == "/env/bin/python" and len(prepared.spec.layers) == 3
    async with await backend.start(prepared.spec) as sandbox:
        command = "python -c 'import demopkg, sys; print(demopkg.ANSWER, sys.prefix)'; cat made"
        result = await sandbox.shell(command)
    assert result.stdout.decode().split() == [
        "42",
        "/env",
        "/workspace",
        dict(prepared.spec.env)["PATH"],
    ]
    assert "/env/bin:/opt/own:" in dict(prepared.spec.env)["PATH"]


async def test_what_an_image_lacks_is_said(
    backend: DockerBackend, make_task: Callable[..., Task]
) -> None:
    packages = '[environment]\npackages = ["demopkg"]\n'
    with pytest.raises(SetupError, match=r"no python3, which the packages of task.*python3-venv"):
        await prepare(make_task("no-python", TINY, packages), backend)
    bare = make_task("no-bash", TINY)
    (bare.folder / "environment" / "root.tar").write_bytes(tiny_root("other"))
    with pytest.raises(SetupError, match=r"has no bash"):
        await prepare(bare, backend)
    empty = make_task("nothing", "FROM scratch\nCOPY root.tar /\n")
    with pytest.raises(SetupError, match=r"can't be run"):
        await prepare(empty, backend)


async def test_the_version_of_the_images_python_has_to_fit(
    backend: DockerBackend, base: str, make_task: Callable[..., Task]
) -> None:
    task = make_task("old", f"FROM {base}\n", '[environment]\npython = "2.7"\n', workspace=True)
    with pytest.raises(SetupError, match=r"has Python 3\.\d+\.\d+, and task folder/old wants 2\.7"):
        await prepare(task, backend)


# -- the command line -----------------------------------------------------------------------------


def test_build_list_and_prune(
    own_daemon: Daemon,
    engine: Engine,
    base: str,
    make_task: Callable[..., Task],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", own_daemon.url)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["image", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert base in run("build")
    run("prune", "--all")
    assert base not in run("list")
    load_base(own_daemon)

    task = make_task("listed", f"FROM {base}\nRUN echo 1\n", workspace=True)
    assert "folder/listed" in run("build", str(task.folder))
    first = next(name for name in run("list").split() if name.startswith("repodrome/task:"))
    (task.folder / "environment" / "Dockerfile").write_text(f"FROM {base}\nRUN echo 2\n")
    time.sleep(1.1)  # a daemon tells the age of images in seconds
    run("build", str(task.folder))
    listed = run("list")
    assert listed.count("folder/listed") == 2 and " MB" in listed and base in listed
    held = engine.call_now(lambda client: client.create_container(first, "true")["Id"])
    assert "in use" in run("list") and "removed 0 images" in run("prune")
    engine.call_now(lambda client: client.remove_container(held))
    assert f"removed {first}" in run("prune")
    assert run("list").count("folder/listed") == 1

    # What isn't ours, or is built on, stays whatever is asked for.
    engine.call_now(lambda client: client.tag(base, "somebody/else", "1"))
    run("prune", "--all")
    assert "folder/listed" not in run("list") and base in run("list")
    engine.call_now(lambda client: client.remove_image("somebody/else:1"))
    run("prune", "--all")
    assert base not in run("list")
    load_base(own_daemon)


def test_no_daemon_no_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    for words in (["build"], ["list"], ["prune"]):
        result = CliRunner().invoke(app, ["image", *words])
        assert result.exit_code == 3 and "DOCKER_HOST" in result.output


def test_the_script_makes_nothing_twice(own_daemon: Daemon, base: str) -> None:
    env = {**os.environ, "DOCKER_HOST": own_daemon.url}
    script = str(ROOT / "scripts" / "make-base-image")
    done = subprocess.run([script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and f"{base} is there already; --force" in done.stderr
    done = subprocess.run([script, "--wrong"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "usage" in done.stderr
    env["DOCKER_HOST"] = "unix:///none"
    done = subprocess.run([script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "no Docker daemon answers (unix:///none)" in done.stderr
