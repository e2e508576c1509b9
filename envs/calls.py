"""Running the tool calls of one turn: read-only ones side by side, the others in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from repodrome.envs.events import Event, EventHandler
from repodrome.envs.trajectory import ToolCall, ToolResult, storable
from repodrome.errors import InfraError
from repodrome.tasks.model import Limits
from repodrome.tools.base import ToolContext

if TYPE_CHECKING:
    from repodrome.tools.toolbox import Toolbox


class CallRunner:
    """Runs the calls of an episode and counts them.

    Args:
        used: tool calls run before.
        remaining: seconds of the agent's wall time that are left.

    Attributes:
        used: tool calls run so far.
        infra: the first infrastructure failure that a call met, if any.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        context: ToolContext,
        limits: Limits,
        remaining: Callable[[], float],
        used: int = 0,
        on_event: EventHandler | None = None,
    ) -> None:
        self._toolbox = toolbox
        self.context = context
        self._limits = limits
        self._remaining = remaining
        self._on_event = on_event
        self.used = used
        self.infra: InfraError | None = None
        self._began = 0.0

    async def run(self, calls: Sequence[ToolCall], results: list[ToolResult | None]) -> None:
        """Run ``calls`` and put each one's result at its place in ``results``.

        Results land as they come, so that what is there after a cancellation is true.
        """
        self._began = time.monotonic()
        place = 0
        while place < len(calls):
            refusal = self._refusal(place)
            if refusal is not None:
                results[place] = _refused(calls[place], *refusal)
                place += 1
                continue
            end = self._batch_end(calls, place)
            if end - place == 1:
                await self._one(calls, place, results)
            else:
                async with asyncio.TaskGroup() as group:
                    for one in range(place, end):
                        group.create_task(self._one(calls, one, results))
            place = end

    def _batch_end(self, calls: Sequence[ToolCall], place: int) -> int:
        """The end of the longest run of read-only calls from ``place`` that the limits allow."""
        end = place + 1
        if not self._toolbox.is_read_only(calls[place].name):
            return end
        most = min(
            len(calls),
            self._limits.max_calls_per_turn,
            place + self._limits.max_tool_calls - self.used,
        )
        while end < most and self._toolbox.is_read_only(calls[end].name):
            end += 1
        return end

    def _refusal(self, place: int) -> tuple[str, str] | None:
        """Why the call at ``place`` is not run: an error code and a text."""
        if self.infra is not None:
            return "infra", "Not run: the sandbox failed."
        if self.context.state.finished is not None:
            return "finished", "Not run: the episode was finished by an earlier call of this turn."
        if place >= self._limits.max_calls_per_turn:
            return "too_many_calls", (
                f"Not run: at most {self._limits.max_calls_per_turn} calls a turn. "
                "Send it again in your next turn."
            )
        if self._remaining() <= 0:
            return "wall_time", "Not run: the episode's time is up."
        if self.used >= self._limits.max_tool_calls:
            return "call_limit", (
                f"Not run: the episode's {self._limits.max_tool_calls} tool calls are used up."
            )
        return None

    async def _one(
        self, calls: Sequence[ToolCall], place: int, results: list[ToolResult | None]
    ) -> None:
        call = calls[place]
        self.used += 1
        if self._on_event is not None:
            self._on_event(Event("call", call=call))
        began = time.monotonic()
        try:
            outcome = await self._toolbox.call(call.name, call.arguments, self.context)
        except InfraError as error:
            if self.infra is None:
                self.infra = error
            result = ToolResult(
                call_id=call.id,
                name=call.name,
                text="The sandbox failed; this is not your fault.",
                error="infra",
                seconds=time.monotonic() - began,
                began=began - self._began,
            )
        else:
            result = ToolResult(
                call_id=call.id,
                name=call.name,
                text=storable(outcome.text),
                error=outcome.error_code,
                data=dict(outcome.data),
                truncated=outcome.truncated,
                seconds=outcome.seconds,
                began=began - self._began,
                tool=outcome.tool,
                hint=storable(outcome.hint),
            )
        results[place] = result
        if self._on_event is not None:
            self._on_event(Event("result", call=call, result=result))


def interrupted(call: ToolCall, code: str) -> ToolResult:
    """The result of a call that was cut short or never begun."""
    reason = "the episode's time is up" if code == "wall_time" else "the episode was ended"
    return _refused(call, code, f"Not finished: {reason}.")


def not_run(call: ToolCall) -> ToolResult:
    """The result of a call that came where a summary was asked for."""
    return _refused(call, "summary_wanted", "Not run: the context is full.")


def _refused(call: ToolCall, code: str, text: str) -> ToolResult:
    return ToolResult(call_id=call.id, name=call.name, text=text, error=code)
