"""Sandboxes made ahead of time: how many, whose, and what is left when their spawner was killed."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import anyio
import pytest

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend
from repodrome.envs.sandbox.direct.cgroups import detect
from repodrome.envs.sandbox.direct.client import spawner
from repodrome.envs.sandbox.owner import Owner

pytestmark = pytest.mark.anyio


def ready(backend: BubblewrapBackend) -> int:
    return sum(map(len, backend.prefetched._ready.values()))


async def test_many_askers_get_what_one_would(layer: Path) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(backend.prefetch, spec, 2)
    assert ready(backend) == 2
    await backend.close()


async def test_there_is_a_bound_and_the_oldest_go_first(layer: Path) -> None:
    backend = BubblewrapBackend()
    backend.prefetched.max_ready = 3
    specs = [SandboxSpec(layers=(layer,), name=str(number)) for number in range(3)]
    for spec in specs:
        await backend.prefetch(spec, 2)
    assert ready(backend) == 3 and specs[0] not in backend.prefetched._ready
    assert len(backend.prefetched._ready[specs[2]]) == 2
    await backend.prefetch(dataclasses.replace(specs[0], name="all"), 99)
    assert ready(backend) == 3
    await backend.close()


async def test_a_forked_child_leaves_its_parents_alone(layer: Path) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    await backend.prefetch(spec, 1)
    child = os.fork()
    if child == 0:
        os._exit(0 if backend.prefetched._pop(spec) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222
    async with await backend.start(spec) as sandbox:
        assert (await sandbox.shell("echo fine")).stdout == b"fine\n"
    await backend.close()


async def test_a_killed_spawner_is_replaced_and_leaves_no_cgroup(layer: Path) -> None:
    backend, spec = BubblewrapBackend(), SandboxSpec(layers=(layer,))
    await backend.prefetch(spec, 2)
    dead = spawner()._process.pid
    os.kill(dead, signal.SIGKILL)
    spawner()._process.wait(10) if spawner()._process.pid == dead else None
    async with await backend.start(spec) as sandbox:
        assert (await sandbox.shell("echo fine")).stdout == b"fine\n"
    for directory in detect().directories.values():
        assert not [n for n in os.listdir(directory) if n.startswith(f"{Owner.current()}-{dead}-")]
    await backend.close()
