"""New task folders."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from repodrome.errors import UnknownNameError, UsageError
from repodrome.tasks.cases import read_cases
from repodrome.tasks.folder import load_task, solution_kind
from repodrome.tasks.scaffold import new_task
from repodrome.tasks.source import materialise
from repodrome.tasks.store import Store


def test_the_example_loads_and_would_validate(tmp_path: Path, store: Store) -> None:
    folder = new_task(tmp_path / "deep/fresh", name="fresh")
    task = load_task(folder)
    assert task.id == "folder/fresh" and task.ignored_keys == ()
    assert solution_kind(task) == "files" and task.verifier.fail_to_pass
    made = materialise(task, store)
    (wanted,) = (folder / "solution/workspace").iterdir()
    before, after = (made.workspace / wanted.name).read_text(), wanted.read_text()
    tests = (folder / "tests/test_example.py").read_text()
    checks = tests.replace("from averages import mean", "") + "\ntest_mean_of_nothing_is_zero()\n"
    scope: dict[str, object] = {}
    exec(after + checks, scope)
    with pytest.raises(ZeroDivisionError):
        exec(before + checks, {})


def test_every_commented_key_is_a_real_one(tmp_path: Path) -> None:
    folder = new_task(tmp_path / "fresh", name="fresh")
    text = (folder / "task.toml").read_text()
    wanted = ("# [environment]", "# [limits]", "# [tools]")
    lines, inside = [], False
    for line in text.splitlines():
        inside = line in wanted or (inside and line.startswith("# ") and " = " in line)
        lines.append(line[2:] if inside or line.startswith("# timeout_sec = 300") else line)
    (folder / "task.toml").write_text("\n".join(lines))
    assert {"environment", "limits", "tools"} <= set(tomllib.loads("\n".join(lines)))
    assert load_task(folder).ignored_keys == ()


@pytest.mark.parametrize("verifier", ["output", "benchmark"])
def test_a_program_to_be_judged(verifier: str, tmp_path: Path) -> None:
    task = load_task(new_task(tmp_path / "fresh", name="fresh", verifier=verifier))
    assert task.verifier.kind == verifier and task.ignored_keys == ()
    cases = read_cases(task.folder, kind=verifier)
    for case in cases:
        for tree in ("workspace", "solution/workspace"):
            right = verifier == "benchmark" or case.keep or tree != "workspace"
            done = subprocess.run(
                [sys.executable, "report.py", *case.args],
                cwd=task.folder / tree,
                input=case.stdin,
                capture_output=True,
            )
            expected = done.stdout if case.stdout is None else case.stdout
            assert (done.returncode, done.stdout) == (case.status, expected) or not right
            if verifier == "output":
                assert (done.stdout == case.stdout) is right


def test_a_program_of_a_repository(tmp_path: Path) -> None:
    (tmp_path / "repo/src").mkdir(parents=True)
    (tmp_path / "repo/src/a.py").touch()
    folder = new_task(tmp_path / "new", name="new", from_repo=tmp_path / "repo", verifier="output")
    assert load_task(folder).verifier.python_path == ("src",)
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert "tests/cases.toml" in names and "expected.json" not in names


def test_no_such_verifier_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'benchmark'"):
        new_task(tmp_path / "new", name="new", verifier="bench")
    assert not (tmp_path / "new").exists()


def test_from_a_repository(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    (repo / "src").mkdir(parents=True)
    for command in (["init", "--quiet"], ["add", "--all", "--force"]):
        for name in ("src/a.py", "b.txt", "gone.txt"):
            (repo / name).write_text("committed")
        subprocess.run(["git", *command], cwd=repo, check=True)
    (repo / "b.txt").write_text("changed since")
    (repo / "gone.txt").unlink()
    (repo / "untracked.txt").touch()
    folder = new_task(repo / "tasks/new", name="new", from_repo=repo)
    workspace = folder / "workspace"
    files = {p.relative_to(workspace).as_posix() for p in workspace.rglob("*") if p.is_file()}
    assert files == {"src/a.py", "b.txt"}
    assert (workspace / "b.txt").read_text() == "changed since"
    assert load_task(folder).verifier.python_path == ("src",)


def test_from_a_plain_directory(tmp_path: Path) -> None:
    (tmp_path / "plain/sub").mkdir(parents=True)
    (tmp_path / "plain/sub/a").touch()
    folder = new_task(tmp_path / "new", name="new", from_repo=tmp_path / "plain")
    assert (folder / "workspace/sub/a").is_file()


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("precious")
    with pytest.raises(UsageError, match="is there already"):
        new_task(tmp_path / "full", name="x")
    with pytest.raises(UsageError, match="can't be a task's name"):
        new_task(tmp_path / "new", name="a/b")
    with pytest.raises(UsageError, match="not a directory"):
        new_task(tmp_path / "new", name="x", from_repo=tmp_path / "nope")
    assert [p.name for p in tmp_path.iterdir()] == ["full"]


def test_tracked_links_come_along_wherever_they_lead(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    (repo / "src").mkdir(parents=True)
    (repo / "src/a.py").touch()
    for name, leads_to in {"source": "src", "gone": "nowhere", "a.py": "src/a.py"}.items():
        (repo / name).symlink_to(leads_to)
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=repo, check=True)
    workspace = new_task(tmp_path / "new", name="new", from_repo=repo) / "workspace"
    links = {p.name: str(p.readlink()) for p in workspace.iterdir() if p.is_symlink()}
    assert links == {"source": "src", "gone": "nowhere", "a.py": "src/a.py"}


def test_a_repository_that_git_refuses_is_not_taken_whole(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=repo, check=True)
    (repo / "secret.env").touch()
    (repo / ".git/config").write_text("[broken")
    with pytest.raises(UsageError, match="git can't list"):
        new_task(tmp_path / "new", name="new", from_repo=repo)
    assert not (tmp_path / "new").exists()
