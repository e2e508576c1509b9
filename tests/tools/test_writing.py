"""edit_file, write_file, delete_file and apply_patch."""

from __future__ import annotations

import os
import time

import anyio
import pytest

from tests.tools.conftest import Desk

pytestmark = pytest.mark.anyio


async def test_edit_replaces_one_place_and_shows_it(desk: Desk) -> None:
    file = desk.put("a.py", "def f():\n    return 1\n\ndef g():\n    return 2\n")
    outcome = await desk.call(
        "edit_file", path="a.py", old_string="return 2", new_string="return 3"
    )
    assert file.read_text() == "def f():\n    return 1\n\ndef g():\n    return 3\n"
    assert "     5\t    return 3" in outcome.text
    assert outcome.data == {"path": "a.py", "replacements": 1, "first_line": 5}


async def test_edit_refusals_name_the_fix(desk: Desk) -> None:
    desk.put("a.py", "def f(x):\n    return x + 1\n\n\ndef g(x):\n    return x + 1\n")

    async def fails(code: str, old: str, new: str = "new") -> str:
        return await desk.fails(code, "edit_file", path="a.py", old_string=old, new_string=new)

    assert "2 times (lines 2, 6)" in await fails("not_unique", "    return x + 1")
    assert "same" in await fails("no_change", "x", "x")
    assert "write_file" in await fails("invalid_arguments", "")
    assert "other whitespace:\n     2\t    return x + 1" in await fails(
        "no_match", "\treturn x + 1"
    )
    text = await fails("no_match", "def g(x):\n    return x + 2\n")
    assert "line 2 of what you gave is the first that differs" in text
    assert "     6\t    return x + 1" in text
    assert "Nearest lines in the file:" in await fails("no_match", "    return (x + 1)")
    assert "line numbers" in await fails("no_match", "     2\t    return x + 1")
    assert "Nothing in the file is alike" in await fails("no_match", "zzz")
    assert "write_file" in await desk.fails(
        "not_found", "edit_file", path="b.py", old_string="a", new_string="b"
    )
    assert await desk.ok(
        "edit_file", path="a.py", old_string="x + 1", new_string="x", replace_all=True
    )


async def test_edit_keeps_line_endings_bom_and_bytes(desk: Desk) -> None:
    file = desk.put("a.txt", b"\xef\xbb\xbfone\r\ntwo\r\n\xff\xfe\r\nlast")
    await desk.ok("edit_file", path="a.txt", old_string="one\ntwo", new_string="1\n2\n3")
    assert file.read_bytes() == b"\xef\xbb\xbf1\r\n2\r\n3\r\n\xff\xfe\r\nlast"
    mixed = desk.put("b.txt", b"a\r\nb\r\nc\nd\n")
    await desk.ok("edit_file", path="b.txt", old_string="a\nb", new_string="x\ny")
    await desk.ok("edit_file", path="b.txt", old_string="c\nd", new_string="z\nd")
    assert mixed.read_bytes() == b"x\r\ny\r\nz\nd\n"
    unix = desk.put("c.txt", b"a\nb\n")
    await desk.ok("edit_file", path="c.txt", old_string="a\r\nb", new_string="a\r\nc")
    assert unix.read_bytes() == b"a\nc\n"


async def test_a_missing_string_in_a_huge_file_is_answered_quickly(desk: Desk) -> None:
    desk.put("big.txt", "some words in a line that go on\n" * 100_000)
    started = time.perf_counter()
    text = await desk.fails(
        "no_match", "edit_file", path="big.txt", old_string="some words go\n" * 50, new_string=""
    )
    assert time.perf_counter() - started < 5
    assert len(text) < 5000
    desk.put("huge", b"x" * (5 << 20))
    await desk.fails("too_large", "edit_file", path="huge", old_string="y", new_string="")


async def test_replacements_that_would_fill_memory_are_refused(desk: Desk) -> None:
    file = desk.put("a.txt", "x" * 1_000_000)
    arguments = {"path": "a.txt", "old_string": "x", "new_string": "y" * 1_000_000}
    assert "1,000,000 replacements" in await desk.fails(
        "too_large", "edit_file", **arguments, replace_all=True
    )
    assert file.read_text() == "x" * 1_000_000


