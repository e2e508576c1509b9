"""The context budget: when the agent is asked to summarise, and what its next context holds.

::

    0 ──────────── the context ────────────► limit ──── request ──── summary ──► budget

A turn's results are cut so that the context stays below ``limit``; once it is reached the agent is
asked to summarise, and the request and its summary still fit into the budget. Only what the agent
itself writes (and the simulated user) can go past it. The next context is the system message and
the task, followed by what the user said since, the state of the work, and the summary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from repodrome.envs.prompt import summary_refused, summary_request
from repodrome.envs.tokens import MESSAGE_TOKENS, MessageCounter, Tokenizer, clip, get_tokenizer
from repodrome.envs.trajectory import ToolResult
from repodrome.errors import UsageError
from repodrome.tasks.model import ContextSpec

if TYPE_CHECKING:
    from repodrome.tools.toolbox import Toolbox

MAX_REQUESTS = 2
"""How often the agent is asked for one summary; then it goes on without one."""

SUMMARY_SHARE = 8
"""By default an eighth of the budget is kept for a summary."""

_NOTICE = "\n[… cut: the context is full. Once you have summarised, look at the rest again.]"
_FIXED_TOKENS = 100
"""The words between the parts of a handover."""


def budget_for(
    spec: ContextSpec,
    toolbox: Toolbox,
    initial: Sequence[Mapping[str, Any]],
    tokens: int | None = None,
    tokenizer: Tokenizer | str | None = None,
) -> ContextBudget:
    """A task's budget, or the caller's own in its place.

    Args:
        initial: the first messages.
        tokens: the caller's budget; None: the task's.
        tokenizer: the caller's tokenizer; None: the task's.

    Raises:
        UsageError: it leaves no room to work in, or there is no such tokenizer.
    """
    if tokens is not None:
        if tokens < 0:
            raise UsageError(f"the context budget is {tokens}; give a number of tokens, or 0")
        spec = spec.model_copy(update={"budget": tokens})
    counts = get_tokenizer(spec.tokenizer if tokenizer is None else tokenizer)
    return ContextBudget.of(spec, MessageCounter(counts), _schema_tokens(toolbox, counts), initial)


@lru_cache(maxsize=256)
def _schema_tokens(toolbox: Toolbox, tokenizer: Tokenizer) -> int:
    """Remembered: toolboxes are shared by episodes, and to count one takes a while."""
    return MessageCounter(tokenizer).schemas(toolbox.schemas())


@dataclass(frozen=True, slots=True)
class ContextBudget:
    """The arithmetic of one episode's context.

    Attributes:
        tokens: the most that a context is to hold, tool schemas included; 0: no bound.
        summary: tokens kept for a summary; as many for what is told beside it.
        schemas: tokens that the tool schemas take of each context.
        counter: counts.
    """

    tokens: int
    summary: int
    schemas: int
    counter: MessageCounter

    @classmethod
    def of(
        cls,
        spec: ContextSpec,
        counter: MessageCounter,
        schemas: int,
        initial: Sequence[Mapping[str, Any]],
    ) -> ContextBudget:
        """The budget of a task.

        Args:
            schemas: tokens that the tool schemas take.
            initial: the first messages.

        Raises:
            UsageError: the budget leaves no room to work in; says how much is needed.
        """
        budget = cls(spec.budget, spec.summary or spec.budget // SUMMARY_SHARE, schemas, counter)
        if not spec.budget:
            return budget
        opening = schemas + counter.messages(initial)
        fixed = opening + budget._asking() + _FIXED_TOKENS
        # Kept for the summary that opened the context, for what is told beside it, for the next
        # summary; and one share at the least to work in.
        least = fixed + 4 * spec.summary if spec.summary else 2 * fixed
        if spec.budget < least:
            raise UsageError(
                f"the context budget of {spec.budget} tokens is too small: prompt and tool schemas "
                f"take {opening}; give at least {least}, or fewer tools"
            )
        return budget

    def _asking(self) -> int:
        return 2 * MESSAGE_TOKENS + self.counter.text(self.request(1))

    @property
    def limit(self) -> int:
        """The tokens from which on the agent is asked to summarise."""
        return self.tokens - self.summary - self._asking()

    def reached(self, used: int) -> bool:
        """Whether a context of so many tokens is full."""
        return self.tokens > 0 and used >= self.limit

    def request(self, asked: int) -> str:
        """The ``asked``-th request for a summary, from 1."""
        return summary_request(self.summary) if asked == 1 else summary_refused(self.summary)

    def fit(self, results: Sequence[ToolResult | None], used: int) -> list[ToolResult | None]:
        """The results of a turn, cut to what the context has room for, in order.

        Args:
            used: tokens of the context, the agent's turn included.
        """
        if not self.tokens:
            return list(results)
        room = self.limit - used
        fitted: list[ToolResult | None] = []
        for result in results:
            if result is not None:
                result = self._fitted(result, room)
                room -= MESSAGE_TOKENS + self.counter.text(result.text)
            fitted.append(result)
        return fitted

    def _fitted(self, result: ToolResult, room: int) -> ToolResult:
        size = self.counter.text(result.text)
        if size + MESSAGE_TOKENS <= room:
            return result
        kept = max(0, room - MESSAGE_TOKENS - self.counter.text(_NOTICE))
        text = clip(result.text, kept, self.counter.text)
        cut = len(result.text) - len(text)
        if cut <= len(_NOTICE):  # the notice would be longer than what it stands for
            return result
        return result.model_copy(
            update={
                "text": text + _NOTICE,
                "truncated": True,
                "data": {**result.data, "context_cut": cut},
            }
        )

    def opening(
        self,
        initial: Sequence[Mapping[str, Any]],
        summary: str,
        state: str,
        user: Sequence[str],
    ) -> list[dict[str, Any]]:
        """The messages of the next context: each part cut to its share.

        Args:
            initial: the first context's messages: system and task.
            summary: the agent's own; ``""``: it gave none.
            state: of the work, as :func:`repodrome.envs.handover.state_text` gives it.
            user: what the user said after the task, in order.
        """
        parts = [str(initial[-1]["content"])]
        if user:
            said = "\n\n".join(user)
            parts.append(f"Since then the user said:\n\n{self._cut(said, self.summary // 2)}")
        parts.append(self._cut(state, self.summary // 2))
        if summary:
            parts.append(f"Your own summary of the work so far:\n\n{self.carried(summary)}")
        else:
            parts.append("You gave no summary of the work so far: look at what is there.")
        task = {**initial[-1], "content": "\n\n".join(parts)}
        return [*(dict(message) for message in initial[:-1]), task]

    def carried(self, summary: str) -> str:
        """A summary as the next context holds it."""
        return self._cut(summary.strip(), self.summary)

    def _cut(self, text: str, room: int) -> str:
        mark = "\n[… cut]"
        if self.counter.text(text) <= room:
            return text
        return clip(text, max(0, room - self.counter.text(mark)), self.counter.text) + mark
