"""The file of one episode: JSON lines, written as it goes, readable after a crash.

Line 1 is the header (``type: "header"``), then one line a step (``type: "step"``), one before the
first step of each context (``type: "segment"``), and at the end one line (``type: "end"``) with
the stop reason, the reward report, the agent's change, what the changed files were before and what
linters and judges said, so that rewards can be computed again later, to the bit. A line is handed
to the kernel in one write before the next
step starts: a process that dies loses at most the step it was in. Only the last line can be torn,
and the reader leaves it out and says so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import Field, ValidationError

from repodrome.envs.prompt import segments_of
from repodrome.envs.rewards.base import RewardContext, RewardReport
from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.envs.trajectory import (
    Frozen,
    Opening,
    Segment,
    Step,
    StopReason,
    Trajectory,
)
from repodrome.errors import UsageError
from repodrome.tasks.model import Task

SCHEMA_VERSION = 2
"""2: lines of type ``segment``, steps with ``said``, ``segment`` and ``tokens``; the task, and what
else :meth:`Recorded.context` needs."""


class Header(Frozen):
    """What is known before the first step.

    Attributes:
        schema_version: of the file's format.
        task_ref: what ``repodrome run`` was given: an id, or the absolute path of a folder.
        task_hash: of the task folder's contents (:func:`task_hash`).
        task: the task as it was played (:func:`task_to_json`), None in files of version 1.
        agent: the agent's name, with its argument.
        agent_config: what it was set up with beside that.
        all_tools: the agent had every standard tool, whatever the task takes away.
        renamed: what the agent knew by another name, as in :class:`~repodrome.envs.trajectory.
            Trajectory`.
        context_budget, tokenizer: given in place of the task's own; None: not given.
        repodrome: the version that wrote the file.
        started: ISO 8601, UTC.
    """

    schema_version: int = SCHEMA_VERSION
    task_id: str
    task_ref: str = ""
    task_hash: str = ""
    task: dict[str, Any] | None = None
    seed: int = 0
    agent: str = ""
    agent_config: dict[str, Any] = Field(default_factory=dict)
    sandbox: str = ""
    all_tools: bool = False
    renamed: dict[str, str] = Field(default_factory=dict)
    context_budget: int | None = None
    tokenizer: str | None = None
    repodrome: str = ""
    started: str = ""


class End(Frozen):
    """What is known once the episode is over.

    Attributes:
        report: None when the episode was never scored (interrupted).
        change: the agent's change as :func:`change_to_json` writes it, None when not exported.
        pristine: what the changed files held before, written likewise.
        reference_lines: the size of the reference solution, where known.
        evidence: what linters and judges said.
        timings: seconds, by phase.
    """

    stop_reason: StopReason | None = None
    terminated: bool = False
    truncated: bool = False
    final_message: str = ""
    infra_error: str = ""
    report: RewardReport | None = None
    change: list[dict[str, Any]] | None = None
    pristine: list[dict[str, Any]] | None = None
    reference_lines: int | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)
    timings: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One trajectory file, read back.

    Attributes:
        openings: how each context began; none in files of schema version 1.
        end: None when the writer died, or the episode is still running.
        torn: the last line was cut off and left out.
    """

    header: Header
    steps: tuple[Step, ...]
    openings: tuple[Opening, ...]
    end: End | None
    torn: bool

    @property
    def trajectory(self) -> Trajectory:
        """The record that rewards read."""
        end = self.end or End()
        return Trajectory(
            task_id=self.header.task_id,
            seed=self.header.seed,
            sandbox=self.header.sandbox,
            steps=self.steps,
            openings=self.openings,
            stop_reason=end.stop_reason,
            final_message=end.final_message,
            infra_error=end.infra_error,
            renamed=self.header.renamed,
        )

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Every context, each of which has the episode's reward; none in files of version 1."""
        return segments_of(self.openings, self.steps)

    @property
    def change(self) -> Change | None:
        """The agent's change, None when it was not exported."""
        if self.end is None or self.end.change is None:
            return None
        return change_from_json(self.end.change)

    def context(self, task: Task | None = None) -> RewardContext | None:
        """All that rewards look at; None where the episode was not graded.

        Args:
            task: for files that don't hold it (version 1).

        Raises:
            UsageError: the file doesn't hold the task, and none was given.
        """
        change = self.change
        if self.end is None or self.end.report is None or change is None:
            return None
        if self.end.report.verdict is None or self.end.report.infra_failed:
            return None
        if self.header.task is not None:
            task = Task.model_validate(self.header.task)
        if task is None:
            raise UsageError(
                f"the trajectory of {self.header.task_id} doesn't hold its task; it was written by "
                "an older version: play it again"
            )
        pristine = change_from_json(self.end.pristine or [])
        return RewardContext(
            task=task,
            trajectory=self.trajectory,
            change=change,
            verdict=self.end.report.verdict,
            pristine={file.path: file.data or b"" for file in pristine.files},
            reference_lines=self.end.reference_lines,
            evidence=self.end.evidence,
        )


def task_to_json(task: Task) -> dict[str, Any]:
    """A task as JSON, without the long lists of tests: the verdict holds those."""
    return task.model_dump(
        mode="json", exclude={"verifier": {"fail_to_pass", "pass_to_pass"}}, exclude_defaults=True
    )


