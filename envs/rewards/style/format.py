"""``style.format``: new lines that look like the code around them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check, clamp
from repodrome.envs.rewards.lines import FileDelta

_TIGHT_COMMA = re.compile(r",[^\s)\]}'\"]")
_TIGHT_ASSIGN = re.compile(r"[\w.]+=[^=]")
_LIMITS = (79, 88, 100, 120)
_MOST_NEW = 2000
_MOST_AROUND = 150
"""Lines that are looked at, of each file."""

_FEATURES = (
    "tabs or blanks against custom",
    "indented by another width",
    "longer than usual",
    "other line ends",
    "other quotes",
    "blanks at the end",
    "no blank behind a comma",
    "no blanks around =",
    "blanks inside brackets",
)


@dataclass(frozen=True, slots=True)
class FormatReward:
    """How near the new lines are to the surrounding code's own formatting; range [0, 1].

    The unchanged lines of each changed file show what is usual there: tabs or spaces, how far one
    level is indented, the quotes, the line ends, how long lines get (the least of 79, 88, 100 and
    120 that they keep to), blanks behind commas and around ``=``, none inside brackets and
    at the end of a line. For each of these features, d is the share of new lines that go against
    it, less the share of surrounding lines that do, at least 0.
    ``value = max(0, 1 - strength · Σ d)``, the mean over changed files, weighted by their new
    lines. A file without surroundings is compared with what is usual in the other changed files of
    its suffix, else with four spaces and 100 columns.

    Attributes:
        strength: how much one feature that every new line goes against takes away.
    """

    name: ClassVar[str] = "style.format"
    auxiliary: ClassVar[bool] = True

    strength: float = 1.0

    def __post_init__(self) -> None:
        check("strength", self.strength, least=0)

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the change."""
        judged = [d for d in context.deltas if d.is_code and any(map(str.strip, d.added_lines))]
        around = {delta.path: _surroundings(delta) for delta in judged}
        total, lines, against = 0.0, 0, Counter[str]()
        for delta in judged:
            surroundings = around[delta.path] or _alike(delta, around)
            new = [line for line in delta.added_lines if line.strip()][:_MOST_NEW]
            distances = _distances(new, surroundings)
            if not delta.final_newline:
                distances["no newline at the end"] = 1 / len(new)
            distance = clamp(self.strength * sum(distances.values()), 0.0, 1.0)
            total += distance * len(new)
            lines += len(new)
            against.update({name: d * len(new) for name, d in distances.items() if d > 0})
        distance = total / lines if lines else 0.0
        return RewardResult(
            value=clamp(1.0 - distance, 0.0, 1.0),
            parts={"distance": distance, "lines": float(lines)},
            notes=tuple(f"{name}: about {n:.0f} lines" for name, n in against.most_common(3)),
        )


def _surroundings(delta: FileDelta) -> list[str]:
    """Lines that were there before and stayed, from all over the file."""
    added = set(delta.added)
    kept = [line for index, line in enumerate(delta.after) if index not in added and line.strip()]
    return kept[:: len(kept) // _MOST_AROUND + 1]


def _alike(delta: FileDelta, around: dict[str, list[str]]) -> list[str]:
    suffix = delta.path[delta.path.rfind(".") :]
    lines = [line for path, known in sorted(around.items()) if path.endswith(suffix)
             for line in known]  # fmt: skip
    return lines[:_MOST_AROUND]


def _distances(new: Sequence[str], surroundings: Sequence[str]) -> dict[str, float]:
    """Feature → how much more often new lines go against it than those around them."""
    custom = _Custom.of(surroundings)
    here, usual = custom.against(new), custom.against(surroundings)
    return {
        name: max(0.0, here[name] / len(new) - usual[name] / max(1, len(surroundings)))
        for name in here
    }


@dataclass(frozen=True, slots=True)
class _Custom:
    """What is usual in some lines.

    Attributes:
        tabs: they are indented with tabs.
        unit: blanks of one level.
        limit: characters that nearly all lines keep to.
        crlf: lines end so.
        quote: the other one than is usual; None where either will do.
    """

    tabs: bool
    unit: int
    limit: int
    crlf: bool
    quote: str | None

    @classmethod
    def of(cls, lines: Sequence[str]) -> _Custom:
        indented = [line for line in lines if line[0] in " \t"]
        lengths = sorted(map(len, lines))
        long = lengths[-1] if lengths else 100
        if long > _LIMITS[-1]:  # an address, or a table
            long = lengths[len(lengths) * 99 // 100]
        single, double = map("\n".join(lines).count, "'\"")
        return cls(
            tabs=2 * sum(line[0] == "\t" for line in indented) > len(indented),
            unit=_indent_unit(lines),
            limit=next((n for n in _LIMITS if n >= long), long),
            crlf=2 * sum(line[-1] == "\r" for line in lines) > len(lines) > 0,
            # Without a clear custom either will do.
            quote="'" if double > 3 * single else '"' if single > 3 * double else None,
        )

    def against(self, lines: Sequence[str]) -> dict[str, int]:
        """How many of the lines go against each feature."""
        unlike, quote = " " if self.tabs else "\t", self.quote or "\0"
        other = '"' if quote == "'" else "'"
        found = dict.fromkeys(_FEATURES, 0)
        for line in lines:
            text = line.lstrip(" \t")
            indent = len(line) - len(text)
            if line[0] == unlike:
                found["tabs or blanks against custom"] += 1
            elif not self.tabs and indent % self.unit:
                found["indented by another width"] += 1
            if len(line) > self.limit:
                found["longer than usual"] += 1
            if (line[-1] == "\r") != self.crlf:
                found["other line ends"] += 1
            if quote in text and other not in text and text.count(quote) > 1:
                found["other quotes"] += 1
            if text.rstrip("\r")[-1:] in (" ", "\t"):
                found["blanks at the end"] += 1
            if "," in text and _TIGHT_COMMA.search(text):
                found["no blank behind a comma"] += 1
            # One argument a line is written so, and ends in a comma.
            if "=" in text and text[-1] != "," and _TIGHT_ASSIGN.match(text):
                found["no blanks around ="] += 1
            if "( " in text or " )" in text[1:]:
                found["blanks inside brackets"] += 1
        return found


def _indent_unit(lines: Sequence[str]) -> int:
    """The most frequent step inwards, in spaces; 4 where there is none."""
    steps: Counter[int] = Counter()
    last = 0
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        if 0 < indent - last <= 8:
            steps[indent - last] += 1
        last = indent
    return min(steps, key=lambda step: (-steps[step], step)) if steps else 4
