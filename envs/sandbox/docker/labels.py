"""The labels on everything of ours at a daemon: whose it is, from which machine, and what for."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from repodrome.envs.sandbox.owner import Owner, boot_id

OWNER = "repodrome.owner"
MACHINE = "repodrome.machine"
KIND = "repodrome.kind"


def labels(kind: str, **more: str) -> dict[str, str]:
    """Labels for something that this process makes, and that must not outlive it.

    Args:
        kind: what it is, for listings: ``sandbox``, ``egress``, …
        more: further ones, their names after ``repodrome.``.
    """
    return {
        OWNER: str(Owner.current()),
        MACHINE: machine_id(),
        KIND: kind,
        **{f"repodrome.{name}": value for name, value in more.items()},
    }


def is_left_behind(found: Mapping[str, str] | None) -> bool:
    """Whether the owner of something with these labels is surely gone.

    One daemon may serve several machines, so another boot id alone proves nothing: only one of this
    very machine does. An owner that can't be seen from here (elsewhere, or in another container's
    pid namespace) is taken to live.
    """
    owner = Owner.parse((found or {}).get(OWNER, ""))
    if owner is None:
        return False
    if owner.boot != boot_id() and (found or {}).get(MACHINE) != machine_id():
        return False
    return owner.is_dead()


@cache
def machine_id() -> str:
    """Which machine this is, over reboots; clones of one disk image must differ.

    Hence the firmware's id, where it may be read, and network addresses beside machine-id(5). A
    container is a machine of its own for one boot: any number of them may look the same.
    """
    files = [Path("/etc/machine-id"), Path("/sys/class/dmi/id/product_uuid")]
    files += [d.with_name("address") for d in sorted(Path("/sys/class/net").glob("*/device"))]
    parts = [socket.gethostname()]
    for file in files:
        with suppress(OSError):
            parts.append(file.read_text().strip())
    if os.stat("/proc/self/ns/pid").st_ino != _FIRST_PID_NAMESPACE:
        parts.append(boot_id())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
