"""The answer reward: did the agent say what it was asked for?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.user import message_of, user_words


@dataclass(frozen=True, slots=True)
class AnswerReward:
    """1.0 when the agent said everything that was asked for; range [0, 1].

    Looked at are the messages that the simulated user replied to, and the final one. The value is
    the share of ``patterns`` that are found in them, and 0 where one of ``forbid`` is found, where
    a file was changed although ``unchanged`` is set, and for an episode that the agent did not
    finish.

    Attributes:
        patterns: regular expressions, searched for without regard to case.
        forbid: the same; none may be found.
        unchanged: the request was for an answer alone: changing the workspace earns nothing.
        max_chars: only so much of each message's beginning is looked at, so that an answer can't
            be hidden in a heap of guesses.
    """

    name: ClassVar[str] = "answer"
    auxiliary: ClassVar[bool] = False

    patterns: Sequence[str] = ()
    forbid: Sequence[str] = ()
    unchanged: bool = False
    max_chars: int = 2000

    def __post_init__(self) -> None:
        if isinstance(self.patterns, str) or not self.patterns:
            raise ValueError("give 'patterns', a list of regular expressions")
        if isinstance(self.forbid, str):
            raise ValueError("'forbid' is a list of regular expressions")
        for pattern in (*self.patterns, *self.forbid):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the final message."""
        trajectory = context.trajectory
        said = [message_of(step) for step in trajectory.steps if user_words(step)]
        message = "\n\n".join(text[: self.max_chars] for text in (*said, trajectory.final_message))
        found = [self._has(pattern, message) for pattern in self.patterns]
        notes = [f"{sum(found)} of {len(found)} parts of the answer are there"]
        value = sum(found) / len(found)
        if any(self._has(pattern, message) for pattern in self.forbid):
            value, notes = 0.0, [*notes, "it says what is wrong"]
        edits = [file.path for file in context.change.files if file.kind != "refused"]
        if self.unchanged and edits:
            value, notes = 0.0, [*notes, f"{len(edits)} files changed where none was to be"]
        if context.verdict.tampering:
            value, notes = 0.0, [*notes, "tampering"]
        if trajectory.stop_reason != "finished":
            value = 0.0
        parts = {"found": sum(found) / len(found), "changed_files": float(len(edits))}
        return RewardResult(value=value, parts=parts, notes=tuple(notes))

    @staticmethod
    def _has(pattern: str, message: str) -> bool:
        return re.search(pattern, message, re.IGNORECASE) is not None
