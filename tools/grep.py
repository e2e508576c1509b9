"""``grep``: search file contents by regular expression."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from repodrome.errors import ToolError
from repodrome.tools.base import Arguments, ToolContext, ToolOutput
from repodrome.tools.files import kind_of, off_loop, relative
from repodrome.tools.search import MISSING, search
from repodrome.tools.text import clip_line, count, safe_text, show_path
from repodrome.tools.words import named
from repodrome.tools.workspace import CommandResult

_NUMBER = re.compile(rb"(\d{1,12})([:-])")
_UNREADABLE = re.compile(r"\(os error \d+\)$|: Permission denied$")
_BINARY_NOTICE = re.compile(rb"\A(?:.*: )?[Bb]inary file .*?\n(?=\./)", re.DOTALL)
# What `type` means where there is no ripgrep.
_EXTENSIONS = {
    "c": "c h", "cpp": "cpp cc cxx hpp hh h", "css": "css", "go": "go", "html": "html htm",
    "java": "java", "js": "js mjs cjs jsx", "json": "json", "md": "md", "py": "py pyi",
    "rst": "rst", "ruby": "rb", "rust": "rs", "sh": "sh bash", "toml": "toml",
    "ts": "ts tsx", "txt": "txt", "xml": "xml", "yaml": "yaml yml",
}  # fmt: skip


_GLOB, _TYPE, _MODE = (named(f"grep.{name}") for name in ("glob", "type", "output_mode"))


class GrepArguments(Arguments):
    """Arguments of ``grep``."""

    pattern: str = Field(min_length=1, description="Regular expression, matched line by line.")
    path: str = Field(default=".", description="File or directory to search.")
    glob: str = Field(default="", description="Only files of this glob, e.g. '*.py' or 'src/**'.")
    type: str = Field(default="", description="Only files of this type, e.g. 'py', 'js', 'rust'.")
    output_mode: Literal["content", "files", "count"] = Field(
        default="content",
        description="'content': matching lines; 'files': names of files with a match; 'count': "
        "matching lines of each file.",
    )
    context: int = Field(
        default=0, ge=0, le=50, description="Lines to show before and after each match."
    )
    ignore_case: bool = Field(default=False, description="Match upper and lower case alike.")
    head_limit: int = Field(
        default=100, ge=1, description="Most matching lines (or files) to show."
    )


@dataclass(slots=True)
class _Found:
    """One line, or one file, of the answer."""

    path: str
    number: int
    is_match: bool
    text: str
    after_gap: bool


@dataclass(frozen=True, slots=True)
class Grep:
    """Searches with ripgrep, or GNU grep where that is missing.

    Hidden files are searched, ``.git`` is not. ripgrep leaves out what ``.gitignore`` names unless
    ``path`` names it; GNU grep doesn't know of that.

    Attributes:
        max_results: most matches of one answer.
        max_line_chars: most characters of one line.
        max_output_bytes: about the most bytes of one answer.
        timeout: seconds that a search may take.
        scan_bytes: most bytes of search output looked at; beyond it counts are "at least".
    """

    name: str = "grep"
    description: str = (
        "Search file contents with a regular expression (ripgrep syntax). Hidden files are "
        "searched; .git, binary files and what .gitignore names are not. Results are sorted by "
        "path and capped, with a notice of how many there are."
    )
    max_results: int = 1000
    max_line_chars: int = 500
    max_output_bytes: int = 30_000
    timeout: float = 30.0
    scan_bytes: int = 1 << 20
    arguments: ClassVar[type[Arguments]] = GrepArguments
    read_only: ClassVar[bool] = True

    async def run(self, arguments: GrepArguments, context: ToolContext) -> ToolOutput:
        """Search.

        Raises:
            ToolError: the expression, glob, type or path is wrong, or the search took too long.
        """
        workspace = context.workspace
        path = relative(workspace, arguments.path)
        if await kind_of(workspace, path) == "other":
            raise ToolError(f"{show_path(path)} is not a regular file", code="not_regular")
        target = f"./{path}"
        result, cut = await search(
            workspace,
            self._ripgrep(arguments, target),
            timeout=self.timeout,
            max_bytes=self.scan_bytes,
        )
        if result.exit_code == MISSING and not result.stdout:
            result, cut = await search(
                workspace,
                self._gnu_grep(arguments, target),
                timeout=self.timeout,
                max_bytes=self.scan_bytes,
            )
        work = functools.partial(self._answer, arguments, result.stdout, cut, _check(result))
        return await off_loop(len(result.stdout), work)

    def _answer(
        self, arguments: GrepArguments, output: bytes, cut: bool, partial: str
    ) -> ToolOutput:
        if arguments.output_mode == "content":
            return self._lines(arguments, sorted(_content(output, cut), key=_by_path), cut, partial)
        return self._files(arguments, _per_file(output, arguments.output_mode), cut, partial)

    def _ripgrep(self, arguments: GrepArguments, target: str) -> list[str]:
        argv = [
            "rg", "--no-config", "--color=never", "--no-heading", "--with-filename", "--null",
            "--hidden", "--sort=path", "--engine=auto",
        ]  # fmt: skip
        if arguments.output_mode == "content":
            argv += [
                "--line-number",
                f"--context={arguments.context}",
                f"--max-columns={4 * self.max_line_chars}",
                "--max-columns-preview",
            ]
        else:
            mode = "files-with-matches" if arguments.output_mode == "files" else "count"
            argv.append(f"--{mode}")
        if arguments.ignore_case:
            argv.append("--ignore-case")
        if arguments.type:
            argv.append(f"--type={arguments.type}")
        if arguments.glob:
            argv.append(f"--glob={arguments.glob}")
        # The last glob that matches decides.
        return [*argv, "--glob=!.git", f"--regexp={arguments.pattern}", "--", target]

    def _gnu_grep(self, arguments: GrepArguments, target: str) -> list[str]:
        argv = [
            "grep", "-r", "-H", "-I", "-Z", "-s", "-P", "--color=never", "--devices=skip",
            "--exclude-dir=.git",
        ]  # fmt: skip
        if arguments.output_mode == "content":
            argv += ["-n", f"--context={arguments.context}"]
        else:
            argv.append("-l" if arguments.output_mode == "files" else "-c")
        if arguments.ignore_case:
            argv.append("-i")
        if arguments.type:
            known = _EXTENSIONS.get(arguments.type)
            if known is None:
                raise ToolError(
                    f"unknown {_TYPE} {arguments.type!r}; use {_GLOB} instead, e.g. "
                    f"'*.{arguments.type}'",
                    code="invalid_arguments",
                )
            argv += [f"--include=*.{extension}" for extension in known.split()]
        if arguments.glob:
            argv.append(f"--include={arguments.glob.rpartition('/')[2] or '*'}")
        return [*argv, f"--regexp={arguments.pattern}", "--", target]

    def _lines(
        self, arguments: GrepArguments, found: list[_Found], cut: bool, partial: str
    ) -> ToolOutput:
        matches = sum(1 for line in found if line.is_match)
        files = len({line.path for line in found if line.is_match})
        least = "at least " if cut else ""
        facts = {"matches": matches, "files": files, "at_least": cut}
        if not matches:
            return ToolOutput(f"[no matches{partial}]", data=facts)
        limit = min(arguments.head_limit, self.max_results)
        rows: list[str] = []
        shown = size = 0
        current = None
        for line in found:
            if (line.is_match and shown >= limit) or size > self.max_output_bytes:
                break
            if line.path != current:
                rows.append(("\n" if rows else "") + show_path(line.path))
                current = line.path
            elif line.after_gap:
                rows.append("--")
            mark = ":" if line.is_match else "-"
            text = safe_text(clip_line(line.text, self.max_line_chars))
            rows.append(f"{line.number}{mark}{text}")
            shown += line.is_match
            size += len(rows[-1].encode()) + 1
        note = f"{least}{count(matches, 'match', 'matches')} in {least}{count(files, 'file')}"
        left = shown < matches or cut
        if left:
            note += f"; the first {shown:,} shown: narrow the search, or use {_MODE}='count'"
        return ToolOutput("\n".join([*rows, f"[{note}{partial}]"]), data=facts, truncated=left)

    def _files(
        self, arguments: GrepArguments, found: list[tuple[str, int]], cut: bool, partial: str
    ) -> ToolOutput:
        least = "at least " if cut else ""
        counting = arguments.output_mode == "count"
        total = sum(number for _, number in found)
        facts = {"matches": total, "files": len(found), "at_least": cut or not counting}
        if not found:
            return ToolOutput(f"[no matches{partial}]", data=facts)
        limit = min(arguments.head_limit, self.max_results)
        rows: list[str] = []
        size = 0
        for path, number in found[:limit]:
            rows.append(f"{show_path(path)}:{number}" if counting else show_path(path))
            size += len(rows[-1].encode()) + 1
            if size > self.max_output_bytes:
                break
        note = f"{least}{count(len(found), 'file')}"
        if counting:
            note = f"{least}{count(total, 'matching line')} in {note}"
        left = len(rows) < len(found) or cut
        if left:
            note += f"; the first {len(rows):,} shown"
        return ToolOutput("\n".join([*rows, f"[{note}{partial}]"]), data=facts, truncated=left)


def _check(result: CommandResult) -> str:
    """Turn the engine's complaint into a typed error; what it found in spite of one is kept.

    Returns:
        What to add to the answer's last line where some files could not be searched.
    """
    if result.exit_code in (0, 1, 141):
        return ""
    complaints = result.stderr[:20_000].decode("utf-8", "replace").splitlines()
    message = "\n".join(line for line in complaints if not _UNREADABLE.search(line)).strip()
    message = safe_text(message[:2000])
    if result.stdout or not message:
        return "; some files could not be searched"
    if "file type" in message:
        raise ToolError(f"{message}; leave {_TYPE} out and use {_GLOB}", code="invalid_arguments")
    if "glob" in message:
        raise ToolError(f"invalid glob: {message}", code="invalid_arguments")
    if "limit" in message:
        raise ToolError(
            f"the pattern needs too much backtracking: {message}; make it simpler", code="timeout"
        )
    raise ToolError(
        f"invalid pattern: {message}\nEscape literal ( [ {{ . * + ? | with a backslash",
        code="invalid_regex",
    )


def _content(data: bytes, cut: bool) -> Iterator[_Found]:
    """Read ``./PATH NUL NUMBER [:-] TEXT`` records; a path may hold newlines."""
    position = 0
    while (nul := data.find(b"\0", position)) >= 0:
        path = data[position:nul]
        gap = path.startswith(b"--\n")
        while path.startswith(b"--\n"):
            path = path[3:]
        path = _BINARY_NOTICE.sub(b"", path)
        end = data.find(b"\n", nul)
        if end < 0:
            if cut:
                return
            end = len(data)
        number = _NUMBER.match(data, nul + 1)
        if number:
            text = data[number.end() : end].removesuffix(b"\r").decode("utf-8", "replace")
            yield _Found(_path(path), int(number[1]), number[2] == b":", text, gap)
        position = end + 1


def _by_path(found: _Found) -> str:
    return found.path


def _per_file(data: bytes, mode: str) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    if mode == "files":
        # Every record ends in a NUL: what is behind the last one was cut off.
        return sorted((_path(path), 1) for path in data.split(b"\0")[:-1])
    position = 0
    while (nul := data.find(b"\0", position)) >= 0:
        end = data.find(b"\n", nul)
        if end < 0:
            break
        number = int(data[nul + 1 : end] or b"0")
        if number:
            found.append((_path(_BINARY_NOTICE.sub(b"", data[position:nul])), number))
        position = end + 1
    return sorted(found)


def _path(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape").removeprefix("./").removeprefix("./")
