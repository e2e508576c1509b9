"""Locate tasks from a repository's history."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from repodrome.tasks.folder import load_task
from tests.harness.conftest import only_json

CODE = "".join(f"def f{number}():\n    return {number}\n\n\n" for number in range(20))


class Repository:
    """A repository that is written commit by commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        settings = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.path), *settings, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, message: str, **files: str | None) -> str:
        for name, text in files.items():
            path = self.path / name.replace("__", "/").replace("_py", ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.commit("The very first commit of all", src__a_py=CODE, src__b_py=CODE * 3)
    return made


def made_by(cli, repository: Repository, out: Path, *options: str) -> list[Path]:
    result = cli("task", "locate", repository.path, out, "--json", *options)
    return [Path(folder) for folder in only_json(result)["made"]]


def test_a_commit_becomes_a_question(cli, repository, tmp_path):
    parent = repository.git("rev-parse", "HEAD")
    changed = CODE.replace("return 3\n", "return 33\n").replace(
        "def f9():\n", "def f9():\n    # x\n"
    )
    sha = repository.commit(
        "Three is now thirty-three everywhere\n\nAs agreed on Monday.\n\nSigned-off-by: A <a@b>",
        src__a_py=changed,
        tests__test_a_py="assert True\n",
    )
    (folder,) = made_by(cli, repository, tmp_path / "items")
    task = load_task(folder)
    assert task.locate.gold == ("src/a.py:14", "src/a.py:37")
    assert (task.source.git, task.source.commit) == (str(repository.path), parent)
    assert task.instruction == (
        "Which lines have to change for this?\n\n> Three is now thirty-three everywhere\n>\n"
        "> As agreed on Monday.\n"
    )
    assert sha[:8] in folder.name
    result = cli("task", "validate", folder)
    assert result.exit_code == 0, result.output
    answer = only_json(cli("run", folder, "--json"))
    assert answer["reward"] == 1.0
    # Made once, they are left as they are.
    assert made_by(cli, repository, tmp_path / "items") == []


@pytest.mark.parametrize(
    ("message", "files"),
    [
        ("Fix it", {"src__a_py": CODE + "x = 1\n"}),
        ("Bump the version to 3.2.1 at last", {"src__a_py": CODE + "x = 1\n"}),
        ("Mend what a.py does with numbers", {"src__a_py": CODE + "x = 1\n"}),
        ("Words only, no code is touched", {"README": "Words."}),
        ("Tests only, no code is touched", {"tests__test_b_py": "x = 1\n"}),
        ("A new file holds all that is new", {"src__c_py": CODE}),
        ("Everything becomes entirely different here", {"src__b_py": "y = 1\n" * 200}),
        ("Gone is what nobody ever needed", {"src__b_py": None}),
    ],
)
def test_commits_of_no_use(cli, repository, tmp_path, message, files):
    repository.commit(message, **files)
    result = cli("task", "locate", repository.path, tmp_path / "items")
    assert result.exit_code == 1
    assert not (tmp_path / "items").exists()


def test_a_body_that_tells_is_left_out(cli, repository, tmp_path):
    message = "Numbers count from one now\n\nSee src/b.py for more."
    repository.commit(message, src__b_py="# one\n" + CODE * 3)
    (folder,) = made_by(cli, repository, tmp_path / "items")
    assert "b.py" not in (folder / "instruction.md").read_text()
    assert load_task(folder).locate.gold == ("src/b.py:1",)


def test_counts_and_wrong_repositories(cli, repository, tmp_path):
    for number in range(4):
        repository.commit(
            f"Number {number} is now something else", src__a_py=f"# {number}\n" + CODE
        )
    assert len(made_by(cli, repository, tmp_path / "items", "--count", "2")) == 2
    result = cli("task", "locate", tmp_path / "nowhere", tmp_path / "more")
    assert result.exit_code == 2
    assert "git can't read" in result.stderr
