"""Linters on bytes, and the tool that shows what they find."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from repodrome.errors import UnknownNameError, UsageError
from repodrome.tools.lints import (
    Diagnostic,
    Linter,
    RuffLinter,
    SourceFile,
    get_linter,
    lint,
    linter_names,
)
from repodrome.tools.read_lints import ReadLints
from repodrome.tools.toolbox import Toolbox
from tests.tools.conftest import Desk

pytestmark = pytest.mark.anyio


async def test_ruff_finds_problems_by_path_and_place() -> None:
    files = [
        SourceFile("b/odd\nname.py", b"import os\nx = undefined\n"),
        SourceFile("a.py", b"def f(:\n"),
        SourceFile("a/__init__.py", b"from os import path\n"),
        SourceFile("good.py", b"x = 1\n"),
    ]
    found = await RuffLinter().lint(files)
    assert [(d.path, d.line, d.column, d.code) for d in found] == [
        ("a.py", 1, 7, ""),
        ("a.py", 2, 1, ""),
        ("a/__init__.py", 1, 16, "F401"),
        ("b/odd\nname.py", 1, 8, "F401"),
        ("b/odd\nname.py", 2, 5, "F821"),
    ]
    assert found == await RuffLinter().lint(list(reversed(files)))
    assert isinstance(RuffLinter(), Linter) and await RuffLinter().lint([]) == []


async def test_ruff_obeys_its_own_settings_and_nobody_elses() -> None:
    file = SourceFile("a.py", b"import os  # noqa\nimport sys\n")
    assert [d.line for d in await RuffLinter().lint([file])] == [2]
    strict = RuffLinter(suppressions=False)
    assert [d.line for d in await strict.lint([file])] == [1, 2]
    assert await RuffLinter(ignore=("F401",)).lint([file]) == []
    config = SourceFile("pyproject.toml", b"[tool.ruff.lint]\nselect = []\n")
    assert len(await lint([config, file], [RuffLinter()])) == 1
    with pytest.raises(UsageError, match="ZZ9"):
        await RuffLinter(select=("ZZ9",)).lint([file])


async def test_hostile_files_are_findings() -> None:
    deep = SourceFile("deep.py", b"x = " + b"[" * 100_000 + b"]" * 100_000)
    many = SourceFile("many.py", b"a;" * 100_000)
    files = [deep, many, SourceFile("binary.py", b"\xff\0x = 1"), SourceFile("ok.py", b"y\n")]
    found = await RuffLinter().lint(files)
    assert [d.message for d in found if d.path == "deep.py"] == ["ruff can't cope with this file"]
    assert [d.code for d in found if d.path == "binary.py"] == ["E902"]
    assert [d.code for d in found if d.path == "ok.py"] == ["F821"]
    assert 1000 < sum(d.path == "many.py" for d in found) < 100_000
    slow = await RuffLinter(timeout=1e-4).lint([SourceFile("a.py", b"x = 1\n")])
    assert [d.message for d in slow] == ["ruff can't cope with this file"]


class Shouting:
    """A third party's linter."""

    name = "shouting"
    suffixes = (".txt",)

    async def lint(self, files: Sequence[SourceFile]) -> list[Diagnostic]:
        return [Diagnostic(f.path, 1, 1, 1, "LOUD", "shouts\x1b", "shouting")
                for f in files if f.data.isupper()]  # fmt: skip


def test_linters_come_by_name(tmp_path: Path) -> None:
    assert linter_names() == ["ruff"] and isinstance(get_linter("ruff"), RuffLinter)
    with pytest.raises(UnknownNameError, match="did you mean 'ruff'"):
        get_linter("ruf")
    info = tmp_path / "loud-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(
        "[repodrome.linter]\nloud = tests.tools.test_lints:Shouting\nbad = json:dumps\n"
    )
    (info / "METADATA").write_text("Name: loud\nVersion: 1\n")
    sys.path.insert(0, str(tmp_path))
    try:
        assert linter_names() == ["bad", "loud", "ruff"]
        assert get_linter("loud").suffixes == (".txt",)
        with pytest.raises((UsageError, TypeError)):
            get_linter("bad")
    finally:
        sys.path.remove(str(tmp_path))


