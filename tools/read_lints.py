"""``read_lints``: what linters find in the changed code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from repodrome.errors import ToolError, UnknownNameError, UsageError, WorkspaceError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import kind_of, relative
from repodrome.tools.lints import (
    MAX_FILE_BYTES,
    RUFF_RULES,
    Diagnostic,
    Linter,
    RuffLinter,
    SourceFile,
    get_linter,
    lint,
    linter_for,
    linter_names,
)
from repodrome.tools.search import search
from repodrome.tools.text import clip_line, count, safe_text, show_path
from repodrome.tools.workspace import SCRATCH, Workspace

_RULE = re.compile(r"[A-Z]+[0-9]*")
_GIT = ["git", "--no-optional-locks", "-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null"]


class ReadLintsArguments(Arguments):
    """Arguments of ``read_lints``."""

    paths: list[str] = Field(
        default=[],
        description="Files or directories to check; by default every file that you have changed.",
    )


@dataclass(slots=True)
class _Chosen:
    """The files to lint, and why others are not."""

    files: list[SourceFile]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class ReadLints:
    """Reports problems in code, read over as bytes and linted without the workspace's settings.

    Attributes:
        linters: which to use, the first that takes a file; default: all that are installed.
        select: ruff's rules: codes or their prefixes.
        ignore: of these, which to leave out.
        max_problems: most findings shown.
        max_files: most files of one call.
    """

    name: str = "read_lints"
    description: str = (
        "Show what linters find wrong in the files you have changed, or in the files and "
        "directories named: syntax errors, undefined and unused names and the like (ruff for "
        "Python). The workspace's own linter settings are not used."
    )
    linters: tuple[str, ...] = ()
    select: tuple[str, ...] = RUFF_RULES
    ignore: tuple[str, ...] = ()
    max_problems: int = 100
    max_files: int = 200
    arguments: ClassVar[type[Arguments]] = ReadLintsArguments
    read_only: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse at once what would fail in mid-episode.

        Raises:
            UnknownNameError: there is no such linter.
            UsageError: a rule is none of ruff's.
        """
        for name in self.linters:
            if name not in linter_names():
                raise UnknownNameError("linter", name, linter_names())
        for rule in (*self.select, *self.ignore):
            if not _RULE.fullmatch(rule):
                raise UsageError(f"{rule!r} is no rule of ruff; write e.g. 'F401', 'B' or 'ALL'")

    async def run(self, arguments: ReadLintsArguments, context: ToolContext) -> ToolOutput:
        """Lint.

        Raises:
            ToolError: a path is wrong, or names nothing that a linter takes.
            InfraError: a linter can't be run.
        """
        linters = self._linters()
        given = list(dict.fromkeys(relative(context.workspace, path) for path in arguments.paths))
        if len(given) > self.max_files:
            raise ToolError(
                f"{len(given):,} paths are given; the most is {self.max_files}: name directories",
                code="invalid_arguments",
            )
        chosen = await self._choose(given, linters, context)
        found = await lint(chosen.files, linters)
        return self._answer(found, chosen)

    def _linters(self) -> list[Linter]:
        made: list[Linter] = []
        for name in self.linters or linter_names():
            if name == "ruff":
                made.append(RuffLinter(select=self.select, ignore=self.ignore))
            else:
                made.append(get_linter(name))
        return made

    async def _choose(
        self, given: Sequence[str], linters: Sequence[Linter], context: ToolContext
    ) -> _Chosen:
        """Read the files given, or those changed, that a linter takes."""
        workspace = context.workspace
        paths: dict[str, None] = {}
        for path in given:
            if await kind_of(workspace, path) == "dir":
                paths.update(dict.fromkeys(await _below(workspace, path, linters)))
            elif linter_for(path, linters) is None:
                raise ToolError(
                    f"no linter takes {show_path(path)}; those here take "
                    + ", ".join(suffix for one in linters for suffix in one.suffixes),
                    code="no_linter",
                )
            else:
                paths[path] = None
        if not given:
            paths.update(dict.fromkeys(await _changed(context)))
        chosen = _Chosen([], [])
        wanted = sorted(path for path in paths if linter_for(path, linters) is not None)
        for path in wanted[: self.max_files]:
            try:
                data = await workspace.read(path, limit=MAX_FILE_BYTES + 1)
            except WorkspaceError as error:
                if path in given:
                    raise
                if error.code != "not_found":  # deleted since
                    chosen.notes.append(f"{show_path(path)} can't be read ({error.code})")
                continue
            if len(data) > MAX_FILE_BYTES:
                chosen.notes.append(f"{show_path(path)} is larger than {MAX_FILE_BYTES >> 20} MiB")
            else:
                chosen.files.append(SourceFile(path, data))
        if len(wanted) > self.max_files:
            left = len(wanted) - self.max_files
            chosen.notes.append(f"{count(left, 'more file')} not checked; name what you want")
        return chosen

    def _answer(self, found: Sequence[Diagnostic], chosen: _Chosen) -> ToolOutput:
        rows = [_row(one) for one in found[: self.max_problems]]
        if len(found) > len(rows):
            chosen.notes.append(f"{len(found) - len(rows):,} more problems not shown")
        if chosen.files or found:
            what = count(len(found), "problem") if found else "no problems"
            head = f"{what} in {count(len(chosen.files), 'file')}"
        else:
            head = "nothing to check: no changed file that a linter takes"
        rows.append(f"[{'; '.join([head, *chosen.notes])}]")
        return ToolOutput(
            "\n".join(rows),
            data={
                "problems": len(found),
                "files": [file.path for file in chosen.files],
                "codes": [one.code for one in found[: self.max_problems]],
            },
            truncated=len(found) > self.max_problems,
        )


def _row(one: Diagnostic) -> str:
    message = safe_text(clip_line(" ".join(one.message.split()), 300))
    code = f"{one.code} " if one.code else ""
    return f"{show_path(one.path)}:{one.line}:{one.column}: {code}{message}"


async def _changed(context: ToolContext) -> list[str]:
    """What tools have changed, and what git sees of commands' changes since the last commit."""
    result, _ = await search(
        context.workspace,
        [*_GIT, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"],
        timeout=20.0,
        max_bytes=4 << 20,
    )
    seen = result.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return [*context.state.changed, *(line[3:] for line in seen if result.exit_code == 0)]


async def _below(workspace: Workspace, path: str, linters: Sequence[Linter]) -> list[str]:
    """The files below a directory that a linter takes."""
    start = "." if path == "." else f"./{path}"
    result, _ = await search(
        workspace,
        ["find", "-H", start, "(", "-name", ".git", "-o", "-path", f"./{SCRATCH}", ")", "-prune",
         "-o", "-type", "f", "-print0"],
        timeout=20.0,
        max_bytes=16 << 20,
    )  # fmt: skip
    names = result.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return [name[2:] for name in names if linter_for(name, linters) is not None]
