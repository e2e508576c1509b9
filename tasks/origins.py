"""Brings a source's files to a directory: a directory copy, a git commit's tree, an unpacked sdist.

What comes out holds regular files, directories and symbolic links only, with plain modes, and none
of the leftovers that could tell an agent about another version of the code.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from repodrome.errors import SetupError, TaskFormatError
from repodrome.tasks.gitrepo import FILE_TIME, GIT_TIME
from repodrome.tasks.globs import covers
from repodrome.tasks.model import Source, Task
from repodrome.tasks.store import Store, remove_tree
from repodrome.tasks.unpack import climbs_out, unpack

_SCRUBBED_DIRECTORIES = frozenset({"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"})
_SCRUBBED_SUFFIXES = (".pyc", ".pyo")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Supplied:
    """A tree from elsewhere (a Docker image), for a task whose source names no origin.

    Attributes:
        id: what identifies its content.
        fetch: writes it to the file that it is given, as a tar archive with one top directory.
    """

    id: str
    fetch: Callable[[Path], None]


def origin_id(task: Task, supplied: Supplied | None = None) -> str:
    """What identifies the source's content: a tree's hash, a commit, an sdist's hash."""
    source = task.source
    if source.pypi:
        return f"sdist:{source.sha256}"
    if source.git:
        return f"git:{source.commit}"
    if source.directory:
        return f"tree:{hash_tree(task, task.folder / source.directory)}"
    return f"supplied:{supplied.id}" if supplied else "empty"


def fill(
    task: Task,
    target: Path,
    scratch: Path,
    store: Store,
    progress: Progress,
    supplied: Supplied | None = None,
) -> None:
    """Put the source's files into the empty directory ``target``; ``remove`` is done already.

    Raises:
        TaskFormatError: the source holds what can't be in a workspace.
        UsageError: a pin doesn't fit.
        SetupError: the source can't be reached.
    """
    source = task.source
    if source.pypi:
        unpack_sdist(task, sdist(source, store, progress), target, scratch)
    elif source.git:
        from repodrome.tasks.gitrepo import fetch_tree

        url = source.git
        if "://" not in url and (local := task.folder / Path(url).expanduser()).exists():
            url = str(local.resolve())
        progress(f"fetching {source.git} at {(source.commit or '')[:12]}")
        fetch_tree(url, source.commit or "", target, scratch)
    elif source.directory:
        _copy(task, task.folder / source.directory, target)
    elif supplied:
        _unpack_supplied(supplied, target, scratch, progress)
    _take_out(target, source.remove)
    _check(task, target)


def sdist(source: Source, store: Store, progress: Progress) -> Path:
    """The sdist's archive, from the store or the user's package indexes."""
    from repodrome.tasks.pypi import fetch_sdist

    project, version, sha256 = source.pypi or "", source.version or "", source.sha256 or ""

    def build(staged: Path) -> None:
        fetch_sdist(project, version, sha256, staged, progress=progress)

    entry = store.get_or_build("sdist", sha256.lower(), build)
    return next(entry.iterdir())


def unpack_sdist(task: Task, archive: Path, target: Path, scratch: Path) -> None:
    """Unpack an archive safely and strip its single top directory.

    Raises:
        TaskFormatError: it is no such archive, or has entries that lead out of it.
    """
    unpacked = scratch / "unpacked"
    unpacked.mkdir()
    try:
        refused = unpack(archive, unpacked)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as exc:
        raise _fault(
            task, "source.pypi", f"{archive.name} can't be unpacked ({exc})", "pin another version"
        ) from None
    leading_out = [
        f"{name} ({why})"
        for name, why in refused
        if not covers(task.source.remove, name.partition("/")[2])
    ]
    if leading_out:
        raise _fault(
            task,
            "source.remove",
            f"{archive.name} has entries that may not be in a workspace: {leading_out[0]}",
            "name them in source.remove",
        )
    tops = list(unpacked.iterdir())
    if len(tops) != 1 or not tops[0].is_dir() or tops[0].is_symlink():
        raise _fault(
            task, "source.pypi", f"{archive.name} has no single top directory", "use another source"
        )
    for entry in list(tops[0].iterdir()):
        entry.rename(target / entry.name)


def _unpack_supplied(supplied: Supplied, target: Path, scratch: Path, progress: Progress) -> None:
    """Unpack what can be in a workspace; the rest is named, and stays where it came from."""
    archive, unpacked = scratch / "supplied.tar", scratch / "unpacked"
    supplied.fetch(archive)
    unpacked.mkdir()
    try:
        refused = unpack(archive, unpacked)
    except (tarfile.TarError, EOFError) as exc:
        raise SetupError(f"the archive of {supplied.id} can't be read ({exc})") from exc
    if refused:
        name, why = refused[0]
        progress(f"left out of the workspace: {len(refused)}, such as {name} ({why})")
    for top in unpacked.iterdir():
        for entry in list(top.iterdir()):
            entry.rename(target / entry.name)


