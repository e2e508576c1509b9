"""A content-addressed cache of directories, shared by every process of a user.

Layout below the root (``$REPODROME_CACHE``, else ``$XDG_CACHE_HOME/repodrome``, else
``~/.cache/repodrome``)::

    <kind>/<key>/            a complete entry: it exists exactly when it is complete
    staging/<kind>.<host>.<pid>.<start>.<random>/   being built, or left by a dead owner
    locks/<kind>.<key>       held (flock) while that entry is being built

An entry is built in ``staging`` and renamed into place, so that a crash half-way leaves nothing
that could be taken for an entry. Nothing is synced to disk: a cache may be lost with the power.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from repodrome.errors import SetupError, UsageError
from repodrome.liveness import has_ended, start_time
from repodrome.tasks.home import home

_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\Z")
_RESERVED = frozenset({"staging", "locks"})
# Whether a process of another host or container still lives can't be seen from here, so that what
# it left goes by age alone.
_FOREIGN_STALE_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """What one kind takes up.

    Attributes:
        entries: how many complete entries (for ``"staging"``: unfinished ones).
        size: bytes of file content; links between entries are not followed.
    """

    entries: int
    size: int


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What :meth:`Store.clean` removed: directories, and bytes of file content in them."""

    removed: int
    size: int


class Lock:
    """An inter-process lock that is held; another thread than the taker's may release it."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def release(self) -> None:
        """Let go; idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


