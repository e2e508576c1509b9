"""Episodes for TRL: what ``GRPOTrainer(environment_factory=…)`` takes, as of TRL 1.16.

TRL makes environments without arguments, calls ``reset(**row)`` before each rollout, gives the
model every public method of the class as a tool, by its type hints and Google docstring, and asks
for ``get_reward()`` at the end; None is a rollout that it leaves out.
https://huggingface.co/docs/trl/openenv

Nothing of TRL, transformers or torch is imported here.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Literal

from repodrome.envs.gym_env import RepoEnv
from repodrome.envs.prompt import initial_messages
from repodrome.envs.runtime import runtime
from repodrome.envs.toolsets import toolbox_for
from repodrome.errors import InfraError, UsageError
from repodrome.tasks.model import Task
from repodrome.tasks.suites import resolve_task
from repodrome.tools.toolbox import Toolbox

if TYPE_CHECKING:
    from repodrome.envs.rewards.report import RewardLike

_LOST = "The sandbox failed; this is not your fault. Nothing can be run any more."
_OURS = frozenset({"reset", "get_reward"})
_TYPES: Mapping[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool}


@dataclass(frozen=True)
class EnvironmentFactory:
    """Makes the environments of a :class:`trl.GRPOTrainer`; can be pickled.

    All tasks that its environments play have to show the same tools, since TRL takes them from the
    class. For several toolsets give the trainer a dict of factories.

    Attributes:
        tools_of: a task, or a reference to one, that has the tools; None: the standard tools.
        sandbox: the backend's name.
        rewards: the reward terms; default: each task's own.
        rules: a rules file that changes them.
    """

    tools_of: Task | str | None = None
    sandbox: str = "bubblewrap"
    rewards: Sequence[RewardLike] | None = None
    rules: str | Path | None = None

    def __call__(self) -> Rollout:
        """A fresh environment; it starts nothing before its first ``reset``.

        Raises:
            UsageError: an unknown task, or one whose tools TRL can't have.
        """
        if self.tools_of is None:
            schemas = Toolbox.build().schemas()
        else:
            schemas = toolbox_for(_playable(self.tools_of), 0).schemas()
        return _class_of(json.dumps(schemas))(
            RepoEnv(sandbox=self.sandbox, rewards=self.rewards, rules=self.rules, context_budget=0)
        )


def rows(tasks: Iterable[Task | str], seeds: Sequence[int] = (0,)) -> list[dict[str, Any]]:
    """Rows of a dataset, one for each task and seed: ``prompt``, ``task`` and ``seed``.

    Args:
        tasks: tasks by reference, or with a folder of their own.
        seeds: of the episodes; the rollouts of a group share theirs.

    Raises:
        UsageError: an unknown task, or one that can't be played with TRL.
    """
    found = []
    for one in tasks:
        task = _playable(one)
        reference = one if isinstance(one, str) else str(task.folder)
        found += [{"prompt": _prompt(task), "task": reference, "seed": seed} for seed in seeds]
    return found


class Rollout:
    """One environment, for rollout after rollout. Its class gets a method for each tool.

    The calls that TRL starts together are one turn; there is no text beside them, since TRL keeps
    that to itself. Only ``finish`` carries a message.

    Args:
        env: plays the episodes.
    """

    _schemas: list[dict[str, Any]]

    def __init__(self, env: RepoEnv) -> None:
        self._env = env
        self._playing = threading.Lock()
        self._next: _Turn | None = None
        self._over = "There is no episode yet."
        self._reward: float | None = None

    def reset(self, task: str = "", seed: int = 0, prompt: Any = None, **row: Any) -> str | None:
        """Start an episode.

        Args:
            task: a reference to it.
            seed: of the episode.
            prompt: what the model reads first.
            row: the other columns, which don't matter.

        Returns:
            None where the prompt has the task's text already, else that text.

        Raises:
            UsageError: no such task, or one that can't be played with this class.
        """
        if not task:
            raise UsageError("a row has no 'task'; make the dataset with repodrome's rows()")
        chosen = _playable(task)
        if toolbox_for(chosen, seed).schemas() != self._schemas:
            raise UsageError(
                f"task {chosen.id} has other tools than this environment; give the trainer "
                f"EnvironmentFactory(tools_of={task!r}) for it"
            )
        self._next, self._over, self._reward = None, "", None
        try:
            self._env.reset(seed=seed, options={"task": chosen})
        except InfraError:
            self._over = _LOST  # without a reward, TRL leaves the rollout out
        messages = _prompt(chosen)
        if messages[-1]["content"] in _text_of(prompt):
            return None
        return "\n\n".join(message["content"] for message in messages)

    def get_reward(self) -> float | None:
        """The episode's reward; None where the machine failed, or there was no episode."""
        with self._playing:
            episode = self._env.episode
            if not self._over and episode is not None:
                report = runtime().run(episode.score())
                self._reward = report.total
                self._over = "The episode is over."
            self._env.close()  # nobody plays in it before the next reset
            return self._reward

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """One call: played with those that come in the same moment."""
        turn = self._next
        if turn is None:
            turn = self._next = _Turn()
        place = len(turn.calls)
        turn.calls.append({"name": name, "arguments": dict(arguments)})
        if turn.answers is None:
            # Runs only when the calls that were started together are all there.
            turn.answers = asyncio.ensure_future(self._play(turn))
        return (await asyncio.shield(turn.answers))[place]

    async def _play(self, turn: _Turn) -> list[str]:
        self._next = None
        return await asyncio.to_thread(self._step, turn.calls)

    def _step(self, calls: list[dict[str, Any]]) -> list[str]:
        """What comes back for each call of a turn."""
        with self._playing:
            if self._over:
                return [self._over] * len(calls)
            observation, reward, terminated, truncated, info = self._env.step(
                {"content": "", "tool_calls": calls}
            )
            assert self._env.episode is not None
            results = self._env.episode.steps[-1].results
            texts = [result.text for result in results] or [observation] * len(calls)
            if terminated or truncated:
                self._over = f"The episode is over: {info['stop_reason']}."
                self._reward = reward if info["mask"] else None
                texts[-1] += "" if terminated else f"\n\n{self._over}"
            return texts