async def test_overwriting_needs_a_read_that_is_still_true(desk: Desk) -> None:
    file = desk.put("a.txt", "old\n")
    await desk.fails("not_read", "write_file", path="a.txt", content="new\n")
    await desk.ok("read_file", path="./a.txt")
    file.write_text("changed behind its back\n")
    await desk.fails("stale", "write_file", path="a.txt", content="new\n")
    # An edit of what is there is fine, but shows too little to overwrite the rest.
    text = await desk.ok("edit_file", path="a.txt", old_string="back", new_string="front")
    assert "had changed" in text
    await desk.fails("stale", "write_file", path="a.txt", content="new\n")
    await desk.ok("read_file", path="a.txt")
    await desk.ok("write_file", path=f"{desk.workspace.root}/a.txt", content="new\n")
    await desk.ok("edit_file", path="a.txt", old_string="new", new_string="newer")
    assert "replaced" in await desk.ok("write_file", path="a.txt", content="newest\n")
    assert "unchanged" in await desk.ok("write_file", path="a.txt", content="newest\n")


async def test_write_makes_parents_and_writes_exactly(desk: Desk) -> None:
    outcome = await desk.call("write_file", path="x/y/z.txt", content="caf\u00e9\r\nno end")
    assert (desk.path / "x/y/z.txt").read_bytes() == "caf\u00e9\r\nno end".encode()
    assert outcome.data == {"path": "x/y/z.txt", "created": True, "bytes": 13, "lines": 2}
    await desk.fails("not_directory", "write_file", path="x/y/z.txt/w", content="")
    desk.workspace.full_after = 0
    await desk.fails("disk_full", "write_file", path="full.txt", content="x")


async def test_delete(desk: Desk) -> None:
    desk.put("d/a.txt", "x")
    (desk.path / "link").symlink_to("/etc/hostname")
    (desk.path / "empty").mkdir()
    assert "delete those first" in await desk.fails("not_empty", "delete_file", path="d")
    for path in ("d/a.txt", "link", "empty", "d"):
        await desk.ok("delete_file", path=path)
    assert os.listdir(desk.path) == []
    await desk.fails("not_found", "delete_file", path="d/a.txt")
    await desk.fails("bad_path", "delete_file", path=desk.workspace.root)
    await desk.fails("escape", "delete_file", path="../x")


GIT = """diff --git a/a.py b/a.py
index 1..2 100644
--- a/a.py
+++ b/a.py
@@ -1,3 +1,3 @@ header
 one
-two
+2
 three
diff --git a/new.sh b/new.sh
new file mode 100755
--- /dev/null
+++ b/new.sh
@@ -0,0 +1,2 @@
+#!/bin/sh
+echo hi
diff --git a/gone.txt b/gone.txt
deleted file mode 100644
--- a/gone.txt
+++ /dev/null
@@ -1 +0,0 @@
-bye
\\ No newline at end of file
diff --git a/from.txt b/to.txt
similarity index 100%
rename from from.txt
rename to to.txt
"""

ENVELOPE = """*** Begin Patch
*** Update File: a.py
@@
 one
-two
+2
*** Add File: new.sh
+#!/bin/sh
+echo hi
*** Delete File: gone.txt
*** Update File: from.txt
*** Move to: to.txt
@@
-moved
+moved
*** End Patch
"""


@pytest.mark.parametrize("patch", [GIT, ENVELOPE, f"```\n{GIT}```\n", f"cat <<E\n{ENVELOPE}E\n"])
async def test_both_forms_do_the_same(desk: Desk, patch: str) -> None:
    desk.put("a.py", "one\ntwo\nthree\n")
    desk.put("gone.txt", "bye")
    desk.put("from.txt", "moved\n")
    outcome = await desk.call("apply_patch", patch=patch)
    assert outcome.error_code == "", outcome.text
    found = {path.name: path.read_text() for path in desk.path.iterdir()}
    assert found == {
        "a.py": "one\n2\nthree\n",
        "new.sh": "#!/bin/sh\necho hi\n",
        "to.txt": "moved\n",
    }
    if patch is GIT:
        assert os.access(desk.path / "new.sh", os.X_OK)
    assert sorted(outcome.data["paths"]) == ["a.py", "from.txt", "gone.txt", "new.sh", "to.txt"]
    assert outcome.text.startswith("changed a.py\nadded new.sh\ndeleted gone.txt\nmoved from.txt")