class Store:
    """The cache below one root; cheap to make, safe under threads and processes.

    Every method blocks: from async code, call it in a worker thread.

    Args:
        root: where; default as in the module's description. Made when first written to.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_root()).absolute()

    def path(self, kind: str, key: str) -> Path:
        """Where that entry is, or would be.

        Raises:
            ValueError: kind or key is no single plain file name, or reserved.
        """
        for word in (kind, key):
            if not _WORD.match(word) or word in _RESERVED:
                raise ValueError(f"not a usable store kind or key: {word!r}")
        return self.root / kind / key

    def get(self, kind: str, key: str) -> Path | None:
        """The entry, or None when it isn't there (yet)."""
        final = self.path(kind, key)
        return final if final.is_dir() else None

    def get_or_build(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """The entry, built by ``build(empty directory)`` if it isn't there.

        Of several processes and threads that ask at once one builds and the others wait.

        Raises:
            UsageError: the cache can't be written; the message names the fix.
            SetupError: the disk is full.
        """
        final = self.path(kind, key)
        if final.is_dir():
            return final
        with self.acquire(kind, key):
            if final.is_dir():
                return final
            with self.staging(kind) as staged:
                try:
                    build(staged)
                except OSError as exc:
                    raise self._translated(exc) from exc
                return self.publish(staged, kind, key)

    def acquire(self, kind: str, key: str) -> Lock:
        """Wait for the lock of an entry, for builders that can't use :meth:`get_or_build`.

        After it look again whether the entry is there by now. One lock blocks one thread: callers
        that build asynchronously should let only one task of a process come here for each key, or
        a bounded thread pool may fill up with waiters while the builder needs a thread of it.

        Raises:
            UsageError: the cache can't be written; the message names the fix.
            SetupError: the disk is full.
        """
        self.path(kind, key)
        lock_file = self._made(self.root / "locks") / f"{kind}.{key}"
        while True:
            try:
                fd = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as exc:
                raise self._translated(exc) from exc
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                # clean() may have removed the file between open and flock: then this lock
                # excludes nobody, so take the new one.
                if _same_file(fd, lock_file):
                    return Lock(fd)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def discard(self, kind: str, key: str) -> None:
        """Remove an entry, if it is there. It must not be in use, or be in use by maps of it only.

        Raises:
            UsageError: the cache can't be written; the message names the fix.
            SetupError: the disk is full.
        """
        final = self.path(kind, key)
        with self.acquire(kind, key), self.staging(kind) as trash, suppress(FileNotFoundError):
            final.rename(trash)

    @contextmanager
    def staging(self, kind: str) -> Iterator[Path]:
        """A new empty directory on the store's file system; removed at the end unless published.

        Raises:
            UsageError: the cache can't be written.
        """
        staged = self.new_staging(kind)
        try:
            yield staged
        finally:
            if staged.exists():
                remove_tree(staged)

    def new_staging(self, kind: str) -> Path:
        """As :meth:`staging`, for the caller to publish, or to remove with :func:`remove_tree`.

        Raises:
            UsageError: the cache can't be written; the message names the fix.
            SetupError: the disk is full.
        """
        self.path(kind, "x")
        parent = self._made(self.root / "staging")
        pid = os.getpid()
        start = start_time(pid) or 0
        staged = parent / f"{kind}.{_host_token()}.{pid}.{start}.{secrets.token_hex(6)}"
        try:
            staged.mkdir()
        except OSError as exc:
            raise self._translated(exc) from exc
        return staged

    def publish(self, staged: Path, kind: str, key: str) -> Path:
        """Make a staged directory the entry; where one has been published before, that one stays.

        ``staged`` is gone afterwards. Keys say everything about the content, so that which of two
        equal entries stays doesn't matter.

        Raises:
            UsageError: the cache can't be written; the message names the fix.
            SetupError: the disk is full.
        """
        final = self.path(kind, key)
        self._made(final.parent)
        try:
            staged.rename(final)
        except OSError as exc:
            if exc.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise self._translated(exc) from exc
            remove_tree(staged)
        return final

    def clean(self, *, stale_only: bool = True) -> Cleaned:
        """Remove what dead owners left half-built; with ``stale_only=False`` every entry as well.

        Entries must not be in use then: live sandboxes read them in place.
        """
        removed = size = 0
        doomed = [d for d in _children(self.root / "staging") if _is_stale(d)]
        if not stale_only:
            doomed += self._retire_entries()
        for directory in doomed:
            size += tree_size(directory)
            remove_tree(directory)
            removed += 1
        for lock_file in _children(self.root / "locks"):
            _remove_unheld(lock_file)
        return Cleaned(removed, size)

    def usage(self) -> dict[str, StoreUsage]:
        """Entries and bytes by kind, ``"staging"`` included; reads every directory."""
        found: dict[str, StoreUsage] = {}
        for kind in _children(self.root):
            if kind.is_dir() and kind.name != "locks":
                entries = _children(kind)
                found[kind.name] = StoreUsage(len(entries), sum(map(tree_size, entries)))
        return found

    def _retire_entries(self) -> list[Path]:
        """Rename every entry out of its place, so that none is ever seen half-removed."""
        retired = []
        for kind in _children(self.root):
            if kind.name in _RESERVED or not kind.is_dir():
                continue
            for entry in _children(kind):
                with self.acquire(kind.name, entry.name):
                    trash = self.new_staging(kind.name)
                    with suppress(FileNotFoundError):
                        entry.rename(trash)
                    retired.append(trash)
        return retired

    def _made(self, directory: Path) -> Path:
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise self._translated(exc) from exc
        return directory

    def _translated(self, exc: OSError) -> Exception:
        """What an OSError of the cache means to the caller; others are passed on as they are."""
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return SetupError(
                f"no space left for the cache {self.root}: run 'repodrome clean', or set "
                "REPODROME_CACHE to a directory with more"
            )
        if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            return UsageError(
                f"the cache {self.root} can't be used ({exc}): "
                "set REPODROME_CACHE to a directory you can write to"
            )
        return exc


def default_root() -> Path:
    """``$REPODROME_CACHE``, else the XDG cache directory's ``repodrome``."""
    if chosen := os.environ.get("REPODROME_CACHE"):
        return Path(chosen).expanduser()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    base = Path(xdg) if xdg.startswith("/") else home() / ".cache"
    return base / "repodrome"


def remove_tree(directory: Path) -> None:
    """Remove a directory although some of it may be closed; a link is removed, not followed."""
    try:
        shutil.rmtree(directory, onerror=_unless_gone)
    except PermissionError:
        directory.chmod(stat.S_IRWXU)
        # Top down: each is opened before the walk descends into it.
        for parent, names, _ in os.walk(directory):
            for path in (Path(parent, name) for name in names):
                if not path.is_symlink():
                    with suppress(FileNotFoundError):
                        path.chmod(stat.S_IRWXU)
        shutil.rmtree(directory, onerror=_unless_gone)


# Python 3.12 has a new name for the parameter that takes this, 3.11 only "onerror".
def _unless_gone(function: Callable[..., object], path: str, info: object) -> None:
    exc = info[1] if isinstance(info, tuple) else info
    assert isinstance(exc, BaseException)
    if not isinstance(exc, FileNotFoundError):
        raise exc


def tree_size(directory: Path) -> int:
    """Bytes of file content below a directory, links not followed."""
    total = 0
    for parent, _, files in os.walk(directory):
        for name in files:
            with suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _remove_unheld(lock_file: Path) -> None:
    try:
        fd = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock_file.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)


def _host_token() -> str:
    """Names this boot of this machine and this set of process ids (containers have their own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        pids = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot = pids = ""
    text = f"{socket.gethostname()}\0{boot}\0{pids}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _is_stale(staged: Path) -> bool:
    """Whether the owner named in a staging directory is gone."""
    parts = staged.name.rsplit(".", 4)
    if len(parts) == 5 and parts[2].isdigit() and parts[3].isdigit() and parts[1] == _host_token():
        return has_ended(int(parts[2]), int(parts[3]))
    try:
        return time.time() - staged.stat().st_mtime > _FOREIGN_STALE_SECONDS
    except FileNotFoundError:
        return False