@dataclass
class _Turn:
    """The calls that were started together, and what comes back for them."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    answers: asyncio.Future[list[str]] | None = None


def _playable(given: Task | str) -> Task:
    """The task, if TRL can play it.

    Raises:
        UsageError: it can't; the reason is named.
    """
    task = resolve_task(given) if isinstance(given, str) else given
    problem = ""
    if task.tools.perturb:
        problem = "draws its tools' names anew for each seed; TRL takes them from a class"
    elif task.user.present:
        problem = "has a user, who can't answer: TRL keeps what the model says in plain text"
    elif toolbox_for(task, 0).name_of("finish") is None:
        problem = "has no tool 'finish'; TRL keeps what the model says in plain text"
    if problem:
        raise UsageError(f"task {task.id} can't be played with TRL's environments: it {problem}")
    return task


def _prompt(task: Task) -> list[dict[str, Any]]:
    return initial_messages(task, toolbox_for(task, 0).name_of("finish"))


def _text_of(prompt: Any) -> str:
    """All text of a row's prompt: itself, or its messages' in any form."""
    return prompt if isinstance(prompt, str) else "".join(_texts(prompt))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(value.get("content", value.get("text")))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


@lru_cache(maxsize=64)
def _class_of(tools: str) -> type[Rollout]:
    """The class for tool schemas as JSON; one for equal ones, since TRL looks at the class."""
    schemas = json.loads(tools)
    methods: dict[str, Any] = {"_schemas": schemas, "__doc__": Rollout.__doc__}
    for schema in schemas:
        name = schema["function"]["name"]
        if name in _OURS or name.startswith("_"):
            raise UsageError(f"TRL takes {name!r} for no tool; rename it in the task's [tools]")
        methods[name] = _method(schema["function"])
    return type("Repodrome", (Rollout,), methods)


def _method(function: Mapping[str, Any]) -> Any:
    """A method that transformers makes the tool's schema of again."""
    name = function["name"]

    async def call(self: Rollout, **arguments: Any) -> str:
        return await self._call(name, arguments)

    properties, required = function["parameters"]["properties"], function["parameters"]["required"]
    hints = {key: _hint(value) for key, value in properties.items()}
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    parameters += [
        inspect.Parameter(
            key,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[key],
            default=inspect.Parameter.empty if key in required else value.get("default"),
        )
        for key, value in properties.items()
    ]
    call.__name__ = call.__qualname__ = name
    call.__doc__ = _docstring(function["description"], properties)
    call.__annotations__ = {**hints, "return": str}
    call.__signature__ = inspect.Signature(parameters, return_annotation=str)  # type: ignore[attr-defined]
    return call


def _hint(schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    if schema["type"] == "array":
        return GenericAlias(list, (_TYPES[schema["items"]["type"]],))
    return _TYPES[schema["type"]]


def _docstring(description: str, properties: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [" ".join(description.split()), ""]
    if properties:
        lines += ["Args:"]
        for key, schema in properties.items():
            said = " ".join(str(schema.get("description") or key).split())
            if schema.get("default") not in (None, ""):
                said += f" Default: {json.dumps(schema['default'])}."
            lines.append(f"    {key}: {said}")
        lines.append("")
    return "\n".join([*lines, "Returns:", "    What came of it."])
