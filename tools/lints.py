"""Diagnostics of source files given as bytes: no sandbox, no configuration of the files' own tree.

:class:`RuffLinter` is the one that comes along. Others are found by name through the entry-point
group ``repodrome.linter``: each names a :class:`Linter`, or a callable that makes one.
"""

from __future__ import annotations

import json
import os
import posixpath
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from repodrome.errors import InfraError, UsageError
from repodrome.plugins import installed_names, instance_of, load_part

GROUP = "repodrome.linter"
"""Entry-point group of third-party linters."""
_BUILTIN = {"ruff": "repodrome.tools.lints:RuffLinter"}

MAX_FILE_BYTES = 1 << 20
"""Larger files are best not linted."""
_MAX_OUTPUT = 8 << 20
"""Bytes of ruff's output that are read; a hostile file can have a finding in every other byte."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to lint.

    Attributes:
        path: relative to the workspace; linters judge by its last part only.
        data: its content; hostile.
    """

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    Attributes:
        path: as in the :class:`SourceFile`.
        line, column: where it begins, from 1.
        end_line: last line that it is about.
        code: the linter's code, e.g. ``F401``; ``""`` for a file that can't be parsed.
        message: what is wrong.
        linter: whose finding.
    """

    path: str
    line: int
    column: int
    end_line: int
    code: str
    message: str
    linter: str


@runtime_checkable
class Linter(Protocol):
    """Finds problems in files of certain kinds.

    Attributes:
        name: for reports.
        suffixes: of the files it takes, e.g. ``(".py", ".pyi")``.
    """

    @property
    def name(self) -> str: ...

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    async def lint(self, files: Sequence[SourceFile]) -> Sequence[Diagnostic]:
        """Every finding, sorted by path and place; deterministic.

        The bytes are hostile, and this runs on the host: plug-ins and configuration that lie among
        them must not be used. A file that makes the linter fail is a finding, not an error.

        Raises:
            InfraError: the linter can't be run.
        """


def linter_names() -> list[str]:
    """Every linter that can be had."""
    return sorted({*_BUILTIN, *installed_names(GROUP)})


def get_linter(name: str) -> Linter:
    """One linter with its default settings.

    Raises:
        UnknownNameError: there is none of that name.
        UsageError: the entry point of that name doesn't give a linter.
    """
    found = load_part("linter", name, GROUP, _BUILTIN)
    linter: Linter = instance_of(Linter, found, name, GROUP)
    return linter


def linter_for(path: str, linters: Iterable[Linter]) -> Linter | None:
    """The first of the linters that takes such a file."""
    return next((one for one in linters if path.endswith(one.suffixes)), None)


async def lint(files: Iterable[SourceFile], linters: Sequence[Linter]) -> list[Diagnostic]:
    """The findings of each file's linter, sorted by path and place; files without one have none.

    Raises:
        InfraError: a linter can't be run.
    """
    work: dict[str, tuple[Linter, list[SourceFile]]] = {}
    for file in files:
        linter = linter_for(file.path, linters)
        if linter is not None:
            work.setdefault(linter.name, (linter, []))[1].append(file)
    found = [one for linter, theirs in work.values() for one in await linter.lint(theirs)]
    return sorted(found, key=lambda one: (one.path, one.line, one.column, one.code))


RUFF_RULES = ("E4", "E7", "E9", "F")
"""What ruff itself selects: https://docs.astral.sh/ruff/settings/#lint_select."""


