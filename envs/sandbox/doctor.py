"""What this machine can do for sandboxes, and how to mend what it can't."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from repodrome.envs.sandbox.bubblewrap.backend import FIX, BubblewrapBackend
from repodrome.envs.sandbox.check import Check
from repodrome.envs.sandbox.direct import seccomp
from repodrome.envs.sandbox.direct.cgroups import CONTROLLERS, detect
from repodrome.envs.sandbox.direct.client import privileged
from repodrome.errors import SandboxError


def checks() -> list[Check]:
    """Look at everything; never raises, and leaves nothing behind."""
    from repodrome.envs.sandbox.docker.doctor import docker_checks

    return [
        _kernel(),
        _bwrap(),
        _user_namespaces(),
        _sandbox(),
        _renames(),
        _cgroups(),
        _seccomp(),
        _program("git", "git", required=True),
        _program("rg", "ripgrep", required=False),
        *docker_checks(),
    ]


def _kernel() -> Check:
    release = platform.release()
    numbers = tuple(int(n) for n in release.split("-")[0].split(".")[:2] if n.isdigit())
    ok = platform.system() == "Linux" and numbers >= (5, 11)
    return Check("kernel", ok, f"{platform.system()} {release}", "run on Linux 5.11 or newer")


def _bwrap() -> Check:
    path = shutil.which("bwrap")
    if path is None:
        return Check("bubblewrap", False, "bwrap is not installed", FIX)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return Check("bubblewrap", said.returncode == 0, f"{said.stdout.strip()} at {path}", FIX)


def _user_namespaces() -> Check:
    fix = (
        "allow them: `sysctl -w user.max_user_namespaces=15000`, on Debian also "
        "`kernel.unprivileged_userns_clone=1`, on Ubuntu an AppArmor profile for bwrap or "
        "`kernel.apparmor_restrict_unprivileged_userns=0`; in a container run it with "
        "`--security-opt seccomp=unconfined --cap-add SYS_ADMIN`"
    )
    limit = Path("/proc/sys/user/max_user_namespaces")
    most = int(limit.read_text()) if limit.exists() else 0
    refused = [
        name
        for name, bad in (
            ("kernel.unprivileged_userns_clone", "0"),
            ("kernel.apparmor_restrict_unprivileged_userns", "1"),
        )
        if not privileged() and _sysctl(name) == bad
    ]
    if most == 0 or refused:
        detail = ", ".join(refused) or "user.max_user_namespaces is 0"
        return Check("user namespaces", False, f"not allowed ({detail})", fix)
    return Check("user namespaces", True, f"allowed, at most {most}", fix)


def _sysctl(name: str) -> str:
    path = Path("/proc/sys", *name.split("."))
    return path.read_text().strip() if path.exists() else ""


def _sandbox() -> Check:
    """The proof: really start one."""
    import tempfile

    import anyio

    from repodrome.envs.sandbox.base import SandboxSpec

    async def attempt(layer: Path) -> str:
        async with await BubblewrapBackend().start(SandboxSpec(layers=(layer,))) as sandbox:
            return (await sandbox.shell("echo works")).stdout.decode(errors="replace").strip()

    with tempfile.TemporaryDirectory() as folder:
        layer = Path(folder)
        layer.chmod(0o755)
        (layer / "workspace").mkdir()
        try:
            answer = anyio.run(attempt, layer)
        except SandboxError as error:
            return Check("sandbox", False, str(error), "see the lines above and the message")
    how = "as root" if privileged() else "rootless"
    return Check("sandbox", answer == "works", f"starts, {how}", "see the lines above")


def _renames() -> Check:
    ok = privileged()
    detail = (
        "directories of the pristine tree can be renamed"
        if ok
        else "rootless overlays can't rename a directory of the pristine tree in one call "
        "(`mv` copies instead; a program that calls rename(2) itself gets EXDEV)"
    )
    return Check("renames", ok, detail, "run as root where that matters", required=False)


def _cgroups() -> Check:
    found = detect()
    missing = [c for c in CONTROLLERS if c not in found.directories]
    detail = f"v{found.version}: {', '.join(sorted(found.directories)) or 'none'}"
    fix = (
        "run as root, or under `systemd-run --user --scope -p Delegate=yes`; until then memory and "
        f"processes are limited by rlimits, which bound each process alone ({', '.join(missing)})"
    )
    return Check("cgroups", not missing, detail, fix, required=False)


def _seccomp() -> Check:
    ok = seccomp.program() is not None
    detail = "system calls are filtered" if ok else "no system call filter"
    fix = "`pip install repodrome[seccomp]` and the system library libseccomp2"
    return Check("seccomp", ok, detail, fix, required=False)


def _program(name: str, package: str, *, required: bool) -> Check:
    path = shutil.which(name)
    return Check(
        name, path is not None, path or "not installed", f"`apt-get install {package}`", required
    )
