"""Cheap checks on what the builtin suite says; ``repodrome task validate`` does the real ones."""

from __future__ import annotations

import ast
import json
import re
import statistics
from pathlib import Path

import pytest

from repodrome.tasks.cases import read_cases
from repodrome.tasks.edits import apply_edits
from repodrome.tasks.folder import load_task
from repodrome.tasks.model import Task

SUITE = Path(__file__).parents[2] / "tasks" / "suites" / "builtin"
FOLDERS = sorted(path.parent for path in SUITE.glob("[!_]*/task.toml"))
CATEGORIES = {"bug", "feature", "refactor", "performance", "test-writing", "multi-file"}
CATEGORIES |= {"question"}
# What only this or that machine has: home directories, work folders, temporary ones.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users|mnt|var)/\w")


@pytest.fixture(params=FOLDERS, ids=[folder.name for folder in FOLDERS])
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def task(folder: Path) -> Task:
    return load_task(folder, suite="builtin")


def all_tasks() -> list[Task]:
    return [load_task(folder, suite="builtin") for folder in FOLDERS]


def of_kind(kind: str) -> pytest.MarkDecorator:
    """For each task of one kind of verifier."""
    chosen = [f for f, task in zip(FOLDERS, all_tasks(), strict=True) if task.verifier.kind == kind]
    return pytest.mark.parametrize("folder", chosen, ids=[f.name for f in chosen])


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }


def test_there_are_enough() -> None:
    tasks = all_tasks()
    assert len(tasks) >= 14
    assert len({task.source.directory for task in tasks}) >= 5
    assert {task.metadata.category for task in tasks} >= CATEGORIES
    assert sum(task.metadata.difficulty == "hard" for task in tasks) >= 3


def test_users_are_simulated() -> None:
    """As CursorBench's side-evaluations do: intent, instructions, interruptions, eager editing."""
    rules = {task.name: task.user.rules for task in all_tasks() if task.user.present}
    assert len(rules) >= 4
    spoken = [rule for each in rules.values() for rule in each]
    assert {rule.when for rule in spoken} >= {"question", "changed", "turns"}
    assert any(rule.kind == "change" for rule in spoken)


def test_prompts_are_short() -> None:
    assert statistics.median(len(task.instruction.strip()) for task in all_tasks()) <= 390


def test_all_share_one_environment() -> None:
    assert {(task.environment.packages, task.environment.setup) for task in all_tasks()} == {
        (("pytest==8.4.2",), ())
    }


def test_it_says_who_it_is(folder: Path, task: Task) -> None:
    assert task.id == f"builtin/{folder.name}"
    assert task.ignored_keys == ()
    assert task.metadata.category in CATEGORIES
    assert task.metadata.difficulty in {"easy", "medium", "hard"}
    assert task.metadata.tags


def test_the_prompt_gives_nothing_away(task: Task) -> None:
    assert not re.search(r"hidden|grader|graded|mutant|FAIL_TO_PASS", task.instruction, re.I)


def test_the_edits_fit_the_repository(task: Task, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    origin = (task.folder / (task.source.directory or "workspace")).resolve()
    for file in sorted(origin.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            copy = workspace / file.relative_to(origin)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    apply_edits(task, workspace, tmp_path / "reference")
    for file in workspace.rglob("*.py"):
        ast.parse(file.read_text(encoding="utf-8"))
    has_solution = (task.folder / "solution").is_dir()
    assert bool(task.source.edits) != has_solution


@of_kind("pytest")
def test_expected_tests_exist(folder: Path) -> None:
    task = load_task(folder, suite="builtin")
    data = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    wanted, guarded = data["FAIL_TO_PASS"], data["PASS_TO_PASS"]
    assert wanted and guarded
    assert len(set(wanted + guarded)) == len(wanted) + len(guarded)
    origin = (folder / (task.source.directory or "")).resolve()
    deleted = {edit.path for edit in task.source.edits if edit.op == "delete"}
    for test_id in wanted + guarded:
        path, _, name = test_id.partition("::")
        hidden = folder / path
        assert hidden.is_file() or path not in deleted, test_id
        file = hidden if hidden.is_file() else origin / path
        assert name.partition("[")[0] in functions(file), test_id


@of_kind("output")
def test_cases_are_asked_for_and_kept(folder: Path) -> None:
    cases = read_cases(folder, kind="output")
    assert len(cases) >= 8
    assert any(case.keep for case in cases)
    # What is printed is known to nobody who knows only the workspace and the instruction.
    told = (folder / "instruction.md").read_text(encoding="utf-8").encode()
    assert not any(case.stdout and len(case.stdout) > 20 and case.stdout in told for case in cases)


@of_kind("benchmark")
def test_a_benchmark_also_checks_what_takes_no_time(folder: Path) -> None:
    cases = read_cases(folder, kind="benchmark")
    assert sum(case.timed for case in cases) >= 2
    assert not all(case.timed for case in cases)


@of_kind("mutants")
def test_mutants_differ_from_the_code(folder: Path) -> None:
    task = load_task(folder, suite="builtin")
    assert task.verifier.agent_tests
    mutants = sorted((folder / "tests" / "mutants").iterdir())
    assert len(mutants) >= 6
    origin = (folder / (task.source.directory or "")).resolve()
    seen: set[bytes] = set()
    for mutant in mutants:
        for file in (path for path in mutant.rglob("*") if path.is_file()):
            text = file.read_bytes()
            ast.parse(text)
            assert text != (origin / file.relative_to(mutant)).read_bytes()
            assert text not in seen
            seen.add(text)


def test_nothing_is_about_this_machine(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert not MACHINE_PATH.search(file.read_text(encoding="utf-8")), file