def hash_tree(task: Task, directory: Path) -> str:
    """A hash over paths, kinds, executable bits and contents; leftovers and ``remove`` aside.

    Raises:
        TaskFormatError: the tree holds what is neither file, directory nor link.
    """
    digest = hashlib.sha256()
    for path, entry in walk(directory):
        if covers(task.source.remove, path):
            continue
        name = os.fsencode(path)
        if entry.is_symlink():
            record = b"l" + os.fsencode(Path(entry.path).readlink())
        elif entry.is_dir():
            record = b"d"
        elif entry.is_file():
            mode = b"x" if entry.stat().st_mode & 0o100 else b"f"
            with open(entry.path, "rb") as data:
                record = mode + hashlib.file_digest(data, "sha256").digest()
        else:
            raise _special(task, path)
        digest.update(b"%d:%b%d:%b" % (len(name), name, len(record), record))
    return digest.hexdigest()


def walk(directory: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every entry below a directory with its relative path, sorted, leftovers and .git left out."""
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if not _is_leftover(entry):
                yield prefix + entry.name, entry
                if entry.is_dir(follow_symlinks=False):
                    yield from walk(Path(entry.path), f"{prefix}{entry.name}/")


def normalise(directory: Path) -> int:
    """Scrub leftovers, make modes plain and times equal; the number of files is the result."""
    count = 0
    for parent, directories, files in os.walk(directory):
        for name in list(directories):
            path = Path(parent, name)
            if path.is_symlink():
                count += 1
            elif _leftover_name(name, is_directory=True):
                remove_tree(path)
                directories.remove(name)
            else:
                path.chmod(0o755)
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                if _leftover_name(name, is_directory=False):
                    path.unlink()
                    continue
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            count += 1
    directory.chmod(0o755)
    set_times(directory, FILE_TIME)
    return count


def set_times(directory: Path, seconds: int) -> None:
    """Date everything alike, and what is git's a day later (see :mod:`.gitrepo`)."""
    for parent, directories, files in os.walk(directory, topdown=False):
        inside_git = ".git" in Path(parent).relative_to(directory).parts
        for name in (*files, *directories, "."):
            when = GIT_TIME if inside_git or name == ".git" else seconds
            os.utime(Path(parent, name), (when, when), follow_symlinks=False)


def _copy(task: Task, origin: Path, target: Path) -> None:
    for path, entry in walk(origin):
        if covers(task.source.remove, path):
            continue
        to = target / path
        if entry.is_symlink():
            to.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            to.mkdir()
        elif entry.is_file():
            shutil.copyfile(entry.path, to)
            to.chmod(0o755 if entry.stat().st_mode & 0o100 else 0o644)
        else:
            raise _special(task, path)


def _take_out(workspace: Path, patterns: tuple[str, ...]) -> None:
    if patterns:
        for path, entry in list(walk(workspace)):
            if covers(patterns, path) and os.path.lexists(entry.path):
                is_directory = entry.is_dir(follow_symlinks=False)
                remove_tree(Path(entry.path)) if is_directory else Path(entry.path).unlink()


def _check(task: Task, workspace: Path) -> None:
    """Refuse links that lead out, and everything that is no file, directory or link."""
    for path, entry in walk(workspace):
        if entry.is_symlink():
            to = Path(entry.path).readlink()
            if climbs_out(PurePosixPath(path), str(to)):
                raise _fault(
                    task,
                    "source.remove",
                    f"the link {path!r} leads out of the workspace, to {str(to)!r}",
                    "name it in source.remove, or make it a relative link inside",
                )
        elif not entry.is_dir() and not entry.is_file():
            raise _special(task, path)


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    return _leftover_name(entry.name, entry.is_dir(follow_symlinks=False))


def _leftover_name(name: str, is_directory: bool) -> bool:
    if name == ".git":  # a directory, or the file of a submodule or worktree
        return True
    return name in _SCRUBBED_DIRECTORIES if is_directory else name.endswith(_SCRUBBED_SUFFIXES)


def _special(task: Task, path: str) -> TaskFormatError:
    return _fault(
        task,
        "source.remove",
        f"{path!r} is neither file, directory nor link",
        "name it in source.remove",
    )


def _fault(task: Task, key: str, problem: str, fix: str) -> TaskFormatError:
    return TaskFormatError(str(task.folder / "task.toml"), key, problem, fix)
