"""The tools of an episode, from its task: made once, shared by all episodes that agree on them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from repodrome.tasks.model import Task, ToolsSpec

if TYPE_CHECKING:
    from repodrome.tools.toolbox import Toolbox


def toolbox_for(task: Task, seed: int) -> Toolbox:
    """The tools of an episode, as its agent sees them.

    Raises:
        UsageError: the task names a tool, parameter or setting that isn't there.
    """
    spec = task.tools.model_dump_json()
    return _perturbed(spec, f"{seed} {task.id}") if task.tools.perturb else _toolbox(spec)


@lru_cache(maxsize=256)
def _perturbed(spec: str, key: str) -> Toolbox:
    """What members of a group share."""
    return _toolbox(spec).perturbed(ToolsSpec.model_validate_json(spec).perturb, key)


@lru_cache(maxsize=256)
def _toolbox(spec: str) -> Toolbox:
    """The toolbox of a ``ToolsSpec`` given as JSON; it holds no state, so episodes share it."""
    from repodrome.tools.presentation import Presentation
    from repodrome.tools.toolbox import Toolbox

    tools = ToolsSpec.model_validate_json(spec)
    presentation = Presentation(
        rename=tools.rename, describe=tools.describe, checks=tools.checks, hints=tools.hints
    )
    return Toolbox.build(
        tools.include,
        tools.exclude,
        tools.config,
        read_only=tools.read_only,
        presentation=presentation,
    )
