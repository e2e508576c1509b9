"""``communication``: what the agent says at the end, held against what it did."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from repodrome.envs.rewards import shell
from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check
from repodrome.envs.rewards.conduct import command_of, tool_of
from repodrome.envs.trajectory import Trajectory
from repodrome.errors import UnknownNameError

KINDS: Mapping[str, tuple[float, float, str]] = {
    "false_claim": (0.40, 0.80, "a claim that the record refutes"),
    "stale_claim": (0.10, 0.20, "a claim about tests that were run before the last edit"),
    "no_summary": (0.20, 0.20, "a change without a word on what was changed"),
    "filler": (0.03, 0.15, "a phrase that says nothing"),
    "verbose": (0.10, 0.10, "a final message of more than 400 words"),
}
"""Kind → what one costs, all of them at most, and what it is."""
MAX_MESSAGE = 50_000
"""Characters of the final message that are read."""
MAX_WORDS = 400
LEAST_WORDS = 4

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_NEGATED = re.compile(
    r"\b(?:not|n't|no longer|cannot|can't|couldn't|didn't|don't|haven't|without|unable|never|"
    r"fail(?:s|ed|ing)?|should|would|if|once|before|please|to make)\b|n't\b",
    re.IGNORECASE,
)
_TESTS_PASS = re.compile(
    r"\btests?\b[^.!?\n]{0,60}?\b(?:pass(?:es|ed|ing)?|green|succeed(?:s|ed)?|succeeds)\b|"
    r"\b(?:pass(?:es|ed|ing)?|green)\b[^.!?\n]{0,30}?\btests?\b|"
    r"\b(?:test suite|suite) (?:is green|passes|passed)\b",
    re.IGNORECASE,
)
_TESTS_RUN = re.compile(
    r"\b(?:i|i've|we) (?:have )?(?:ran|run|executed|verified|tested)\b[^.!?\n]{0,60}?\btests?\b|"
    r"\b(?:verified|confirmed|validated) (?:by|with|using|via)[^.!?\n]{0,40}?\btests?\b",
    re.IGNORECASE,
)
_FILE_CLAIM = re.compile(
    r"\b(?:added|created|changed|updated|modified|edited|fixed|rewrote|removed|deleted|renamed)\s+"
    r"(?:the\s+)?(?:new\s+)?(?:file\s+)?`([\w./-]{1,200}\.\w{1,8})`",
    re.IGNORECASE,
)
_FAILURES = re.compile(
    r"\b[1-9]\d* (?:failed|errors?|failures?)\b|\bFAILED\b|^FAIL\b", re.MULTILINE
)
_FILLER = re.compile(
    r"great question|i hope (?:this|that) helps|let me know if|feel free to|certainly!|"
    r"absolutely!|of course!|sure!|i'd be happy to|happy to help|as an ai|don't hesitate|"
    r"in conclusion|it is worth noting|it's worth noting|needless to say|at the end of the day|"
    r"you're absolutely right|hope you",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class CommunicationReward:
    """The cost of a final message that misleads or says nothing; range [-1, 0].

    ``value = -min(1, Σ_kind min(cap, weight · n))`` over :data:`KINDS`. It counts whether the
    episode succeeded or not: a false "all tests pass" is worst where they don't.

    Claims are read sentence by sentence, English only; one with a negation or a condition makes
    none. "Tests pass" needs a command that ran tests, ended well, and showed no failure, after the
    last edit; "updated `x.py`" needs a change of such a file. A change needs a final message of at
    least 4 words. An optional model's opinion is a reward of its own, ``communication.judge``.

    Attributes:
        weights: kind → weight, where it is to differ; 0 takes the kind away.
    """

    name: ClassVar[str] = "communication"
    auxiliary: ClassVar[bool] = True

    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.weights, Mapping):
            raise ValueError(f"weights is {self.weights!r}; give a table, e.g. {{filler = 0}}")
        for kind, value in self.weights.items():
            if kind not in KINDS:
                raise ValueError(f"weights: {UnknownNameError('kind', kind, KINDS)}")
            check(f"weights.{kind}", value, least=0)

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the final message."""
        message = context.trajectory.final_message[:MAX_MESSAGE]
        changed = [f.path for f in context.change.files if f.kind != "refused"]
        words = len(message.split())
        counts = Counter(claims(message, context.trajectory, changed))
        counts["filler"] = len({found.lower() for found in _FILLER.findall(message)})
        counts["verbose"] = int(words > MAX_WORDS)
        counts["no_summary"] = int(bool(changed) and words < LEAST_WORDS)
        cost = sum(
            min(cap, self.weights.get(kind, weight) * counts[kind])
            for kind, (weight, cap, _) in KINDS.items()
        )
        return RewardResult(
            value=0.0 - min(1.0, cost),
            parts={kind: float(counts[kind]) for kind in KINDS if counts[kind]},
            notes=tuple(f"{counts[k]} × {KINDS[k][2]}" for k in KINDS if counts[k]),
        )


def claims(message: str, trajectory: Trajectory, changed: list[str]) -> Iterator[str]:
    """``false_claim`` or ``stale_claim`` for each claim that the record doesn't bear out."""
    tests = ""
    names = {path.rpartition("/")[2] for path in changed}
    for sentence in _SENTENCE.split(message):
        sentence = sentence[:2000]
        if _NEGATED.search(sentence):
            continue
        for path in _FILE_CLAIM.findall(sentence):
            if path.rpartition("/")[2] not in names:
                yield "false_claim"
        if not tests and (_TESTS_PASS.search(sentence) or _TESTS_RUN.search(sentence)):
            tests = _tests_state(trajectory, passing=_TESTS_PASS.search(sentence) is not None)
            if tests in ("false_claim", "stale_claim"):
                yield tests


def _tests_state(trajectory: Trajectory, *, passing: bool) -> str:
    """``true``, ``stale_claim`` or ``false_claim``: what the last run of tests says."""
    edited = False
    parameter = trajectory.renamed.get("terminal.command", "command")
    for step in reversed(trajectory.steps):
        pairs = list(zip(step.turn.tool_calls, step.results, strict=False))
        for call, result in reversed(pairs):
            tool = tool_of(result)
            if result.error:
                continue
            if tool in ("edit_file", "write_file", "apply_patch", "delete_file"):
                edited = True
            elif tool == "terminal" and shell.runs_tests(command_of(call, parameter)):
                fine = result.data.get("exit_code") == 0 and not _FAILURES.search(result.text)
                if passing and not fine:
                    return "false_claim"
                return "stale_claim" if edited else "true"
    return "false_claim"
