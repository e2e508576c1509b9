"""Edits: what they change, what they leave, and what they say when they don't fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from repodrome.errors import TaskFormatError
from repodrome.tasks.edits import apply_edits
from repodrome.tasks.model import Source, SourceEdit, Task


def edited(tmp_path: Path, text: str | bytes, *edits: dict[str, object]) -> bytes:
    """What the edits make of ``a.py``; checks that its original was kept."""
    workspace, reference = tmp_path / "workspace", tmp_path / "reference"
    workspace.mkdir()
    reference.mkdir()
    data = text.encode() if isinstance(text, str) else text
    (workspace / "a.py").write_bytes(data)
    source = Source(edits=tuple(SourceEdit.model_validate({"path": "a.py"} | e) for e in edits))
    task = Task(id="t/t", instruction="x", folder=tmp_path, source=source)
    apply_edits(task, workspace, reference)
    assert (reference / "a.py").read_bytes() == data
    return (workspace / "a.py").read_bytes()


def stub(*symbols: str, **more: object) -> dict[str, object]:
    return {"op": "stub_symbol", "symbols": symbols, **more}


def delete(*symbols: str) -> dict[str, object]:
    return {"op": "delete_symbol", "symbols": symbols}


STUBS = {
    "plain": ("def f(a):\n    return a\n", "def f(a):\n    raise NotImplementedError\n"),
    "one line": ("def f(): return 1\n", "def f():\n    raise NotImplementedError\n"),
    "docstring stays": (
        'def f():\n    """Doc."""\n    # how\n    return 1\n',
        'def f():\n    """Doc."""\n    raise NotImplementedError\n',
    ),
    "only a docstring": (
        'def f():\n    """Doc."""\n',
        'def f():\n    """Doc."""\n    raise NotImplementedError\n',
    ),
    "comments of the body go": (
        "@deco(1)\ndef f(\n    a,\n):\n"
        "    # secret\n\n    @inner\n    def g(): ...\n    return g  # s\n",
        "@deco(1)\ndef f(\n    a,\n):\n    raise NotImplementedError\n",
    ),
    "no newline at the end": ("def f():\n  return 1", "def f():\n  raise NotImplementedError"),
    "CRLF and wide characters": (
        "x = 'é'\r\ndef f(): return 'ü' + x\r\ny = 1\r\n",
        "x = 'é'\r\ndef f():\r\n    raise NotImplementedError\r\ny = 1\r\n",
    ),
    "form feeds don't count as lines": (
        "a = 1\n\x0c\ndef f():\n    return 1\n",
        "a = 1\n\x0c\ndef f():\n    raise NotImplementedError\n",
    ),
    "byte order mark": (
        "\ufeffdef f():\n    return 1\n",
        "\ufeffdef f():\n    raise NotImplementedError\n",
    ),
    "overloads stay": (
        "@overload\ndef f(a: int) -> int: ...\ndef f(a):\n    return a\n",
        "@overload\ndef f(a: int) -> int: ...\ndef f(a):\n    raise NotImplementedError\n",
    ),
    "both branches": (
        "if X:\n    def f(): return 1\nelse:\n    def f(): return 2\n",
        "if X:\n    def f():\n        raise NotImplementedError\n"
        "else:\n    def f():\n        raise NotImplementedError\n",
    ),
}


@pytest.mark.parametrize("case", STUBS.values(), ids=STUBS.keys())
def test_stub(tmp_path: Path, case: tuple[str, str]) -> None:
    assert edited(tmp_path, case[0], stub("f")) == case[1].encode()


def test_stub_without_docstring_and_of_a_class(tmp_path: Path) -> None:
    text = 'class A:\n    """A."""\n    x = 1\n    def f(self):\n        "Doc."\n        return 1\n'
    out = edited(tmp_path, text, stub("A", keep_docstring=False))
    assert out.decode() == (
        'class A:\n    """A."""\n    x = 1\n    def f(self):\n        raise NotImplementedError\n'
    )


DELETES = {
    "with decorators": (
        "a = 1\n\n\n@d\n@e(\n 1)\ndef f():\n    pass\n\n\nb = 2\n",
        "a = 1\n\n\nb = 2\n",
    ),
    "at the end": ("a = 1\n\n\ndef f():\n    pass\n", "a = 1\n"),
    "assignments": ("f: int = 3  # three\nb = 2\n", "b = 2\n"),
    "only member": (
        "try:\n    f = 1\nexcept E:\n    pass\n",
        "try:\n    pass\nexcept E:\n    pass\n",
    ),
}


@pytest.mark.parametrize("case", DELETES.values(), ids=DELETES.keys())
def test_delete_symbol(tmp_path: Path, case: tuple[str, str]) -> None:
    assert edited(tmp_path, case[0], delete("f")) == case[1].encode()


def test_delete_every_member_of_a_class(tmp_path: Path) -> None:
    text = "class A:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, v): ...\n"
    assert edited(tmp_path, text, delete("A.x")) == b"class A:\n    pass\n"


def test_replace_keeps_line_ends_and_the_first_original(tmp_path: Path) -> None:
    out = edited(
        tmp_path,
        b"a\r\nb\r\n\xff\r\n",
        {"op": "replace", "old": "a\nb\n", "new": "c\n"},
        {"op": "replace", "old": "c", "new": "d"},
    )
    assert out == b"d\r\n\xff\r\n"


def test_delete_keeps_a_whole_directory(tmp_path: Path) -> None:
    workspace, reference = tmp_path / "w", tmp_path / "r"
    (workspace / "pkg/deep").mkdir(parents=True)
    (workspace / "pkg/deep/x.bin").write_bytes(b"\0")
    (workspace / "pkg/link").symlink_to("deep/x.bin")
    reference.mkdir()
    source = Source(edits=(SourceEdit(op="delete", path="pkg"),))
    apply_edits(
        Task(id="t/t", instruction="x", folder=tmp_path, source=source), workspace, reference
    )
    assert not (workspace / "pkg").exists()
    assert (reference / "pkg/deep/x.bin").read_bytes() == b"\0"
    assert (reference / "pkg/link").is_symlink()


@pytest.mark.parametrize(
    ("text", "edit", "message"),
    [
        ("class A:\n    def run(self): ...\n", stub("A.rum"), "'A.rum' is not defined.*'A.run'"),
        ("a = 1; b = 2\n", delete("b"), "shares its line"),
        ("a = 1; b = 2\n", delete("a"), "shares its line"),
        ("def (\n", stub("f"), "no UTF-8 Python"),
        ("f = 3\n", stub("f"), "no function or class"),
        ("x\nx\n", {"op": "replace", "old": "x", "new": "y"}, "occurs 2 times"),
        ("x\n", {"op": "replace", "old": "z", "new": "y"}, "occurs 0 times"),
        ("x\n", {"op": "delete", "path": "b.py"}, "no such file"),
        ("x\n", {"op": "replace", "path": "b.py", "old": "z", "new": "y"}, "no such regular"),
    ],
)
def test_an_edit_that_does_not_fit_is_named(
    tmp_path: Path, text: str, edit: dict[str, object], message: str
) -> None:
    with pytest.raises(TaskFormatError, match=message) as caught:
        edited(tmp_path, text, edit)
    assert caught.value.key.startswith(f"source.edits.0 ({edit['op']}") and caught.value.fix
