"""What the file tools share: paths as keys, content hashes, and what the agent has seen."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
from collections.abc import Callable
from typing import TypeVar

from repodrome.errors import ToolError, WorkspaceError
from repodrome.tools.base import ToolState
from repodrome.tools.words import named
from repodrome.tools.workspace import FileKind, Workspace

CHUNK = 1 << 20
MAX_HASHED = 64 << 20
"""Bytes of a file that its content hash looks at."""
MAX_EDITED = 4 << 20
"""Largest file that the edit tools take, in bytes, and that they make."""
_QUICK = 64 << 10
"""Bytes of text that are worked on in a moment."""

T = TypeVar("T")


def relative(workspace: Workspace, path: str) -> str:
    """The path as it is shown and remembered: relative to the workspace, without ``.`` and ``..``.

    Only text is looked at: links, escapes and bad paths are the workspace's to judge.
    """
    root = workspace.root.rstrip("/")
    normal = posixpath.normpath(path)
    if normal == root:
        return "."
    if normal.startswith(root + "/"):
        return normal[len(root) + 1 :]
    return normal


async def kind_of(workspace: Workspace, path: str) -> FileKind:
    """What a path is, or what the link there leads to: a ``dir``, or something else.

    For tools that hand the path to a program, which would follow links anywhere.

    Raises:
        WorkspaceError: it is not there, or leads out of the workspace.
    """
    kind = (await workspace.stat(path)).kind
    if kind != "link":
        return kind
    try:
        await workspace.read(path, limit=1)
    except WorkspaceError as error:
        if error.code == "is_directory":
            return "dir"
        if error.code == "not_regular":
            return "other"
        raise
    return "file"


async def off_loop(size: int, work: Callable[[], T]) -> T:
    """Do some work on a text of so many bytes, in a thread where it may take long: every other
    episode of the process waits for what is done on the event loop."""
    return work() if size <= _QUICK else await asyncio.to_thread(work)


def digest(data: bytes) -> str:
    """Content hash, as kept in :attr:`~repodrome.tools.base.ToolState.seen`."""
    return hashlib.blake2b(data[:MAX_HASHED], digest_size=16).hexdigest()


async def hash_file(workspace: Workspace, path: str) -> str | None:
    """Content hash of a file, in bounded memory; None where there is no such file.

    Raises:
        WorkspaceError: it is there but can't be read.
    """
    hasher = hashlib.blake2b(digest_size=16)
    position = 0
    while position < MAX_HASHED:
        try:
            data = await workspace.read(path, offset=position, limit=CHUNK)
        except WorkspaceError as error:
            if error.code == "not_found":
                return None
            raise
        hasher.update(data)
        await asyncio.sleep(0)  # let others have their turn: a read may not wait for anything
        position += len(data)
        if len(data) < CHUNK:
            break
    return hasher.hexdigest()


async def read_for_edit(workspace: Workspace, path: str) -> bytes:
    """The whole of a file that is about to be edited.

    Raises:
        ToolError: it is too large for that.
        WorkspaceError: it can't be read.
    """
    data = await workspace.read(path, limit=MAX_EDITED + 1)
    if len(data) > MAX_EDITED:
        raise ToolError(
            f"{relative(workspace, path)} is larger than {MAX_EDITED >> 20} MiB, too large for "
            f"this tool; change it with a command, with {named('terminal')}",
            code="too_large",
        )
    return data


def remember_edit(state: ToolState, path: str, before: bytes, after: bytes) -> bool:
    """Note an edit, and keep ``seen`` true after it.

    A file that the agent had not read, or that has changed since, stays so: an edit shows it only
    a part.

    Returns:
        False if the file had changed since it was last seen.
    """
    state.changed[path] = None
    known = state.seen.get(path)
    if known is None:
        return True
    if known != digest(before):
        return False
    state.seen[path] = digest(after)
    return True
