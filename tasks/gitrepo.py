"""What repodrome does with git: fetch one commit's tree, and make the workspace a repository.

Git is run with our own directories, index and configuration, so that neither the user's hooks,
filters and templates nor a ``GIT_DIR`` in the environment have a say in what comes out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from repodrome.errors import SetupError, UsageError

if TYPE_CHECKING:
    from git.cmd import Git

BRANCH = "main"
# All trees are dated alike, so that equal tasks give equal trees, and long ago, so that no change
# of an agent falls into the same second.
FILE_TIME = 1_577_836_800  # 2020-01-01T00:00:00Z
# Git trusts an index entry only if the index is younger than the file.
GIT_TIME = FILE_TIME + 86_400
_AUTHOR = {"NAME": "repodrome", "EMAIL": "repodrome@localhost", "DATE": f"{FILE_TIME} +0000"}
_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = false
\tcheckStat = minimal
\ttrustctime = false
\tpreloadindex = true
[gc]
\tauto = 0
[maintenance]
\tauto = false
[user]
\tname = agent
\temail = agent@localhost
"""
# What running Python leaves behind is nobody's work, whether or not the project ignores it.
_EXCLUDE = "__pycache__/\n*.py[co]\n.pytest_cache/\n.mypy_cache/\n.ruff_cache/\n"


def fetch_tree(url: str, commit: str, target: Path, scratch: Path) -> None:
    """Write the tree of one commit into ``target``; no history, no submodules, no links followed.

    The transport uses the user's own configuration (credentials, proxies, certificates); writing
    the files uses none, so that no filter or hook runs.

    Args:
        url: a URL or the path of a repository.
        commit: a full SHA.
        target: an empty directory.
        scratch: where the repository may lie meanwhile; the caller removes it.

    Raises:
        UsageError: the commit isn't there.
        SetupError: the repository could not be reached.
    """
    from git.cmd import Git
    from git.exc import GitCommandError, UnsafeProtocolError

    try:
        Git.check_unsafe_protocols(url)
    except UnsafeProtocolError as exc:
        raise UsageError(f"git source {url!r}: {exc}") from None
    bare = scratch / "fetched.git"
    _plain_repository(bare)
    transport = _git(bare, scratch, clean=False)
    options = ["-c", "core.hooksPath=/dev/null", "-c", "fetch.recurseSubmodules=false"]
    fetch = [*options, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head"]
    try:
        _call(transport, [*fetch, "--depth=1", "--", url, commit])
    except GitCommandError as first:
        # Some servers hand out no commit by its id: then take all branches and tags.
        try:
            _call(transport, [*fetch, "--", url, "+refs/*:refs/fetched/*"])
        except GitCommandError as second:
            raise SetupError(
                f"can't fetch {commit} from {url}: check the address and that git can reach it",
                log_tail=f"{first.stderr}\n{second.stderr}"[-2000:],
            ) from None
    clean = _git(bare, target, clean=True)
    try:
        _call(clean, ["read-tree", f"{commit}^{{tree}}"])
    except GitCommandError as exc:
        raise UsageError(
            f"{url} has no commit {commit}: give the full id of one that was pushed "
            f"({str(exc.stderr).strip()[-200:]})"
        ) from None
    _call(clean, ["checkout-index", "--all", "--quiet"])


def make_repository(workspace: Path) -> None:
    """Make a directory a git repository with a single commit of every file, on ``main``.

    Call it once the files have their final content, modes and times: the index remembers them, so
    that ``git status`` need not read a file.

    Raises:
        SetupError: git failed.
    """
    from git.exc import GitCommandError

    directory = workspace / ".git"
    _plain_repository(directory)
    (directory / "config").write_text(_CONFIG)
    (directory / "info" / "exclude").write_text(_EXCLUDE)
    git = _git(directory, workspace, clean=True)
    try:
        _call(git, ["add", "--all", "--force", "."])
        tree = _call(git, ["write-tree"])
        commit = _call(git, ["commit-tree", tree, "-m", "Initial commit"])
        _call(git, ["update-ref", f"refs/heads/{BRANCH}", commit])
    except GitCommandError as exc:
        raise SetupError("git could not record the workspace", log_tail=str(exc.stderr)) from None


def tracked_files(repository: Path) -> list[str] | None:
    """The files that git tracks below a directory, in the worktree's state; None: no repository.

    Raises:
        UsageError: it is a repository that git refuses to read; git's advice is in the message.
    """
    from git.cmd import Git
    from git.exc import GitCommandError

    git = Git(repository)
    git.update_environment(GIT_OPTIONAL_LOCKS="0")
    try:
        listing = git.execute(
            ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached"],
            stdout_as_string=False,
        )
    except GitCommandError as error:
        if any((folder / ".git").exists() for folder in (repository, *repository.parents)):
            # Without git's answer untracked files, secrets perhaps, would come along.
            said = str(error.stderr).strip().removeprefix("stderr: ").strip("'\n ")
            raise UsageError(f"git can't list the files of {repository}: {said}") from error
        return None
    assert isinstance(listing, bytes)
    names = {os.fsdecode(name) for name in listing.split(b"\0") if name}
    # A link counts wherever it leads; a submodule is a directory, and is left out.
    return sorted(
        name for name in names if (repository / name).is_symlink() or (repository / name).is_file()
    )


def _plain_repository(directory: Path) -> None:
    """What ``git init`` makes, without its templates."""
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        (directory / name).mkdir(parents=True)
    (directory / "HEAD").write_text(f"ref: refs/heads/{BRANCH}\n")
    (directory / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n")


def _git(directory: Path, worktree: Path, *, clean: bool) -> Git:
    """A git that works on just these directories, whatever the environment says."""
    from git.cmd import Git

    environment = {
        "GIT_DIR": str(directory),
        "GIT_WORK_TREE": str(worktree),
        "GIT_INDEX_FILE": str(directory / "index"),
        "GIT_OBJECT_DIRECTORY": str(directory / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_COMMON_DIR": str(directory),
        "GIT_NAMESPACE": "",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        **{f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in _AUTHOR.items()},
    }
    if clean:
        environment |= {
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_COUNT": "0",
            "GIT_CONFIG_PARAMETERS": "",
            "GIT_ATTR_NOSYSTEM": "1",
            "XDG_CONFIG_HOME": os.devnull,
        }
    git = Git(worktree)
    git.update_environment(**environment)
    return git


def _call(git: Git, arguments: list[str]) -> str:
    output = git.execute(["git", *arguments])
    assert isinstance(output, str)
    return output
