"""``repodrome task``: list, show, new and validate."""

from __future__ import annotations

import json
import re

import pytest

from repodrome.envs.grading.verdict import TestStatus
from repodrome.harness.authoring.expected import differing, expected_ids
from tests.harness.conftest import BROKEN, CHECK, only_json

FIXED = BROKEN.replace("a - b", "a + b")
P, F, M = TestStatus.PASSED, TestStatus.FAILED, TestStatus.MISSING


def findings(result, check):
    (task,) = json.loads(result.stdout)["tasks"]
    return [f for f in task["findings"] if f["check"] == check]


def test_list_has_suites_and_json(cli):
    result = cli("task", "list", "--suite", "pypi", "--json")
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    assert {"pypi"} == {row["suite"] for row in rows}
    assert all(row["instruction"] and row["id"].startswith("pypi/") for row in rows)
    assert rows[0]["id"] in cli("task", "list").stdout


def test_unknown_suite_and_task_say_what_is_near(cli):
    result = cli("task", "list", "--suite", "pipy")
    assert result.exit_code == 2
    assert "did you mean 'pypi'" in result.stderr
    assert "unknown task" in cli("task", "show", "nowhere/x").stderr


def test_show(cli, make_folder):
    folder = make_folder(verifier='no_such_key = "x"')
    result = cli("task", "show", folder)
    assert result.exit_code == 0
    assert "`add` in sums.py gives wrong results" in result.stdout
    assert "verifier.no_such_key" in result.stdout
    assert only_json(cli("task", "show", folder, "--json"))["id"] == "folder/adder"


def test_new_makes_a_folder_that_loads(cli, tmp_path):
    result = cli("task", "new", tmp_path / "fresh")
    assert result.exit_code == 0
    assert "validate" in result.stderr
    assert cli("task", "show", tmp_path / "fresh").exit_code == 0
    again = cli("task", "new", tmp_path / "fresh")
    assert again.exit_code == 2
    assert "empty" in again.stderr


def test_new_from_a_repository(cli, tmp_path):
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "thing.py").write_text("x = 1\n")
    assert cli("task", "new", tmp_path / "t", "--from-repo", tmp_path / "repo").exit_code == 0
    assert (tmp_path / "t" / "workspace" / "thing.py").is_file()


def test_a_fair_task_is_valid(cli, make_folder):
    result = cli("task", "validate", make_folder(), "--repeats", 2, "--json")
    assert result.exit_code == 0, result.output
    (task,) = only_json(result)["tasks"]
    assert task["ok"] is True
    assert (task["oracle"], task["nop"], task["flaky"]) == ([1.0, 1.0], [0.0, 0.0], [])
    assert "playing oracle (2 of 2)" in result.stderr


def test_a_suite_is_checked_in_parallel_and_one_bad_folder_stops_nobody(cli, make_folder, tmp_path):
    make_folder("suite/good")
    make_folder("suite/bad", limits="max_turns = 0")
    make_folder("suite/other")
    result = cli("task", "validate", tmp_path / "suite", "--jobs", 3, "--json")
    assert result.exit_code == 1
    found = {task["task"]: task["ok"] for task in only_json(result)["tasks"]}
    assert found == {"suite/good": True, "suite/bad": False, "suite/other": True}


