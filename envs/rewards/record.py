"""Making the record that rewards read complete: old contents, the reference's size, evidence."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repodrome.envs.rewards.base import Gathering, Reward, RewardContext
from repodrome.envs.rewards.lines import MAX_BYTES, changed_lines, is_text, to_lines
from repodrome.envs.sandbox.base import Change
from repodrome.envs.sandbox.beneath import openat2
from repodrome.tasks.folder import solution_kind
from repodrome.tasks.model import Task

if TYPE_CHECKING:
    from repodrome.tasks.source import Materialised

MAX_PRISTINE = 16 << 20
"""Bytes of old contents that are kept in all; files past that are left out."""


def read_pristine(workspace: Path, change: Change) -> dict[str, bytes]:
    """The old content of each modified or deleted regular file of at most 1 MiB.

    Args:
        workspace: the pristine workspace on the host.
        change: its paths are the agent's: nothing outside of the workspace is read for them, and no
            link is followed.
    """
    found: dict[str, bytes] = {}
    left = MAX_PRISTINE
    root = os.open(workspace, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for file in change.files:
            if file.kind not in ("modified", "deleted"):
                continue
            data = _read(root, file.path)
            if data is not None and len(data) <= left:
                found[file.path] = data
                left -= len(data)
    finally:
        os.close(root)
    return found


def _read(root: int, path: str) -> bytes | None:
    """A regular file's content; None where it is none, or a large one."""
    if "\0" in path:
        return None
    try:
        fd = openat2(root, os.fsencode(path), os.O_RDONLY | os.O_NONBLOCK, links=False)
    except (OSError, UnicodeEncodeError):
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return None
        with open(fd, "rb", closefd=False) as file:
            return file.read(MAX_BYTES)
    finally:
        os.close(fd)


def reference_lines(task: Task, materialised: Materialised) -> int | None:
    """Lines that the reference solution adds and removes; None where it is a script, or there is
    none."""
    kind = solution_kind(task)
    if kind == "patch":
        patch = task.folder / "solution" / "solution.patch"
        return patch_lines(patch.read_text("utf-8", errors="replace"))
    if kind == "files":
        return _overlay_lines(task.folder / "solution" / "workspace", materialised.workspace)
    if kind == "edits":
        return _overlay_lines(materialised.reference, materialised.workspace)
    return None


def patch_lines(patch: str) -> int:
    """Lines that a unified diff adds and removes; one that it moves within a file is neither."""
    total = 0
    added: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    for line in [*patch.split("\n"), "--- end"]:
        if line.startswith("--- "):
            total += (added - removed).total() + (removed - added).total()
            added, removed = Counter(), Counter()
        elif line.startswith("+") and not line.startswith("+++ "):
            added[line[1:]] += 1
        elif line.startswith("-"):
            removed[line[1:]] += 1
    return total


def _overlay_lines(files: Path, workspace: Path) -> int:
    total = 0
    for file in files.rglob("*"):
        if not file.is_file():
            continue
        old = workspace / file.relative_to(files)
        before = old.read_bytes() if old.is_file() else b""
        after = file.read_bytes()
        if is_text(before) and is_text(after):
            total += sum(map(len, changed_lines(to_lines(before), to_lines(after))))
    return total


def with_evidence(context: RewardContext, rewards: Iterable[Reward]) -> RewardContext:
    """The context with all evidence that the rewards need; what is there is not gathered again.

    Blocks.

    Raises:
        InfraError: a linter or a judge failed.
    """
    evidence: dict[str, Any] = dict(context.evidence)
    for reward in rewards:
        # Looked for by name: isinstance() of a Protocol costs more than most rewards.
        if not hasattr(reward, "gather") or not isinstance(reward, Gathering):
            continue
        if reward.evidence not in evidence:
            # As it will be read back, so that scoring now and scoring again see the same.
            evidence[reward.evidence] = json.loads(json.dumps(reward.gather(context)))
    if evidence.keys() == context.evidence.keys():
        return context
    return context.model_copy(update={"evidence": evidence})
