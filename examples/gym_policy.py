"""A policy loop on the Gymnasium environment.

python examples/gym_policy.py [TASK]

The policy looks around at random and then gives up, so it earns 0; put a model in its place.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import gymnasium as gym


def policy(info: dict[str, Any], turn: int, draw: random.Random) -> dict[str, Any]:
    """One agent turn. A model would be given ``info["messages"]`` and ``info["tools"]``."""
    if turn == 4:
        return {"content": "I looked around and changed nothing."}
    call = draw.choice(
        [
            {"name": "list_dir", "arguments": {"path": "."}},
            {"name": "glob", "arguments": {"pattern": "**/*.py"}},
            {"name": "grep", "arguments": {"pattern": "def ", "output_mode": "count"}},
            {"name": "terminal", "arguments": {"command": "git log --oneline | head -3"}},
        ]
    )
    return {"content": "", "tool_calls": [call]}


def main() -> None:
    """Play one episode and print it."""
    task = sys.argv[1] if len(sys.argv) > 1 else "builtin/steadfast-retry-delays"
    env = gym.make(
        "repodrome:repodrome/Repo-v0", task=task, sandbox="bubblewrap", render_mode="ansi"
    )
    draw = random.Random(0)
    _, info = env.reset(seed=0)
    print(env.render())
    for turn in range(100):
        _, reward, terminated, truncated, info = env.step(policy(info, turn, draw))
        print(env.render())
        if terminated or truncated:
            break
    # A machine's failure says nothing about the policy: such an episode carries mask 0.0.
    print(f"reward {reward}, {info['stop_reason']}, mask {info['mask']}")
    env.close()


if __name__ == "__main__":
    main()
