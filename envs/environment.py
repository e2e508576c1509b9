"""From a task to what its sandboxes are made of: cached, content-addressed layers.

0. for backends that have them, the image: pulled, or built from ``environment/Dockerfile``;
1. the pristine tree (:mod:`repodrome.tasks.source`), keyed by its content;
2. the package layer: a virtual environment at ``/env``, keyed by the image, Python, requirements
   and owner;
3. the set-up layer: what the task's set-up commands wrote, keyed by the two below it and by them.

2 and 3 are built inside a sandbox with network and the user's own pip settings, once; agent and
grader get them read-only and without network. A failed build leaves nothing in the cache.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import shutil
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.from_thread
import anyio.to_thread

from repodrome.envs.build_once import built, turnstile
from repodrome.envs.interpreter import Interpreter, find_python
from repodrome.envs.sandbox.base import (
    ENV_PREFIX,
    NetworkPolicy,
    Sandbox,
    SandboxBackend,
    SandboxLimits,
    SandboxSpec,
)
from repodrome.envs.sandbox.image import Image, ImageBackend, Progress
from repodrome.envs.task_image import check_python, find_image, seen_at, supplied_by
from repodrome.errors import SetupError
from repodrome.tasks.model import EnvironmentSpec, Task
from repodrome.tasks.store import Store

if TYPE_CHECKING:
    from repodrome.tasks.source import Materialised

FORMAT = 2
"""Part of every key: raise it when layers are built differently."""

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOG_LINES = 40
_LITTLE_SPACE = 64 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """A task, ready to start sandboxes.

    Attributes:
        spec: for ``backend.start``; the same object for the same task, so prefetched ones match.
        materialised: the pristine tree, its hidden files and reference.
        python: the interpreter inside the sandbox that has the task's packages.
    """

    spec: SandboxSpec
    materialised: Materialised
    python: str

    @property
    def intact(self) -> bool:
        """Nobody has cleaned the cache meanwhile."""
        return all(layer.is_dir() for layer in self.spec.layers)


async def prepare(
    task: Task,
    backend: SandboxBackend,
    *,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Have every layer of the task in the cache, and say what its sandboxes are made of.

    The first call of a process for a task hashes its content; later ones with the same ``Task``
    object cost microseconds. Concurrent callers build each layer once.

    Args:
        task: the task.
        backend: builds the layers; its ``owner`` attribute, ``(uid, gid)``, owns their files.
        store: the cache; default: the user's.
        progress: told, in a line each, what takes time.

    Raises:
        SetupError: a layer or image could not be built; holds the end of the log.
        UsageError: the task's source or the cache is wrong, or its workspace is an image's, which
            the backend hasn't.
        SandboxError: the sandbox to build in could not be started, or was lost.
    """
    store = store or Store()
    owner = _owner(backend)
    # Images are those of one daemon; layers are any such backend's.
    scope = (backend if isinstance(backend, ImageBackend) else backend.name, owner, store.root)
    memo = _memo_of(task)
    found = memo.get(scope)
    if found is not None and found.intact:
        return found
    tell = progress or _silent
    # By content, not by object: loading a task twice must not build twice either.
    async with turnstile(f"prepare {task.id} {scope}"):
        found = memo.get(scope)
        if found is not None and found.intact:
            return found
        prepared = await _prepare(task, backend, store, owner, tell)
        memo[scope] = prepared
        return prepared


