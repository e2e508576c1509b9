"""Which changed paths are brought into the grading sandbox, and which come from pristine.

Dropping is silent: an honest edit of a test costs nothing, it just doesn't count.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.tasks.globs import covers
from repodrome.tasks.model import VerifierSpec
from repodrome.tools.workspace import SCRATCH

ALWAYS_PROTECTED = (
    # Version control, caches and what tools put aside: never part of a solution, whatever a task
    # allows.
    "**/.git",
    "**/.hg",
    "**/.svn",
    f"/{SCRATCH}",
    "**/__pycache__",
    "**/*.pyc",
    "**/*.pyo",
    # What an interpreter runs, or a package manager believes, without being asked.
    "**/*.pth",
    "**/sitecustomize.py",
    "**/sitecustomize",
    "**/usercustomize.py",
    "**/usercustomize",
    "**/*.dist-info",
    "**/*.egg-info",
    "**/*.egg-link",
    "**/pyvenv.cfg",
)

PROTECTED = (
    "**/tests",
    "test",
    "testing",
    "**/conftest.py",
    "**/pytest.ini",
    "**/.pytest.ini",
    "**/pytest.toml",
    "**/.pytest.toml",
    "**/tox.ini",
    "**/setup.cfg",
    "**/setup.py",
    "**/pyproject.toml",
    "**/noxfile.py",
    "**/.coveragerc",
    "**/.venv",
    "venv",
    "**/site-packages",
    "**/.tox",
    "**/.nox",
    "**/.eggs",
    "**/.pytest_cache",
    "**/.mypy_cache",
    "**/.ruff_cache",
    "**/.hypothesis",
    "**/.github",
    "**/.gitlab-ci.yml",
    "**/.circleci",
    "**/.pre-commit-config.yaml",
    "**/.envrc",
    "**/.env",
)
"""Protected unless the task's ``verifier.allow`` names them."""

COMMAND_PROTECTED = (
    "**/Makefile",
    "**/makefile",
    "**/GNUmakefile",
    "**/*.mk",
    "**/justfile",
    "**/Dockerfile",
)
"""Protected besides where the verifier is a command or a script, which may go through them."""


def canonical(path: str) -> bool:
    """Whether a path is relative, non-empty, without ``.``, ``..``, NUL or doubled slashes."""
    return (
        bool(path) and "\0" not in path and all(p not in ("", ".", "..") for p in path.split("/"))
    )


def parents(path: str) -> list[str]:
    """The directories above a path, outermost first."""
    pieces = path.split("/")
    return ["/".join(pieces[:n]) for n in range(1, len(pieces))]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do in the grading sandbox.

    Attributes:
        delete: paths to remove first, deepest first.
        write: regular files to write then.
        dropped: changed paths that are left out.
    """

    delete: tuple[str, ...]
    write: tuple[ChangedFile, ...]
    dropped: tuple[str, ...]


def _shadowed_modules(spec: VerifierSpec, occupied: Iterable[str]) -> tuple[set[str], set[str]]:
    """Where a new module would be imported in place of a hidden test's own helper.

    Returns:
        Module paths (without suffix) that may be neither file nor package, and those that may not
        be a file, since hidden files make a directory of that name.
    """
    roots = [p.strip("/").removeprefix("./") for p in spec.python_path]
    roots = ["" if r in ("", ".") else r + "/" for r in roots]
    neither: set[str] = set()
    no_file: set[str] = set()
    for path in occupied:
        for root in roots:
            if path.startswith(root):
                first, inner, _ = path[len(root) :].partition("/")
                name = first if inner else first.split(".")[0]
                neither |= {other + name for other in roots if other != root}
                (no_file if inner else neither).add(root + name)
    return neither, no_file


def plan(change: Change, spec: VerifierSpec, *, occupied: Iterable[str], pristine: Path) -> Plan:
    """Choose what of a change is brought over.

    Args:
        change: the agent's change; hostile.
        spec: the task's verifier.
        occupied: every path that hidden files and expected tests take; nothing of the agent's may
            be there, above as a file, or below.
        pristine: the pristine workspace on the host, for links.
    """
    taken = set(occupied)
    above = {p for path in taken for p in parents(path)}
    neither, no_file = _shadowed_modules(spec, taken)
    protected = (*PROTECTED, *spec.protected)
    if spec.kind in ("command", "script", "output", "benchmark"):
        protected += COMMAND_PROTECTED
    if spec.report:
        protected += ("/" + spec.report.lstrip("/"),)
    gone = {f.path for f in change.files if f.kind == "deleted"}

    def keep(file: ChangedFile) -> bool:
        path = file.path
        if file.kind == "refused" or not canonical(path):
            return False
        if path in taken or path in above or any(p in taken for p in parents(path)):
            return False
        if covers(ALWAYS_PROTECTED, path):
            return False
        if spec.kind == "mutants":
            # The tests are the work; the code they are tried on is ours.
            return file.kind != "deleted" and covers(spec.agent_tests, path)
        if covers(protected, path) and not covers(spec.allow, path):
            return False
        if file.kind == "added" and _shadows(path, neither, no_file, pristine):
            return False
        # Never through a link of the pristine tree: it may lead to what is protected.
        return not any(_is_link(pristine, p) and p not in gone for p in parents(path))

    kept = [f for f in change.files if keep(f)]
    delete = [f.path for f in kept if f.kind == "deleted"]
    write = [f for f in kept if f.kind != "deleted" and f.data is not None]
    # A link that became a file is taken away first: writing would follow it.
    delete += [f.path for f in write if _is_link(pristine, f.path)]
    # A directory that became a file.
    made = {f.path for f in write}
    emptied = {p for path in delete for p in parents(path) if p in made or set(parents(p)) & made}
    order = sorted({*delete, *emptied}, key=lambda p: (-p.count("/"), p))
    chosen = {f.path for f in kept}
    dropped = tuple(f.path for f in change.files if f.path not in chosen)
    return Plan(delete=tuple(order), write=tuple(write), dropped=dropped)


def _shadows(path: str, neither: set[str], no_file: set[str], pristine: Path) -> bool:
    """Whether a new file makes a module of one of these names; an old package may go on growing."""
    directory, _, name = path.rpartition("/")
    module = f"{directory}/{name.split('.')[0]}".lstrip("/")
    if module in neither or module in no_file:
        return True
    return any(part in neither and not (pristine / part).is_dir() for part in parents(path))


def _is_link(pristine: Path, path: str) -> bool:
    try:
        return stat.S_ISLNK((pristine / path).lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # a name that no file system takes, so no file of pristine either
        return False
