"""``repodrome/Locate-v0``: find the files and line ranges that answer a question."""

from __future__ import annotations

from repodrome.envs.gym_env import RepoEnv
from repodrome.envs.member import TaskChooser
from repodrome.envs.vector import RepoVectorEnv
from repodrome.errors import UsageError
from repodrome.tasks.model import Task

SUITE = "locate"
"""What is played where neither a task nor a suite is given."""


class LocateChooser(TaskChooser):
    """Chooses among tasks that ask for places; see :class:`TaskChooser`."""

    def __init__(self, task: Task | str | None, suite: str | None) -> None:
        super().__init__(task, SUITE if task is None and suite is None else suite)

    def choose(self, seed: int, wanted: Task | str | None = None) -> Task:
        """As there.

        Raises:
            UsageError: as there; or the task asks for no places.
        """
        task = super().choose(seed, wanted)
        if not task.locate.gold:
            raise UsageError(
                f"task {task.id} has no [locate] gold, so there is nothing to find; play it with "
                "repodrome/Repo-v0"
            )
        return task


class LocateEnv(RepoEnv):
    """A question about a repository, answered with files and lines.

    Tools only read; a turn has at most 8 calls, which run side by side, and an episode 4 turns, the
    answer included (a task's ``[limits]`` may say otherwise). The answer is a turn of plain text
    with a location a line, ``path:first-last``; its reward is the mean of F_0.5 over files and
    over lines, see :class:`~repodrome.envs.rewards.retrieval.RetrievalReward`.

    All else is as in :class:`~repodrome.envs.gym_env.RepoEnv`, arguments included; without a task
    or suite the suite ``locate`` is played.
    """

    chooser = LocateChooser


class LocateVectorEnv(RepoVectorEnv):
    """Many of :class:`LocateEnv` at once."""

    chooser = LocateChooser
