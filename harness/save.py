"""Trajectory files of episodes that a trainer plays, over Gymnasium or by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from repodrome.envs.episode import Episode
from repodrome.envs.rewards.report import as_spec
from repodrome.errors import UsageError
from repodrome.harness.rollout import file_name, reference
from repodrome.harness.trajectory import (
    End,
    Header,
    TrajectoryWriter,
    scored_to_json,
    task_hash,
    task_to_json,
)
from repodrome.version import __version__


def save_episode(episode: Episode, directory: Path | str, *, agent: str = "policy") -> Path:
    """Write an episode that is over as ``repodrome run`` would have, for ``rescore``, ``stats`` and
    ``replay``.

    Args:
        episode: scored, where its score is to be stored too; it may be closed.
        directory: where the file goes; made if need be.
        agent: who played it, for the header and the file's name.

    Returns:
        The file.

    Raises:
        UsageError: the episode goes on, or the file can't be written.
    """
    if episode.stop_reason is None:
        raise UsageError("the episode goes on; save it when it is over")
    given = episode.given_rewards
    task = episode.task
    if given is not None:  # objects can't be stored, but what they gave is in the report
        specs = tuple(spec for one in given if (spec := as_spec(one)) is not None)
        task = task.model_copy(update={"rewards": specs})
    header = Header(
        task_id=task.id,
        task=task_to_json(task),
        task_ref=reference(task),
        task_hash=task_hash(task),
        seed=episode.seed,
        agent=agent,
        sandbox=episode.backend.name,
        renamed=episode.trajectory.renamed,
        context_budget=episode.context_budget or None,
        repodrome=__version__,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with TrajectoryWriter(Path(directory) / file_name(header), header) as writer:
        openings = list(episode.trajectory.openings)
        for step in episode.steps:
            while openings and openings[0].first_step <= step.index:
                writer.segment(openings.pop(0))
            writer.step(step)
        for opening in openings:
            writer.segment(opening)
        writer.end(
            End(
                stop_reason=episode.stop_reason,
                terminated=episode.terminated,
                truncated=episode.truncated,
                final_message=episode.trajectory.final_message,
                infra_error=episode.infra_error,
                report=episode.report,
                timings=dict(episode.timings),
                **scored_to_json(episode.change, episode.scored),
            )
        )
        return writer.path