async def _prepare(
    task: Task, backend: SandboxBackend, store: Store, owner: tuple[int, int], tell: Progress
) -> Prepared:
    from repodrome.tasks.source import materialise

    environment = task.environment
    image = await find_image(task, backend, tell)
    supplied = supplied_by(task, backend, image)
    materialised = await anyio.to_thread.run_sync(
        functools.partial(materialise, task, store, owner=owner, progress=tell, supplied=supplied),
        abandon_on_cancel=True,
    )
    if image:
        check_python(task, image)
        python = Interpreter(image.python or "python3", image.python_version, None)
    else:
        python = await find_python(environment)
    root = image.id if image else backend.name
    workspace_at = seen_at(image.workdir) if image and supplied else ""
    builder = _Builder(task, backend, store, python, image, workspace_at, tell)
    layers = [materialised.layer]
    package_key = ""
    if environment.packages:
        package_key = _key(
            "packages",
            [python.path, python.version, list(environment.packages), owner],
            root,
        )
        layers.append(
            await built(
                store, "packages", package_key, functools.partial(builder.packages, tuple(layers))
            )
        )
    if environment.setup:
        key = _key(
            "setup",
            [
                package_key,
                materialised.key,
                list(environment.setup),
                sorted(environment.env.items()),
            ],
            [python.path, python.version, owner, root],
        )
        layers.append(
            await built(store, "setup", key, functools.partial(builder.setup, tuple(layers)))
        )
    return Prepared(
        spec=SandboxSpec(
            layers=tuple(layers),
            env=tuple(_base_env(environment, python, image).items()),
            limits=SandboxLimits(
                memory_mb=environment.memory_mb,
                cpus=environment.cpus,
                pids=environment.pids,
                disk_mb=environment.storage_mb,
                inodes=environment.inodes,
            ),
            network=_network(environment),
            allowed_hosts=environment.allowed_hosts,
            toolchains=(python.prefix,) if python.prefix else (),
            image=image.id if image else None,
            workspace_at=workspace_at,
            name=task.id,
        ),
        materialised=materialised,
        python=f"{ENV_PREFIX}/bin/python" if environment.packages else python.path,
    )


class _Builder:
    """Builds the layers of one task in sandboxes with network."""

    def __init__(
        self,
        task: Task,
        backend: SandboxBackend,
        store: Store,
        python: Interpreter,
        image: Image | None,
        workspace_at: str,
        tell: Progress,
    ) -> None:
        self._task = task
        self._backend = backend
        self._store = store
        self._python = python
        self._image = image
        self._workspace_at = workspace_at
        self._tell = tell

    async def packages(self, below: tuple[Path, ...], staged: Path) -> None:
        """The layer with ``/env``: a virtual environment holding the task's packages."""
        packages = self._task.environment.packages
        self._tell(f"installing {', '.join(packages)}")
        commands: list[Sequence[str]] = [
            (self._python.path, "-m", "venv", ENV_PREFIX),
            # pip compiles what it installs: agents and graders then start without doing it again.
            (f"{ENV_PREFIX}/bin/python", "-m", "pip", "install", "--compile", *packages),
        ]
        await self._build(below, staged, commands, "install the packages")

    async def setup(self, below: tuple[Path, ...], staged: Path) -> None:
        """The layer that the task's set-up commands write."""
        commands: list[Sequence[str]] = [
            ("/bin/bash", "-e", "-o", "pipefail", "-c", command)
            for command in self._task.environment.setup
        ]
        await self._build(below, staged, commands, "run the set-up commands")

    async def _build(
        self,
        below: tuple[Path, ...],
        staged: Path,
        commands: Sequence[Sequence[str]],
        what: str,
    ) -> None:
        from repodrome.envs.pip_settings import pip_settings

        environment = self._task.environment
        pip = await asyncio.to_thread(pip_settings)
        base = _base_env(environment, self._python, self._image)
        env = {**base, **pip.env, "PYTHONDONTWRITEBYTECODE": "1"}
        prefix = (self._python.prefix,) if self._python.prefix else ()
        spec = SandboxSpec(
            layers=below,
            env=tuple(env.items()),
            limits=SandboxLimits(
                # Installing may take more than working: compilers, unpacked archives.
                memory_mb=max(environment.memory_mb, 4096),
                cpus=max(environment.cpus, 2.0),
                pids=max(environment.pids, 1024),
                disk_mb=max(environment.storage_mb, 8192),
                inodes=max(environment.inodes, 1_000_000),
                cpu_seconds=max(3600, int(environment.build_timeout_sec) * 2),
            ),
            network="full",
            toolchains=(*prefix, *pip.paths),
            image=self._image.id if self._image else None,
            workspace_at=self._workspace_at,
            name=f"set-up of {self._task.id}",
        )
        deadline = time.monotonic() + environment.build_timeout_sec
        sandbox = await self._backend.start(spec, live=False, persist=staged)
        try:
            for argv in commands:
                await self._run(sandbox, argv, what, deadline, staged)
            await sandbox.commit(staged / "layer")
        finally:
            await sandbox.close()

    async def _run(
        self, sandbox: Sandbox, argv: Sequence[str], what: str, deadline: float, staged: Path
    ) -> None:
        left = deadline - time.monotonic()
        result = await sandbox.run(
            argv, cwd=sandbox.root, timeout=max(1.0, left), max_output=1 << 20
        )
        if result.exit_code == 0 and not result.timed_out:
            return
        log = b"\n".join((result.stdout, result.stderr)).decode("utf-8", errors="replace")
        tail = "\n".join(log.strip().splitlines()[-_LOG_LINES:])
        if result.timed_out:
            end = (
                f"it took longer than {self._task.environment.build_timeout_sec:g} s; raise "
                "environment.build_timeout_sec"
            )
        elif result.oom_killed:
            end = "it ran out of memory; raise environment.memory_mb"
        else:
            end = (
                f"exit status {result.exit_code}; check [environment] in task.toml, and that pip "
                "works on this machine with your settings"
            )
            free = shutil.disk_usage(staged).free
            if free < _LITTLE_SPACE:
                end = (
                    f"exit status {result.exit_code}; the disk of the cache {self._store.root} has "
                    f"only {free >> 20} MB left: run 'repodrome clean', or set REPODROME_CACHE to "
                    "a directory with more"
                )
        raise SetupError(f"could not {what} of task {self._task.id}: {end}", log_tail=tail)


