"""Sandboxes as bwrap makes them: its command line over the host's own toolchain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repodrome.envs.sandbox.base import ENV_PREFIX, HOME, WORKSPACE, SandboxSpec
from repodrome.envs.sandbox.direct import seccomp
from repodrome.envs.sandbox.direct.client import Spawner
from repodrome.envs.sandbox.direct.layout import BASE_ENV, CONTROL
from repodrome.envs.sandbox.direct.place import Place

INNER_UID = 1000
SECCOMP_FD = 10
_ONCE_SHUT = """\
held() { for fd in /proc/1/fd/*; do [[ -d $fd ]] && return; done; return 1; }
while held; do :; done
exec -- "$@"
"""
# bwrap forks the program first and only then lets go of the spawner's /proc, which it holds as a
# directory: whoever is quicker could walk through it (/proc/1/fd/3/…) to other sandboxes. Those
# that are pid 1 themselves take its place, and with it nothing.
_WAITING = ("/bin/bash", "-p", "-c", _ONCE_SHUT, "bash")


class BwrapPlace(Place):
    """Implements :class:`~repodrome.envs.sandbox.direct.place.Place`.

    Args:
        bwrap: path of the program.
    """

    def __init__(self, spawner: Spawner, spec: SandboxSpec, bwrap: str) -> None:
        super().__init__(spawner, spec)
        self.bwrap = bwrap

    async def another(self) -> BwrapPlace:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`."""
        return BwrapPlace(self.spawner, self.spec, self.bwrap)

    async def release(self, *, lost: bool) -> None:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`: nothing is kept."""

    def mounts(self) -> dict[str, Any]:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`."""
        fillable = self.spec.network == "none"
        return {
            **super().mounts(),
            "toolchains": list(self.spec.toolchains),
            "fillable": fillable,
        }

    def enter(
        self,
        argv: Sequence[str],
        *,
        init: bool,
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """See :class:`~repodrome.envs.sandbox.direct.place.Place`."""
        stage, spec = self.spawner.stage, self.spec
        base = f"{stage}/m"
        line = [
            self.bwrap,
            # The spawner has already unshared network, IPC and host name.
            *("--unshare-user", "--unshare-pid", "--unshare-cgroup-try"),
            *("--die-with-parent", "--new-session"),
            *("--uid", str(INNER_UID), "--gid", str(INNER_UID)),
            *("--cap-drop", "ALL"),
            *("--ro-bind", f"{stage}/root", "/"),
            *("--proc", "/proc", "--dev", "/dev", "--bind", f"{base}/shm", "/dev/shm"),
            *("--remount-ro", "/dev"),
            *("--bind", f"{base}/at/workspace", WORKSPACE),
            *("--bind", f"{base}/at/env", ENV_PREFIX),
            *("--bind", f"{base}/at/home", HOME),
            *("--bind", f"{base}/tmp", "/tmp"),
            *("--ro-bind", f"{base}/ctl", CONTROL),
            *("--chdir", "/" if init else cwd, "--clearenv"),
        ]
        for path in spec.toolchains:
            # What lies elsewhere is in the shared root; these directories are the sandbox's own.
            if path.startswith(("/tmp/", "/var/tmp/", "/dev/shm/")):
                line += ["--ro-bind", f"{stage}/root{path}", path]
        if spec.network == "full":
            line += ["--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"]
        if init:
            line.append("--as-pid-1")
        else:  # where Harbor's verifiers expect their tests and leave their reward
            line += ["--bind", f"{base}/tests", "/tests", "--bind", f"{base}/logs", "/logs"]
        if seccomp.program() is not None:
            line += ["--seccomp", str(SECCOMP_FD)]
        else:
            line.append("--disable-userns")
        own = {} if init else {**dict(spec.env), **(env or {})}
        for name, value in {**BASE_ENV, **own}.items():
            line += ["--setenv", name, value]
        return {"argv": [*line, "--", *(() if init else _WAITING), *argv]}