@dataclass(frozen=True, slots=True)
class RuffLinter:
    """Python, by ruff (https://docs.astral.sh/ruff/), on copies in a directory of its own.

    The copies have our names, but for ``__init__.py`` and the like, which change what is a problem;
    ruff reads no configuration, and has no plug-ins that run.

    Attributes:
        select: codes or prefixes of the rules; default: ruff's own choice.
        ignore: of these, which to leave out.
        line_length: for the rules that want one.
        suppressions: whether ``# noqa`` counts.
        max_complexity: of a function, for ``C901``.
        timeout: seconds for all files together.
    """

    select: tuple[str, ...] = RUFF_RULES
    ignore: tuple[str, ...] = ()
    line_length: int = 88
    suppressions: bool = True
    max_complexity: int = 10
    timeout: float = 30.0
    name: str = "ruff"
    suffixes: tuple[str, ...] = (".py", ".pyi")

    async def lint(self, files: Sequence[SourceFile]) -> list[Diagnostic]:
        """See :meth:`Linter.lint`.

        Raises:
            InfraError: ruff is not installed, or there is no room for the copies.
            UsageError: ruff doesn't know a rule or setting.
        """
        if not files:
            return []
        found = await self._run(files)
        if found is None and len(files) > 1:
            # One of them crashes it or keeps it too long: which, only one by one can tell.
            alone = [(file, await self._run([file])) for file in files]
            found = [d for file, own in alone for d in (_unlintable(file) if own is None else own)]
        if found is None:
            found = _unlintable(files[0])
        return sorted(found, key=lambda one: (one.path, one.line, one.column, one.code))

    async def _run(self, files: Sequence[SourceFile]) -> list[Diagnostic] | None:
        """What ruff finds; None where it crashed or took too long."""
        import anyio

        with _copies(files) as folder:
            try:
                with anyio.fail_after(self.timeout):
                    status, output, errors = await _output(
                        [find_ruff(), *self._arguments(), "."], folder, _MAX_OUTPUT
                    )
            except TimeoutError:
                return None
            except OSError as error:
                raise InfraError(f"ruff can't be run: {error}") from error
        if status == 2 and (b"Unknown rule selector" in errors or b"invalid value" in errors):
            problem = errors[:300].decode("utf-8", "replace").strip()
            raise UsageError(f"ruff refuses its settings: {problem}")
        whole = len(output) < _MAX_OUTPUT
        if (whole and status != 0) or not (whole or len(files) == 1):
            return None
        lines = output.split(b"\n")[:-1]  # behind the last line end is nothing, or what was cut
        return [self._diagnostic(json.loads(line), files) for line in lines if line]

    def _arguments(self) -> list[str]:
        arguments = [
            "check", "--isolated", "--no-cache", "--no-fix", "--exit-zero", "--quiet",
            "--no-respect-gitignore", "--output-format=json-lines",
            f"--select={','.join(self.select)}", f"--line-length={self.line_length}",
            # Newer syntax than the linter's default is no fault.
            "--target-version=py313",
            f"--config=lint.mccabe.max-complexity={self.max_complexity}",
        ]  # fmt: skip
        if self.ignore:
            arguments.append(f"--ignore={','.join(self.ignore)}")
        if not self.suppressions:
            arguments.append("--ignore-noqa")
        return arguments

    def _diagnostic(self, found: dict[str, Any], files: Sequence[SourceFile]) -> Diagnostic:
        number = int(found["filename"].rsplit("/", 2)[1])
        code = found.get("code") or ""
        return Diagnostic(
            path=files[number].path,
            line=found["location"]["row"],
            column=found["location"]["column"],
            end_line=found["end_location"]["row"],
            code="" if code == "invalid-syntax" else code,
            message=found["message"],
            linter=self.name,
        )


async def _output(argv: Sequence[str], folder: str, most: int) -> tuple[int | None, bytes, bytes]:
    """Run a program in a folder: its status, at most so much of its output, and its complaints.

    Raises:
        OSError: it can't be started.
    """
    import anyio

    output, errors = bytearray(), bytearray()

    async def drain(stream: Any) -> None:
        async for chunk in stream:
            errors.extend(chunk[: most - len(errors)])

    environment = {"RAYON_NUM_THREADS": "2", "HOME": folder, "NO_COLOR": "1"}
    async with await anyio.open_process(argv, cwd=folder, env=environment) as process:
        assert process.stdout is not None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(drain, process.stderr)
                async for chunk in process.stdout:
                    output += chunk
                    if len(output) >= most:
                        process.kill()
                        break
            status = await process.wait()
        except BaseException:
            process.kill()
            raise
    return status, bytes(output[:most]), bytes(errors)


def _unlintable(file: SourceFile) -> list[Diagnostic]:
    return [Diagnostic(file.path, 1, 1, 1, "", "ruff can't cope with this file", "ruff")]


def _copies(files: Sequence[SourceFile]) -> tempfile.TemporaryDirectory[str]:
    """A directory with each file in a numbered directory of its own.

    Raises:
        InfraError: it can't be written.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="repodrome-lint-")
        for number, file in enumerate(files):
            own = os.path.join(folder.name, str(number))
            os.mkdir(own)
            Path(own, _name(file.path)).write_bytes(file.data)
    except OSError as error:
        raise InfraError(f"no room for files to lint: {error}") from error
    return folder


def _name(path: str) -> str:
    base = posixpath.basename(path)
    if base in ("__init__.py", "__main__.py", "conftest.py"):
        return base
    return f"module{'.pyi' if path.endswith('.pyi') else '.py'}"


def find_ruff() -> str:
    """Path of the ruff that was installed with us.

    Raises:
        InfraError: it is missing; the fix is named.
    """
    try:
        from ruff.__main__ import find_ruff_bin  # where it is in all versions
    except ImportError as error:
        raise InfraError(
            "ruff is not installed, which read_lints and style rewards need: pip install ruff"
        ) from error
    try:
        return str(find_ruff_bin())
    except FileNotFoundError as error:
        raise InfraError(
            "the package ruff is here, but not its program: pip install --force-reinstall ruff"
        ) from error
