"""``apply_patch``: change several files at once, or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from pydantic import Field

from repodrome.errors import InfraError, ToolError, WorkspaceError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import digest, off_loop, read_for_edit, relative, remember_edit
from repodrome.tools.patch_apply import new_content, patched
from repodrome.tools.patch_format import FilePatch, parse_patch
from repodrome.tools.text import show_path
from repodrome.tools.words import named
from repodrome.tools.workspace import Workspace

MAX_WORK = 32 << 20
"""Bytes that one patch may have looked through, each hunk (and each of its anchors) looking through
its file once: 320 hunks in a file of 100 KiB, 8 in one of 4 MiB."""


class ApplyPatchArguments(Arguments):
    """Arguments of ``apply_patch``."""

    patch: str = Field(
        description="A unified diff ('--- a/PATH', '+++ b/PATH', '@@ -1,3 +1,4 @@'), or "
        "'*** Begin Patch', '*** Update File: PATH' (or Add File, Delete File), hunks behind '@@', "
        "'*** End Patch'. Paths are relative to the workspace."
    )


@dataclass(slots=True)
class _File:
    """One path as it was and as it will be; ``data`` None is no file."""

    before: bytes | None
    executable_before: bool
    data: bytes | None
    executable: bool | None = None

    @property
    def changed(self) -> bool:
        return self.data != self.before or (
            self.data is not None
            and self.executable is not None
            and self.executable != self.executable_before
        )


@dataclass(slots=True)
class _Staged:
    """The files that a patch touches, changed in memory until all of it is known to fit."""

    workspace: Workspace
    files: dict[str, _File] = field(default_factory=dict)
    work: int = 0

    def count_work(self, change: FilePatch, size: int) -> None:
        """Note that a file of so many bytes is looked through for a change's hunks.

        Raises:
            ToolError: the patch asks for too much of that.
        """
        self.work += size * max(1, sum(1 + len(hunk.anchors) for hunk in change.hunks))
        if self.work > MAX_WORK:
            raise ToolError(
                f"{show_path(change.path)}: too many hunks for files this large; send them in "
                "several patches",
                code="too_large",
            )

    async def get(self, path: str) -> _File:
        if path not in self.files:
            self.files[path] = await self._load(path)
        return self.files[path]

    async def _load(self, path: str) -> _File:
        try:
            info = await self.workspace.stat(path)
        except WorkspaceError as error:
            if error.code == "not_found":
                return _File(None, False, None)
            raise
        if info.kind != "file":
            what = {"dir": "a directory", "link": "a link; patch the file it leads to"}
            raise ToolError(
                f"{show_path(path)} is {what.get(info.kind, 'not a regular file')}",
                code="is_directory" if info.kind == "dir" else "not_regular",
            )
        data = await read_for_edit(self.workspace, path)
        return _File(data, info.executable, data)

    async def commit(self) -> None:
        """Write what changed; should one write fail, put everything back."""
        changed = [(path, file) for path, file in self.files.items() if file.changed]
        # Writes first: a full disk is then met before anything is deleted.
        changed.sort(key=lambda item: item[1].data is None)
        done: list[tuple[str, _File]] = []
        try:
            for path, file in changed:
                done.append((path, file))
                await self._put(path, file.data, file.executable)
        except ToolError as error:
            await self._undo(done)
            raise WorkspaceError(f"{error}. Nothing was changed", code=error.code) from error

    async def _undo(self, done: list[tuple[str, _File]]) -> None:
        for path, file in reversed(done):
            try:
                await self._put(path, file.before, file.executable_before)
            except WorkspaceError as error:
                if error.code not in ("not_found", "not_directory"):
                    raise InfraError(
                        f"a patch failed half-way and {path!r} can't be put back: {error}"
                    ) from error

    async def _put(self, path: str, data: bytes | None, executable: bool | None) -> None:
        if data is None:
            await self.workspace.delete(path)
        else:
            await self.workspace.write(path, data, executable=executable)


@dataclass(frozen=True, slots=True)
class ApplyPatch:
    """Applies a patch to all its files or to none."""

    name: str = "apply_patch"
    description: str = (
        "Apply a patch that may add, change, move and delete several files. All of it applies, or "
        "nothing is changed. Context lines must match the file exactly; line numbers need not."
    )
    arguments: ClassVar[type[Arguments]] = ApplyPatchArguments
    read_only: ClassVar[bool] = False

    async def run(self, arguments: ApplyPatchArguments, context: ToolContext) -> ToolOutput:
        """Apply it.

        Raises:
            ToolError: it can't be read, or doesn't fit; names file and hunk.
        """
        staged = _Staged(context.workspace)
        report: list[str] = []
        changes = await off_loop(len(arguments.patch), partial(parse_patch, arguments.patch))
        for change in changes:
            try:
                report.append(await self._stage(change, staged))
            except ToolError as error:
                raise ToolError(
                    f"{error}\nNothing was changed.", code=error.code, hint=error.hint
                ) from error
        await staged.commit()
        paths: list[Any] = []
        for path, file in staged.files.items():
            if not file.changed:
                continue
            paths.append(path)
            context.state.changed[path] = None
            if file.data is None:
                context.state.seen.pop(path, None)
            elif file.before is None:
                context.state.seen[path] = digest(file.data)
            else:
                remember_edit(context.state, path, file.before, file.data)
        if not paths:
            raise ToolError("the patch changes nothing: the files are already so", code="no_change")
        return ToolOutput("\n".join(report), data={"paths": paths})

    async def _stage(self, change: FilePatch, staged: _Staged) -> str:
        path = relative(staged.workspace, change.path)
        shown = show_path(path)
        file = await staged.get(path)
        if change.action == "add":
            if file.data is not None:
                raise ToolError(
                    f"{shown} already exists; update it instead of adding it", code="exists"
                )
            file.data = new_content(change).encode("utf-8", "surrogateescape")
            file.executable = change.executable
            return f"added {shown}"
        if file.data is None:
            raise WorkspaceError(
                f"there is no file {shown}; find the right path with {named('glob')}",
                code="not_found",
            )
        staged.count_work(change, len(file.data))
        # Surrogate escapes bring bytes that are not UTF-8 through unharmed.
        before = file.data.decode("utf-8", "surrogateescape")
        after = await off_loop(len(file.data), partial(patched, change, before))
        if change.action == "delete":
            if change.hunks and after.strip("\r\n"):
                raise ToolError(
                    f"{shown}: the patch deletes the file, but the file holds more than the patch "
                    "shows; read it again",
                    code="no_match",
                )
            file.data = None
            return f"deleted {shown}"
        data = after.encode("utf-8", "surrogateescape")
        executable = file.executable_before if change.executable is None else change.executable
        if change.move_to is None:
            file.data, file.executable = data, change.executable
            return f"changed {shown}"
        target_path = relative(staged.workspace, change.move_to)
        target = await staged.get(target_path)
        if target.data is not None:
            raise ToolError(
                f"{shown} can't be moved to {show_path(target_path)}, which already exists",
                code="exists",
            )
        target.data, target.executable = data, executable
        if not change.copy:
            file.data = None
        return f"{'copied' if change.copy else 'moved'} {shown} to {show_path(target_path)}"