@pytest.mark.parametrize(
    ("changes", "check", "hint"),
    [
        ({"solution": {"workspace/sums.py": BROKEN}}, "oracle", "the reference solution fails"),
        ({"check": "raise SystemExit(0)\n" + CHECK}, "nop", "doing nothing earns 1.0"),
        ({"solution": {}}, "task", "has no solution"),
        ({"instruction": "Fix.\n"}, "instruction", "5 characters"[1:]),
        ({"instruction": "Make tests/check.py pass, please.\n"}, "instruction", "check.py"),
        ({"instruction": "TODO: describe the task here\n"}, "instruction", "placeholder"),
        ({"workspace": {"docs/answer.txt": FIXED}}, "leak", "/workspace/docs/answer.txt"),
        ({"workspace": {"spec/copy.py": CHECK}}, "leak", "hidden test check.py"),
        (
            {"environment": 'setup = ["git commit -q --allow-empty -m more"]'},
            "history",
            "2 commits",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_unfair_is_named_with_its_fix(cli, make_folder, changes, check, hint):
    result = cli("task", "validate", make_folder(**changes), "--json")
    assert result.exit_code == 1, result.output
    found = [f for f in findings(result, check) if f["level"] == "error"]
    assert any(hint in f["problem"] for f in found), result.stdout
    assert all(f["fix"] for f in found)


def test_a_leak_in_the_environment_or_in_git_is_found(cli, make_folder):
    setup = (
        "mkdir -p /env/lib && sed 's/a - b/a + b/' sums.py > /env/lib/sums.py",
        "sed 's/a - b/a + b/' sums.py | git hash-object -w --stdin",
    )
    folder = make_folder(environment=f"setup = {json.dumps(setup)}")
    problems = " ".join(
        f["problem"] for f in findings(cli("task", "validate", folder, "--json"), "leak")
    )
    assert "/env/lib/sums.py" in problems
    assert ".git" in problems


def test_a_visible_test_that_is_hidden_anew_is_no_leak(cli, make_folder):
    folder = make_folder(workspace={"tests/check.py": CHECK})
    assert cli("task", "validate", folder).exit_code == 0


def test_flaky_tasks_are_called_so(cli, make_folder):
    # Whether it passes depends on the clock's last digits, so that equal runs differ.
    check = CHECK + "\nimport os\nsys.exit(os.getrandom(1)[0] % 2)\n"
    check = check.replace("sys.exit(0 if", "ok = (0 if")
    result = cli("task", "validate", make_folder(check=check), "--repeats", 8, "--json")
    assert result.exit_code == 1


def test_broken_set_up_is_an_infra_failure(cli, make_folder):
    folder = make_folder(environment='setup = ["exit 9"]')
    result = cli("task", "validate", folder, "--json")
    assert result.exit_code == 3
    assert only_json(result)["tasks"][0]["ok"] is None


def test_text_output_says_what_to_mend(cli, make_folder):
    result = cli("task", "validate", make_folder(solution={"workspace/sums.py": BROKEN}))
    assert result.exit_code == 1
    assert "invalid" in result.stdout
    assert "to mend it:" in result.stdout


def test_missing_expected_ids_say_how_to_make_them(cli, make_folder):
    folder = make_folder()
    text = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(
        text.replace('kind = "command"', 'kind = "pytest"').replace("command =", "# command =")
    )
    (folder / "tests" / "check.py").rename(folder / "tests" / "test_check.py")
    result = cli("task", "validate", folder, "--json")
    assert result.exit_code == 1
    (finding,) = findings(result, "expected")
    assert finding["fix"].endswith(f"--write {folder}")


@pytest.mark.slow
@pytest.mark.network
def test_write_computes_the_expected_ids(cli, tmp_path):
    folder = tmp_path / "fresh"
    assert cli("task", "new", folder).exit_code == 0
    expected = folder / "expected.json"
    before = json.loads(expected.read_text())
    expected.unlink()
    result = cli("task", "validate", folder, "--write", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(expected.read_text()) == before
    assert cli("run", folder, "--json").exit_code == 0


def test_expected_ids_are_those_that_pass_after():
    before = {"a": F, "b": P, "c": P, "d": F, "e": F, "g": P}
    after = {"a": P, "b": P, "c": F, "d": F, "e": P, "f": P, "g": P}
    assert expected_ids(before, after, {"g"}) == {
        "FAIL_TO_PASS": ["a", "e", "f"],
        "PASS_TO_PASS": ["b"],
    }


def test_differing_counts_missing_as_an_outcome():
    assert differing([{"a": P, "b": P}, {"a": P}, {"a": P, "c": F}]) == {"b", "c"}
    assert differing([{"a": P}]) == set()
    assert M is not P


PYTEST = {"environment": 'packages = ["pytest==8.4.2"]'}


def pytest_folder(make_folder, tests, **more):
    """A task judged by pytest, with one hidden file."""
    folder = make_folder(**PYTEST, **more)
    toml = folder / "task.toml"
    text = toml.read_text()
    start = text.index("[verifier]")
    end = text.find("\n[", start)
    rest = text[end:] if end >= 0 else ""
    toml.write_text(text[:start] + '[verifier]\nkind = "pytest"\npython_path = ["."]\n' + rest)
    (folder / "tests" / "check.py").unlink()
    if tests is not None:
        (folder / "tests" / "test_sums.py").write_text(tests)
    return folder


@pytest.mark.parametrize(
    ("tests", "problem", "fix"),
    [
        (None, "no test file to run", "write tests/test_"),
        ("x = 1\n", "pytest finds no test", "functions named test_"),
        ("import not_there\n", "No module named 'not_there'", "write tests"),
        ("def test_a():\n    import os; os._exit(7)\n", "ended with status 7", "to their end"),
    ],
)
def test_hidden_tests_that_test_nothing_make_the_task_invalid(
    cli, make_folder, tests, problem, fix
):
    folder = pytest_folder(make_folder, tests)
    result = cli("task", "validate", folder, "--write", "--json")
    assert result.exit_code == 1, result.stdout
    (found,) = json.loads(result.stdout)["tasks"][0]["findings"]
    assert problem in found["problem"]
    assert fix in found["fix"]


@pytest.mark.parametrize(
    ("solution", "problem"),
    [
        ({"solution.patch": "not a patch\n"}, "apply_patch"),
        ({"solve.sh": "echo no luck; exit 3\n"}, "no luck"),
    ],
)
@pytest.mark.parametrize("write", [(), ("--write",)])
def test_a_solution_that_cannot_be_applied_says_why(cli, make_folder, solution, problem, write):
    tests = "from sums import add\n\ndef test_add():\n    assert add(1, 2) == 3\n"
    folder = pytest_folder(make_folder, tests, solution=solution)
    (folder / "expected.json").write_text('{"FAIL_TO_PASS": ["tests/test_sums.py::test_add"]}')
    result = cli("task", "validate", folder, "--json", *write)
    assert result.exit_code == 1
    (found,) = findings(result, "oracle")
    assert "can't be applied" in found["problem"]
    assert problem in found["problem"]
    assert "solution/" in found["fix"]


def test_mutants_without_files_to_write_or_mutants(cli, make_folder):
    folder = make_folder(**PYTEST)
    toml = folder / "task.toml"
    toml.write_text(
        re.sub(r"\[verifier\][^\[]*", '[verifier]\nkind = "mutants"\n', toml.read_text())
    )
    (found,) = findings(cli("task", "validate", folder, "--json"), "verifier")
    assert "no mutants" in found["problem"]
    (folder / "tests" / "mutants" / "zero").mkdir(parents=True)
    (folder / "tests" / "mutants" / "zero" / "sums.py").write_text("def add(a, b):\n    return 0\n")
    (found,) = findings(cli("task", "validate", folder, "--json"), "verifier")
    assert "agent_tests" in found["problem"]


def test_list_never_cuts_a_task_id(cli):
    shown = cli("task", "list").stdout
    assert all(row["id"] in shown for row in json.loads(cli("task", "list", "--json").stdout))


def test_the_scaffolds_instruction_is_no_instruction(cli, make_folder):
    folder = make_folder(instruction="Write here, in a few natural words, what is to be done.\n")
    (found,) = findings(cli("task", "validate", folder, "--json"), "instruction")
    assert "placeholder" in found["problem"]


@pytest.mark.parametrize(
    ("old", "new", "problem", "fix"),
    [
        ('kind = "command"', 'kind = "comand"', "verifier.kind", "write one of"),
        ("[verifier]", '[source]\nhidden = ["nowhere"]\n[verifier]', "nowhere", "correct it"),
    ],
)
def test_a_wrong_file_is_named_with_its_fix_apart(cli, make_folder, old, new, problem, fix):
    folder = make_folder()
    toml = folder / "task.toml"
    toml.write_text(toml.read_text().replace(old, new))
    (found,) = json.loads(cli("task", "validate", folder, "--json").stdout)["tasks"][0]["findings"]
    assert problem in found["problem"]
    assert "Fix:" not in found["problem"]
    assert fix in found["fix"]
