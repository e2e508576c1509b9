"""Removing what dead owners left: empty cgroups and stage directories.

Mounts and processes need no reaping: they live in namespaces that the kernel takes down with their
last process, and the spawner ends when its host process does. What is left carries the owner's
identity (boot, pid namespace, pid, start time) in its name.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from repodrome.envs.sandbox.direct.cgroups import detect
from repodrome.envs.sandbox.direct.client import STAGE_PREFIX
from repodrome.envs.sandbox.owner import Owner


def reap() -> list[str]:
    """Remove what dead owners left; returns what was removed."""
    return [*_reap_cgroups(), *_reap_stages()]


def _reap_cgroups() -> list[str]:
    removed = []
    for directory in set(detect().directories.values()):
        with suppress(OSError):
            for name in os.listdir(directory):
                owner = Owner.parse(name)
                path = Path(directory, name)
                if owner is None or not owner.is_dead():
                    continue
                with suppress(OSError):
                    (path / "cgroup.kill").write_text("1")
                with suppress(OSError):
                    path.rmdir()
                    removed.append(str(path))
    return removed


def _reap_stages() -> list[str]:
    removed = []
    for base in {"/tmp", tempfile.gettempdir()}:
        with suppress(OSError):
            for entry in os.scandir(base):
                if not entry.name.startswith(STAGE_PREFIX):
                    continue
                owner = Owner.parse(entry.name.removeprefix(STAGE_PREFIX))
                # A link or another user's directory is none of ours, whatever its name says.
                if owner is None or not owner.is_dead() or entry.is_symlink():
                    continue
                with suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                        os.rmdir(entry.path)
                        removed.append(entry.path)
    return removed
