"""Unpacking a tar archive into regular files, directories and links that stay inside.

Python's own extraction filters came with 3.11.4 (Debian 12 has 3.11.2) and still change; here equal
archives give equal trees with every Python, and nothing is ever written through a link.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath


def unpack(archive: Path, target: Path) -> list[tuple[str, str]]:
    """Unpack what may be unpacked into the empty directory ``target``.

    Returns:
        ``(name, why)`` of every entry that was left out: it has a path or link that leads out of
        the archive's top directory, lies below a link, or is neither file, directory nor link.

    Raises:
        tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError: not a whole archive.
    """
    refused: list[tuple[str, str]] = []
    with tarfile.open(archive, "r:*") as tar:
        members = {PurePosixPath(member.name): member for member in tar}
        links = {path for path, member in members.items() if member.issym()}
        for path, why in _faults(members, links):
            refused.append((str(path), why))
            del members[path]
        # Links come last, so that no file is written through one.
        for path, member in sorted(members.items(), key=lambda item: item[0] in links):
            try:
                _write(tar, member, target / path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError, KeyError):
                refused.append((str(path), "it is in the way of another entry, or lacks its file"))
    return refused


def _faults(
    members: dict[PurePosixPath, tarfile.TarInfo], links: set[PurePosixPath]
) -> Iterator[tuple[PurePosixPath, str]]:
    for path, member in list(members.items()):
        if path.is_absolute() or ".." in path.parts:
            yield path, "its path leads out"
        elif links.intersection(path.parents):
            yield path, "it lies below a link"
        elif member.issym() and climbs_out(PurePosixPath(*path.parts[1:]), member.linkname):
            yield path, f"the link leads out, to {member.linkname!r}"
        elif not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            yield path, "it is neither file, directory nor link"


def climbs_out(path: PurePosixPath, to: str) -> bool:
    """Whether a link at ``path``, relative to the top directory, leads out of that directory."""
    if to.startswith("/"):
        return True
    depth = len(path.parts) - 1
    for part in PurePosixPath(to).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, to: Path) -> None:
    if member.isdir():
        to.mkdir(parents=True, exist_ok=True)
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        with suppress(FileNotFoundError):
            to.unlink()
        to.symlink_to(member.linkname)
        return
    # Of a hard link, this is the content of the entry that it names.
    content = tar.extractfile(member)
    if content is None:
        raise KeyError(member.name)
    with content, to.open("wb") as file:
        shutil.copyfileobj(content, file)
    to.chmod(0o755 if member.mode & 0o100 else 0o644)
