"""What every part of a sandbox on a daemon has in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.docker.egress import Egress
from repodrome.envs.sandbox.docker.engine import Engine


@dataclass(frozen=True)
class Setting:
    """A daemon, and how a sandbox on it is to be.

    Attributes:
        image: of the agent's container.
        helper: image of the keeper's: it needs Python 3.11 or newer.
        env: of every command.
        network: name of the Docker network that ``full`` stands for.
        egress: ways out to listed hosts, for ``allowlist``.
        runtime: of the agent's containers.
        own_runtime: of the keeper's, which share a pid namespace; default: the daemon's.
        apart: containers of ``runtime`` share no pid namespace.
        labels: of everything.
        persist: what is written is set-up's, and goes to the daemon's disk, without a quota.
        acquire: takes a place on the daemon for a fork.
        release: gives a sandbox's place back.
    """

    engine: Engine
    image: str
    helper: str
    env: Mapping[str, str]
    spec: SandboxSpec
    labels: Mapping[str, str]
    network: str = "bridge"
    egress: Egress | None = None
    runtime: str = ""
    own_runtime: str = ""
    apart: bool = False
    persist: bool = False
    acquire: Callable[[], Awaitable[object]] | None = None
    release: Callable[[], object] | None = None
