"""Whether a daemon's containers can be entered directly, or are driven over its API alone."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repodrome.envs.sandbox.direct import seccomp
from repodrome.envs.sandbox.direct.client import privileged
from repodrome.errors import SandboxUnavailableError

ENTERABLE = frozenset({"runc", "crun", "io.containerd.runc.v2"})
"""Runtimes whose containers are processes of the host's own kernel."""
VARIABLE = "REPODROME_DOCKER_RUNTIME"
SHARING = ENTERABLE | {"nvidia"}
"""Those whose containers can share a pid namespace."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to drive a daemon's containers.

    Attributes:
        direct: enter them: starts take milliseconds. Otherwise all goes over the API.
        why: what was found, for people.
        apart: the agent's containers can't share a pid namespace with ours.
        own_runtime: what ours run on; default: the daemon's own.
    """

    direct: bool
    why: str
    apart: bool = False
    own_runtime: str = ""


def runtime_from_environment() -> str:
    """The runtime that REPODROME_DOCKER_RUNTIME names, or ``""``: the daemon's own."""
    return os.environ.get(VARIABLE, "").strip()


def choose(client: Any, info: Mapping[str, Any], runtime: str = "") -> Way:
    """The quickest way that works.

    Args:
        client: the low-level one: only on a Unix socket can be this host's own daemon.
        info: what the daemon says of itself (``docker info``).
        runtime: the one asked for; default: the daemon's own.

    Raises:
        SandboxUnavailableError: the daemon doesn't have it, or nothing that ours could run on.
    """
    from docker.transport import UnixHTTPAdapter

    adapter = getattr(client, "_custom_adapter", None)
    options = " ".join(info.get("SecurityOptions") or ())
    known = info.get("Runtimes") or {}
    if runtime and runtime not in known:
        raise SandboxUnavailableError(
            f"the Docker daemon has no runtime {runtime}, but {', '.join(sorted(known))}. Fix: "
            "name it under `runtimes` in the daemon's daemon.json, and restart it"
        )
    runtime = runtime or str(info.get("DefaultRuntime") or "runc")
    obstacles = (
        (sys.platform != "linux", "this is not Linux"),
        (not isinstance(adapter, UnixHTTPAdapter), "the daemon is not on a Unix socket"),
        (not privileged(), "we are not root on the daemon's host"),
        (info.get("KernelVersion") != platform.release(), "the daemon runs on another kernel"),
        ("name=rootless" in options, "the daemon is rootless"),
        ("name=userns" in options, "the daemon maps users (userns-remap)"),
        (runtime not in ENTERABLE, f"containers of the runtime {runtime} can't be entered"),
        (seccomp.program() is None, "pyseccomp or libseccomp is missing"),
    )
    found = [reason for is_so, reason in obstacles if is_so]
    if found:
        apart = runtime not in SHARING
        own = _own_runtime(info) if apart else ""
        return Way(False, f"over the API: {', '.join(found)}", apart, own)
    return Way(True, "directly: we are root on the daemon's host")


def _own_runtime(info: Mapping[str, Any]) -> str:
    """Of the daemon's runtimes one whose containers share pid namespaces, its default if that does.

    Raises:
        SandboxUnavailableError: there is none.
    """
    known: Mapping[str, Any] = info.get("Runtimes") or {}
    for name in (str(info.get("DefaultRuntime")), "runc", "crun", *sorted(known)):
        if name in SHARING and name in known:
            return name
    raise SandboxUnavailableError(
        "the Docker daemon has neither runc nor crun, which what keeps an episode's files runs on. "
        "Fix: name one under `runtimes` in its daemon.json"
    )
