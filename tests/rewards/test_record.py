"""What is kept beside a change: the old contents, and how large the reference is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repodrome.envs.rewards.lines import MAX_BYTES
from repodrome.envs.rewards.record import read_pristine, reference_lines
from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.tasks.folder import load_task
from repodrome.tasks.source import materialise
from repodrome.tasks.store import Store

OLD = "a = 1\nb = 2\nc = 3\n"
NEW = "a = 1\nb = 4\nc = 3\nd = 5\n"


def test_old_contents_are_read_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    (root / "src").mkdir(parents=True)
    (root / "src/a.py").write_text(OLD)
    (root / "big").write_bytes(b"x" * (MAX_BYTES + 1))
    (root / "b\udcff").write_bytes(b"odd name")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to("../secret")
    (root / "out").symlink_to("..")
    os.mkfifo(root / "fifo")
    paths = ("src/a.py", "big", "b\udcff", "link", "out/secret", "../secret", "/etc/passwd")
    odd = ("src", "fifo", "gone", "nul\0", "src/a.py\0", "\ud800", "")
    change = Change(
        (
            *(ChangedFile(path, "modified", b"") for path in paths),
            *(ChangedFile(path, "deleted") for path in odd),
            ChangedFile("added", "added", b""),
        )
    )
    before = len(os.listdir("/proc/self/fd"))
    assert read_pristine(root, change) == {"src/a.py": OLD.encode(), "b\udcff": b"odd name"}
    assert len(os.listdir("/proc/self/fd")) == before


PATCH = """\
--- a/m.py
+++ b/m.py
@@ -1,3 +1,4 @@
 a = 1
-b = 2
+b = 4
 c = 3
+d = 5
"""
EDITED = '[[source.edits]]\nop = "replace"\npath = "m.py"\nold = "b = 4"\nnew = "b = 2"\n'


@pytest.mark.parametrize(
    ("toml", "files", "lines"),
    [
        ("", {"solution/solution.patch": PATCH, "workspace/m.py": OLD}, 3),
        ("", {"solution/workspace/m.py": NEW, "workspace/m.py": OLD}, 3),
        (EDITED, {"workspace/m.py": NEW}, 2),
        ("", {"solution/solve.sh": "true", "workspace/m.py": OLD}, None),
        ("", {"workspace/m.py": OLD}, None),
    ],
)
def test_the_size_of_the_reference(
    tmp_path: Path, toml: str, files: dict[str, str], lines: int | None
) -> None:
    folder = tmp_path / "task"
    for path, text in {"task.toml": toml, "instruction.md": "Do it.", **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    task = load_task(folder)
    made = materialise(task, Store(tmp_path / "cache"))
    assert reference_lines(task, made) == lines
