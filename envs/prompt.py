"""What agents read: the conversation in chat-completions form, and observations.

The first messages depend on task and seed alone, so that episodes of a group share them to the
byte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from repodrome.envs.sandbox.base import WORKSPACE
from repodrome.envs.trajectory import AssistantTurn, Opening, Segment, Step, ToolResult
from repodrome.tasks.model import EnvironmentSpec, Task

MAX_OBSERVATION_CHARS = 16 << 20
"""Longest observation, in characters; tools cap their own far below."""

_PLACE = f"""\
You are a software engineer working in a repository that is checked out at {WORKSPACE}, inside an \
isolated Linux sandbox {{network}}.

Use the tools to look around, change files and run commands; paths are relative to {WORKSPACE} or \
absolute."""
_JUDGED = """\
Your work is judged by running hidden tests on the final state of the repository, so change the \
code itself and check what you changed by running it."""
_JUDGED_OTHERWISE = "Your work is judged by whether what was asked for is done, and no more."
_ALONE = """\
Nobody answers questions: where something is unclear, take the reading that fits the code best."""
_WITH_USER = """\
The person who asked is there: to ask or tell them something, answer with plain text without \
calling a tool. They may also speak up while you work; what they said last is what they want."""
_LOCATE = f"""\
You find places in a repository that is checked out at {WORKSPACE}. The tools only read; paths are \
relative to {WORKSPACE}. A turn may have up to {{calls}} calls, which run side by side: use them. \
There are {{turns}} turns in all, your answer included; without an answer the search was in vain.

Answer with plain text, without calling a tool: a location a line, as path:first-last, for \
example src/app.py:10-24. Name every line that is asked for, and as few others as you can."""
_END = "When you are done, {end} with a short summary of what you changed."


def initial_messages(task: Task, finish: str | None = "finish") -> list[dict[str, Any]]:
    """The system message and the task's instruction.

    Args:
        task: what it is about.
        finish: what the agent calls the tool that finishes; None where it has none.
    """
    system = _locate_prompt(task) if task.locate.gold else _work_prompt(task, finish)
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": task.instruction.strip()},
    ]


def _work_prompt(task: Task, finish: str | None) -> str:
    place = _PLACE.format(network=_network(task.environment))
    judged = _JUDGED_OTHERWISE if task.verifier.kind == "none" else _JUDGED
    asking = _WITH_USER if task.user.present else _ALONE
    end = f"call `{finish}`" if finish else "answer without calling a tool,"
    return " ".join((place, judged, asking, _END.format(end=end)))


def _locate_prompt(task: Task) -> str:
    limits = task.limits
    return _LOCATE.format(calls=limits.max_calls_per_turn, turns=limits.max_turns)


def _network(environment: EnvironmentSpec) -> str:
    if environment.network == "full":
        return "with network access"
    if environment.network == "allowlist":
        hosts = ", ".join(environment.allowed_hosts)
        return f"that reaches only these hosts, through the proxy in its environment: {hosts}"
    return "without network access"


def observation_of(turn: AssistantTurn, results: Sequence[ToolResult]) -> str:
    """What came back for a turn, as one text."""
    if turn.malformed:
        return f"Your turn could not be read: {turn.malformed}"
    if len(results) == 1:
        return results[0].text[:MAX_OBSERVATION_CHARS]
    text = "\n\n".join(f"[{r.call_id} {r.name}]\n{r.text}" for r in results)
    return text[:MAX_OBSERVATION_CHARS]


def step_messages(step: Step) -> list[dict[str, Any]]:
    """A turn and what came back for it, as messages; each result answers its call's id.

    What was said beside the results is one user message, whoever said it: many chat templates
    don't allow for two in a row.
    """
    turn = step.turn
    message: dict[str, Any] = {"role": "assistant", "content": turn.content}
    said = [one.text for one in step.said]
    if turn.malformed:
        said.insert(0, observation_of(turn, ()))
    elif turn.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": call.arguments
                    if isinstance(call.arguments, str)
                    else json.dumps(call.arguments, ensure_ascii=False),
                },
            }
            for call in turn.tool_calls
        ]
    answers: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": result.call_id, "content": result.text}
        for result in step.results
    ]
    if said:
        answers.append({"role": "user", "content": "\n\n".join(said)})
    return [message, *answers]


def segments_of(openings: Sequence[Opening], steps: Sequence[Step]) -> tuple[Segment, ...]:
    """Every context of an episode, from its record; none where it says nothing of them."""
    found: list[Segment] = []
    if not openings:
        return ()
    ends = [*(later.first_step for later in openings[1:]), len(steps)]
    for opening, end in zip(openings, ends, strict=True):
        own = steps[opening.first_step : end]
        last = opening.index + 1 == len(openings)
        messages = [*opening.messages, *(m for step in own for m in step_messages(step))]
        found.append(
            Segment(
                index=opening.index,
                first_step=opening.first_step,
                steps=len(own),
                messages=tuple(messages),
                tokens=own[-1].tokens if own else opening.tokens,
                trigger="" if last else openings[opening.index + 1].trigger,
                summary="" if last else openings[opening.index + 1].summary,
            )
        )
    return tuple(found)


def summary_request(tokens: int) -> str:
    """Asks for a summary of at most so many tokens."""
    return (
        "Your context is full. Answer now with a summary of the work so far, as plain text without "
        "tool calls: what was asked, what you found and changed, what is left to do, and what to "
        f"watch out for. It is all that you will remember. At most about {tokens} tokens."
    )


def summary_refused(tokens: int) -> str:
    """Asks once more, when the turn was no summary."""
    return (
        "That was no summary, and nothing was run: your context is full. Answer with plain text "
        f"without tool calls, at most about {tokens} tokens; else you go on without a summary."
    )


def observation_with(step: Step) -> str:
    """What came back for a step, with what was said beside it."""
    texts = [observation_of(step.turn, step.results), *(one.text for one in step.said)]
    return "\n\n".join(text for text in texts if text)[:MAX_OBSERVATION_CHARS]
