"""The async core: one episode awaited directly, forked in the middle, both ends scored.

python examples/async_episode.py
"""

from __future__ import annotations

import asyncio
from typing import Any

from repodrome import Episode

TASK = "builtin/steadfast-retry-delays"


def terminal(command: str) -> dict[str, Any]:
    """A turn that runs one command."""
    return {"tool_calls": [{"name": "terminal", "arguments": {"command": command}}]}


async def main() -> None:
    """Play, fork, and score."""
    async with await Episode.start(TASK, seed=0) as episode:
        print(f"ready after {episode.timings['start'] * 1000:.0f} ms")
        step = await episode.step(terminal("cd src && ls"))
        print(step.observation)

        # The fork has the same files, shell and messages, in a sandbox of its own.
        async with await episode.fork() as other:
            await other.step(terminal("rm -r steadfast"))
            gone = await other.step(terminal("pwd; ls"))
            print(f"fork:     {gone.observation!r}")
            kept = await episode.step(terminal("pwd; ls"))
            print(f"original: {kept.observation!r}")

            for name, each in (("fork", other), ("original", episode)):
                await each.step("That is all.")
                report = await each.score()
                print(f"{name}: {each.stop_reason}, total {report.total}")
                for part in report.rewards:
                    print(f"  {part.name}: {part.value} ({'; '.join(part.notes)})")


if __name__ == "__main__":
    asyncio.run(main())
