"""Building an image from a folder with a Dockerfile, over the daemon's own (classic) builder."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from repodrome.envs.sandbox.docker.engine import DockerError, Engine, NotFoundError
from repodrome.envs.sandbox.image import ImageSource, Progress
from repodrome.errors import SetupError

LOG_LINES = 40
TRIES = 2
"""Builds of an image that is there no more when it was built: somebody else prunes at that moment,
when it has no name yet."""
# https://docs.docker.com/reference/dockerfile/#from; the classic builder knows no heredocs, in
# which such a line could be anything else.
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_ARG = re.compile(r"^\s*ARG\s+(\w+)=[\"']?([^\s\"']*)[\"']?\s*$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # the builder prints errors in red
_WANTS_BUILDKIT = re.compile(r"buildkit|unknown flag|unknown instruction", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Context:
    """What the daemon is given to build from.

    Attributes:
        folder: the build context.
        files: paths in it, sorted; what ``.dockerignore`` names is left out.
        digest: a hash of their names, modes and contents.
        bases: images that the Dockerfile begins with, as far as it names them outright.
    """

    folder: Path
    files: tuple[str, ...]
    digest: str
    bases: tuple[str, ...]


def context(folder: Path) -> Context:
    """Read a build context. Blocks.

    Raises:
        SetupError: it can't be read, or holds no Dockerfile.
    """
    from docker.utils.build import exclude_paths

    try:
        dockerfile = (folder / "Dockerfile").read_text(encoding="utf-8", errors="replace")
        files = tuple(sorted(exclude_paths(str(folder), _ignored(folder))))
        return Context(folder, files, _digest(folder, files), tuple(_bases(dockerfile)))
    except OSError as error:
        raise SetupError(
            f"{folder} can't be read: {error}; mend the task's environment/"
        ) from error


async def build(
    engine: Engine,
    context: Context,
    reference: str,
    labels: Mapping[str, str],
    source: ImageSource,
    tell: Progress,
) -> None:
    """Build the image and give it that name; what it prints goes to ``tell``, a line each.

    Raises:
        SetupError: it can't be built; holds the end of the log.
        SandboxUnavailableError: the daemon is gone.
    """
    from docker.utils.build import create_archive

    tell(f"building {reference} from {context.folder}")
    try:
        archive = await anyio.to_thread.run_sync(
            create_archive, str(context.folder), list(context.files)
        )
    except OSError as error:
        raise SetupError(f"{context.folder} can't be sent to the daemon: {error}") from error

    def request(client: Any) -> Iterable[dict[str, Any]]:
        archive.seek(0)
        answer: Iterable[dict[str, Any]] = client.build(
            fileobj=archive,
            custom_context=True,
            tag=reference,
            labels=dict(labels),
            rm=True,
            forcerm=True,
            use_config_proxy=True,
            decode=True,
        )
        return answer

    with archive:
        for _ in range(TRIES):
            log = await _followed(engine, request, context, source, tell)
            with suppress(NotFoundError):
                await engine.call(lambda client: client.inspect_image(reference))
                return
            tell(f"{reference} is gone already; building it again")
    fault = "the daemon ended the build, and had no image; start again"
    raise log.failure(context, source, fault)


async def _followed(
    engine: Engine,
    request: Callable[[Any], Iterable[dict[str, Any]]],
    context: Context,
    source: ImageSource,
    tell: Progress,
) -> _Log:
    """One build, to its end.

    Raises:
        SetupError: it failed, or took too long.
    """
    log = _Log(tell)
    try:
        with anyio.fail_after(source.timeout):
            await engine.follow(request, log.see)
    except TimeoutError:
        fault = f"it took longer than {source.timeout:g} s; raise environment.build_timeout_sec"
        raise log.failure(context, source, fault) from None
    except DockerError as error:
        raise log.failure(context, source, f"{error}. Fix: {_fix(str(error))}") from error
    if log.error:
        raise log.failure(context, source, f"{log.error}. Fix: {_fix(log.error)}")
    return log


def whose(source: ImageSource) -> str:
    """``" of task …"``, for messages."""
    return f" of task {source.task}" if source.task else ""


class _Log:
    """What a build prints, line by line."""

    def __init__(self, tell: Progress) -> None:
        self._tell = tell
        self._rest = ""
        self.lines: deque[str] = deque(maxlen=LOG_LINES)
        self.error = ""

    def see(self, entry: dict[str, Any]) -> None:
        if "error" in entry:
            self.error = str(entry["error"]).strip()
        text = _COLOUR.sub("", str(entry.get("stream", "")))
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self.lines.append(line.rstrip())
                self._tell(line.rstrip())

    def failure(self, context: Context, source: ImageSource, fault: str) -> SetupError:
        what = f"could not build the image{whose(source)} from {context.folder}/Dockerfile: {fault}"
        return SetupError(what, log_tail="\n".join([*self.lines, *filter(None, [self._rest])]))


def _fix(error: str) -> str:
    if "no space left" in error.lower():
        return (
            "give the daemon's disk more space (`repodrome image prune`, `docker system prune`, "
            "`docker system df`)"
        )
    if _WANTS_BUILDKIT.search(error):
        return (
            "the daemon's classic builder can't do this; build it yourself (`docker buildx build "
            "--load -t NAME …`) and set environment.docker_image to NAME"
        )
    return "mend the Dockerfile; the end of its log is below"


def _ignored(folder: Path) -> list[str]:
    try:
        text = (folder / ".dockerignore").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _digest(folder: Path, files: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in files:
        found = os.lstat(folder / path)
        if stat.S_ISLNK(found.st_mode):
            content = os.fsencode(os.readlink(folder / path))
        elif stat.S_ISREG(found.st_mode):
            with open(folder / path, "rb") as data:
                content = hashlib.file_digest(data, "sha256").digest()
        else:
            content = b""
        name = os.fsencode(path)
        digest.update(b"%o:%d:%b%d:%b" % (found.st_mode, len(name), name, len(content), content))
    return digest.hexdigest()


def _bases(dockerfile: str) -> Iterator[str]:
    """The images behind FROM, stages and what takes a build argument without a default aside."""
    arguments: dict[str, str] = {}
    stages = {"scratch"}
    begun = False
    for line in dockerfile.splitlines():
        if not begun and (found := _ARG.match(line)):
            arguments[found[1]] = found[2]
        if not (found := _FROM.match(line)):
            continue
        begun = True
        name = _VARIABLE.sub(lambda v: arguments.get(v[1] or v[2], v[0]), found[1])
        if name.lower() not in stages and "$" not in name:
            yield name
        if found[2]:
            stages.add(found[2].lower())
