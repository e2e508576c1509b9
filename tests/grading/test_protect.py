"""Which paths of a change are brought over."""

from __future__ import annotations

from pathlib import Path

import pytest

from repodrome.envs.grading.protect import plan
from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.tasks.model import VerifierSpec

HIDDEN = ("tests/test_a.py", "src/pkg/test_in.py", "checks/deep/test_b.py", "checks/helpers.py")
SPEC = VerifierSpec(python_path=("src", "checks"))


def kept(pristine: Path, path: str, *, kind: str = "added", spec: VerifierSpec = SPEC) -> bool:
    file = ChangedFile(path, kind, b"x" if kind != "deleted" else None)  # type: ignore[arg-type]
    made = plan(Change((file,)), spec, occupied=HIDDEN, pristine=pristine)
    assert (path in made.dropped) != (path in {*made.delete, *(f.path for f in made.write)})
    return path not in made.dropped


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_a.py",
        "tests/new.py",
        "src/pkg/tests/new.py",
        "src/pkg/test_in.py",
        "tests",
        "checks",
        "checks/deep",
        "checks/deep/test_b.py",
        "checks/deep/test_b.py/x",
        "checks/helpers/__init__.py",
        "checks/deep.py",
        "src/deep/__init__.py",
        "src/pkg.py",
        "conftest.py",
        "src/conftest.py",
        "pytest.ini",
        "pyproject.toml",
        ".repodrome/terminal/1.txt",
        "src/__pycache__/a.pyc",
        "src/a.pyc",
        "x.pth",
        "src/sitecustomize.py",
        "a-1.0.dist-info/entry_points.txt",
        ".git/config",
        ".git",
        "sub/.git/hooks/pre-commit",
        ".github/workflows/a.yml",
        ".venv/lib/a.py",
        "src/helpers.py",
        "src/helpers/__init__.py",
        "src/helpers.cpython-311-x86_64-linux-gnu.so",
        "../x",
        "/etc/passwd",
        "a//b",
        "./a",
        "a/./b",
        "a\0b",
        "",
    ],
)
def test_dropped(path: str, tmp_path: Path) -> None:
    assert not kept(tmp_path, path)


@pytest.mark.parametrize(
    "path",
    [
        "src/pkg/a.py",
        "README.md",
        "src/testing_tools.py",
        "src/pkg/test_utils.py",
        "a\nb",
        "café.py",
        "uv.lock",
        "src/pkg/env/__init__.py",
        ".gitignore",
        "src/helper.py",
        "\udcff.py",
    ],
)
def test_brought_over(path: str, tmp_path: Path) -> None:
    assert kept(tmp_path, path)


def test_allow_and_protected_are_the_tasks_say(tmp_path: Path) -> None:
    spec = VerifierSpec(allow=("pyproject.toml",), protected=("src/vendor",))
    assert kept(tmp_path, "pyproject.toml", spec=spec)
    assert not kept(tmp_path, "src/vendor/a.py", spec=spec)
    everything = VerifierSpec(allow=("**",))
    assert kept(tmp_path, "conftest.py", spec=everything)
    for path in (".git/config", "src/a.pyc", "tests/test_a.py", "checks"):
        assert not kept(tmp_path, path, spec=everything)


def test_never_through_a_link_of_pristine(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "way").symlink_to("tests")
    (tmp_path / "file.py").symlink_to("tests/a.py")
    assert not kept(tmp_path, "way/new.py")
    both = Change((ChangedFile("way", "deleted"), ChangedFile("way/new.py", "added", b"x")))
    made = plan(both, SPEC, occupied=HIDDEN, pristine=tmp_path)
    assert made.delete == ("way",)
    # A link that became a file is replaced, not written through.
    file = Change((ChangedFile("file.py", "modified", b"x"),))
    made = plan(file, SPEC, occupied=HIDDEN, pristine=tmp_path)
    assert made.delete == ("file.py",)
    assert [f.path for f in made.write] == ["file.py"]


def test_a_directory_that_became_a_file(tmp_path: Path) -> None:
    change = Change(
        (
            ChangedFile("pkg", "added", b"x"),
            ChangedFile("pkg/sub/a.py", "deleted"),
            ChangedFile("pkg/b.py", "deleted"),
        )
    )
    made = plan(change, SPEC, occupied=HIDDEN, pristine=tmp_path)
    assert made.delete == ("pkg/sub/a.py", "pkg/b.py", "pkg/sub", "pkg")


def test_what_was_refused_stays_away(tmp_path: Path) -> None:
    made = plan(
        Change((ChangedFile("src/a.py", "refused", note="a FIFO"),)),
        SPEC,
        occupied=HIDDEN,
        pristine=tmp_path,
    )
    assert made.dropped == ("src/a.py",)


def test_mutants_take_only_the_agents_tests(tmp_path: Path) -> None:
    spec = VerifierSpec(kind="mutants", agent_tests=("tests/**",))
    assert kept(tmp_path, "tests/test_new.py", spec=spec)
    assert not kept(tmp_path, "src/a.py", spec=spec)
