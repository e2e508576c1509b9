"""``finish``: the agent says that it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from repodrome.tools.base import Arguments, ToolContext, ToolOutput


class FinishArguments(Arguments):
    """Arguments of ``finish``."""

    message: str = Field(
        description="What was done, for the person who asked: short, true, with what is left open."
    )


@dataclass(frozen=True, slots=True)
class Finish:
    """Ends the episode with a final message."""

    name: str = "finish"
    description: str = (
        "Say that the work is done, with a final message. Nothing can be done after it, so call it "
        "alone and last."
    )
    arguments: ClassVar[type[Arguments]] = FinishArguments
    read_only: ClassVar[bool] = False

    async def run(self, arguments: FinishArguments, context: ToolContext) -> ToolOutput:
        """Keep the final message in the episode's state."""
        context.state.finished = arguments.message
        return ToolOutput("[finished]", data={"message": arguments.message})
