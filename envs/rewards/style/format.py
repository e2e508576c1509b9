"""``style.format``: new lines that look like the code around them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check, clamp
from repodrome.envs.rewards.lines import FileDelta

_INDENT = re.compile(r"[ \t]*")
_TIGHT_COMMA = re.compile(r",[^\s)\]}'\"]")
_TIGHT_ASSIGN = re.compile(r"^\s*[\w.]+=[^=]")
_LOOSE_BRACKET = re.compile(r"\( \S|\S \)$")
_LEAST_LIMIT = 79
_MOST_NEW = 2000
_MOST_AROUND = 150
"""Lines that are looked at, of each file."""

Feature = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class FormatReward:
    """How near the new lines are to the surrounding code's own formatting; range [0, 1].

    The unchanged lines of each changed file show what is usual there: tabs or spaces, how far one
    level is indented, the quotes, the line ends, how long lines get (the 99th percentile, at least
    79), blanks behind commas and around ``=``, none at the end of a line. For each of these
    features, d is the share of new lines that go against it, less the share of surrounding lines
    that do, at least 0. ``value = max(0, 1 - strength · Σ d)``, the mean over changed files,
    weighted by their new lines. A file without surroundings is compared with what is usual in
    the other changed files of its suffix, else with four spaces and 100 columns.

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
    """Lines that were there before and stayed."""
    added = set(delta.added)
    kept = (line for index, line in enumerate(delta.after) if index not in added)
    return list(islice((line for line in kept if line.strip()), _MOST_AROUND))


def _alike(delta: FileDelta, around: dict[str, list[str]]) -> list[str]:
    suffix = delta.path[delta.path.rfind(".") :]
    lines = [line for path, known in sorted(around.items()) if path.endswith(suffix)
             for line in known]  # fmt: skip
    return lines[:_MOST_AROUND]


def _distances(new: Sequence[str], surroundings: Sequence[str]) -> dict[str, float]:
    found = {}
    for name, against in _features(surroundings).items():
        usual = _share(surroundings, against)
        found[name] = max(0.0, _share(new, against) - usual)
    return found


def _share(lines: Sequence[str], feature: Feature) -> float:
    return sum(map(feature, lines)) / len(lines) if lines else 0.0


def _features(lines: Sequence[str]) -> dict[str, Feature]:
    """What is usual in these lines, each as a test of whether a line goes against it."""
    tabs = 2 * sum(line.startswith("\t") for line in lines) > sum(
        line[0] in " \t" for line in lines
    )
    wrong_indent = " " if tabs else "\t"
    unit = _indent_unit(lines)
    lengths = sorted(map(len, lines))
    limit = max(_LEAST_LIMIT, lengths[(len(lengths) * 99) // 100]) if lengths else 100
    crlf = 2 * sum(line.endswith("\r") for line in lines) > len(lines) > 0
    single, double = map("\n".join(lines).count, "'\"")
    # Without a clear custom either will do.
    quote = "'" if double > 3 * single else '"' if single > 3 * double else None

    def indented_oddly(line: str) -> bool:
        indent = _INDENT.match(line)
        return indent is not None and not tabs and len(indent[0]) % unit != 0

    return {
        "indented with tabs or spaces against custom": lambda line: line[0] == wrong_indent,
        "indented by another width": indented_oddly,
        "longer than usual": lambda line: len(line) > limit,
        "other line ends": lambda line: line.endswith("\r") != crlf,
        "other quotes": lambda line: (
            quote is not None
            and quote in line
            and line.count(quote) > 1
            and _other(quote) not in line
        ),
        "blanks at the end": lambda line: line.removesuffix("\r")[-1:] in (" ", "\t"),
        "no blank behind a comma": lambda line: _TIGHT_COMMA.search(line) is not None,
        "no blanks around =": lambda line: _TIGHT_ASSIGN.search(line) is not None,
        "blanks inside brackets": lambda line: _LOOSE_BRACKET.search(line) is not None,
    }


def _other(quote: str) -> str:
    return '"' if quote == "'" else "'"


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
