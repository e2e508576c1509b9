"""Rewards by name: ours, third parties' from the entry-point group ``repodrome.reward``, and those
of a file beside the task: ``rewards.py:MyReward``.

A file is the task author's own code and runs on the host, in this process, with your rights: play
only tasks whose folder you trust. It is read from the task folder (for a rules file, from beside
that), never from the agent's workspace.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repodrome.envs.rewards.base import Reward
from repodrome.errors import UnknownNameError, UsageError
from repodrome.plugins import load_part
from repodrome.tasks.model import RewardSpec

GROUP = "repodrome.reward"
_HERE = "repodrome.envs.rewards"
_BUILTIN = {
    "answer": f"{_HERE}.answer:AnswerReward",
    "retrieval": f"{_HERE}.retrieval:RetrievalReward",
    "tests": f"{_HERE}.tests:TestsReward",
    "style.lint": f"{_HERE}.style.lint:LintReward",
    "style.format": f"{_HERE}.style.format:FormatReward",
    "style.diff": f"{_HERE}.style.diff:DiffReward",
    "style.complexity": f"{_HERE}.style.complexity:ComplexityReward",
    "style.comments": f"{_HERE}.style.comments:CommentsReward",
    "misuse": f"{_HERE}.misuse:MisuseReward",
    "effort": f"{_HERE}.effort:EffortReward",
    "communication": f"{_HERE}.communication:CommunicationReward",
    "communication.judge": f"{_HERE}.judge:JudgeReward",
    "integrity": f"{_HERE}.integrity:IntegrityReward",
}
"""Name → where the class is; imported when first asked for."""
_IN_FILE = re.compile(r"([^:]+\.py):([A-Za-z_]\w*)")


def make_reward(spec: RewardSpec, *, folder: Path | None = None) -> Reward:
    """Make a task's reward with its parameters.

    Args:
        spec: name and parameters.
        folder: where ``file.py:Name`` is looked for: the task's folder.

    Raises:
        UnknownNameError: no reward has that name.
        UsageError: a parameter is unknown or its value is refused; the message names the fix.
    """
    factory = _factory(spec.name, folder)
    parameters = inspect.signature(factory).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [p for p in spec.params if p not in parameters and not anything]
    if unknown:
        near = UnknownNameError("parameter", unknown[0], list(parameters))
        raise UsageError(f"reward {spec.name!r}: {near}")
    try:
        reward = factory(**spec.params)
    except (TypeError, ValueError) as error:
        raise UsageError(f"reward {spec.name!r} refuses its parameters: {error}") from error
    return checked(reward, spec.name)


def checked(reward: object, name: str) -> Reward:
    """The same, when it is a reward.

    Raises:
        UsageError: it is none.
    """
    if isinstance(reward, type) or not isinstance(reward, Reward):
        raise UsageError(f"reward {name!r} is no reward: it needs 'name', 'auxiliary' and __call__")
    return reward


def _factory(name: str, folder: Path | None) -> Callable[..., object]:
    in_file = _IN_FILE.fullmatch(name)
    if in_file is None:
        found: Callable[..., object] = load_part("reward", name, GROUP, _BUILTIN)
        return found
    if folder is None:
        raise UsageError(f"reward {name!r} names a file, but there is no folder to look in")
    module = _module(folder, in_file[1])
    try:
        made: Callable[..., object] = getattr(module, in_file[2])
    except AttributeError:
        names = [n for n in vars(module) if not n.startswith("_")]
        raise UsageError(
            f"{folder / in_file[1]}: {UnknownNameError('reward', in_file[2], names)}"
        ) from None
    return made


def _module(folder: Path, name: str) -> Any:
    """A file of the folder as a module; loaded once for each content."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise UsageError(f"there is no {name} in {folder}; write it there, or correct the name")
    digest = hashlib.sha256(str(path).encode() + b"\0" + path.read_bytes()).hexdigest()[:16]
    key = f"_repodrome_reward_{digest}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up while they are made.
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[key]
        raise UsageError(
            f"{path} can't be imported: {type(error).__name__}: {error}; mend that file"
        ) from error
    return module