async def test_moved_lines_and_wrong_counts_still_apply(desk: Desk) -> None:
    body = "".join(f"line {n}\n" for n in range(100))
    file = desk.put("a.txt", "# new top\n" * 5 + body + body)
    patch = (
        "--- a/a.txt\n+++ b/a.txt\n@@ -11,9 +11,9 @@\n line 10\n-line 11\n+LINE 11\n line 12\n\n"
        "@@ -152,3 +152,3 @@\n line 51\n-line 52\n+LINE 52\n line 53\n"
    )
    await desk.fails("no_match", "apply_patch", patch=patch)  # a blank context line isn't there
    await desk.ok("apply_patch", patch=patch.replace("12\n\n", "12\n"))
    lines = file.read_text().split("\n")
    assert [n for n, line in enumerate(lines) if line.startswith("LINE")] == [16, 157]


async def test_patch_keeps_crlf_and_the_lack_of_a_last_newline(desk: Desk) -> None:
    file = desk.put("a.txt", b"a\r\nb\r\n\xff\r\nc")
    await desk.ok("apply_patch", patch="--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n a\n-b\n+B\n")
    assert file.read_bytes() == b"a\r\nB\r\n\xff\r\nc"
    await desk.ok(
        "apply_patch",
        patch="--- a/a.txt\n+++ b/a.txt\n@@ -4 +4,2 @@\n-c\n\\ No newline at end of file\n+c\n+d\n",
    )
    assert file.read_bytes() == b"a\r\nB\r\n\xff\r\nc\r\nd\r\n"
    await desk.ok(
        "apply_patch",
        patch="--- a/a.txt\n+++ b/a.txt\n@@ -5 +5 @@\n-d\n+e\n\\ No newline at end of file\n",
    )
    assert file.read_bytes() == b"a\r\nB\r\n\xff\r\nc\r\ne"


async def test_anchors_choose_among_equal_places(desk: Desk) -> None:
    body = "    def f(self):\n        return 1\n"
    text = f"class A:\n{body}\nclass B:\n{body}"
    file = desk.put("a.py", text)
    hunk = "-        return 1\n+        return 2\n*** End Patch"
    start = "*** Begin Patch\n*** Update File: a.py\n"
    error = await desk.fails("not_unique", "apply_patch", patch=f"{start}@@\n{hunk}")
    assert "lines 3, 7" in error
    await desk.ok("apply_patch", patch=f"{start}@@ class B:\n@@     def f(self):\n{hunk}")
    assert file.read_text() == text[:-2] + "2\n"


async def test_a_patch_applies_wholly_or_not_at_all(desk: Desk) -> None:
    desk.put("a.txt", "a\n")
    desk.put("b.txt", "b\nbb\n")
    desk.put("c.txt", "c\n")

    def state() -> dict[str, str]:
        return {p.name: p.read_text() for p in desk.path.iterdir()}

    before = state()
    good = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-a\n+A\n"
    bad = "--- a/b.txt\n+++ b/b.txt\n@@ -1,2 +1,2 @@\n b\n-bx\n+BB\n"
    error = await desk.fails("no_match", "apply_patch", patch=good + bad)
    assert "b.txt, hunk 1 (@@ -1,2 +1,2 @@)" in error
    assert "     2\tbb" in error
    assert "Nothing was changed." in error
    assert state() == before
    # The disk fills up at the third write: what was written is put back.
    new = "--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+n\n"
    gone = "--- a/c.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-c\n"
    last = "--- a/b.txt\n+++ b/b.txt\n@@ -1 +1 @@\n-b\n+B\n"
    desk.workspace.full_after = 2
    error = await desk.fails("disk_full", "apply_patch", patch=good + gone + new + last)
    assert "Nothing was changed" in error
    assert state() == before
    desk.workspace.full_after = None
    await desk.ok("apply_patch", patch=good + gone + new + last)
    assert state() == {"a.txt": "A\n", "b.txt": "B\nbb\n", "new.txt": "n\n"}


