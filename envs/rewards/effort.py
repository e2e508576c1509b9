"""``effort``: the same result with less work is worth more."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.bounds import check, clamp
from repodrome.envs.trajectory import ToolCall, Trajectory
from repodrome.errors import UnknownNameError

WEIGHTS: Mapping[str, float] = {
    "thinking_tokens": 0.001,
    "call_tokens": 0.001,
    "output_tokens": 0.0002,
    "final_tokens": 0.001,
    "calls": 0.1,
    "turns": 0.2,
}
"""What x is the weighted sum of. The defaults make a turn as dear as 200 tokens written."""
BYTES_PER_TOKEN = 4
"""Where the model reported no count."""


@dataclass(frozen=True, slots=True)
class EffortReward:
    """How little effort the episode took; range [0, 1], and only for an episode that succeeded.

    With ``C(x) = ((1 + kx)^(1-q) - 1) / (k(1-q))``, and ``ln(1 + kx) / k`` for q = 1:
    ``value = max(0, 1 - C(x) / C(ceiling))``. C is increasing and concave: a further turn costs an
    easy task more than one that needs many anyway. x is the weighted sum (:data:`WEIGHTS`) of the
    tokens of thinking, tool calls, tool output and final message, of tool calls and of turns. A
    cost for failed episodes as well would pay for giving up; this is a bonus, and gated.

    Thinking is ``usage["reasoning_tokens"]`` where the model reported it, else what it reasoned,
    besides the text of turns that are not the last; other counts are estimated at 4 bytes a token,
    so that they don't depend on a tokenizer.

    Source: Cursor, "Composer 2 Technical Report", arXiv 2603.24477, §4.2.

    Attributes:
        k: how soon the cost bends.
        q: how much: 0 is linear, more is flatter.
        ceiling: the x at which nothing is left.
        weights: part of x → weight, where it is to differ.
    """

    name: ClassVar[str] = "effort"
    auxiliary: ClassVar[bool] = True

    k: float = 0.1
    q: float = 1.0
    ceiling: float = 100.0
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check("k", self.k, above=0)
        check("q", self.q, least=0)
        check("ceiling", self.ceiling, above=0)
        if not isinstance(self.weights, Mapping):
            raise ValueError(f"weights is {self.weights!r}; give a table, e.g. {{turns = 0.5}}")
        for part, value in self.weights.items():
            if part not in WEIGHTS:
                raise ValueError(f"weights: {UnknownNameError('part', part, WEIGHTS)}")
            check(f"weights.{part}", value, least=0)
        if not 0 < self.cost(self.ceiling) < math.inf:
            raise ValueError("k, q and ceiling give no finite cost; choose smaller ones")

    def cost(self, x: float) -> float:
        """C(x)."""
        if abs(self.q - 1.0) < 1e-9:
            return math.log1p(self.k * x) / self.k
        try:
            return float(((1 + self.k * x) ** (1 - self.q) - 1) / (self.k * (1 - self.q)))
        except OverflowError:
            return math.inf

    def __call__(self, context: RewardContext) -> RewardResult:
        """Score the episode."""
        parts = effort_of(context.trajectory)
        x = math.fsum(self.weights.get(name, WEIGHTS[name]) * parts[name] for name in WEIGHTS)
        share = self.cost(min(x, self.ceiling)) / self.cost(self.ceiling)
        return RewardResult(value=clamp(1.0 - share, 0.0, 1.0), parts={**parts, "x": x})


def effort_of(trajectory: Trajectory) -> dict[str, float]:
    """The parts of x, before their weights."""
    steps = trajectory.steps
    plain_end = bool(steps) and not steps[-1].turn.tool_calls and not steps[-1].turn.malformed
    thinking = written = output = calls = 0
    for place, step in enumerate(steps):
        turn = step.turn
        thinking += max(0, turn.usage.get("reasoning_tokens", 0)) or tokens(turn.reasoning)
        if not (plain_end and place == len(steps) - 1):
            thinking += tokens(turn.content)
        calls += len(turn.tool_calls)
        finishing = {r.call_id for r in step.results if (r.tool or r.name) == "finish"}
        written += sum(_call_tokens(call) for call in turn.tool_calls if call.id not in finishing)
        output += sum(tokens(result.text) for result in step.results)
    return {
        "thinking_tokens": float(thinking),
        "call_tokens": float(written),
        "output_tokens": float(output),
        "final_tokens": float(tokens(trajectory.final_message)),
        "calls": float(calls),
        "turns": float(len(steps)),
    }


def _call_tokens(call: ToolCall) -> int:
    arguments = call.arguments
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return tokens(call.name) + tokens(arguments)


def tokens(text: str) -> int:
    """A count of tokens by bytes, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)
