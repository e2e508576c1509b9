"""The read-only root of embedded sandboxes: the host's toolchain and a minimal /etc."""

from __future__ import annotations

import glob
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from repodrome.envs.sandbox.base import ENV_PREFIX, HOME, WORKSPACE
from repodrome.envs.sandbox.direct.layout import CONTROL

INNER_UID = 1000
_ETC_FILES = ("ld.so.cache", "ld.so.conf", "mime.types", "protocols", "services")
_ETC_TREES = ("alternatives", "ld.so.conf.d", "ssl/certs")
_PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\n"
    f"agent:x:{INNER_UID}:{INNER_UID}:agent:{HOME}:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
)
_GROUP = f"root:x:0:\nagent:x:{INNER_UID}:\nnogroup:x:65534:\n"


def python_prefix() -> str:
    """The host Python's own prefix (not a virtual environment's), links resolved."""
    return os.path.realpath(sys.base_prefix)


def skeleton() -> dict[str, Any]:
    """What the spawner builds the shared root from, in the spawner's words."""
    links, binds = {}, ["/usr"]
    for name in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        path = Path(name)
        if path.is_symlink():
            links[name] = str(path.readlink())
        elif path.is_dir():
            binds.append(name)
    prefix = python_prefix()
    if not prefix.startswith("/usr"):
        binds.append(prefix)
    etc = {}
    for name in _ETC_FILES:
        with suppress(OSError):
            etc[f"/etc/{name}"] = Path("/etc", name).read_text(encoding="latin-1")
    hosts = "127.0.0.1 localhost sandbox\n::1 localhost\n"
    return {
        "directories": [
            *(
                "/proc",
                "/dev",
                "/tmp",
                "/var/empty",
                "/root",
                "/etc/ssl",
                "/opt",
                "/sys",
                "/mnt",
                "/tests",
                "/logs",
            ),
            *(CONTROL, WORKSPACE, ENV_PREFIX, HOME),
        ],
        "files": {
            "/etc/passwd": _PASSWD,
            "/etc/group": _GROUP,
            "/etc/hosts": hosts,
            "/etc/hostname": "sandbox\n",
            "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
            "/etc/resolv.conf": "",
            **etc,
        },
        # Relative: the spawner binds through it, and must not end up in the host's own /tmp.
        "links": {**links, "/var/tmp": "../tmp", "/etc/mtab": "/proc/mounts"},
        # Copied, not bound: every mount below the root costs each sandbox some 50 µs.
        "copies": [f"/etc/{name}" for name in _ETC_TREES if Path("/etc", name).is_dir()],
        "binds": binds,
        "masks": _masks(prefix),
    }


def _masks(prefix: str) -> list[str]:
    """Host-installed Python packages, hidden: they may hold a task's reference implementation."""
    found: set[str] = set()
    for base in {prefix, "/usr", "/usr/local"}:
        for pattern in ("lib/python3*/site-packages", "lib/python3*/dist-packages"):
            found.update(p for p in glob.glob(f"{base}/{pattern}") if _has_entries(p))
    return sorted(path for path in found if os.path.realpath(path) == path)


def _has_entries(path: str) -> bool:
    return os.path.isdir(path) and bool(os.listdir(path))
