"""Runtimes whose containers share no pid namespace, such as gVisor's ``runsc``.

The agent's processes are then out of the keeper's sight. A second keeper drives them: root and
pid 1 of their own container, where they run as another user without capabilities, and so can
neither signal nor read it. The first one has the files as always, and a container beside it for
their merged view; both run on a runtime that shares, and run none of the agent's code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from repodrome.envs.sandbox.base import SandboxLimits
from repodrome.envs.sandbox.direct.layout import CONTROL
from repodrome.envs.sandbox.docker.api.wire import Wire

SENTRY_MB = 192
"""MiB that a runtime's own kernel and our process in it may use, beyond the agent's memory."""
THREADS = 32
"""Threads of the host for each process of the agent's, which is what the daemon's limit counts:
up to 20 were seen (platform ptrace)."""
OWN_THREADS = 256
"""Threads of the host that such a kernel needs for itself."""
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "KILL", "SETUID", "SETGID")
"""For FIFOs in the agent's name, and to end its processes."""


@dataclass
class Inside:
    """A container of the agent's with a keeper in it.

    Attributes:
        name: of the container.
        oom: whether memory ran out, once it has ended.
    """

    name: str
    wire: Wire
    oom: bool | None = None
    lock: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))


def adapt(config: dict[str, Any], limits: SandboxLimits, *, inside: bool) -> None:
    """Change a container's host configuration so that the limits hold for what runs in it.

    What the daemon limits is the runtime's kernel as a whole: at the limit it ends, with all that
    runs in it. So each process has a limit of its own before that, at which it gets no memory.

    Args:
        inside: a keeper runs in it.
    """
    from docker.types import Ulimit

    data = limits.memory_mb << 20
    config["mem_limit"] = config["memswap_limit"] = data + (SENTRY_MB << 20)
    config["pids_limit"] = limits.pids * THREADS + OWN_THREADS
    config["ulimits"] = [*config["ulimits"], Ulimit(name="data", soft=data, hard=data)]
    if inside:
        config["cap_add"] = list(CAPABILITIES)
        # Not the volume that keepers of other containers write to: FIFOs end at this kernel.
        config["tmpfs"] = {CONTROL: "size=256m,mode=755,nosuid,nodev"}


def own_env(env: Mapping[str, str], writable: Iterable[str]) -> dict[str, str]:
    """The variables of a keeper in the agent's container: it finds no program of the agent's.

    Args:
        env: the agent's.
        writable: where the agent writes.
    """
    theirs = tuple(f"{place}/" for place in (*writable, "/dev", "/proc"))
    places = [os.path.normpath(place) for place in env["PATH"].split(":") if place.startswith("/")]
    own = [place for place in places if not f"{place}/".startswith(theirs)]
    return {"PATH": ":".join(own), "LANG": env.get("LANG", "C.UTF-8")}
