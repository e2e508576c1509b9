"""Probes for hidden content in what the agent is given: its tree, its environment, its history."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from repodrome.envs.sandbox.base import WORKSPACE, Sandbox
from repodrome.harness.authoring.findings import Finding, error, note

MIN_SECRET_BYTES = 64
"""Smaller files (empty ``__init__.py``, one-line markers) prove nothing when found elsewhere."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A file the agent must not find.

    Attributes:
        what: for messages, e.g. ``"hidden test"``.
        name: path as the author knows it.
        at: workspace path where an equal file is no leak (a visible test that is hidden anew, so
            that it can't be edited); None where it is one anywhere.
    """

    what: str
    name: str
    data: bytes
    at: str | None = None


def secrets_below(folder: Path | None, what: str, *, at: str | None = None) -> Iterator[Secret]:
    """Each file below ``folder`` as a secret.

    Args:
        at: workspace directory that mirrors ``folder``, see :attr:`Secret.at`.
    """
    if folder is None or not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file() or "__pycache__" in path.parts:
            continue
        name = path.relative_to(folder).as_posix()
        place = None if at is None else os.path.normpath(os.path.join(at, name))
        yield Secret(what=what, name=name, data=path.read_bytes(), at=place)


def probe_files(secrets: Iterable[Secret], layers: Iterable[Path]) -> list[Finding]:
    """Secrets whose content lies in a layer, and byte-code in the workspace. Blocks."""
    by_size: dict[int, dict[str, list[Secret]]] = {}
    for secret in secrets:
        if len(secret.data) >= MIN_SECRET_BYTES and secret.data.strip():
            digest = hashlib.sha256(secret.data).hexdigest()
            by_size.setdefault(len(secret.data), {}).setdefault(digest, []).append(secret)
    found: list[Finding] = []
    for layer in layers:
        for path, relative in _files(layer):
            place, _, rest = relative.partition("/")
            if place == "workspace" and rest.startswith(".git/"):
                continue  # looked at as objects, see probe_git
            if place == "workspace" and relative.endswith(".pyc"):
                found.append(
                    error(
                        "leak",
                        f"byte-code in the agent's workspace: {rest}",
                        "add its folder to [source] remove, or set PYTHONDONTWRITEBYTECODE=1 in "
                        "[environment] setup",
                    )
                )
            candidates = by_size.get(path.stat().st_size)
            if not candidates:
                continue
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            for secret in candidates.get(digest, ()):
                if place == "workspace" and secret.at == rest:
                    continue
                found.append(_leak(secret, f"/{relative}"))
    return found


def _leak(secret: Secret, where: str) -> Finding:
    return error(
        "leak",
        f"the {secret.what} {secret.name} is in what the agent sees, as {where}",
        "take it out with [source] remove or hidden, or drop the package that brings it",
    )


def _files(layer: Path) -> Iterator[tuple[Path, str]]:
    """Regular files of a layer with their path in it, links not followed."""
    for folder, _, names in os.walk(layer):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path, path.relative_to(layer).as_posix()


async def probe_git(sandbox: Sandbox, secrets: Iterable[Secret]) -> list[Finding]:
    """Secrets among the objects of the workspace's repository, and more history than one commit."""
    result = await sandbox.run(
        [
            "git",
            "-C",
            WORKSPACE,
            "-c",
            f"safe.directory={WORKSPACE}",
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname) %(objecttype)",
        ],
        max_output=64 << 20,
    )
    if result.exit_code != 0:
        return [
            note(
                "history",
                "the workspace is not a git repository, or git is missing in the sandbox",
                "install git on the host",
            )
        ]
    kinds = dict(line.split() for line in result.stdout.decode("ascii", "replace").splitlines())
    found: list[Finding] = []
    commits = sum(kind == "commit" for kind in kinds.values())
    if commits != 1:
        found.append(
            error(
                "history",
                f"the workspace's repository holds {commits} commits instead of 1",
                "leave out [environment] setup commands that commit, fetch or clone",
            )
        )
    for secret in secrets:
        if len(secret.data) < MIN_SECRET_BYTES or secret.at is not None:
            continue
        header = f"blob {len(secret.data)}\0".encode()
        if hashlib.sha1(header + secret.data, usedforsecurity=False).hexdigest() in kinds:
            found.append(_leak(secret, ".git (an object)"))
    return found