async def test_patch_refusals(desk: Desk) -> None:
    desk.put("a.txt", "a\n")
    desk.put("d/x", "x\n")
    (desk.path / "link").symlink_to("a.txt")
    (desk.path / "out").symlink_to("/etc/hostname")

    def update(path: str) -> str:
        return f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-a\n+b\n"

    cases = {
        "": "bad_patch",
        "hello": "bad_patch",
        "@@ -1 +1 @@\n-a\n+b\n": "bad_patch",
        "*** Begin Patch\n*** Update File: a.txt\n@@\n-a\n+b\n": "bad_patch",
        "*** Begin Patch\nUpdate: a.txt\n*** End Patch": "bad_patch",
        "*** Begin Patch\n*** Update File: a.txt\n@@\nxa\n*** End Patch": "bad_patch",
        "*** Begin Patch\n*** Add File: a.txt\n+x\n*** End Patch": "exists",
        "*** Begin Patch\n*** Update File: d/x\n*** Move to: a.txt\n@@\n-x\n+y\n*** End Patch": (
            "exists"
        ),
        "diff --git a/p b/p\nindex 1..2\nGIT binary patch\n": "bad_patch",
        "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n": "bad_patch",
        update("nope"): "not_found",
        update("link"): "not_regular",
        update("out"): "not_regular",
        update("d"): "is_directory",
        update("../a"): "escape",
        update("/etc/passwd"): "escape",
        "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-a\n+a\n": "no_change",
        "--- a/a.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-z\n": "no_match",
        "--- a/a.txt\n+++ b/a.txt\n@@ -" + "9" * 5000 + " +1 @@\n-z\n": "no_match",
    }
    for patch, code in cases.items():
        await desk.fails(code, "apply_patch", patch=patch)
    assert (desk.path / "a.txt").read_text() == "a\n"


async def test_patch_can_touch_a_file_twice_and_insert(desk: Desk) -> None:
    file = desk.put("a.txt", "1\n2\n3\n")
    patch = (
        "--- a/a.txt\n+++ b/a.txt\n@@ -0,0 +1 @@\n+0\n@@ -3,0 +5 @@\n+4\n"
        "--- a/a.txt\n+++ b/a.txt\n@@ -3 +3 @@\n-2\n+two\n"
    )
    await desk.ok("apply_patch", patch=patch)
    assert file.read_text() == "0\n1\ntwo\n3\n4\n"
    sql = desk.put("q.sql", "-- old\nselect 1;\n")
    patch = "--- a/q.sql\n+++ b/q.sql\n@@ -1,2 +1,2 @@\n--- old\n+++ new\n select 1;\n"
    await desk.ok("apply_patch", patch=patch)
    assert sql.read_text() == "++ new\nselect 1;\n"


async def test_patches_made_to_take_for_ever_are_answered(desk: Desk) -> None:
    blank = "\n" * 1_000_000
    desk.put("blank.txt", blank)
    hunk = "@@\n" + " \n" * 3000 + "-x\n"
    start = "*** Begin Patch\n*** Update File: blank.txt\n"
    with anyio.fail_after(60):
        await desk.fails("no_match", "apply_patch", patch=f"{start}{hunk}*** End Patch\n")
        text = await desk.fails(
            "too_large", "apply_patch", patch=start + "@@ no\n+x\n" * 1000 + "*** End Patch\n"
        )
        assert "several patches" in text
        copies = "".join(
            f"diff --git a/blank.txt b/{n}\ncopy from blank.txt\ncopy to {n}\n" for n in range(99)
        )
        await desk.fails("too_large", "apply_patch", patch=copies)
    assert os.listdir(desk.path) == ["blank.txt"]
    assert (desk.path / "blank.txt").read_text() == blank


async def test_overlapping_context_is_found_where_the_number_says(desk: Desk) -> None:
    file = desk.put("a.txt", "a\nb\na\nb\na\nc\n")
    hunk = "--- a/a.txt\n+++ b/a.txt\n@@ -3,3 +3,3 @@\n a\n-b\n+B\n a\n"
    await desk.ok("apply_patch", patch=hunk)
    assert file.read_text() == "a\nb\na\nB\na\nc\n"
