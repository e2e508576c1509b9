"""Whatever difflib writes as a unified diff applies to give just what it was made from."""

from __future__ import annotations

import difflib

from hypothesis import given, settings
from hypothesis import strategies as st

from repodrome.errors import ToolError
from repodrome.tools.patch_apply import patched
from repodrome.tools.patch_format import parse_patch

LINES = st.lists(
    st.sampled_from(["a", "b", "", "    x", "-- q", "++ r", "--- a/x", "+++ b/x", "@@ -1 +1 @@"]),
    max_size=25,
)


def diff(old: list[str], new: list[str], context: int) -> str:
    rows = difflib.unified_diff(old, new, "a/f", "b/f", lineterm="", n=context)
    return "\n".join(rows) + "\n"


@settings(max_examples=200, deadline=None)
@given(LINES, LINES, st.integers(0, 3))
def test_a_diff_gives_back_the_new_text(old: list[str], new: list[str], context: int) -> None:
    if old == new:
        return
    (change,) = parse_patch(diff(old, new, context))
    text = "".join(f"{line}\n" for line in old)
    assert patched(change, text) == "".join(f"{line}\n" for line in new)


@settings(max_examples=200, deadline=None)
@given(
    st.text("ab-+@ *\n\\\t", max_size=200), st.sampled_from(["", "--- a/f\n+++ b/f\n@@ -1 +1 @@\n"])
)
def test_no_text_breaks_the_reader(text: str, start: str) -> None:
    for patch in (start + text, f"*** Begin Patch\n*** Update File: f\n{text}\n*** End Patch"):
        try:
            for change in parse_patch(patch):
                patched(change, "a\nb\n")
        except ToolError:
            pass
