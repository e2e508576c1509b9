"""The mounts of sandboxes: the root skeleton that all share, and each one's writable filesystem."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from pathlib import Path
from typing import Any

from repodrome.envs.sandbox.direct.syscalls import (
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SHARED,
    mount,
)
from repodrome.envs.sandbox.direct.treecopy import TreeCopy

PARTS = ("workspace", "env", "home")
CTL_OPTIONS = "mode=0755,size=256m,nr_inodes=16384"
REFUSED = (
    "(the kernel takes no overlay over {}, which may itself lie on overlays: set REPODROME_CACHE "
    "to a directory on a disk, a volume or a tmpfs)"
)


def bind_into(root: str, path: str) -> None:
    """Bind the host's ``path`` at the same place below ``root``, unless something covers it."""
    target = root + path
    if os.path.lexists(target) and os.path.exists(path):
        here, there = os.stat(target), os.stat(path)
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            return
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    mount(path, target, None, MS_BIND | MS_REC)
    # With bwrap's own flags already there, it need not remount each of these for every sandbox.
    mount(path, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def mask(root: str, path: str) -> None:
    """Hide a directory behind an empty one."""
    mount(f"{root}/var/empty", root + path, None, MS_BIND)
    flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
    mount(f"{root}/var/empty", root + path, None, flags)


def make_skeleton(config: dict[str, Any]) -> None:
    """The read-only root that all sandboxes share: host toolchain, a minimal /etc, mount points."""
    root = f"{config['stage']}/root"
    for name in config["directories"]:
        os.makedirs(root + name, exist_ok=True)
    for name, text in config["files"].items():
        Path(root + name).write_text(text, encoding="latin-1")
    for name, target in config["links"].items():
        os.symlink(target, root + name)
    for path in config["copies"]:
        shutil.copytree(path, root + path, symlinks=True, dirs_exist_ok=True)
    for path in config["binds"]:
        bind_into(root, path)
    for path in config["masks"]:
        mask(root, path)


class Filesystem:
    """Makes the writable filesystem of one sandbox in the caller's own mount namespace.

    ``m`` is a tmpfs with the sandbox's byte and inode quota; below it ``upper`` and ``work`` of the
    overlay, ``ws`` where the overlay is mounted, ``tmp``, ``shm``. ``ctl`` (FIFOs and scripts of
    the host, read-only inside) is a tmpfs of its own, so that a full disk can't silence the host.
    Extra toolchains are bound into this namespace's root skeleton. The parts of the overlay are
    bound to ``at/…``, which bwrap binds in turn: so it can start before they are there.

    Args:
        numbered: where the caller's descriptors are to be seen, by number.
    """

    def __init__(
        self,
        config: dict[str, Any],
        order: dict[str, Any],
        fds: dict[str, int],
        numbered: str = "/proc/self/fd",
    ) -> None:
        self.config, self.order, self.fds, self.numbered = config, order, fds, numbered
        self.base = f"{config['stage']}/m"

    def make(self) -> tuple[int, int, int]:
        """Mount everything; descriptors of the base, the overlay's root and the namespace."""
        self._tmpfs()
        if not self.order.get("snapshot"):
            self._toolchains()
            self._overlay()
        return self.handles()

    def make_empty(self) -> int:
        """Mount what does not depend on the task; a descriptor of the namespace.

        What is mounted below the base later (:meth:`fill`) is seen in sandboxes that run already.
        """
        self._tmpfs()
        mount("none", self.base, None, MS_SHARED)
        self._toolchains()
        return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def fill(self) -> tuple[int, int]:
        """Put the task's part into what :meth:`make_empty` has made, from its namespace."""
        quota = f"size={self.order['size']},nr_inodes={self.order['inodes']}"
        mount("none", self.base, None, MS_REMOUNT | MS_NOSUID | MS_NODEV, quota)
        self._overlay()
        return self._places()

    def handles(self) -> tuple[int, int, int]:
        return *self._places(), os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def _places(self) -> tuple[int, int]:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        return os.open(self.base, flags), os.open(f"{self.base}/ws", flags)

    def _tmpfs(self) -> None:
        quota = f"mode=0755,size={self.order['size']},nr_inodes={self.order['inodes']}"
        mount("repodrome", self.base, "tmpfs", MS_NOSUID | MS_NODEV, quota)
        uid, gid = self.config["uid"], self.config["gid"]
        for name, mode, owned in (
            ("ws", 0o755, False),
            ("ctl", 0o755, False),
            ("work", 0o755, False),
            ("upper", 0o755, False),
            ("tmp", 0o1777, True),
            ("shm", 0o1777, True),
            ("tests", 0o755, True),
            ("logs", 0o755, True),
            ("at", 0o755, False),
            *((f"at/{part}", 0o755, True) for part in PARTS),
        ):
            path = f"{self.base}/{name}"
            os.mkdir(path)
            os.chmod(path, mode)
            if owned:
                os.chown(path, uid, gid)
        if not self.order.get("snapshot"):
            mount("repodrome", f"{self.base}/ctl", "tmpfs", MS_NOSUID | MS_NODEV, CTL_OPTIONS)
        if "copy" in self.fds:
            self._copy(self.fds["copy"])

    def _copy(self, source: int) -> None:
        """Bring over what another sandbox or snapshot has written: its upper layer and /tmp."""
        target = os.open(self.base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        copy = TreeCopy(target)
        for name in ("upper", "tmp"):
            copy.copy(source, name)
        os.close(target)

    def _toolchains(self) -> None:
        for path in self.order["toolchains"]:
            bind_into(f"{self.config['stage']}/root", path)
            for packages in glob.glob(f"{path}/lib/python3*/*-packages"):
                mask(f"{self.config['stage']}/root", packages)

    def _overlay(self) -> None:
        layers = [os.open(p, os.O_PATH | os.O_DIRECTORY) for p in reversed(self.order["layers"])]
        places = [self.order["persist"]] if self.order.get("persist") else []
        for place in (*places, self.base):
            try:
                self._mount_overlay(layers, place)
                break
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                if place == self.base:
                    hint = REFUSED.format(self.order["layers"][0])
                    raise OSError(error.errno, f"{error.strerror} {hint}") from None
                # Some filesystems can't hold an upper layer, above all another overlay, as which
                # containers have their root: it is built in memory, and Sandbox.commit copies it.
                for name in ("upper", "work"):
                    shutil.rmtree(f"{place}/{name}")
        for fd in layers:
            os.close(fd)
        for name in PARTS:
            mount(f"{self.base}/ws/{name}", f"{self.base}/at/{name}", None, MS_BIND)

    def _mount_overlay(self, layers: list[int], place: str) -> None:
        upper, work = f"{place}/upper", f"{place}/work"
        for path in (upper, work):
            os.makedirs(path, exist_ok=True)
        for name in PARTS:
            if not any(os.path.isdir(f"{self.numbered}/{fd}/{name}") for fd in layers):
                os.makedirs(f"{upper}/{name}", exist_ok=True)
                os.chown(f"{upper}/{name}", self.config["uid"], self.config["gid"])
        # Descriptors instead of paths: no escaping of ':' and ',', and short option strings.
        lower = ":".join(f"{self.numbered}/{fd}" for fd in layers)
        own = "userxattr" if self.config["rootless"] else "redirect_dir=on"
        up, wk = (os.open(p, os.O_PATH | os.O_DIRECTORY) for p in (upper, work))
        places = f"upperdir={self.numbered}/{up},workdir={self.numbered}/{wk}"
        try:
            options = f"lowerdir={lower},{places},{own}"
            mount("repodrome", f"{self.base}/ws", "overlay", MS_NOSUID | MS_NODEV, options)
        finally:
            os.close(up)
            os.close(wk)
