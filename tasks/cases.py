"""Held-out inputs of a program: ``tests/cases.toml`` and the files that go with it.

::

    tests/cases.toml      [[case]] tables: name, args, stdin, stdout, status, keep, timed
    tests/cases/<name>/   of one case, each optional:
        stdin                 instead of the key
        stdout                instead of the key
        files/                laid into the workspace for this case

Only a case's own input is ever shown to the program; what it should print stays on the host.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, ValidationError

from repodrome.errors import TaskFormatError
from repodrome.tasks.model import TaskModel

MAX_OUTPUT = 16 << 20
"""Most bytes that a program may print to each stream, and that a case may expect."""

_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_FIXES = {
    "name": "use letters, digits, '-', '_' and '.'",
    "args": 'write a list of text, e.g. ["--json", "3"]',
    "status": "write the exit status that is right, 0 to 255",
    "keep": "write true or false",
    "timed": "write true or false",
}


class _Entry(TaskModel):
    """One ``[[case]]`` table; unknown keys are refused, since a misspelt one would not count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Name
    args: tuple[str, ...] = ()
    stdin: str | None = None
    stdout: str | None = None
    status: int = Field(default=0, ge=0, le=255)
    keep: bool = False
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the program.

    Attributes:
        name: unique in the task.
        args: arguments behind those of ``verifier.command``.
        stdin: what it reads.
        stdout: what it should print; None where the reference alone says that.
        status: the right exit status.
        files: workspace path → content, laid for this case only.
        keep: right from the start, and has to stay so.
        timed: for a benchmark: counts in the time, else only its output does.
    """

    name: str
    args: tuple[str, ...] = ()
    stdin: bytes = b""
    stdout: bytes | None = None
    status: int = 0
    files: Mapping[str, bytes] = field(default_factory=dict)
    keep: bool = False
    timed: bool = True

    @property
    def id(self) -> str:
        """How a verdict names it."""
        return f"case:{self.name}"


def read_cases(folder: Path, *, kind: str) -> tuple[Case, ...]:
    """The cases of a task folder. Blocks while it reads files.

    Args:
        folder: the task folder.
        kind: the verifier: ``"output"`` needs what is expected of each case.

    Raises:
        TaskFormatError: naming file, key and fix.
    """
    file = folder / "tests" / "cases.toml"
    entries = _entries(file)
    cases: dict[str, Case] = {}
    for index, entry in enumerate(entries):
        key = f"case.{index}"
        if entry.name in cases:
            raise _fault(file, f"{key}.name", f"{entry.name!r} is there twice", "name each once")
        case = _whole(entry, folder / "tests" / "cases" / entry.name, file, key)
        if kind == "output" and case.stdout is None:
            raise _fault(
                file,
                f"{key}.stdout",
                "is missing",
                f"write what is to be printed here, or in tests/cases/{entry.name}/stdout",
            )
        cases[entry.name] = case
    if kind == "output" and all(case.keep for case in cases.values()):
        raise _fault(
            file, "case", "'keep' is set everywhere", "add a case that the agent must mend"
        )
    if kind == "benchmark" and not any(case.timed for case in cases.values()):
        raise _fault(file, "case", "none is timed", "leave 'timed' out of one that takes its time")
    return tuple(cases.values())


def _entries(file: Path) -> list[_Entry]:
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"can't be read ({error.strerror})"
        raise _fault(file, "", problem, "write [[case]] tables in it, see docs/tasks.md") from None
    except ValueError as error:  # not TOML, not UTF-8
        raise _fault(file, "", f"is not valid TOML: {error}", "mend that line") from None
    given = data.get("case")
    if not isinstance(given, list) or not given:
        raise _fault(file, "case", "there is none", "write [[case]] tables")
    if other := sorted(set(data) - {"case"}):
        raise _fault(file, other[0], "is not known", "only [[case]] tables stand in this file")
    return [_entry(file, f"case.{index}", table) for index, table in enumerate(given)]


def _entry(file: Path, key: str, table: Any) -> _Entry:
    try:
        return _Entry.model_validate(table)
    except ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        name = str(error["loc"][0]) if error["loc"] else ""
        if error["type"] == "extra_forbidden":
            fix = f"the keys are {', '.join(_Entry.model_fields)}"
            raise _fault(file, f"{key}.{name}", "is not known", fix) from None
        dotted = ".".join([key, *map(str, error["loc"])])
        said = str(error["msg"]).replace("valid tuple", "list")
        fix = _FIXES.get(name, 'write text, e.g. "..."')
        raise _fault(file, dotted, said[:1].lower() + said[1:], fix) from None


def _whole(entry: _Entry, folder: Path, file: Path, key: str) -> Case:
    """A case with what its folder has."""
    texts: dict[str, bytes | None] = {}
    for name in ("stdin", "stdout"):
        given: str | None = getattr(entry, name)
        beside = _read(folder / name)
        if given is not None and beside is not None:
            raise _fault(
                file,
                f"{key}.{name}",
                f"tests/cases/{entry.name}/{name} is there as well",
                "drop one of them",
            )
        texts[name] = beside if given is None else given.encode("utf-8", "surrogatepass")
    stdout = texts["stdout"]
    if stdout is not None and len(stdout) > MAX_OUTPUT:
        problem = f"is longer than {MAX_OUTPUT >> 20} MiB"
        raise _fault(file, f"{key}.stdout", problem, "let the program print less")
    below = folder / "files"
    files = {
        path.relative_to(below).as_posix(): path.read_bytes()
        for path in (sorted(below.rglob("*")) if below.is_dir() else ())
        if path.is_file() and "__pycache__" not in path.parts
    }
    return Case(
        entry.name,
        entry.args,
        texts["stdin"] or b"",
        stdout,
        entry.status,
        files,
        entry.keep,
        entry.timed,
    )


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _fault(file: Path, key: str, problem: str, fix: str) -> TaskFormatError:
    return TaskFormatError(str(file), key, problem, fix)
