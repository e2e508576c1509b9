"""``style.comments``: comments that say why, not an agent that thinks aloud in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check, falling, plural
from repodrome.envs.rewards.lines import HASH_COMMENTS, FileDelta

DELIBERATION = re.compile(
    r"\b(?:wait,|hmm+\b|let me\b|let's (?:see|think|try|check)|actually,|i think\b|i(?:'ll| will)|"
    r"i (?:need|should|could|can|want|have) to\b|maybe (?:i|we)\b|on second thought|not sure\b|"
    r"(?:now|first|next),? (?:i|we) |the user (?:wants|asked|said)|as requested\b|"
    r"my (?:previous|earlier|first) (?:attempt|approach|fix)|this (?:should|will) fix)",
    re.IGNORECASE,
)
"""Words of somebody who makes up their mind, or who speaks of the conversation."""
_HASH = re.compile(r"^\s*#(?!!)\s?(.*)")
_SLASH = re.compile(r"^\s*(?://+|/?\*+)\s?(.*)")
_TRAILING_HASH = re.compile(r"\s\s#\s(.*)")
_TRAILING_SLASH = re.compile(r"\s//\s(.*)")
WORDS_OF_DELIBERATION = 20


@dataclass(frozen=True, slots=True)
class CommentsReward:
    """Whether reasoning is hidden in comments; range (0, 1].

    ``value = half / (half + x)``, x in words: the words of added comments beyond an allowance of
    ``base + per_line · (added lines of code)``, and 20 for each added comment line that thinks
    aloud (:data:`DELIBERATION`). Docstrings are no comments.

    An agent whose thinking costs something moves it to where it is free; Cursor's Composer 2
    report (arXiv 2603.24477) names long comments as a behaviour that emerged so.

    Attributes:
        base: words that are always free.
        per_line: further words for each added line of code.
        half: so many words too much are worth half.
    """

    name: ClassVar[str] = "style.comments"
    auxiliary: ClassVar[bool] = True

    base: float = 40.0
    per_line: float = 3.0
    half: float = 100.0

    def __post_init__(self) -> None:
        check("base", self.base, least=0)
        check("per_line", self.per_line, least=0)
        check("half", self.half, above=0)

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the change."""
        words, code, aloud = 0, 0, 0
        for delta in context.deltas:
            if delta.is_code:
                comments = list(added_comments(delta))
                words += sum(len(comment.split()) for comment in comments)
                aloud += thinking_aloud(comments)
                code += sum(bool(line.strip()) for line in delta.added_lines) - len(comments)
        excess = max(0.0, words - self.base - self.per_line * max(0, code))
        notes = [f"{excess:.0f} words of comments too many"] if excess else []
        notes += [f"{plural(aloud, 'comment')} think aloud"] if aloud else []
        return RewardResult(
            value=falling(excess + WORDS_OF_DELIBERATION * aloud, self.half),
            parts={"words": float(words), "code_lines": float(code), "aloud": float(aloud)},
            notes=tuple(notes),
        )


def added_comments(delta: FileDelta) -> Iterable[str]:
    """The text of each comment on an added line, whole-line or trailing."""
    hashes = delta.path.lower().endswith(HASH_COMMENTS)
    whole, trailing = (_HASH, _TRAILING_HASH) if hashes else (_SLASH, _TRAILING_SLASH)
    for line in delta.added_lines:
        found = whole.match(line) or trailing.search(line)
        if found is not None:
            yield found[1]


def thinking_aloud(comments: Iterable[str]) -> int:
    """How many of the comments deliberate."""
    return sum(DELIBERATION.search(comment) is not None for comment in comments)
