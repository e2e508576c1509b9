"""Sandbox backends by name: one object a process, so that prefetched sandboxes are shared."""

from __future__ import annotations

import os

from repodrome.envs.sandbox.base import SandboxBackend
from repodrome.plugins import load_part

GROUP = "repodrome.sandbox"
_BUILT_IN = {
    "bubblewrap": "repodrome.envs.sandbox.bubblewrap.backend:BubblewrapBackend",
    "docker": "repodrome.envs.sandbox.docker.backend:DockerBackend",
}
_made: dict[tuple[int, str], SandboxBackend] = {}


def get_backend(name: str | SandboxBackend) -> SandboxBackend:
    """The backend of that name (an object is passed through), made at first use in this process.

    Raises:
        UnknownNameError: there is none.
    """
    if not isinstance(name, str):
        return name
    key = (os.getpid(), name)
    if key not in _made:
        _made[key] = load_part("sandbox", name, GROUP, _BUILT_IN)()
    return _made[key]
