"""Reads patches, git's unified form and the ``*** Begin Patch`` envelope, into one shape."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from repodrome.errors import ToolError
from repodrome.tools.text import clip_line, safe_text

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(.*)")
_ESCAPE = re.compile(r"\\([abtnvfr\"\\]|[0-7]{3})")
_ESCAPES = dict(zip('abtnvfr"\\', '\a\b\t\n\v\f\r"\\', strict=True))
_EXTENDED = (
    "index ", "old mode ", "new mode ", "new file mode ", "deleted file mode ", "similarity index ",
    "dissimilarity index ", "rename from ", "rename to ", "copy from ", "copy to ",
)  # fmt: skip


@dataclass(slots=True)
class Hunk:
    """One place that changes.

    Attributes:
        header: its ``@@`` line, for messages.
        lines: ``(sign, text)`` with sign ``" "``, ``"-"`` or ``"+"``, in order.
        start: line of the old file, from 1, where the patch says; None if it doesn't.
        anchors: lines that come before it, outermost first (envelope only).
        at_end: it must reach the end of the file (envelope only).
        old_no_newline: the old file's last line, in this hunk, has no newline.
        new_no_newline: the same of the new file.
    """

    header: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    start: int | None = None
    anchors: list[str] = field(default_factory=list)
    at_end: bool = False
    old_no_newline: bool = False
    new_no_newline: bool | None = None

    @property
    def old(self) -> list[str]:
        """The lines it replaces."""
        return [text for sign, text in self.lines if sign != "+"]

    @property
    def new(self) -> list[str]:
        """The lines it puts there."""
        return [text for sign, text in self.lines if sign != "-"]


@dataclass(slots=True)
class FilePatch:
    """What a patch does to one file."""

    action: Literal["add", "delete", "update"]
    path: str
    move_to: str | None = None
    copy: bool = False
    hunks: list[Hunk] = field(default_factory=list)
    executable: bool | None = None


def parse_patch(patch: str) -> list[FilePatch]:
    """Read a patch in either form.

    Raises:
        ToolError: it can't be read; the message says at which line of the patch.
    """
    lines = patch.replace("\r\n", "\n").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    begin = next((i for i, line in enumerate(lines) if line.strip() == "*** Begin Patch"), None)
    files = _Envelope(lines, begin).read() if begin is not None else _Unified(lines).read()
    if not files:
        raise ToolError(
            "the patch changes no file; give a unified diff ('--- a/PATH', '+++ b/PATH', "
            "'@@ … @@') or '*** Begin Patch' … '*** End Patch'",
            code="bad_patch",
        )
    return files


def _bad(number: int, line: str, problem: str) -> ToolError:
    return ToolError(
        f"line {number + 1} of the patch: {problem}: {safe_text(clip_line(line, 200))!r}",
        code="bad_patch",
    )


class _Envelope:
    def __init__(self, lines: list[str], begin: int) -> None:
        self.lines, self.at = lines, begin + 1

    def read(self) -> list[FilePatch]:
        files: list[FilePatch] = []
        while self.at < len(self.lines):
            line = self.lines[self.at].rstrip()
            if line == "*** End Patch":
                return files
            self.at += 1
            if line.startswith("*** Add File: "):
                files.append(self._add(line.removeprefix("*** Add File: ").strip()))
            elif line.startswith("*** Delete File: "):
                files.append(FilePatch("delete", line.removeprefix("*** Delete File: ").strip()))
            elif line.startswith("*** Update File: "):
                files.append(self._update(line.removeprefix("*** Update File: ").strip()))
            elif line:
                raise _bad(
                    self.at - 1,
                    line,
                    "expected '*** Add File: ', '*** Update File: ', '*** Delete File: ' or "
                    "'*** End Patch'",
                )
        raise ToolError(
            "the patch has no '*** End Patch', so its end may be missing; send it whole",
            code="bad_patch",
        )

    def _body(self) -> str | None:
        """The next line of a section; None at its end."""
        if self.at >= len(self.lines):
            return None
        line = self.lines[self.at]
        if line.startswith("*** ") and line.rstrip() != "*** End of File":
            return None
        self.at += 1
        return line

    def _add(self, path: str) -> FilePatch:
        hunk = Hunk("*** Add File")
        while (line := self._body()) is not None:
            if not line.startswith("+"):
                if not line.strip():
                    continue
                raise _bad(self.at - 1, line, "every line of an added file starts with '+'")
            hunk.lines.append(("+", line[1:]))
        return FilePatch("add", path, hunks=[hunk])

    def _update(self, path: str) -> FilePatch:
        change = FilePatch("update", path)
        if self.at < len(self.lines) and self.lines[self.at].startswith("*** Move to: "):
            change.move_to = self.lines[self.at].removeprefix("*** Move to: ").strip()
            self.at += 1
        hunk: Hunk | None = None
        while (line := self._body()) is not None:
            if line.startswith("@@"):
                anchor = line[2:].strip()
                numbered = _HUNK.match(line)
                if numbered:
                    anchor = ""
                if hunk is None or hunk.lines:
                    hunk = Hunk(line.strip())
                    change.hunks.append(hunk)
                if numbered:
                    hunk.start = int(numbered.group(1))
                if anchor and anchor != "@@":
                    hunk.anchors.append(anchor)
            elif line.rstrip() == "*** End of File":
                if hunk is not None:
                    hunk.at_end = True
            elif not line or line[0] in " +-":
                if hunk is None:
                    hunk = Hunk("@@")
                    change.hunks.append(hunk)
                hunk.lines.append((line[:1] or " ", line[1:]))
            else:
                raise _bad(self.at - 1, line, "a line of a hunk starts with ' ', '+' or '-'")
        change.hunks = [_without_trailing_blanks(h) for h in change.hunks if h.lines]
        if not change.hunks and change.move_to is None:
            raise ToolError(f"{path}: the update has no hunk", code="bad_patch")
        return change


def _without_trailing_blanks(hunk: Hunk) -> Hunk:
    """Leave out the blank lines that only part one section from the next."""
    if not any(sign != " " for sign, _ in hunk.lines):
        return hunk
    while hunk.lines[-1] == (" ", "") and hunk.lines[-2][0] != " ":
        # A blank context line straight after a change: as good as a separator.
        hunk.lines.pop()
    return hunk


class _Unified:
    def __init__(self, lines: list[str]) -> None:
        self.lines, self.at = lines, 0
        self.files: list[FilePatch] = []

    def read(self) -> list[FilePatch]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.startswith("diff --git "):
                self._git()
            elif line.startswith("--- ") and self._peek(1).startswith("+++ "):
                self._plain()
            elif line.startswith("@@ "):
                raise _bad(self.at, line, "a hunk without '--- a/PATH' and '+++ b/PATH' before it")
            else:
                self.at += 1  # mail headers, prose, fences
        return self.files

    def _peek(self, ahead: int) -> str:
        return self.lines[self.at + ahead] if self.at + ahead < len(self.lines) else ""

    def _git(self) -> None:
        header, number = self.lines[self.at], self.at
        self.at += 1
        facts: dict[str, str] = {}
        while self.at < len(self.lines):
            line = self.lines[self.at]
            key = next((k for k in _EXTENDED if line.startswith(k)), None)
            if key is None:
                break
            facts[key.strip()] = line.removeprefix(key)
            self.at += 1
        line = self._peek(0)
        if line.startswith(("Binary files ", "GIT binary patch")):
            raise _bad(self.at, line, "binary changes can't be applied")
        if line.startswith("--- ") and self._peek(1).startswith("+++ "):
            change = self._plain()
        else:
            change = FilePatch("update", _path_of_git_header(header, number))
            self.files.append(change)
        if "new file mode" in facts:
            change.action = "add"
        elif "deleted file mode" in facts:
            change.action = "delete"
        for kind in ("rename", "copy"):
            if f"{kind} to" in facts:
                change.path = _unquoted(facts.get(f"{kind} from", change.path))
                change.move_to = _unquoted(facts[f"{kind} to"])
                change.copy = kind == "copy"
        mode = facts.get("new mode") or facts.get("new file mode")
        if mode:
            if mode.startswith(("12", "16")):
                raise _bad(number, header, "links and submodules can't be patched")
            change.executable = mode.endswith("755")

    def _plain(self) -> FilePatch:
        old = _name(self.lines[self.at].removeprefix("--- "))
        new = _name(self.lines[self.at + 1].removeprefix("+++ "))
        self.at += 2
        if old == "/dev/null":
            change = FilePatch("add", new.removeprefix("b/"))
        elif new == "/dev/null":
            change = FilePatch("delete", old.removeprefix("a/"))
        else:
            if old.startswith("a/") and new.startswith("b/"):
                old, new = old[2:], new[2:]
            change = FilePatch("update", old, None if new == old else new)
        while self._peek(0).startswith("@@"):
            change.hunks.append(self._hunk())
        self.files.append(change)
        return change

    def _hunk(self) -> Hunk:
        header = self.lines[self.at]
        match = _HUNK.match(header)
        hunk = Hunk(header.strip())
        self.at += 1
        # The counts only decide where the hunk ends where that is ambiguous; models miscount.
        left_old = left_new = 0
        if match:
            hunk.start = int(match.group(1))
            left_old, left_new = (int(match.group(i) or 1) for i in (2, 4))
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.startswith("\\"):
                sign = hunk.lines[-1][0] if hunk.lines else " "
                hunk.old_no_newline |= sign != "+"
                if sign != "-":
                    hunk.new_no_newline = True
            elif self._ends_here(line, left_old, left_new):
                break
            else:
                sign = line[:1] or " "
                left_old -= sign != "+"
                left_new -= sign != "-"
                hunk.lines.append((sign, line[1:]))
            self.at += 1
        while left_old < 0 and left_new < 0 and hunk.lines and hunk.lines[-1] == (" ", ""):
            hunk.lines.pop()  # blank lines between two sections
            left_old, left_new = left_old + 1, left_new + 1
        if not hunk.lines:
            raise _bad(self.at - 1, header, "a hunk without lines")
        if hunk.new_no_newline is None and hunk.old_no_newline:
            hunk.new_no_newline = False
        return hunk

    def _ends_here(self, line: str, left_old: int, left_new: int) -> bool:
        if line.startswith(("@@", "diff --git ", "Index: ", "```")) or line == "-- ":
            return line != "-- " or left_old <= 0
        if line.startswith("--- ") and self._peek(1).startswith("+++ "):
            last_pair = left_old == 1 and left_new == 1
            return (left_old <= 0 and left_new <= 0) or (
                self._peek(2).startswith("@@ -") and not last_pair
            )
        if line and line[0] not in " +-":
            if left_old <= 0 and left_new <= 0:
                return True  # prose behind the patch
            raise _bad(self.at, line, "a line of a hunk starts with ' ', '+' or '-'")
        return False


def _name(text: str) -> str:
    return _unquoted(text.partition("\t")[0].rstrip())


def _unquoted(text: str) -> str:
    """A path as git writes it, its C quotes undone."""
    text = text.strip()
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    raw = bytearray()
    position = 0
    inner = text[1:-1]
    for match in _ESCAPE.finditer(inner):
        raw += inner[position : match.start()].encode()
        code = match.group(1)
        raw += _ESCAPES[code].encode() if code in _ESCAPES else bytes([int(code, 8) & 0xFF])
        position = match.end()
    raw += inner[position:].encode()
    return raw.decode("utf-8", "surrogateescape")


def _path_of_git_header(header: str, number: int) -> str:
    """The path of ``diff --git a/PATH b/PATH`` where nothing else names it."""
    rest = header.removeprefix("diff --git ").strip()
    if rest.startswith('"'):
        return _unquoted(rest[: rest.find('"', 1) + 1]).removeprefix("a/")
    half = len(rest) // 2
    old, new = rest[:half], rest[half + 1 :]
    if old.startswith("a/") and new.startswith("b/") and old[2:] == new[2:]:
        return old[2:]
    old, _, new = rest.partition(" ")  # a rename: both names follow in lines of their own
    if not new:
        raise _bad(number, header, "expected 'diff --git a/PATH b/PATH'")
    return old.removeprefix("a/")
