"""What follows a turn beside its results: the user's word, and a new context when this one is full.

Both go by the record alone, so that snapshots, forks and replays need no more than that.
"""

from __future__ import annotations

from collections.abc import Sequence

from repodrome.envs.context import MAX_REQUESTS, ContextBudget
from repodrome.envs.handover import changed_paths, state_text
from repodrome.envs.record import Record
from repodrome.envs.sandbox.base import Sandbox
from repodrome.envs.trajectory import Opening, Said
from repodrome.envs.user import Moment, SimulatedUser, user_words
from repodrome.tools.base import ToolState


async def hear_user(
    user: SimulatedUser, record: Record, sandbox: Sandbox, state: ToolState, *, handed_over: bool
) -> bool:
    """Let the user speak after the last turn; says whether they did.

    Args:
        handed_over: the agent waits for a reply.

    Raises:
        InfraError: the sandbox failed, or the user's model can't be asked.
    """

    async def changed() -> Sequence[str]:
        return await changed_paths(sandbox, state) or ()

    said = await user.reply(Moment(tuple(record.steps), handed_over, changed))
    if said is None:
        return False
    state.finished = None
    record.say(said)
    return True


async def next_context(
    budget: ContextBudget, record: Record, sandbox: Sandbox, state: ToolState, *, turns_left: int
) -> Opening | None:
    """Ask for a summary of a full context; begin the next one once it is there, or in vain.

    Args:
        turns_left: until the episode ends.

    Raises:
        InfraError: the sandbox failed.
    """
    turn = record.steps[-1].turn
    summarised = bool(
        record.asked and not turn.tool_calls and not turn.malformed and turn.content.strip()
    )
    if not summarised and record.asked < MAX_REQUESTS:
        record.asked += 1
        record.say(Said(kind="summary_request", text=budget.request(record.asked)))
        return None
    summary = budget.carried(turn.content) if summarised else ""
    text = state_text(
        await changed_paths(sandbox, state),
        todos=state.todos,
        earlier=len(record.openings) - 1,
        turns_left=turns_left,
    )
    words = [said.text for step in record.steps for said in user_words(step)]
    messages = budget.opening(record.openings[0].messages, summary, text, words)
    return record.open(messages, "budget" if summarised else "no_summary", summary)
