"""Reads a task folder: a superset of the Harbor format, so that a Harbor task loads as it is.

::

    task.toml         [task] [metadata] [agent] [limits] [context] [source] [environment]
                      [verifier] [tools] [user] [locate] [[rewards]]; every key is optional, unknown
                      ones are listed, never refused
    instruction.md    what the agent is told
    expected.json     FAIL_TO_PASS and PASS_TO_PASS: exact test ids
    workspace/        the agent's tree, where [source] names no other
    environment/      Dockerfile and what it copies, for the Docker backend
    tests/            hidden; read from here for grading only; cases.toml: inputs of a program
    ../suite.toml     of a suite: [[rewards]] for its tasks that have none of their own
    solution/         what the oracle does, in one of these forms (the first that is there):
        solve.sh          a script, run in the sandbox's workspace (Harbor)
        solution.patch    a unified diff, paths relative to the workspace
        workspace/        files laid over the workspace
        answer.md         nothing is changed; this is said. Beside the others: said at the end
                      without it the oracle undoes ``source.edits``

Every fault is a :class:`~repodrome.errors.TaskFormatError` that names file, key and fix.
"""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, ValidationError

from repodrome.errors import TaskFormatError
from repodrome.tasks.cases import read_cases
from repodrome.tasks.folder_files import read_expected, read_text, read_toml
from repodrome.tasks.model import (
    ContextSpec,
    EnvironmentSpec,
    Limits,
    LocateSpec,
    Metadata,
    RewardSpec,
    Source,
    SourceEdit,
    Task,
    ToolsSpec,
    UserRule,
    UserSpec,
    VerifierSpec,
)

SolutionKind = Literal["script", "patch", "files", "edits", "answer"]

