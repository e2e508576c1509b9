"""Misuse: each kind is found, honest work isn't; and what commands are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from repodrome.envs.rewards import shell
from repodrome.envs.rewards.misuse import MisuseReward
from repodrome.envs.rewards.steps import StepScorer
from repodrome.envs.trajectory import AssistantTurn, Step
from repodrome.errors import UsageError
from repodrome.tasks.model import ToolsSpec
from tests.rewards.episodes import FAILED, TASK, call, context, make, result, value

EDIT = call("edit_file", path="a.py", old_string="a", new_string="b")
READ = call("read_file", path="a.py")


def counts(*turns: Any, **more: Any) -> Mapping[str, float]:
    return result("misuse", context(*turns, **more)).parts


def test_honest_work_costs_nothing() -> None:
    tests = call("terminal", command="python -m pytest -q", text="1 failed", exit_code=1)
    passing = call("terminal", command="python -m pytest -q", text="1 passed", exit_code=0)
    turns = (READ, tests, EDIT, READ, passing, call("grep", pattern="x"))
    assert counts(*turns, after={"a.py": "x"}) == {}
    assert value("misuse", context(*turns)) == 0.0


@pytest.mark.parametrize(
    ("turns", "kind"),
    [
        (("{broken",), "malformed_turn"),
        ((call("grep", error="invalid_arguments"),), "invalid_arguments"),
        ((call("grep", error="invalid_json"),), "invalid_arguments"),
        ((call("grip", error="unknown_tool"),), "unknown_tool"),
        ((call("edit_file", error="no_match", path="a"),), "failed_edit"),
        ((call("apply_patch", error="no_match"),), "failed_edit"),
        ((call("read_file", error="not_found", path="x"),), "failed_call"),
        ((call("grep", pattern="x"), call("grep", pattern="x")), "identical_repeat"),
        ((READ, call("read_file", path="a.py", offset=2, limit=3)), "reread"),
        ((call("terminal", command="cat src/a.py"),), "terminal_for_tool"),
        ((call("terminal", command="git reset --hard"),), "destructive"),
        ((call("todo_write", todos=[{"text": "x", "status": "pending"}]),), "unfinished_todo"),
        (
            (
                call("read_file", path="a.py", truncated=True, total=900),
                call("write_file", path="a.py"),
            ),
            "ignored_truncation",
        ),
        ((call("grep", pattern="x", truncated=True),) * 2, "ignored_truncation"),
    ],
)
def test_each_kind(turns: Any, kind: str) -> None:
    assert counts(*turns) == {kind: 1.0}
    assert value("misuse", context(*turns)) < 0
    assert value("misuse", context(*turns), weights={kind: 0}) == 0


def test_a_change_in_between_makes_looking_again_fair() -> None:
    grep = call("grep", pattern="x")
    assert counts(grep, EDIT, grep, READ, EDIT, READ) == {}
    make_it = call("terminal", command="make", text="done", exit_code=0)
    assert counts(READ, make_it, READ) == {}
    look = call("terminal", command="git status", text="clean", exit_code=0)
    assert counts(READ, look, READ) == {"identical_repeat": 1.0}


def test_a_new_context_forgets() -> None:
    given = context(READ, READ)
    first, second = given.trajectory.steps
    steps = (first, second.model_copy(update={"segment": 1}))
    trajectory = given.trajectory.model_copy(update={"steps": steps})
    assert value("misuse", given.model_copy(update={"trajectory": trajectory})) == 0


def test_a_piece_that_was_asked_for_is_no_cut_answer() -> None:
    some = call("read_file", path="a.py", limit=1, truncated=True, total=900)
    assert counts(some, call("write_file", path="a.py")) == {}


def test_the_terminal_is_fair_where_the_tool_is_not_there() -> None:
    task = TASK.model_copy(update={"tools": ToolsSpec(exclude=("read_file",))})
    assert counts(call("terminal", command="cat a.py"), task=task) == {}


def test_scope() -> None:
    given = context(after={"src/a.py": "x", "README.md": "y"})
    assert result("misuse", given, scope=["src"]).parts == {"out_of_scope": 1.0}
    assert value("misuse", given) == 0


def test_renamed_parameters_are_understood() -> None:
    given = context(call("terminal", cmd="git reset --hard"))
    trajectory = given.trajectory.model_copy(update={"renamed": {"terminal.command": "cmd"}})
    found = make("misuse")(given.model_copy(update={"trajectory": trajectory}))
    assert found.parts == {"destructive": 1.0}


def test_caps_hold_and_more_never_pays() -> None:
    values = [value("misuse", context(*["{"] * n, verdict=FAILED)) for n in range(0, 60, 6)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == -0.5
    unlimited = {"malformed_turn": 99.0}
    assert value("misuse", context(*["{"] * 60), caps=unlimited) == -1.0


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'reread'"):
        make("misuse", weights={"rereed": 1})
    with pytest.raises(UsageError, match="0 or more"):
        make("misuse", caps={"reread": -1})


def test_step_by_step_it_is_the_same() -> None:
    given = context(READ, READ, "{", call("terminal", command="rm -rf ."), "{")
    scorer = StepScorer(TASK, [(MisuseReward(), 0.5)])
    paid = [sum(scorer.add(step).values()) for step in given.trajectory.steps]
    assert paid[0] == 0 and all(one < 0 for one in paid[1:])
    assert sum(paid) == pytest.approx(0.5 * value("misuse", given))
    assert scorer.paid == pytest.approx(sum(paid))
    again = StepScorer(TASK, [(MisuseReward(), 0.5)], given.trajectory.steps)
    step = Step(index=5, turn=AssistantTurn(malformed="x"))
    assert again.add(step) == scorer.add(step)


@pytest.mark.parametrize(
    ("command", "tool"),
    [
        ("cat a.py", "read_file"),
        ("cd src && head -50 a.py", "read_file"),
        ("cat a.py | head -5", "read_file"),
        ("sed -n '1,20p' a.py", "read_file"),
        ("sed -i 's/a/b/' a.py", "edit_file"),
        ("grep -rn foo src", "grep"),
        ("rg foo src", "grep"),
        ("find . -name '*.py'", "glob"),
        ("ls -la src", "list_dir"),
        ("cat > a.py <<'EOF'\nx = 1\nEOF", "write_file"),
        ("echo 'x = 1' > a.py", "write_file"),
        ("python a.py | grep foo", ""),
        ("cat a.py | python", ""),
        ("python -m pytest -q 2>&1 | tail -5", ""),
        ("git diff", ""),
        ("ls > files.txt", ""),
        ("find . -name '*.pyc' -exec rm {} +", ""),
        ("echo 'unclosed", ""),
        ("", ""),
    ],
)
def test_what_a_command_stands_in_for(command: str, tool: str) -> None:
    assert shell.instead_of(command) == tool


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf .", "rm -rf /", "sudo rm -r -f ~", "cd x; rm -fr *", "git reset --hard HEAD~1",
        "git clean -fdx", "git checkout .", "git restore .", "git push --force", "rm -rf .git",
        ":(){ :|:& };:", "dd if=/dev/zero of=/dev/sda", "chmod -R 777 .", "git stash drop",
    ],
)  # fmt: skip
def test_destructive_commands(command: str) -> None:
    assert shell.is_destructive(command)


@pytest.mark.parametrize(
    "command",
    [
        "rm a.py",
        "rm -rf build",
        "git checkout -b x",
        "git restore a.py",
        "git stash",
        "rm -r .cache",
    ],
)
def test_commands_that_are_not(command: str) -> None:
    assert not shell.is_destructive(command)


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        ("pytest -q", True),
        ("python -m pytest tests/test_a.py", True),
        ("cd x && python -m unittest", True),
        ("npm test", True),
        ("cargo test --all", True),
        ("python tests/test_a.py", True),
        ("make check", True),
        ("cat tests/test_a.py", False),
        ("pip install pytest-xdist", False),
        ("grep pytest pyproject.toml", False),
    ],
)
def test_which_commands_run_tests(command: str, runs: bool) -> None:
    assert shell.runs_tests(command) == runs
