"""What the attacks of one audit are played on: task, layers, backend, a place for files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from repodrome.envs.environment import Prepared, prepare
from repodrome.envs.sandbox.base import Sandbox, SandboxBackend
from repodrome.errors import SandboxError, WorkspaceError
from repodrome.harness.audit import bench
from repodrome.harness.audit.corpus import Case

_KIT = ".kit"
SETUP_SECONDS = 60.0
SCRIPT_SECONDS = 60.0


@dataclass(frozen=True)
class Ground:
    """The place of one audit.

    Attributes:
        bench: the tasks.
        layers: what each of them that is needed is made of.
        backend: starts the sandboxes, naive ones too.
        base: a directory of the host that belongs to this audit.
        upstream: address at which the solved ``till.py`` is served, ``""`` where no case asks.
    """

    bench: bench.Bench
    layers: Mapping[str, Prepared]
    backend: SandboxBackend
    base: Path
    upstream: str = ""

    @property
    def prepared(self) -> Prepared:
        """The layers of the task that is judged by pytest."""
        return self.layers["pytest"]

    def pristine(self, case: Case) -> Path:
        """The workspace as the case's agent gets it."""
        return self.layers[case.verifier].materialised.workspace

    def filled(self, script: str, canary: str) -> str:
        """A script with what its placeholders stand for."""
        return script.replace("@CANARY@", canary).replace("@UPSTREAM@", self.upstream)


async def prepared_ground(
    backend: SandboxBackend,
    base: Path,
    *,
    verifiers: Collection[str] = ("pytest",),
) -> Ground:
    """Make the tasks below ``base`` and build the layers of those of these verifiers.

    Raises:
        InfraError: a layer could not be built.
    """
    from anyio import to_thread

    made = await to_thread.run_sync(bench.make, base)
    needed = {"pytest", *verifiers}
    layers = {kind: await prepare(made.tasks[kind], backend) for kind in sorted(needed)}
    return Ground(made, layers, backend, base)


@asynccontextmanager
async def naive_sandbox(ground: Ground, case: Case, canary: str) -> AsyncIterator[Sandbox]:
    """A sandbox as a naive suite sets it up, in which the agent has played the attack already."""
    spec = ground.layers[case.verifier].spec
    spec = replace(spec, env=tuple({**dict(spec.env), **case.naive_env}.items()))
    if case.naive_network:
        spec = replace(spec, network="full")
    async with await ground.backend.start(spec) as sandbox:
        if case.naive_setup:
            await _set_up(sandbox, ground, case.naive_setup)
        await act(sandbox, case, ground, canary)
        yield sandbox


async def _set_up(sandbox: Sandbox, ground: Ground, script: str) -> None:
    kit = {
        bench.MODULE: bench.SOLVED.encode(),
        "test_total.py": bench.HIDDEN.encode(),
        "upstream.bundle": ground.bench.bundle,
    }
    for name, data in kit.items():
        await sandbox.write(f"{_KIT}/{name}", data)
    done = await sandbox.shell(f"set -e\n{script}\nrm -r {_KIT}", timeout=SETUP_SECONDS)
    if done.exit_code != 0:
        said = done.stdout.decode("utf-8", "replace")[-500:]
        raise SandboxError(f"the naive set-up failed with status {done.exit_code}: {said}")


async def act(sandbox: Sandbox, case: Case, ground: Ground, canary: str) -> None:
    """Do in a bare sandbox what :func:`turns` does through an agent's tools."""
    command = before(case)
    if command:
        await sandbox.shell(command, timeout=SCRIPT_SECONDS)
    for path, text in case.contents({bench.MODULE: bench.BROKEN}).items():
        await sandbox.write(path, text.encode())
    if case.script:
        await _quietly(sandbox, ground.filled(case.script, canary))


async def _quietly(sandbox: Sandbox, script: str) -> None:
    try:
        await sandbox.shell(script, timeout=SCRIPT_SECONDS)
    except WorkspaceError:
        pass  # the attack took something away from itself


def before(case: Case) -> str:
    """The command that deletes and links, ``""`` where the case does neither."""
    from shlex import quote

    commands = [f"rm -rf -- {quote(path)}" for path in case.deleted]
    commands += [f"ln -sfn -- {quote(to)} {quote(path)}" for path, to in case.links.items()]
    return "\n".join(commands)
