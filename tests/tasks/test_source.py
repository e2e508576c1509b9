"""Pristine layers from directories and git commits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repodrome.errors import SetupError, TaskFormatError, UsageError
from repodrome.tasks.folder import load_task
from repodrome.tasks.source import materialise
from repodrome.tasks.store import Store

CLEAN = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    **{f"GIT_{who}_{k}": "a@b" for who in ("AUTHOR", "COMMITTER") for k in ("NAME", "EMAIL")},
}


def git(where: Path, *args: str) -> str:
    return subprocess.check_output(["git", *args], cwd=where, text=True, env=CLEAN)


def tree(directory: Path) -> set[str]:
    files = (p for p in directory.rglob("*") if p.is_symlink() or not p.is_dir())
    names = {p.relative_to(directory).as_posix() for p in files}
    return {name for name in names if not name.startswith(".git/")}


TOML = """
[source]
remove = ["docs", "**/*.log"]
hidden = ["tests/hidden"]
[[source.edits]]
op = "stub_symbol"
path = "a.py"
symbols = ["f"]
"""
FILES = {
    "workspace/a.py": "def f():\n    return 1\n",
    "workspace/run.sh": "#!/bin/sh\n",
    "workspace/.gitignore": "*.txt\n",
    "workspace/ignored.txt": "tracked all the same\n",
    "workspace/docs/x.md": "",
    "workspace/pkg/x.log": "",
    "workspace/pkg/__pycache__/x.pyc": b"\0",
    "workspace/pkg/y.pyc": b"\0",
    "workspace/pkg/.git": "gitdir: elsewhere",
    "workspace/.git/config": "[remote]",
    "workspace/tests/test_a.py": "",
    "workspace/tests/hidden/deep/test_b.py": "def test(): pass\n",
    "tests/test_graded.py": "",
}


def test_what_the_layer_holds(make_task, store: Store) -> None:
    folder = make_task(TOML, FILES)
    (folder / "workspace/run.sh").chmod(0o700)
    (folder / "workspace/link").symlink_to("pkg/../a.py")
    said: list[str] = []
    made = materialise(load_task(folder), store, progress=said.append)
    workspace = made.workspace
    assert tree(workspace) == {
        ".gitignore",
        "a.py",
        "ignored.txt",
        "link",
        "run.sh",
        "tests/test_a.py",
    }
    assert made.file_count == 6
    assert not (workspace / "tests/hidden").exists() and not (workspace / "docs").exists()
    assert (workspace / "a.py").read_text() == "def f():\n    raise NotImplementedError\n"
    assert tree(made.hidden) == {"tests/hidden/deep/test_b.py"}
    assert {p: (made.reference / p).read_text() for p in tree(made.reference)} == {
        "a.py": "def f():\n    return 1\n"
    }
    assert sorted(p.name for p in made.layer.iterdir()) == ["env", "home", "workspace"]
    assert (workspace / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (workspace / "a.py").stat().st_mode & 0o777 == 0o644
    times = {p.lstat().st_mtime for p in [workspace, *map(workspace.joinpath, tree(workspace))]}
    assert times == {1_577_836_800.0}
    assert said == ["preparing the workspace of folder/one"]
    assert materialise(load_task(folder), store, progress=said.append) == made and len(said) == 1


def test_the_workspace_is_a_repository_of_one_commit(make_task, store: Store) -> None:
    workspace = materialise(load_task(make_task(TOML, FILES)), store).workspace
    assert git(workspace, "rev-list", "--all", "--count") == "1\n"
    assert git(workspace, "branch", "--all") == "* main\n"
    assert git(workspace, "status", "--porcelain", "--ignored") == ""
    assert git(workspace, "check-ignore", "pkg/__pycache__/m.cpython-311.pyc") != ""
    assert git(workspace, "remote") == ""
    objects = git(workspace, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
    reachable = git(workspace, "rev-list", "--objects", "--all").splitlines()
    assert len(objects) == len(reachable), "no object of hidden or original content is left"
    assert not list((workspace / ".git").glob("hooks/*")) and not (workspace / ".git/logs").exists()


def test_git_status_reads_no_file_again(make_task, store: Store, tmp_path: Path) -> None:
    """As in an overlay: other inodes and change times, same size and modification time."""
    workspace = materialise(load_task(make_task(TOML, FILES)), store).workspace
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", workspace, copy], check=True)
    file = copy / "a.py"
    before = file.stat()
    file.write_text(file.read_text().replace("f()", "g()"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert git(copy, "diff-files") == "", "the stat data decided"
    file.touch()
    assert git(copy, "status", "--porcelain") == " M a.py\n"


def test_keys_follow_what_decides(make_task, store: Store) -> None:
    folder = make_task(TOML, FILES)
    first = materialise(load_task(folder), store).key
    (folder / "workspace/pkg/__pycache__/x.pyc").write_bytes(b"1")
    (folder / "workspace/docs/x.md").write_text("removed anyhow")
    (folder / "instruction.md").write_text("Other words.")
    assert materialise(load_task(folder), store).key == first
    (folder / "workspace/run.sh").chmod(0o755)
    second = materialise(load_task(folder), store).key
    (folder / "workspace/ignored.txt").write_text("changed")
    third = materialise(load_task(folder), store).key
    (folder / "task.toml").write_text(TOML.replace('"docs", ', ""))
    assert len({first, second, third, materialise(load_task(folder), store).key}) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="chown needs root")
def test_owner(make_task, store: Store) -> None:
    task = load_task(make_task(TOML, FILES))
    mine, theirs = materialise(task, store), materialise(task, store, owner=(4321, 4322))
    assert mine.key != theirs.key
    owned = [theirs.layer, *theirs.layer.rglob("*")]
    assert {(p.lstat().st_uid, p.lstat().st_gid) for p in owned} == {(4321, 4322)}
    assert theirs.hidden.stat().st_uid == os.geteuid()


def test_an_empty_workspace(make_task, store: Store) -> None:
    made = materialise(load_task(make_task()), store)
    assert made.file_count == 0 and git(made.workspace, "status", "--porcelain") == ""


def test_a_directory_shared_by_tasks(make_task, store: Store) -> None:
    folder = make_task("[source]\ndirectory = '../_shared'", {"../_shared/a.txt": "a"})
    assert tree(materialise(load_task(folder), store).workspace) == {"a.txt"}


@pytest.mark.parametrize("to", ["/etc/passwd", "../../x", "a/../../x"])
def test_links_that_lead_out_are_refused_unless_removed(make_task, store: Store, to: str) -> None:
    folder = make_task("[source]\n", {"workspace/a": ""})
    (folder / "workspace/out").symlink_to(to)
    with pytest.raises(TaskFormatError, match=r"source\.remove: the link 'out' leads out"):
        materialise(load_task(folder), store)
    assert store.usage()["staging"].entries == 0
    (folder / "task.toml").write_text("[source]\nremove = ['out']")
    assert tree(materialise(load_task(folder), store).workspace) == {"a"}


def test_special_files_are_refused_unless_removed(make_task, store: Store) -> None:
    folder = make_task("[source]\n", {"workspace/a": ""})
    os.mkfifo(folder / "workspace/pipe")
    with pytest.raises(TaskFormatError, match="'pipe' is neither"):
        materialise(load_task(folder), store)
    (folder / "task.toml").write_text("[source]\nremove = ['pipe']")
    assert tree(materialise(load_task(folder), store).workspace) == {"a"}


def test_a_hidden_glob_that_hides_nothing_is_refused(make_task, store: Store) -> None:
    folder = make_task("[source]\nhidden = ['test']", {"workspace/tests/a": ""})
    with pytest.raises(TaskFormatError, match=r"source\.hidden: 'test' matches nothing"):
        materialise(load_task(folder), store)


def test_odd_names(make_task, store: Store) -> None:
    folder = make_task("[source]\nhidden = ['*.h']", {"workspace/a": ""})
    for name in (b"\xff\xfe", b"new\nline", b"\xff.h", "ü".encode()):
        Path(os.fsdecode(os.fsencode(folder / "workspace") + b"/" + name)).touch()
    made = materialise(load_task(folder), store)
    assert made.file_count == 4 and len(tree(made.hidden)) == 1


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, list[str]]:
    """Two commits; attributes that ask for a filter."""
    where = tmp_path / "repo"
    where.mkdir()
    git(where, "init", "--quiet", "--initial-branch=x")
    commits = []
    for number in (1, 2):
        (where / "a.txt").write_text(f"{number}\n")
        (where / ".gitattributes").write_text("*.txt filter=evil\n")
        git(where, "add", ".")
        git(where, "commit", "--quiet", "-m", str(number))
        commits.append(git(where, "rev-parse", "HEAD").strip())
    return where, commits


def test_a_git_commit(make_task, store: Store, repository: tuple[Path, list[str]]) -> None:
    where, commits = repository
    for url in (str(where), where.as_uri(), "../../repo"):
        folder = make_task(f"[source]\ngit = '{url}'\ncommit = '{commits[0]}'")
        made = materialise(load_task(folder), Store(store.root / url.replace("/", "_")))
        assert tree(made.workspace) == {"a.txt", ".gitattributes"}
        assert (made.workspace / "a.txt").read_text() == "1\n"
        assert git(made.workspace, "rev-list", "--all", "--count") == "1\n"


def test_the_users_git_settings_have_no_say(
    make_task, store: Store, repository: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """Filters, hooks and a GIT_DIR in the environment neither run nor leak in."""
    where, commits = repository
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    for hook in ("reference-transaction", "post-checkout", "pre-commit", "post-index-change"):
        (home / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {home}/ran\n")
        (home / "hooks" / hook).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\nhooksPath = {home}/hooks\nautocrlf = true\n[commit]\ngpgSign = true\n"
        f'[filter "evil"]\nsmudge = touch {home}/ran; cat\nclean = touch {home}/ran; cat\n'
        "[safe]\ndirectory = *\n"
    )
    folder = make_task(f"[source]\ngit = '{where}'\ncommit = '{commits[1]}'")
    code = (
        "import sys\nfrom pathlib import Path\nfrom repodrome.tasks.folder import load_task\n"
        "from repodrome.tasks.source import materialise\nfrom repodrome.tasks.store import Store\n"
        "print(materialise(load_task(Path(sys.argv[1])), Store(Path(sys.argv[2]))).workspace)"
    )
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GIT_DIR": str(where / ".git"),
        "GIT_INDEX_FILE": str(where / ".git/index"),
        "GIT_WORK_TREE": str(where),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    argv = [sys.executable, "-c", code, str(folder), str(store.root)]
    workspace = Path(subprocess.check_output(argv, text=True, env=env).strip())
    assert (workspace / "a.txt").read_bytes() == b"2\n"
    assert not (home / "ran").exists()
    assert (
        git(where, "status", "--porcelain") == ""
        and git(where, "rev-parse", "HEAD").strip() == commits[1]
    )


def test_git_faults(make_task, store: Store, repository: tuple[Path, list[str]]) -> None:
    where, commits = repository
    missing = make_task(f"[source]\ngit = '{where}'\ncommit = '{'0' * 39}1'")
    with pytest.raises((SetupError, UsageError), match="0001"):
        materialise(load_task(missing), store)
    nowhere = make_task(f"[source]\ngit = '{where}x'\ncommit = '{commits[0]}'", name="two")
    with pytest.raises(SetupError, match="check the address"):
        materialise(load_task(nowhere), store)
    helper = make_task(f"[source]\ngit = 'ext::sh -c true'\ncommit = '{commits[0]}'", name="three")
    with pytest.raises(UsageError, match="ext::"):
        materialise(load_task(helper), store)
    assert store.usage()["staging"].entries == 0
