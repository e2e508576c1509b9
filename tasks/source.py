"""Makes a task's source into the pristine layer that its episodes start from.

``materialise`` is slow once for each content (fetch, copy, git) and afterwards only looks the
result up by its key. Hidden tests in the task folder's ``tests/`` are part of no layer: grading
reads them from the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from repodrome.errors import TaskFormatError
from repodrome.tasks.edits import apply_edits
from repodrome.tasks.gitrepo import FILE_TIME, make_repository
from repodrome.tasks.globs import compiled, covers
from repodrome.tasks.model import Task
from repodrome.tasks.origins import (
    Progress,
    Supplied,
    fill,
    normalise,
    origin_id,
    set_times,
    walk,
)
from repodrome.tasks.store import Store

KIND = "pristine"
# Part of every key: raise it when what materialise makes of the same task changes.
_FORMAT = 3


@dataclass(frozen=True, slots=True)
class Materialised:
    """A task's pristine content in the store; read-only for everybody.

    Attributes:
        key: a hash of everything that decides the content.
        layer: a layer directory: ``workspace/`` (the agent's tree, a git repository of one commit),
            and empty ``env/`` and ``home/``.
        hidden: the files that ``source.hidden`` took out, at their workspace-relative paths.
        reference: the original of each file that ``source.edits`` changed or deleted, likewise.
        file_count: files and links of the workspace, ``.git`` aside.
    """

    key: str
    layer: Path
    hidden: Path
    reference: Path
    file_count: int

    @property
    def workspace(self) -> Path:
        """The agent's pristine tree."""
        return self.layer / "workspace"


def materialise(
    task: Task,
    store: Store,
    *,
    owner: tuple[int, int] | None = None,
    progress: Progress | None = None,
    supplied: Supplied | None = None,
) -> Materialised:
    """The task's pristine layer, made if the store hasn't got it. Blocks: call it in a thread.

    A source directory is read in full each time to see whether it changed, so callers with many
    episodes of a task keep the result.

    Args:
        task: the task.
        store: where it is kept.
        owner: uid and gid that the layer's files get (needs root); None leaves them ours.
        progress: told in a few words what is being done, whenever that takes time.
        supplied: the tree, where the task's source names no origin.

    Raises:
        TaskFormatError: the source, a glob or an edit doesn't fit; names key and fix.
        UsageError: a pinned hash or commit doesn't fit.
        SetupError: the source can't be reached, or the disk is full.
    """
    tell: Progress = progress or (lambda _: None)
    origin = origin_id(task, supplied)
    key = _key(task, origin, owner)

    def build(staged: Path) -> None:
        tell(f"preparing the workspace of {task.id}")
        with store.staging("scratch") as scratch:
            _build(task, store, staged, scratch, tell, supplied)
        if owner is not None:
            _chown(staged / "layer", owner)
        if task.source.directory and origin_id(task) != origin:
            raise TaskFormatError(
                str(task.folder / task.source.directory),
                "",
                "changed while it was being copied",
                "leave it alone and try again",
            )

    entry = store.get_or_build(KIND, key, build)
    facts = json.loads((entry / "facts.json").read_bytes())
    return Materialised(
        key=key,
        layer=entry / "layer",
        hidden=entry / "hidden",
        reference=entry / "reference",
        file_count=facts["file_count"],
    )


def _key(task: Task, origin: str, owner: tuple[int, int] | None) -> str:
    source = task.source.model_dump(mode="json", include={"remove", "hidden", "edits"})
    deciding = json.dumps([_FORMAT, origin, source, owner], sort_keys=True)
    return hashlib.sha256(deciding.encode()).hexdigest()


def _build(
    task: Task,
    store: Store,
    staged: Path,
    scratch: Path,
    tell: Progress,
    supplied: Supplied | None,
) -> None:
    workspace, hidden, reference = (
        staged / part for part in ("layer/workspace", "hidden", "reference")
    )
    for directory in (workspace, staged / "layer/env", staged / "layer/home", hidden, reference):
        directory.mkdir(parents=True)
    fill(task, workspace, scratch, store, tell, supplied)
    _hide(task, workspace, hidden)
    apply_edits(task, workspace, reference)
    count = normalise(workspace)
    for aside in (hidden, reference):
        normalise(aside)
    make_repository(workspace)
    for directory in (staged, staged / "layer", staged / "layer/env", staged / "layer/home"):
        directory.chmod(0o755)
    set_times(staged / "layer", FILE_TIME)
    (staged / "facts.json").write_text(json.dumps({"file_count": count, "task": task.id}))


def _hide(task: Task, workspace: Path, hidden: Path) -> None:
    """Move what ``source.hidden`` names out of the workspace; directories left empty go as well."""
    if not task.source.hidden:
        return
    entries = list(walk(workspace))
    for pattern in task.source.hidden:
        if not any(compiled(pattern).fullmatch(path) for path, _ in entries):
            # A glob that hides nothing would show the agent the tests it is graded by.
            raise TaskFormatError(
                str(task.folder / "task.toml"),
                "source.hidden",
                f"{pattern!r} matches nothing in the source",
                "correct it; '**/' at its start finds a name in any directory",
            )
    for path, entry in entries:
        if covers(task.source.hidden, path) and not entry.is_dir(follow_symlinks=False):
            (hidden / path).parent.mkdir(parents=True, exist_ok=True)
            Path(entry.path).rename(hidden / path)
    for path, entry in reversed(entries):
        if entry.is_dir(follow_symlinks=False) and covers(task.source.hidden, path):
            shutil.rmtree(entry.path)


def _chown(layer: Path, owner: tuple[int, int]) -> None:
    for parent, directories, files in os.walk(layer):
        for name in [*directories, *files, "."]:
            os.chown(Path(parent, name), *owner, follow_symlinks=False)
