"""Whether a daemon's containers can be entered directly, or are driven over its API alone."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repodrome.envs.sandbox.direct import seccomp
from repodrome.envs.sandbox.direct.client import privileged

ENTERABLE = frozenset({"runc", "crun", "io.containerd.runc.v2"})
"""Runtimes whose containers are processes of the host's own kernel."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to drive a daemon's containers.

    Attributes:
        direct: enter them: starts take milliseconds. Otherwise all goes over the API.
        why: what was found, for people.
    """

    direct: bool
    why: str


def choose(client: Any, info: Mapping[str, Any], runtime: str = "") -> Way:
    """The quickest way that works.

    Args:
        client: the low-level one: only on a Unix socket can be this host's own daemon.
        info: what the daemon says of itself (``docker info``).
        runtime: the one asked for; default: the daemon's own.
    """
    from docker.transport import UnixHTTPAdapter

    adapter = getattr(client, "_custom_adapter", None)
    options = " ".join(info.get("SecurityOptions") or ())
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
        return Way(False, f"over the API: {', '.join(found)}")
    return Way(True, "directly: we are root on the daemon's host")
