"""``style.lint``: what a linter newly has to say of the changed lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from repodrome.envs.rewards import ruff
from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check, falling, plural
from repodrome.envs.rewards.lines import FileDelta

SUPPRESSION = re.compile(
    r"(?:#|//|/\*)\s*(?:noqa\b|type:\s*ignore|pyright:\s*(?:ignore|basic)|mypy:\s*\w|"
    r"ruff:\s*noqa|flake8:\s*noqa|pylint:\s*disable|nosec\b|fmt:\s*(?:off|skip)|yapf:\s*disable|"
    r"isort:\s*skip|pragma:\s*no\s*cover|eslint-disable|@ts-ignore|@ts-nocheck|@ts-expect-error|"
    r"nolint\b|noinspection\b)",
    re.IGNORECASE,
)
"""Comments that tell a checker to look away."""


@dataclass(frozen=True, slots=True)
class LintReward:
    """How clean the new lines are; range (0, 1].

    ``value = half / (half + n)``, where n counts ruff's diagnostics on changed lines that the lines
    they replace did not have (by code), and every suppression comment that was added. Suppressions
    hide nothing, and configuration of the workspace is never read. Only Python is linted;
    suppressions are counted in every language.

    Source: ruff's rules, https://docs.astral.sh/ruff/rules/.

    Attributes:
        half: so many diagnostics are worth half.
        select: prefixes of rule codes that count; they can only be chosen from
            :data:`repodrome.envs.rewards.ruff.RULES`. Default: all of those. Invalid syntax always
            counts.
    """

    name: ClassVar[str] = "style.lint"
    auxiliary: ClassVar[bool] = True
    evidence: ClassVar[str] = ruff.EVIDENCE

    half: float = 3.0
    select: Sequence[str] = ()

    def __post_init__(self) -> None:
        check("half", self.half, above=0)
        if isinstance(self.select, str) or not all(isinstance(s, str) for s in self.select):
            raise ValueError(f'select is {self.select!r}; give a list of codes, e.g. ["F", "B006"]')
        for code in self.select:
            if not any(code.startswith(r) or r.startswith(code) for r in ruff.RULES):
                raise ValueError(f"select: {code!r} is none of {', '.join(ruff.RULES)}")

    def gather(self, context: RewardContext) -> Any:
        """Run ruff."""
        return ruff.gather(context)

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the change."""
        files: Mapping[str, Any] = (context.evidence.get(self.evidence) or {}).get("files", {})
        new: Counter[str] = Counter()
        suppressions = 0
        for delta in context.deltas:
            if delta.path in files:
                new += self._new(delta, files[delta.path])
            if delta.is_code:
                suppressions += added_suppressions(delta)
        diagnostics = new.total()
        notes = [f"{code} on {plural(n, 'new line')}" for code, n in new.most_common(5)]
        if suppressions:
            notes.append(f"{plural(suppressions, 'suppression')} added")
        return RewardResult(
            value=falling(diagnostics + suppressions, self.half),
            parts={"diagnostics": float(diagnostics), "suppressions": float(suppressions)},
            notes=tuple(notes),
        )

    def _new(self, delta: FileDelta, facts: Mapping[str, Any]) -> Counter[str]:
        after = self._codes(facts["after"]["diagnostics"], delta.added)
        before = self._codes(facts["before"]["diagnostics"], delta.removed)
        return after - before

    def _codes(self, rows: Iterable[Sequence[Any]], lines: Iterable[int]) -> Counter[str]:
        at = {line + 1 for line in lines}
        return Counter(code for code, row in rows if self._counts(code, row in at))

    def _counts(self, code: str, changed: bool) -> bool:
        if code == ruff.UNREADABLE:
            return True  # one broken line makes all of the file unreadable
        return changed and (not self.select or code.startswith(tuple(self.select)))


def added_suppressions(delta: FileDelta) -> int:
    """How many more lines hold a suppression comment than before."""
    added = sum(SUPPRESSION.search(line) is not None for line in delta.added_lines)
    removed = sum(SUPPRESSION.search(line) is not None for line in delta.removed_lines)
    return max(0, added - removed)