async def test_by_default_what_was_changed_is_linted(desk: Desk) -> None:
    desk.put("old.py", "import os\n")
    assert "nothing to check" in await desk.ok("read_lints")
    await desk.ok("write_file", path="new.py", content="import re\n")
    desk.put("edited.py", "x = 1\n")
    await desk.ok("edit_file", path="edited.py", old_string="1", new_string="y")
    await desk.ok("write_file", path="gone.py", content="import re\n")
    await desk.ok("delete_file", path="gone.py")
    await desk.ok("write_file", path="notes.txt", content="import re\n")
    outcome = await desk.call("read_lints")
    assert outcome.text.split("\n") == [
        "edited.py:1:5: F821 Undefined name `y`",
        "new.py:1:8: F401 `re` imported but unused",
        "[2 problems in 2 files]",
    ]
    assert outcome.data["codes"] == ["F821", "F401"]
    # With a repository, also what commands have changed.
    git = "git -c user.name=a -c user.email=a@b"
    await desk.ok("terminal", command=f"{git} init -q; {git} add old.py; {git} commit -qm x")
    await desk.ok("terminal", command="echo 'import sys' >> old.py; echo 'z' > 'by hand.py'")
    text = await desk.ok("read_lints")
    assert "old.py:2:8: F401" in text and "by hand.py:1:1: F821" in text


async def test_paths_may_be_files_and_directories(desk: Desk) -> None:
    desk.put("src/a.py", "import os\n")
    desk.put("src/b.js", "x")
    desk.put("src/big.py", "x = 1\n" * 300_000)
    desk.put(".repodrome/x.py", "import os\n")
    desk.put("ok.py", "x = 1\n")
    assert await desk.ok("read_lints", paths=["ok.py"]) == "[no problems in 1 file]"
    text = await desk.ok("read_lints", paths=["src"])
    assert "src/a.py:1:8: F401" in text and "src/big.py is larger than 1 MiB" in text
    assert "[1 problem in 2 files" in await desk.ok("read_lints", paths=["."])
    assert ".py, .pyi" in await desk.fails("no_linter", "read_lints", paths=["src/b.js"])
    assert "Nearest in src" in await desk.fails("not_found", "read_lints", paths=["src/c.py"])
    await desk.fails("escape", "read_lints", paths=["/etc"])
    await desk.fails("invalid_arguments", "read_lints", paths=["\ud800.py"])


def test_wrong_settings_are_refused_when_the_toolbox_is_built() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ruff'"):
        Toolbox.build(config={"read_lints": {"linters": ["ruf"]}})
    with pytest.raises(UsageError, match="no rule"):
        Toolbox.build(config={"read_lints": {"select": ["f401"]}})


async def test_too_many_paths_are_refused_and_repeats_are_not(desk: Desk) -> None:
    desk.put("a.py", "x = 1\n")
    assert "in 1 file" in await desk.ok("read_lints", paths=["a.py", "./a.py"] * 1000)
    paths = [f"{number}.py" for number in range(201)]
    text = await desk.fails("invalid_arguments", "read_lints", paths=paths)
    assert "name directories" in text


async def test_findings_and_files_are_capped(desk: Desk) -> None:
    desk.toolbox = Toolbox([ReadLints(max_problems=2, max_files=2)])
    for number in range(3):
        desk.put(f"{number}.py", "import os, re\n")
    outcome = await desk.call("read_lints", paths=["."])
    assert outcome.truncated
    assert outcome.text.endswith(
        "[6 problems in 2 files; 1 more file not checked; name what you want; "
        "4 more problems not shown]"
    )