# Tables that are a model each, under the same name in Task.
_TABLES: dict[str, type[BaseModel]] = {
    "context": ContextSpec,
    "environment": EnvironmentSpec,
    "limits": Limits,
    "locate": LocateSpec,
    "metadata": Metadata,
    "source": Source,
    "tools": ToolsSpec,
    "user": UserSpec,
    "verifier": VerifierSpec,
}
# What a task that asks for places has where it doesn't say otherwise.
_LOCATE: dict[str, dict[str, Any]] = {
    "limits": {"max_turns": 4, "max_calls_per_turn": 8},
    "tools": {"read_only": True},
    "verifier": {"kind": "none"},
}
# Tables that hold a list of tables.
_ENTRIES: dict[type[BaseModel], type[BaseModel]] = {Source: SourceEdit, UserSpec: UserRule}
# Harbor's keys whose meaning we take over, or that carry none for us.
_UNDERSTOOD = {
    "": {"schema_version", "version", "task", "agent", "rewards", *_TABLES},
    "task": {"name"},
    "agent": {"timeout_sec"},
    "environment": {"memory", "storage"},
}
_UNITS_MB = {"": 1 / (1 << 20), "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0 * 1024}


def load_task(folder: Path, *, suite: str | None = None) -> Task:
    """Read a task folder.

    Args:
        folder: the folder that holds ``task.toml``.
        suite: the suite it belongs to; the id is then ``suite/<folder name>``, else
            ``folder/<last part of [task] name, or the folder's name>``.

    Raises:
        TaskFormatError: naming file, dotted key and fix.
    """
    folder = folder.expanduser().resolve()
    data = read_toml(folder / "task.toml")
    return _Reader(folder, data).task(suite)


def solution_kind(task: Task) -> SolutionKind | None:
    """Which form the task's reference solution has; None when it has none.

    ``"script"``: ``solution/solve.sh``; ``"patch"``: ``solution/solution.patch``; ``"files"``:
    ``solution/workspace/``; ``"edits"``: the materialised ``reference`` files, laid over the
    workspace, undo ``source.edits``; ``"answer"``: ``solution/answer.md``, or the
    places that are asked for, are said.
    """
    solution = task.folder / "solution"
    if (solution / "solve.sh").is_file():
        return "script"
    if (solution / "solution.patch").is_file():
        return "patch"
    if (solution / "workspace").is_dir():
        return "files"
    if task.source.edits:
        return "edits"
    answers = bool(task.locate.gold) or (solution / "answer.md").is_file()
    return "answer" if answers else None


class _Reader:
    """One reading of one folder."""

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        self.folder = folder
        self.file = str(folder / "task.toml")
        self.data = data
        self.ignored: list[str] = []

    def task(self, suite: str | None) -> Task:
        self._note_unknown("", self.data, _UNDERSTOOD[""])
        harbor_task = self._table("task")
        self._note_unknown("task", harbor_task, _UNDERSTOOD["task"])
        parts: dict[str, Any] = {}
        for name, model in _TABLES.items():
            table = self._prepared(name)
            parts[name] = self._checked(name, model, table)
            if name != "metadata":
                self._note_unknown(name, self._table(name), _known(name, model))
        self._check_source(parts["source"])
        self._check_verifier(parts["verifier"])
        parts["verifier"] = self._with_expected(parts["verifier"])
        own = "rewards" in self.data or suite is None
        parts["rewards"] = (None if own else self._suite_rewards()) or self._rewards()
        name = harbor_task.get("name", self.folder.name)
        if not isinstance(name, str) or not name.strip("/ "):
            raise self._fault("task.name", "is not a name", 'write text, e.g. name = "fix-parser"')
        short = self.folder.name if suite else name.rstrip("/").rpartition("/")[2]
        return Task(
            id=f"{suite or 'folder'}/{short}",
            instruction=self._instruction(),
            folder=self.folder,
            ignored_keys=tuple(self.ignored),
            **parts,
        )

    def _prepared(self, name: str) -> dict[str, Any]:
        """A table with Harbor's spellings and the folder's own defaults filled in."""
        table = {**(_LOCATE.get(name, {}) if self._locates() else {}), **self._table(name)}
        if name == "limits":
            agent = self._table("agent")
            self._note_unknown("agent", agent, _UNDERSTOOD["agent"])
            if "timeout_sec" in agent:
                self._checked("agent", Limits, {"timeout_sec": agent["timeout_sec"]})
                table.setdefault("timeout_sec", agent["timeout_sec"])
        elif name == "environment":
            for old, new in (("memory", "memory_mb"), ("storage", "storage_mb")):
                if old in table:
                    table.setdefault(new, self._megabytes(f"environment.{old}", table[old]))
        elif name == "source":
            if not any(table.get(key) for key in ("directory", "git", "pypi")):
                if (self.folder / "workspace").is_dir():
                    table["directory"] = "workspace"
                elif "source" in self.data and not self._has_image():
                    raise self._fault(
                        "source",
                        "names no origin and there is no workspace/ folder",
                        "add 'directory', 'git' with 'commit', or 'pypi' with 'version' and "
                        "'sha256', put the files in workspace/, or give an image that has them",
                    )
        elif name == "verifier" and (self.folder / "tests" / "test.sh").is_file():
            table.setdefault("kind", "script")
        return table

    def _locates(self) -> bool:
        return bool(self._table("locate").get("gold"))

    def _has_image(self) -> bool:
        """Its workspace may be the image's: see :func:`repodrome.envs.environment.prepare`."""
        dockerfile = self.folder / "environment" / "Dockerfile"
        return bool(self._table("environment").get("docker_image")) or dockerfile.is_file()

    def _table(self, name: str) -> dict[str, Any]:
        table = self.data.get(name, {})
        if not isinstance(table, dict):
            raise self._fault(name, "is not a table", f"write a [{name}] section")
        return table

    def _checked(self, name: str, model: type[BaseModel], table: dict[str, Any]) -> Any:
        try:
            return model.model_validate(table)
        except ValidationError as exc:
            raise self._translated(name, model, exc) from None

    def _translated(
        self, name: str, model: type[BaseModel], exc: ValidationError
    ) -> TaskFormatError:
        error = exc.errors(include_url=False)[0]
        key = ".".join(str(part) for part in (name, *error["loc"]))
        if error["type"] == "value_error":
            return self._fault(key, "is wrong", str(error["ctx"]["error"]))
        given = repr(error["input"])
        given = given if len(given) <= 80 else given[:77] + "..."
        said = str(error["msg"]).replace("valid tuple", "list")  # TOML knows no tuples
        problem = f"{given}: {said[:1].lower()}{said[1:]}"
        if error["type"] == "missing":
            problem = "is missing"
        return self._fault(key, problem, _advice(model, error["loc"], error["type"]))

    def _check_source(self, source: Source) -> None:
        if source.directory and not (self.folder / source.directory).is_dir():
            raise self._fault(
                "source.directory",
                f"{source.directory!r} is not a directory",
                "give a directory relative to the task folder",
            )
        for index, edit in enumerate(source.edits):
            self._check_edit(f"source.edits.{index}", edit)
        for key in ("remove", "hidden"):
            for pattern in getattr(source, key):
                self._check_inside(f"source.{key}", pattern)

    def _check_edit(self, key: str, edit: SourceEdit) -> None:
        self._check_inside(f"{key}.path", edit.path)
        if edit.op == "replace":
            if not edit.old:
                raise self._fault(f"{key}.old", "is missing", "give the text that is replaced")
            if edit.old == edit.new:
                raise self._fault(
                    f"{key}.new", "equals 'old'", "change something, or drop the edit"
                )
        elif edit.op != "delete" and not edit.symbols:
            raise self._fault(
                f"{key}.symbols", "is missing", 'name what is edited, e.g. ["Class.method"]'
            )

    def _check_verifier(self, verifier: VerifierSpec) -> None:
        if verifier.inject_at not in ("", "."):
            self._check_inside("verifier.inject_at", verifier.inject_at)
        for key in ("run", "python_path", "protected", "allow", "agent_tests"):
            for path in getattr(verifier, key):
                if path != ".":
                    self._check_inside(f"verifier.{key}", path.partition("::")[0])
        if verifier.kind in ("command", "output", "benchmark") and not verifier.command:
            raise self._fault(
                "verifier.command", "is missing", 'give the command, e.g. ["make", "check"]'
            )
        if verifier.kind in ("output", "benchmark"):
            cases = read_cases(self.folder, kind=verifier.kind)
            line = verifier.command
            if isinstance(line, str) and "$" not in line and any(case.args for case in cases):
                raise self._fault(
                    "verifier.command",
                    "takes no arguments, and tests/cases.toml has some",
                    'write "$@" in the line where they go, or give a list',
                )
        if verifier.kind == "none" and "rewards" not in self.data and not self._locates():
            raise self._fault(
                "verifier.kind", "'none' runs nothing", "add the [[rewards]] that judge instead"
            )
        if verifier.kind == "script" and not (self.folder / "tests" / "test.sh").is_file():
            raise self._fault("verifier.kind", "'script' runs tests/test.sh, which isn't there",
                              "write tests/test.sh, or choose another kind")  # fmt: skip

    def _check_inside(self, key: str, path: str) -> None:
        pure = PurePosixPath(path)
        if not path or pure.is_absolute() or ".." in pure.parts or "\0" in path:
            raise self._fault(
                key,
                f"{path!r} is not a path inside the workspace",
                "write it relative, without '..'",
            )

    def _with_expected(self, verifier: VerifierSpec) -> VerifierSpec:
        expected = read_expected(self.folder / "expected.json")
        if verifier.fail_to_pass or verifier.pass_to_pass:
            return verifier
        return verifier.model_copy(update=expected)

    def _rewards(self) -> tuple[RewardSpec, ...]:
        given = self.data.get("rewards")
        if given is None and self._locates():
            return (RewardSpec(name="retrieval"),)
        if given is None:
            return cast(tuple[RewardSpec, ...], Task.model_fields["rewards"].default)
        if not isinstance(given, list):
            raise self._fault("rewards", "is not a list of tables", "write [[rewards]] sections")
        found = []
        for index, entry in enumerate(given):
            if not isinstance(entry, dict):
                raise self._fault(
                    f"rewards.{index}", "is not a table", "write [[rewards]] sections"
                )
            found.append(self._checked(f"rewards.{index}", RewardSpec, entry))
        return tuple(found)

    def _suite_rewards(self) -> tuple[RewardSpec, ...] | None:
        """The suite's defaults, where it has any."""
        path = self.folder.parent / "suite.toml"
        if not path.is_file():
            return None
        suite = _Reader(self.folder, read_toml(path))
        suite.file = str(path)
        return suite._rewards() if "rewards" in suite.data else None

    def _instruction(self) -> str:
        path = self.folder / "instruction.md"
        fix = "write in instruction.md what the agent is to do"
        if not path.is_file():
            if "steps" in self.data:
                raise self._fault(
                    "steps",
                    "tasks of several steps are not supported",
                    "make one task of each step",
                )
            raise TaskFormatError(str(path), "", "is missing", fix)
        text = read_text(path)
        if not text.strip():
            raise TaskFormatError(str(path), "", "is empty", fix)
        return text.strip() + "\n"

    def _megabytes(self, key: str, value: object) -> int:
        """Harbor's older sizes, such as ``"2G"``, in MiB."""
        text = str(value).strip().upper().removesuffix("B").removesuffix("I")
        number, unit = text.rstrip("KMGT"), text[len(text.rstrip("KMGT")) :]
        try:
            return int(float(number) * _UNITS_MB[unit])
        except (ValueError, KeyError, OverflowError):
            raise self._fault(key, f"{value!r} is not a size", f"use {key}_mb = 2048") from None

    def _note_unknown(self, table: str, data: dict[str, Any], known: set[str]) -> None:
        for key in data:
            if key in known:
                continue
            dotted = f"{table}.{key}" if table else key
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
            self.ignored.append(f"{dotted} (did you mean {near[0]!r}?)" if near else dotted)
        for name, key, model in (("source", "edits", SourceEdit), ("user", "rules", UserRule)):
            for index, entry in enumerate(data.get(key, ()) if table == name else ()):
                self._note_unknown(f"{name}.{key}.{index}", entry, set(model.model_fields))

    def _fault(self, key: str, problem: str, fix: str) -> TaskFormatError:
        return TaskFormatError(self.file, key, problem, fix)


def _known(name: str, model: type[BaseModel]) -> set[str]:
    return {*model.model_fields, *_UNDERSTOOD.get(name, ())}


def _advice(model: type[BaseModel], loc: tuple[int | str, ...], error: str) -> str:
    """What to write instead, from the field's own declaration."""
    entry = _ENTRIES.get(model)
    if entry is not None and len(loc) > 2:  # of a list of tables
        return _advice(entry, loc[2:], error)
    field = model.model_fields.get(str(loc[0])) if loc else None
    if field is None:
        return "see the keys of this table in the documentation"
    if error == "missing":
        return f"add {loc[-1]}"
    if error == "literal_error":
        options = get_args(field.annotation)
        return "write one of " + ", ".join(repr(option) for option in options)
    if isinstance(field.default, bool):
        return "write true or false"
    if isinstance(field.default, tuple) or error == "tuple_type":
        lists = {"edits": "write [[source.edits]]", "rules": "write [[user.rules]]"}
        return lists.get(str(loc[0]), 'write a list, e.g. ["..."]')
    if isinstance(field.default, (int, float)):
        return f"write a number within its bounds, e.g. {field.default}"
    if isinstance(field.default, dict):
        return 'write a table, e.g. {NAME = "value"}'
    return 'write text, e.g. "..."'