def _network(environment: EnvironmentSpec) -> NetworkPolicy:
    """Raises:
    UsageError: an entry of ``allowed_hosts`` can't be read.
    """
    if environment.network == "allowlist":
        from repodrome.envs.sandbox.docker.egress import check_hosts

        check_hosts(environment.allowed_hosts)
    return environment.network


def _base_env(
    environment: EnvironmentSpec, python: Interpreter, image: Image | None
) -> dict[str, str]:
    directories = [f"{ENV_PREFIX}/bin"]
    if python.prefix:
        directories.append(str(Path(python.path).parent))
    # The hash seed, so that what a program prints of a set is the same in every episode of a group.
    system = dict(image.env).get("PATH", _SYSTEM_PATH) if image else _SYSTEM_PATH
    env = {"PATH": ":".join([*directories, system]), "PYTHONHASHSEED": "0"}
    if environment.packages:
        env["VIRTUAL_ENV"] = ENV_PREFIX
    env.update(environment.env)
    return env


# -- remembering ----------------------------------------------------------------------------------

_Scope = tuple[object, tuple[int, int], Path]
_memos: dict[int, tuple[weakref.ref[Task], dict[_Scope, Prepared]]] = {}


def _memo_of(task: Task) -> dict[_Scope, Prepared]:
    """What was prepared for this very object; forgotten with it (tasks hold dicts: no hash)."""
    identity = id(task)
    entry = _memos.get(identity)
    if entry is None or entry[0]() is not task:
        entry = _memos[identity] = (
            weakref.ref(task, lambda _: _memos.pop(identity, None)),
            {},
        )
    return entry[1]


def _owner(backend: SandboxBackend) -> tuple[int, int]:
    owner = getattr(backend, "owner", None)  # a third party's may lack it
    if not (isinstance(owner, tuple) and len(owner) == 2):
        raise TypeError(
            f"the sandbox backend {backend.name!r} has no 'owner' attribute; "
            "set it to the (uid, gid) that its sandboxes run as"
        )
    return owner


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()[:40]


def _silent(_: str) -> None:
    pass
