"""A small workspace for tests of Docker sandboxes, and a look into which container one has."""

from __future__ import annotations

import os
from pathlib import Path

from repodrome.envs.sandbox.base import Sandbox, SandboxLimits, SandboxSpec
from repodrome.envs.sandbox.direct.sandbox import DirectSandbox
from repodrome.envs.sandbox.docker.place import ContainerPlace


def a_spec(folder: Path, owner: tuple[int, int]) -> SandboxSpec:
    """A workspace that holds ``a.txt``."""
    layer = folder / "layer"
    (layer / "workspace").mkdir(parents=True)
    (layer / "workspace/a.txt").write_text("a\n")
    folder.chmod(0o755)
    for path in (layer, *layer.rglob("*")):
        os.chown(path, *owner)
    return SandboxSpec(layers=(layer,), limits=SandboxLimits(memory_mb=128, pids=64, disk_mb=32))


def container_of(sandbox: Sandbox) -> str:
    """The id of the container that it was entered in."""
    assert isinstance(sandbox, DirectSandbox) and isinstance(sandbox._place, ContainerPlace)
    return sandbox._place.container.id
