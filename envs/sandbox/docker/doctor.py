"""What Docker daemons can do for the backend ``docker``, and how to mend what they can't."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from repodrome.envs.sandbox.check import Check
from repodrome.envs.sandbox.docker.engine import Engine, NotFoundError, connect
from repodrome.envs.sandbox.docker.hosts import default_capacity, specs_from_environment
from repodrome.envs.sandbox.docker.images import base_reference
from repodrome.envs.sandbox.docker.way import VARIABLE, choose, runtime_from_environment
from repodrome.errors import SandboxError, UsageError

SECONDS = 5
"""How long a daemon gets for each answer."""
LITTLE_SPACE = 5 << 30
_LIMITS = {
    "MemoryLimit": "memory",
    "SwapLimit": "swap",
    "PidsLimit": "processes",
    "CpuCfsQuota": "processors",
}
_NO_LIMITS = (
    "the daemon's kernel must offer them: boot it with `cgroup_enable=memory swapaccount=1`, or "
    "with cgroup v2; a rootless daemon needs systemd's delegation of cgroup v2"
)


def docker_checks() -> list[Check]:
    """Look at every daemon that would be used; never raises, and leaves nothing behind."""
    try:
        specs = specs_from_environment()
    except UsageError as error:
        return [_weak("docker", False, str(error), "mend that variable")]
    found: list[Check] = []
    for spec in specs:
        engine = Engine(spec.address, partial(connect, timeout=SECONDS))
        label = "docker" if len(specs) == 1 else f"docker {engine.name}"
        found += _of_daemon(engine, label, spec.capacity)
        engine.close()
    return found


def _of_daemon(engine: Engine, label: str, capacity: int | None) -> Iterator[Check]:
    runtime = runtime_from_environment()
    try:
        info = engine.call_now(lambda client: client.info())
        way = engine.call_now(lambda client: choose(client, info, runtime))
        image = _image(engine, label)
    except SandboxError as error:
        detail, _, fix = str(error).partition(" Fix: ")
        yield _weak(label, False, detail, fix or "see the message")
        return
    room = capacity or default_capacity(info)
    yield _weak(label, True, f"{engine.name}: version {info['ServerVersion']}, {room} sandboxes")
    slower = "starts take longer; for direct ones: root on the daemon's host, runc or crun, seccomp"
    yield _weak(f"{label} mode", way.direct, way.why, slower)
    yield image
    yield _storage(info, label)
    yield _limits(info, label)
    yield _runtimes(info, runtime, label)
    if way.direct:
        yield _disk(info, label)


def _image(engine: Engine, label: str) -> Check:
    base = base_reference()
    fix = f"`scripts/make-base-image`, or `docker pull {base}` where a registry has it"
    try:
        found = engine.call_now(lambda client: client.inspect_image(base))
    except NotFoundError:
        return _weak(f"{label} image", False, f"{base} is not there", fix)
    return _weak(f"{label} image", True, f"{base}, {found['Size'] >> 20} MiB")


def _storage(info: Mapping[str, Any], label: str) -> Check:
    driver = str(info.get("Driver"))
    below = dict(info.get("DriverStatus") or ()).get("Backing Filesystem", "")
    detail = f"{driver}{f' on {below}' if below else ''}"
    # vfs copies a whole image for each container.
    fix = 'set `"storage-driver": "overlay2"` in /etc/docker/daemon.json, on ext4 or xfs'
    return _weak(f"{label} storage", driver not in ("vfs", "devicemapper", "aufs"), detail, fix)


def _limits(info: Mapping[str, Any], label: str) -> Check:
    missing = [name for key, name in _LIMITS.items() if info.get(key) is False]
    detail = f"cgroup v{info.get('CgroupVersion') or '1'} ({info.get('CgroupDriver')})"
    if missing:
        detail += f", no limits of {', '.join(missing)}"
    return _weak(f"{label} limits", not missing, detail, _NO_LIMITS)


def _runtimes(info: Mapping[str, Any], runtime: str, label: str) -> Check:
    names = sorted(info.get("Runtimes") or ())
    detail = f"{', '.join(names)}; default {info.get('DefaultRuntime')}"
    if runtime:
        detail += f"; {runtime} by {VARIABLE}"
    if "runsc" not in names:
        detail += "; no runsc (gVisor), which isolates better"
    return _weak(f"{label} runtimes", True, detail)


def _disk(info: Mapping[str, Any], label: str) -> Check:
    root = str(info.get("DockerRootDir"))
    try:
        free = shutil.disk_usage(root).free
    except OSError as error:
        return _weak(f"{label} disk", False, f"{root}: {error.strerror}", "see the message")
    fix = "`repodrome image prune`, `docker system prune`, or a larger disk"
    return _weak(f"{label} disk", free > LITTLE_SPACE, f"{free >> 30} GiB free at {root}", fix)


def _weak(name: str, ok: bool, detail: str, fix: str = "") -> Check:
    """Nothing of Docker is required: there is the embedded sandbox."""
    return Check(name, ok, detail, fix, required=False)
