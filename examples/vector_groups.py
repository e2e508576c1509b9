"""Many episodes at once without a barrier: groups of the same task and seed, for GRPO.

python examples/vector_groups.py [EPISODES]
"""

from __future__ import annotations

import random
import sys
import time
from collections import defaultdict
from typing import Any

import gymnasium as gym

GROUPS, GROUP_SIZE = 4, 4
COMMANDS = (
    "ls",
    "git status --short",
    "python3 -m pytest -q tests 2>&1 | tail -1",
    "cat README.md",
)


def turn(draw: random.Random, number: int) -> dict[str, Any]:
    """A stand-in for the model: a few commands, then the end."""
    if number >= draw.randint(1, 3):
        return {"content": "Done."}
    command = draw.choice(COMMANDS)
    return {"tool_calls": [{"name": "terminal", "arguments": {"command": command}}]}


def main() -> None:
    """Play some episodes and print each group's rewards."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    envs = gym.make_vec(
        "repodrome:repodrome/Repo-v0",
        num_envs=GROUPS * GROUP_SIZE,
        task="builtin/steadfast-retry-delays",
        group_size=GROUP_SIZE,
    ).unwrapped
    draw = random.Random(0)
    _, infos = envs.reset(seed=0)
    print(f"{envs.num_envs} members play {infos['task_id'][0]} in groups of {GROUP_SIZE}")

    began = time.monotonic()
    rewards: dict[int, list[float]] = defaultdict(list)
    numbers = [0] * envs.num_envs
    under_way = 0
    for member in range(envs.num_envs):
        envs.send(member, turn(draw, 0))
        under_way += 1
    played = 0
    while under_way:
        arrival = envs.recv()
        member = arrival.member
        under_way -= 1
        if arrival.terminated or arrival.truncated:
            played += 1
            if arrival.info["mask"]:  # an infra failure is left out, not counted as 0
                rewards[member // GROUP_SIZE].append(arrival.reward)
            numbers[member] = -1  # the next send starts this member's next episode
        if played + under_way < wanted or numbers[member] >= 0:
            numbers[member] += 1
            envs.send(member, turn(draw, max(0, numbers[member] - 1)))
            under_way += 1
    seconds = time.monotonic() - began
    for group, found in sorted(rewards.items()):
        print(f"group {group}: {len(found)} episodes, mean reward {sum(found) / len(found):.2f}")
    print(f"{played} graded episodes in {seconds:.1f} s")
    envs.close()


if __name__ == "__main__":
    main()
