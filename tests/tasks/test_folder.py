"""Reading task folders: the Harbor superset, and one test for each fault."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from repodrome.errors import TaskFormatError
from repodrome.tasks.folder import load_task, solution_kind


def test_a_harbor_task_loads_as_it_is(make_task) -> None:
    folder = make_task(
        """
        schema_version = "1.1"
        [task]
        name = "org/hello"
        description = "ours to ignore"
        [metadata]
        author = "someone"
        difficulty = "easy"
        [agent]
        timeout_sec = 120.5
        [verifier]
        timeout_sec = 60
        environment_mode = "shared"
        [environment]
        docker_image = "debian:12"
        cpus = 1
        memory = "4G"
        storage_mb = 10240
        network_mode = "public"
        allowed_hosts = ["localhost"]
        build_timeout_sec = 600.0
        """,
        {"tests/test.sh": "#!/bin/sh\n", "solution/solve.sh": "true\n"},
    )
    task = load_task(folder)
    assert task.id == "folder/hello"
    assert task.limits.timeout_sec == 120.5
    assert task.verifier.kind == "script" and task.verifier.timeout_sec == 60
    assert task.environment.memory_mb == 4096 and task.environment.storage_mb == 10240
    assert task.metadata.model_extra == {"author": "someone"}
    assert solution_kind(task) == "script"
    assert set(task.ignored_keys) == {"task.description", "verifier.environment_mode"}
    assert task.source.directory is None


def test_our_keys_and_defaults(make_task) -> None:
    folder = make_task(
        """
        [limits]
        max_turns = 7
        [tools]
        exclude = ["terminal"]
        config = {grep = {limit = 3}}
        [[rewards]]
        name = "tests"
        [[rewards]]
        name = "style.lint"
        weight = 0.1
        strict = true
        """,
        {
            "workspace/a.py": "",
            "expected.json": '{"FAIL_TO_PASS": ["t.py::a[x]"], "PASS_TO_PASS": "[\\"t.py::b\\"]"}',
        },
    )
    task = load_task(folder, suite="mine")
    assert task.id == "mine/one" and task.folder == folder
    assert task.source.directory == "workspace"
    assert task.verifier.fail_to_pass == ("t.py::a[x]",)
    assert task.verifier.pass_to_pass == ("t.py::b",)
    assert [(r.name, r.weight, r.params) for r in task.rewards] == [
        ("tests", 1.0, {}),
        ("style.lint", 0.1, {"strict": True}),
    ]
    assert task.limits.max_turns == 7 and task.tools.exclude == ("terminal",)
    assert task.ignored_keys == ()


def test_expected_ids_in_task_toml_win(make_task) -> None:
    folder = make_task(
        '[verifier]\nfail_to_pass = ["t.py::mine"]', {"expected.json": '{"FAIL_TO_PASS": ["x"]}'}
    )
    assert load_task(folder).verifier.fail_to_pass == ("t.py::mine",)


def test_unknown_keys_are_listed_with_the_nearest(make_task) -> None:
    folder = make_task("[environment]\nmemry_mb = 5\n[limit]\nx = 1\n[[steps]]\nname = 'a'")
    assert load_task(folder).ignored_keys == (
        "limit (did you mean 'limits'?)",
        "steps",
        "environment.memry_mb (did you mean 'memory_mb'?)",
    )


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"solution/solve.sh": "", "solution/solution.patch": ""}, "script"),
        ({"solution/solution.patch": ""}, "patch"),
        ({"solution/workspace/a.py": ""}, "files"),
        ({}, None),
    ],
)
def test_solution_forms(make_task, files: dict[str, str], kind: str | None) -> None:
    assert solution_kind(load_task(make_task(files=files))) == kind


EDIT = "[source]\ndirectory = 'workspace'\n[[source.edits]]\n"
FAULTS = {
    "bad TOML, with its line": ("a = 1\nb = \n", "", r"not valid TOML.*line 2", "mend"),
    "wrong type": ("[environment]\nmemory_mb = 'lots'", "environment.memory_mb", "integer", "2048"),
    "below its bound": ("[limits]\nmax_turns = 0", "limits.max_turns", "greater", "100"),
    "text for a list": (
        "[environment]\npackages = 'six'",
        "environment.packages",
        "be a list",
        "list",
    ),
    "not a table": ("source = 3", "source", "not a table", r"\[source\]"),
    "rewards no list": ("[rewards]\nname = 'x'", "rewards", "not a list", r"\[\[rewards\]\]"),
    "reward without name": ("[[rewards]]\nweight = 1", "rewards.0.name", "missing", "add name"),
    "agent timeout": ("[agent]\ntimeout_sec = 'x'", "agent.timeout_sec", "number", "1800"),
    "unknown verifier": ("[verifier]\nkind = 'pytst'", "verifier.kind", "pytst", "'pytest'"),
    "verifier needs command": (
        "[verifier]\nkind = 'command'",
        "verifier.command",
        "missing",
        "mak",
    ),
    "verifier needs script": ("[verifier]\nkind = 'script'", "verifier.kind", "test.sh", "write"),
    "two origins": ("[source]\ngit = 'x'\ndirectory = 'y'", "source", "wrong", "only one"),
    "git without commit": ("[source]\ngit = 'x'", "source", "wrong", "full SHA"),
    "git by branch": ("[source]\ngit = 'x'\ncommit = 'main'", "source", "wrong", "full SHA"),
    "short hash": (
        "[source]\npypi = 'six'\nversion = '1'\nsha256 = 'ab'",
        "source",
        "wrong",
        "64 hexadecimal",
    ),
    "pypi without pin": ("[source]\npypi = 'six'", "source", "wrong", "sha256"),
    "no such directory": ("[source]\ndirectory = 'n'", "source.directory", "not a dir", "relative"),
    "climbing glob": (
        "[source]\ndirectory = '.'\nhidden = ['../x']",
        "source.hidden",
        "path",
        "'..'",
    ),
    "absolute inject_at": ("[verifier]\ninject_at = '/etc'", "verifier.inject_at", "path", "relat"),
    "unknown edit": (EDIT + "op = 'x'\npath = 'a'", "source.edits.0.op", "'x'", "'delete_symbol'"),
    "edit without path": (EDIT + "op = 'delete'", "source.edits.0.path", "missing", "add path"),
    "symbols missing": (
        EDIT + "op = 'stub_symbol'\npath = 'a'",
        "source.edits.0.symbols",
        "",
        "name",
    ),
    "nothing to replace": (
        EDIT + "op = 'replace'\npath = 'a'",
        "source.edits.0.old",
        "missing",
        "",
    ),
    "bad size": ("[environment]\nmemory = 'big'", "environment.memory", "not a size", "memory_mb"),
    "bad name": ("[task]\nname = 3", "task.name", "not a name", "write text"),
}


@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_names_file_key_and_fix(make_task, case: tuple[str, str, str, str]) -> None:
    toml, key, problem, fix = case
    folder = make_task(toml, {"workspace/a": ""})
    with pytest.raises(TaskFormatError) as caught:
        load_task(folder)
    error = caught.value
    before, _, after = str(error).partition("Fix: ")
    assert (error.file, error.key) == (str(folder / "task.toml"), key)
    assert re.search(problem, before) and re.search(fix, after) and after


def test_source_without_origin_or_workspace(make_task) -> None:
    with pytest.raises(TaskFormatError, match="source: names no origin"):
        load_task(make_task("[source]\nremove = ['x']"))


@pytest.mark.parametrize(
    ("file", "data", "problem"),
    [
        ("instruction.md", " \n", "is empty"),
        ("instruction.md", b"\xff\xfe", "not UTF-8"),
        ("task.toml", b"a = '\xff'", "not UTF-8"),
        ("expected.json", "{", "not valid JSON"),
        ("expected.json", "[]", "not an object"),
        ("expected.json", '{"FAIL_TO_PASS": [1]}', "FAIL_TO_PASS: is not a list of test ids"),
        ("expected.json", '{"PASS_TO_PASS": "nope"}', "PASS_TO_PASS: is not a list of test ids"),
    ],
)
def test_faults_of_other_files(make_task, file: str, data: str | bytes, problem: str) -> None:
    folder = make_task(files={file: data})
    with pytest.raises(TaskFormatError, match=problem) as caught:
        load_task(folder)
    assert caught.value.file == str(folder / file) and caught.value.fix


def test_missing_files(make_task, tmp_path: Path) -> None:
    folder = make_task()
    (folder / "instruction.md").unlink()
    with pytest.raises(TaskFormatError, match=r"instruction\.md: is missing"):
        load_task(folder)
    (folder / "task.toml").unlink()
    with pytest.raises(TaskFormatError, match=r"task\.toml: is missing"):
        load_task(folder)
    with pytest.raises(TaskFormatError, match=r"no task folder here.*task new"):
        load_task(tmp_path / "nowhere")


def test_tasks_of_several_steps_are_refused_clearly(make_task) -> None:
    folder = make_task("[[steps]]\nname = 'a'")
    (folder / "instruction.md").unlink()
    with pytest.raises(TaskFormatError, match="several steps"):
        load_task(folder)


def test_a_suite_gives_rewards_to_tasks_that_have_none(tmp_path: Path) -> None:
    for name, own in (("plain", ""), ("own", '[[rewards]]\nname = "tests"\nweight = 3\n')):
        folder = tmp_path / "mine" / name
        (folder / "workspace").mkdir(parents=True)
        (folder / "task.toml").write_text(own)
        (folder / "instruction.md").write_text("Do it.\n")
    suite_toml = tmp_path / "mine" / "suite.toml"
    suite_toml.write_text(
        '[[rewards]]\nname = "tests"\n[[rewards]]\nname = "misuse"\nweight = 0.1\n'
    )
    plain, own = (load_task(tmp_path / "mine" / n, suite="mine") for n in ("plain", "own"))
    assert [(r.name, r.weight) for r in plain.rewards] == [("tests", 1.0), ("misuse", 0.1)]
    assert [(r.name, r.weight) for r in own.rewards] == [("tests", 3.0)]
    assert [r.name for r in load_task(tmp_path / "mine" / "plain").rewards] == ["tests"]
    suite_toml.write_text("rewards = 3\n")
    with pytest.raises(TaskFormatError, match=r"suite\.toml"):
        load_task(tmp_path / "mine" / "plain", suite="mine")
