"""The agent that knows the answer: it applies the reference solution, through the tools.

Everything it does is a tool call, so that its trajectory is as true, and replays as well, as any
other. It is given every standard tool, whatever the task takes away (``Agent.all_tools``).
"""

from __future__ import annotations

import base64
import gzip
import io
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repodrome.envs.trajectory import AssistantTurn, ToolCall
from repodrome.errors import UsageError
from repodrome.harness.agents.base import AgentContext
from repodrome.tasks.folder import solution_kind
from repodrome.tasks.model import Task
from repodrome.tasks.source import Materialised

SOLUTION_DIR = "/tmp/solution"
"""Where ``solution/`` is unpacked in the sandbox for ``solve.sh``, which is run there."""

_Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SolutionFile:
    """A file of the reference solution.

    Attributes:
        path: relative to the workspace.
        replaces: the agent's tree has a file there.
    """

    path: str
    data: bytes
    executable: bool
    replaces: bool


class OracleAgent:
    """Applies, in this order of preference: ``solution/solve.sh``, ``solution/solution.patch``,
    the files of ``solution/workspace/``, or what the source's edits took away; then finishes, with
    ``solution/answer.md`` where that is there.

    Attributes:
        failure: how applying it failed; ``""`` while it has not.
    """

    name = "oracle"
    interactive = False
    all_tools = True

    def __init__(self) -> None:
        self.failure = ""
        self._turns: Iterator[AssistantTurn] | None = None

    async def act(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        context: AgentContext,
    ) -> AssistantTurn:
        """The next part of the solution.

        Raises:
            UsageError: the task has no solution.
        """
        from anyio import to_thread

        if context.summary_wanted:
            return AssistantTurn(content="The reference solution is being applied.")
        if self._turns is None:
            calls = await to_thread.run_sync(solution_calls, context.task, context.materialised)
            self._turns = _in_turns(calls, context.task.limits.max_calls_per_turn)
        self.failure = _failures(context)
        if self.failure:  # going on would only hide where it went wrong
            return AssistantTurn(content=f"The reference solution failed: {self.failure}")
        return next(self._turns, AssistantTurn(content=_answer(context.task)))


def _answer(task: Task) -> str:
    """What is said at the end."""
    if task.locate.gold:
        return "\n".join(task.locate.gold)
    file = task.folder / "solution" / "answer.md"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    return "Applied the reference solution."


def _failures(context: AgentContext) -> str:
    """What went wrong in the last step."""
    if context.last is None:
        return ""
    for result in context.last.results:
        if result.error:
            return f"{result.name}: {result.error}: {result.text[:500]}"
        if result.data.get("exit_code") not in (None, 0):
            return f"{result.name}: exit status {result.data['exit_code']}: {result.text[-500:]}"
    return ""


def _in_turns(calls: Sequence[_Call], most: int) -> Iterator[AssistantTurn]:
    for begin in range(0, len(calls), most):
        yield AssistantTurn(
            tool_calls=tuple(
                ToolCall(id=f"oracle-{begin + place}", name=name, arguments=arguments)
                for place, (name, arguments) in enumerate(calls[begin : begin + most])
            )
        )


def solution_calls(task: Task, materialised: Materialised) -> list[_Call]:
    """The tool calls that solve a task. Blocks while it reads files.

    Raises:
        UsageError: the task has no solution; the message says where to put one.
    """
    folder, kind = task.folder / "solution", solution_kind(task)
    if kind == "script":
        return _script_calls(task, folder)
    if kind == "patch":
        patch = (folder / "solution.patch").read_text(encoding="utf-8")
        return [("apply_patch", {"patch": patch})]
    if kind == "answer":
        return []
    # Edits never add files, so laying the originals back undoes all of them.
    answer = folder / "workspace" if kind == "files" else materialised.reference
    calls = file_calls(_files(answer, materialised.workspace), task)
    if not calls:
        raise UsageError(
            f"task {task.id} has no solution; derive its workspace with [[source.edits]], or add "
            "solution/solve.sh, solution/solution.patch, solution/workspace/ or solution/answer.md "
            f"to {task.folder}"
        )
    return calls


def _script_calls(task: Task, folder: Path) -> list[_Call]:
    entries = [
        (path.relative_to(folder).as_posix(), path.read_bytes(), _executable(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    ]
    run = f"bash {SOLUTION_DIR}/solve.sh"
    return [
        ("terminal", {"command": _unpack(entries, SOLUTION_DIR)}),
        ("terminal", {"command": run, "timeout": task.limits.command_timeout_sec}),
        ("terminal", {"command": f"rm -rf {SOLUTION_DIR}"}),
    ]


def file_calls(files: Iterable[SolutionFile], task: Task) -> list[_Call]:
    """Calls that write the files: with the file tools where those can, else unpacked at once."""
    texts: list[_Call] = []
    others: list[tuple[str, bytes, bool]] = []
    every: list[tuple[str, bytes, bool]] = []
    for file in files:
        every.append((file.path, file.data, file.executable))
        text = _as_text(file.data)
        if text is None or (file.executable and not file.replaces):
            others.append((file.path, file.data, file.executable))
            continue
        if file.replaces:
            texts.append(("read_file", {"path": file.path, "limit": 1}))
        texts.append(("write_file", {"path": file.path, "content": text}))
    if len(texts) > task.limits.max_tool_calls // 2:
        texts, others = [], every
    if others:
        texts.append(("terminal", {"command": _unpack(others, ".")}))
    return texts


def _as_text(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _executable(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IXUSR)


def _unpack(entries: Iterable[tuple[str, bytes, bool]], where: str) -> str:
    """A command that writes the files below ``where``; equal files give an equal command."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data, executable in entries:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755 if executable else 0o644
            archive.addfile(info, io.BytesIO(data))
    packed = base64.encodebytes(gzip.compress(buffer.getvalue(), mtime=0)).decode("ascii")
    return (
        f"mkdir -p {where} && base64 -d <<'END_OF_FILES' | "
        f"tar -xzf - --no-same-owner -C {where}\n{packed}END_OF_FILES"
    )


def _files(folder: Path, tree: Path) -> Iterator[SolutionFile]:
    """The files below ``folder``, to be laid over ``tree``."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            name = path.relative_to(folder).as_posix()
            yield SolutionFile(
                path=name,
                data=path.read_bytes(),
                executable=_executable(path),
                replaces=(tree / name).is_file(),
            )
