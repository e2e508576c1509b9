"""The sandbox Protocol: one isolated workspace with processes, whatever the backend.

A sandbox is started from read-only *layers* (the pristine tree first, cached set-up layers after
it) with a fresh writable layer on top. Inside it the agent sees three writable places, all under
one disk quota: the workspace (``/workspace``), the environment prefix (``/env``) and its home
(``/home/agent``), and a private ``/tmp``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from repodrome.tools.workspace import CommandResult, Workspace

NetworkPolicy = Literal["none", "allowlist", "full"]

WORKSPACE = "/workspace"
ENV_PREFIX = "/env"
HOME = "/home/agent"


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one sandbox may use.

    Attributes:
        memory_mb: MiB of memory, page cache of its files included.
        cpus: processors' worth of time; fractions allowed.
        pids: processes and threads alive at once.
        disk_mb: MiB that may be written (workspace, environment, home and /tmp together).
        inodes: files and directories that may be created or changed.
        file_mb: MiB of one file.
        cpu_seconds: CPU time of one process.
    """

    memory_mb: int = 2048
    cpus: float = 2.0
    pids: int = 512
    disk_mb: int = 2048
    inodes: int = 200_000
    file_mb: int = 1024
    cpu_seconds: int = 3600


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """What a sandbox is made of; equal specs may share prefetched sandboxes.

    Attributes:
        layers: read-only directories, lowest first; each holds ``workspace/``, ``env/`` and
            ``home/`` below it, as far as it has them.
        env: environment variables of every command, beside the fixed clean base.
        limits: what it may use.
        network: ``"none"`` (loopback only), ``"allowlist"`` (HTTP to ``allowed_hosts`` through a
            proxy that the environment variables name) or ``"full"``.
        allowed_hosts: for ``"allowlist"``: names, ``*.names``, addresses or CIDR ranges, each for
            ports 80 and 443 or for the one behind a colon.
        toolchains: further host directories bound read-only at the same path (e.g. a Python
            prefix).
        image: image reference for backends that have images; None means the host toolchain.
        workspace_at: where the workspace is seen besides, ``""``: nowhere; for a workspace that an
            image has elsewhere, whose scripts know it by that path.
        name: shown in listings.
    """

    layers: tuple[Path, ...]
    env: tuple[tuple[str, str], ...] = ()
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    network: NetworkPolicy = "none"
    allowed_hosts: tuple[str, ...] = ()
    toolchains: tuple[str, ...] = ()
    image: str | None = None
    workspace_at: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """One path that differs from the pristine tree.

    Attributes:
        path: relative to the workspace; surrogate-escaped.
        kind: ``"modified"``, ``"added"`` or ``"deleted"``; ``"refused"`` for what is never brought
            over (link, device, FIFO, socket, unreadable or over-size file).
        data: the new content of a modified or added regular file, else None.
        executable: the owner may execute it.
        note: why it was refused.
    """

    path: str
    kind: Literal["modified", "added", "deleted", "refused"]
    data: bytes | None = None
    executable: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What the agent did to the workspace, as plain bytes, sorted by path."""

    files: tuple[ChangedFile, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that differs."""
        return tuple(f.path for f in self.files)

    def without_caches(self) -> Change:
        """The same with what merely running code has left (bytecode, test caches) refused.

        Such files are named, but their content, often megabytes, goes nowhere: they never count.
        """
        return Change(tuple(_refused(f) if _is_cache(f) else f for f in self.files))


_CACHES = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"})


def _is_cache(file: ChangedFile) -> bool:
    if file.kind != "added":
        return False
    return file.path.endswith((".pyc", ".pyo")) or not _CACHES.isdisjoint(file.path.split("/"))


def _refused(file: ChangedFile) -> ChangedFile:
    return ChangedFile(file.path, "refused", note="a cache")


class Snapshot(Protocol):
    """The state of a sandbox at one moment: files, and each idle shell's cwd and variables."""

    async def release(self) -> None:
        """Give its space back; idempotent."""


@runtime_checkable
class Sandbox(Workspace, Protocol):
    """One isolated workspace with processes.

    An async context manager; :meth:`close` is idempotent and may be called from another task while
    a command runs. Infrastructure trouble raises :class:`~repodrome.errors.SandboxError`.
    """

    spec: SandboxSpec

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 600.0,
        max_output: int = 1 << 20,
    ) -> CommandResult:
        """Run one program in fresh namespaces over the same files; its status can be trusted.

        The status comes from the host's own wait for the process, never from inside. For set-up
        and grading.
        """

    async def export(self, *, max_file_bytes: int = 64 << 20) -> Change:
        """Kill every process, freeze the workspace and bring its change over as plain bytes."""

    async def snapshot(self) -> Snapshot:
        """Take a copy of the present state; the sandbox goes on."""

    async def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this sandbox (or of one with an equal spec)."""

    async def fork(self) -> Sandbox:
        """A second sandbox with this one's present files and shell state."""

    async def commit(self, target: Path) -> None:
        """Freeze what was written into a new layer directory at ``target`` (for set-up layers).

        Only for a sandbox started with ``persist``; it can't be used afterwards.
        """

    async def close(self) -> None:
        """Kill everything, give everything back."""

    async def __aenter__(self) -> Sandbox: ...

    async def __aexit__(self, *exc: object) -> None: ...


@runtime_checkable
class SandboxBackend(Protocol):
    """Makes sandboxes. Others add theirs through the entry-point group ``repodrome.sandbox``."""

    name: str

    @property
    def owner(self) -> tuple[int, int]:
        """Host uid and gid that layers must belong to: its sandboxes run as them."""

    def check(self) -> None:
        """Say whether this machine can run it.

        Raises:
            SandboxUnavailableError: with the fix.
        """

    async def start(
        self, spec: SandboxSpec, *, live: bool = True, persist: Path | None = None
    ) -> Sandbox:
        """Start a sandbox.

        Args:
            spec: what it is made of.
            live: start its init, ready for ``shell`` and ``exec``; grading needs only ``run``.
            persist: an empty directory, on the layers' own filesystem, in which what is written is
                kept for :meth:`Sandbox.commit`; the caller removes it.
        """

    async def prefetch(self, spec: SandboxSpec, count: int) -> None:
        """Have ``count`` fresh sandboxes of this spec ready; :meth:`start` takes from them."""

    async def close(self) -> None:
        """Close prefetched sandboxes and helpers; sandboxes handed out stay their users'."""
