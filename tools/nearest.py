"""Where a text that isn't in a file would most nearly be, at bounded cost."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

from repodrome.tools.text import clip_line, safe_text
from repodrome.tools.words import named

MAX_LINES = 50_000
"""So many lines of a file are looked at."""
_MAX_WANTED = 60
_MAX_CHARS = 300
_SHOWN = 12
_WORD = re.compile(r"\w+")
_NUMBERED = re.compile(r"\s*\d+[\t→|]")


def nearest(lines: Sequence[str], wanted: Sequence[str]) -> str:
    """Say what in ``lines`` comes closest to ``wanted``, for an error message.

    Args:
        lines: the file's lines, without line ends.
        wanted: the lines that were looked for.

    Returns:
        One or more lines of advice, ``""`` where nothing is alike.
    """
    if wanted and all(_NUMBERED.match(line) for line in wanted if line.strip()):
        return f"Leave out the line numbers that {named('read_file')} puts before each line."
    have = [_squeezed(line) for line in lines[:MAX_LINES]]
    want = [_squeezed(line) for line in wanted[:_MAX_WANTED]]
    start = _best_alignment(have, want)
    if start is None:
        return _similar_lines(lines, have, want)
    stop = min(len(lines), start + len(wanted))
    if have[start:stop] == want[: stop - start] and len(wanted) <= _MAX_WANTED:
        return f"The file has it with other whitespace:\n{_show(lines, start, stop)}"
    differing = next(
        (i for i, line in enumerate(want) if i + start >= len(have) or have[i + start] != line), 0
    )
    from_line = max(start, start + differing - 2) if stop - start > _SHOWN else start
    shown = _show(lines, from_line, stop)
    return (
        f"Nearest is line {start + 1}; line {differing + 1} of what you gave is the first that "
        f"differs. The file has:\n{shown}"
    )


def _squeezed(line: str) -> str:
    return " ".join(line[:_MAX_CHARS].split())


def _best_alignment(have: Sequence[str], want: Sequence[str]) -> int | None:
    # Brackets and blanks say little: they count only where nothing else is there.
    return _voted(have, want, 3) if any(len(line) > 2 for line in want) else _voted(have, want, 1)


def _voted(have: Sequence[str], want: Sequence[str], shortest: int) -> int | None:
    """The start at which most lines are in their places; None where not one is."""
    places: dict[str, list[int]] = {}
    for offset, line in enumerate(want):
        if len(line) >= shortest:
            places.setdefault(line, []).append(offset)
    votes: Counter[int] = Counter()
    for number, line in enumerate(have):
        for offset in places.get(line, ())[:4]:
            if number >= offset:
                votes[number - offset] += 1
    if not votes:
        return None
    best = max(votes.values())
    return min(start for start, number in votes.items() if number == best)


def _similar_lines(lines: Sequence[str], have: Sequence[str], want: Sequence[str]) -> str:
    target = max(want, key=len, default="")
    words = set(_WORD.findall(target))
    if not words:
        return ""
    scored = []
    for number, line in enumerate(have):
        shared = len(words.intersection(_WORD.findall(line)))
        if shared:
            scored.append((shared - len(line) / 1000, number))
    matcher = difflib.SequenceMatcher(a="", b=target, autojunk=False)
    near = []
    for _, number in sorted(scored, reverse=True)[:20]:
        matcher.set_seq1(have[number])
        ratio = matcher.ratio()
        if ratio >= 0.5:
            near.append((ratio, number))
    if not near:
        return ""
    best = sorted(number for _, number in sorted(near, reverse=True)[:3])
    return "Nearest lines in the file:\n" + "\n".join(_row(lines, number) for number in best)


def _show(lines: Sequence[str], start: int, stop: int) -> str:
    rows = [_row(lines, number) for number in range(start, min(stop, start + _SHOWN))]
    if stop - start > _SHOWN:
        rows.append("   …")
    return "\n".join(rows)


def _row(lines: Sequence[str], number: int) -> str:
    return f"{number + 1:6d}\t{safe_text(clip_line(lines[number].rstrip(chr(13)), _MAX_CHARS))}"
