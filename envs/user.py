"""The simulated user: says what the task's rules say, when they say it.

It is asked after every turn that the agent's context is not being summarised in. It remembers
nothing itself: what it said before is in the record, so that snapshots, forks and replays need no
more than that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from repodrome.envs.trajectory import Said, SaidKind, Step
from repodrome.tasks.globs import covers
from repodrome.tasks.model import UserRule

MAX_MESSAGE_CHARS = 20_000
"""So much of an agent's message is looked at."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a user sees after a turn of the agent.

    Attributes:
        steps: those played so far, the last one just now.
        handed_over: the agent answered with plain text, or finished: it waits for a reply.
        changed: gives the files that differ from the pristine workspace.
    """

    steps: Sequence[Step]
    handed_over: bool
    changed: Callable[[], Awaitable[Sequence[str]]]

    @property
    def message(self) -> str:
        """What the agent said in this turn."""
        return message_of(self.steps[-1])


class SimulatedUser(Protocol):
    """Somebody who may speak after a turn."""

    async def reply(self, moment: Moment) -> Said | None:
        """What the user says; None: nothing, and an agent that handed over has finished.

        Raises:
            InfraError: the user's model can't be asked.
        """


@dataclass(frozen=True, slots=True)
class RuleUser:
    """Speaks by the task's rules."""

    rules: Sequence[UserRule]

    async def reply(self, moment: Moment) -> Said | None:
        """What the first rule says that can speak now."""
        spoken = Counter(said.rule for step in moment.steps for said in step.said)
        for index, rule in enumerate(self.rules):
            if spoken[index] < rule.times and await _holds(rule, moment):
                return Said(kind=_kind(rule), text=rule.say.strip(), rule=index)
        return None


async def _holds(rule: UserRule, moment: Moment) -> bool:
    message = moment.message[:MAX_MESSAGE_CHARS]
    if rule.pattern and not re.search(rule.pattern, message, re.IGNORECASE):
        return False
    if rule.when == "turns":
        # What the user wants to say is never lost because an agent is quick.
        return len(moment.steps) >= rule.after or moment.handed_over
    if rule.when == "says":
        return True
    if rule.when == "changed":
        return any(covers((rule.path,), path) for path in await moment.changed())
    if not moment.handed_over:
        return False
    return rule.when == "done" or not await moment.changed()


def _kind(rule: UserRule) -> SaidKind:
    if rule.kind:
        return rule.kind
    return "answer" if rule.when in ("question", "done") else "interrupt"


@dataclass(frozen=True, slots=True)
class FirstOf:
    """Several users as one: the first that has something to say speaks."""

    users: Sequence[SimulatedUser]

    async def reply(self, moment: Moment) -> Said | None:
        """What the first of them says."""
        for user in self.users:
            said = await user.reply(moment)
            if said is not None:
                return said
        return None


@dataclass(frozen=True, slots=True)
class RecordedUser:
    """Says what was said in a recording, at the same turns: models don't say the same twice.

    Attributes:
        steps: the recording.
    """

    steps: Sequence[Step]

    async def reply(self, moment: Moment) -> Said | None:
        """What was said after this turn then."""
        index = len(moment.steps) - 1
        if index >= len(self.steps):
            return None
        return next(iter(user_words(self.steps[index])), None)


def user_words(step: Step) -> list[Said]:
    """What the user said after a turn."""
    return [said for said in step.said if said.kind != "summary_request"]


def message_of(step: Step) -> str:
    """What the agent said in a turn: its text, and the message it finished with."""
    texts = [step.turn.content]
    texts += [
        str(result.data.get("message", ""))
        for result in step.results
        if result.tool == "finish" and not result.error
    ]
    return "\n\n".join(text for text in texts if text.strip())
