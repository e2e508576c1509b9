"""Applies parsed hunks to the text of one file."""

from __future__ import annotations

from collections.abc import Sequence

from repodrome.errors import ToolError
from repodrome.tools.nearest import nearest
from repodrome.tools.patch_format import FilePatch, Hunk
from repodrome.tools.text import clip_line, safe_text, show_path


def new_content(change: FilePatch) -> str:
    """The content of an added file.

    Raises:
        ToolError: a hunk removes lines, though there are none.
    """
    rows: list[str] = []
    no_newline = False
    for hunk in change.hunks:
        if hunk.old:
            raise _failure(change, hunk, "it expects lines in a file that it creates")
        rows += hunk.new
        no_newline = bool(hunk.new_no_newline)
    text = "\n".join(rows)
    return text if no_newline or not rows else text + "\n"


def patched(change: FilePatch, text: str) -> str:
    """The text with every hunk applied. Line endings stay the file's own.

    A hunk goes where its context is, exactly; the line number only says which of several places is
    meant, the nearest.

    Raises:
        ToolError: a hunk's context is missing or, without a line number or anchor, not unique.
    """
    if not change.hunks:
        return text
    ends = "\r\n" if _mostly_crlf(text) else "\n"
    rows = text.split("\n")
    last_has_newline = rows[-1] == ""
    if last_has_newline:
        rows.pop()
    plain = [row.removesuffix("\r") for row in rows]
    out: list[str] = []  # finished lines with their ends
    cursor = 0
    shift = 0
    newline_at_end = last_has_newline
    for hunk in change.hunks:
        place = _place(change, hunk, plain, cursor, shift, last_has_newline)
        if hunk.start is not None and hunk.old:
            shift = place - (hunk.start - 1)
        out += [row + "\n" for row in rows[cursor:place]]
        position = place
        for sign, line in hunk.lines:
            if sign == "+":
                out.append(line.removesuffix("\r") + ends)
                continue
            if sign == " ":
                out.append(rows[position] + "\n")
            position += 1
        cursor = position
        if cursor == len(rows):
            ends_with_added = bool(hunk.lines) and any(sign == "+" for sign, _ in hunk.lines)
            if hunk.new_no_newline is not None:
                newline_at_end = not hunk.new_no_newline
            elif ends_with_added:
                newline_at_end = hunk.lines[-1][0] == "+" or last_has_newline
    out += [row + "\n" for row in rows[cursor:]]
    result = "".join(out)
    if not newline_at_end:
        result = result.removesuffix("\n").removesuffix("\r" if ends == "\r\n" else "")
    return result


def _mostly_crlf(text: str) -> bool:
    return text.count("\r\n") * 2 > text.count("\n")


def _place(
    change: FilePatch,
    hunk: Hunk,
    rows: Sequence[str],
    cursor: int,
    shift: int,
    last_has_newline: bool,
) -> int:
    """Index of the first row that the hunk replaces."""
    old = [line.removesuffix("\r") for line in hunk.old]
    start = cursor
    for anchor in hunk.anchors:
        start = _after_anchor(change, hunk, rows, start, anchor)
    if not old:
        return _insertion(change, hunk, rows, start, shift)
    places = _matches(rows, old, start)
    if hunk.at_end:
        places = [p for p in places if p + len(old) == len(rows)]
    if hunk.old_no_newline and not last_has_newline:
        places = [p for p in places if p + len(old) == len(rows)] or places
    if not places:
        raise _no_match(change, hunk, rows, old, cursor)
    if hunk.start is not None:
        expected = hunk.start - 1 + shift
        return min(places, key=lambda place: (abs(place - expected), place))
    if len(places) > 1 and not hunk.anchors:
        where = ", ".join(str(place + 1) for place in places[:10])
        raise _failure(
            change,
            hunk,
            f"its lines are in the file {len(places)} times (lines {where}); give more context, or "
            "a line of the enclosing function behind @@",
            code="not_unique",
        )
    return places[0]


def _matches(rows: Sequence[str], old: Sequence[str], start: int) -> list[int]:
    """Every place of ``old``, overlapping ones too, in time linear in the rows whatever they hold
    (Knuth, Morris and Pratt 1977): blank lines among blank lines must not stall the host."""
    back = [0] * len(old)  # how much of old still fits behind a mismatch
    fits = 0
    for index in range(1, len(old)):
        while fits and old[index] != old[fits]:
            fits = back[fits - 1]
        fits += old[index] == old[fits]
        back[index] = fits
    found = []
    fits = 0
    for index in range(start, len(rows)):
        row = rows[index]
        while fits and row != old[fits]:
            fits = back[fits - 1]
        fits += row == old[fits]
        if fits == len(old):
            found.append(index + 1 - fits)
            fits = back[fits - 1]
    return found


def _after_anchor(
    change: FilePatch, hunk: Hunk, rows: Sequence[str], start: int, anchor: str
) -> int:
    wanted = anchor.strip()
    for exact in (True, False):  # a whole line first, then the start of one
        for index in range(start, len(rows)):
            row = rows[index].strip()
            if row == wanted or (not exact and row.startswith(wanted)):
                # The anchor may itself be the first context line.
                return index if hunk.old and hunk.old[0].strip() == row else index + 1
    raise _failure(
        change, hunk, f"its anchor {anchor!r} is not in the file", hint=nearest(rows, [anchor])
    )


def _insertion(change: FilePatch, hunk: Hunk, rows: Sequence[str], start: int, shift: int) -> int:
    """Where a hunk without any old line goes: behind the line its header names."""
    if hunk.anchors:
        return start
    if hunk.start is None:
        if hunk.at_end or not rows:
            return len(rows)
        raise _failure(
            change,
            hunk,
            "it only adds lines and doesn't say where; give lines of context around them",
        )
    place = hunk.start + shift if hunk.start else 0
    if not start <= place <= len(rows):
        raise _failure(
            change, hunk, f"it adds behind line {hunk.start}, but the file has {len(rows)} lines"
        )
    return place


def _no_match(
    change: FilePatch, hunk: Hunk, rows: Sequence[str], old: Sequence[str], cursor: int
) -> ToolError:
    if cursor and _matches(rows, old, 0):
        return _failure(
            change, hunk, "its lines are only in a part that an earlier hunk covers; order the "
            "hunks as they come in the file and don't let them overlap"
        )  # fmt: skip
    advice = nearest(rows, old)
    if not advice:
        shown = safe_text(clip_line(old[0], 200))
        advice = f"Nothing in the file is alike; its first line is {shown!r}."
    return _failure(
        change, hunk, "its context is not in the file; read the file again", hint=advice
    )


def _failure(
    change: FilePatch, hunk: Hunk, problem: str, *, code: str = "no_match", hint: str = ""
) -> ToolError:
    number = next((i for i, h in enumerate(change.hunks, 1) if h is hunk), 1)
    header = safe_text(clip_line(hunk.header, 100))
    return ToolError(
        f"{show_path(change.path)}, hunk {number} ({header}): {problem}", code=code, hint=hint
    )