def scored_to_json(change: Change | None, scored: RewardContext | None) -> dict[str, Any]:
    """The fields of an :class:`End` that hold what the rewards looked at."""
    fields: dict[str, Any] = {"change": None if change is None else change_to_json(change)}
    if scored is not None:
        fields["pristine"] = pristine_to_json(scored.pristine)
        fields["reference_lines"] = scored.reference_lines
        fields["evidence"] = dict(scored.evidence)
    return fields


def pristine_to_json(pristine: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Old contents, written as :func:`change_to_json` does."""
    files = (ChangedFile(path, "modified", data) for path, data in sorted(pristine.items()))
    return change_to_json(Change(tuple(files)))


def change_to_json(change: Change) -> list[dict[str, Any]]:
    """A change as JSON: ``text`` where a file is UTF-8, else ``base64``."""
    files: list[dict[str, Any]] = []
    for file in change.files:
        entry: dict[str, Any] = {"path": file.path, "kind": file.kind}
        if file.executable:
            entry["executable"] = True
        if file.note:
            entry["note"] = file.note
        if file.data is not None:
            try:
                entry["text"] = file.data.decode("utf-8")
            except UnicodeDecodeError:
                entry["base64"] = base64.b64encode(file.data).decode("ascii")
        files.append(entry)
    return files


def change_from_json(files: list[dict[str, Any]]) -> Change:
    """The inverse of :func:`change_to_json`."""
    out: list[ChangedFile] = []
    for entry in files:
        data: bytes | None = None
        if "text" in entry:
            data = entry["text"].encode("utf-8")
        elif "base64" in entry:
            data = base64.b64decode(entry["base64"])
        out.append(
            ChangedFile(
                path=entry["path"],
                kind=entry["kind"],
                data=data,
                executable=entry.get("executable", False),
                note=entry.get("note", ""),
            )
        )
    return Change(files=tuple(out))


def task_hash(task: Task) -> str:
    """SHA-256 over what defines a task on this machine: the regular files of its folder, and of its
    source directory where that lies elsewhere; byte-code left out."""
    roots = [task.folder]
    if task.source.directory:
        directory = (task.folder / task.source.directory).resolve()
        if not directory.is_relative_to(task.folder.resolve()):
            roots.append(directory)
    total = hashlib.sha256()
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file() or "__pycache__" in path.parts:
                continue
            name = os.fsencode(path.relative_to(root).as_posix())
            total.update(len(name).to_bytes(4, "big") + name)
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


class TrajectoryWriter:
    """Appends the lines of one episode to a new file.

    Raises:
        UsageError: the file exists, or can't be created; the fix is named.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except OSError as error:
            raise UsageError(
                f"can't write the trajectory {path}: {error.strerror}; give another --out DIR"
            ) from error
        self._closed = False
        self._write({"type": "header", **header.model_dump()})

    def step(self, step: Step) -> None:
        """Write one step."""
        self._write({"type": "step", **step.model_dump()})

    def segment(self, opening: Opening) -> None:
        """Write how a context begins."""
        self._write({"type": "segment", **opening.model_dump()})

    def end(self, end: End) -> None:
        """Write the last line and close."""
        self._write({"type": "end", **end.model_dump()})
        self.close()

    def close(self) -> None:
        """Close without a last line; idempotent."""
        if not self._closed:
            self._closed = True
            os.close(self._file)

    def discard(self) -> None:
        """Close, and remove the file: there is nothing worth keeping in it."""
        self.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, row: dict[str, Any]) -> None:
        # ASCII keeps lone surrogates (undecodable file names) readable as JSON.
        data = json.dumps(row, ensure_ascii=True, default=str).encode("ascii") + b"\n"
        while data:
            data = data[os.write(self._file, data) :]


def read_trajectory(path: Path) -> Recorded:
    """Read a trajectory file back; a torn last line is left out.

    Raises:
        UsageError: no such file, or not a trajectory; says which line is wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read the trajectory {path}: {error.strerror}") from error
    lines = data.split(b"\n")
    torn = lines.pop() != b""
    header: Header | None = None
    steps: list[Step] = []
    openings: list[Opening] = []
    end: End | None = None
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            kind = row.pop("type")
            if kind == "header":
                header = Header.model_validate(row)
            elif kind == "step":
                steps.append(Step.model_validate(row))
            elif kind == "segment":
                openings.append(Opening.model_validate(row))
            elif kind == "end":
                end = End.model_validate(row)
        except (ValueError, KeyError, AttributeError, TypeError, ValidationError) as error:
            raise UsageError(
                f"{path} line {number} is not a line of a trajectory ({type(error).__name__}); "
                "give a .jsonl file that `repodrome run` wrote"
            ) from error
        if header is None:
            raise UsageError(
                f"{path} has no header line; give a .jsonl file that `repodrome run` wrote"
            )
    if header is None:
        raise UsageError(f"{path} is empty or torn in its first line; nothing can be read from it")
    if header.schema_version > SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema version {header.schema_version}, this repodrome reads up to "
            f"{SCHEMA_VERSION}; upgrade repodrome"
        )
    return Recorded(header=header, steps=tuple(steps), openings=tuple(openings), end=end, torn=torn)
