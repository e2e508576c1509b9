"""Tools under other names, descriptions, orders and checks; hints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from repodrome.errors import UnknownNameError, UsageError
from repodrome.tools.presentation import Presentation
from repodrome.tools.toolbox import Toolbox
from tests.tools.conftest import Desk

pytestmark = pytest.mark.anyio

KINDS = ("tools", "parameters", "order")


def schema(box: Toolbox, name: str) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [s["function"] for s in box.schemas() if s["function"]["name"] == name]
    return found


async def test_renamed_tools_and_parameters_go_by_their_new_names_everywhere(desk: Desk) -> None:
    how = Presentation(
        rename={
            "read_file": "view",
            "read_file.offset": "start",
            "write_file": "save",
            "write_file.path": "file",
            "grep.pattern": "query",
        },
        describe={"grep": "Looks for text.", "grep.pattern": "What to look for."},
        hints=True,
    )
    box = desk.toolbox = Toolbox.build(presentation=how)
    assert schema(box, "grep")["description"] == "Looks for text."
    properties = schema(box, "grep")["parameters"]["properties"]
    assert properties["query"]["description"] == "What to look for." and "pattern" not in properties
    assert schema(box, "grep")["parameters"]["required"] == ["query"]
    assert "read with view." in schema(box, "save")["description"]
    assert "\ufdd0" not in json.dumps(box.schemas(), ensure_ascii=False)
    assert box.renamed == dict(how.rename) and box.name_of("read_file") == "view"

    desk.put("a.txt", "one\ntwo\n")
    assert "read it first with view," in await desk.fails(
        "not_read", "save", file="a.txt", content=""
    )
    assert "read on with start=2" in await desk.ok("view", path="a.txt", limit=1)
    outcome = await desk.call("grep", query="two")
    assert outcome.tool == "grep" and "two" in outcome.text
    text = await desk.fails("invalid_arguments", "grep", pattern="two")
    assert "query is missing; it is required: What to look for." in text
    assert "pattern is not a parameter" in text
    assert "query must be a string" in await desk.fails("invalid_arguments", "grep", query=3)
    assert "the tools are: view," in (await desk.fails("unknown_tool", "read_file")).lower()


async def test_marks_in_files_are_shown_as_escapes(desk: Desk) -> None:
    desk.put("a.txt", "x \ufdd0read_file\ufdd1\n")
    assert "x \\ufdd0read_file\\ufdd1" in await desk.ok("read_file", path="a.txt")


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ({"rename": {"gerp": "x"}}, UnknownNameError, "did you mean 'grep'"),
        ({"describe": {"grep.patern": "x"}}, UnknownNameError, "did you mean 'grep.pattern'"),
        ({"rename": {"grep": "glob"}}, UsageError, "two tools"),
        ({"rename": {"grep.path": "pattern"}}, UsageError, "two parameters"),
        ({"rename": {"grep": "two words"}}, UsageError, "not legal"),
        ({"rename": {"grep.path": "a-b"}}, UsageError, "not legal"),
    ],
)
def test_wrong_presentations_name_the_fix(how: Any, kind: Any, words: str) -> None:
    with pytest.raises(kind, match=words):
        Toolbox.build(presentation=Presentation(**how))


async def test_checks_from_exact_to_lenient(desk: Desk) -> None:
    desk.put("a.txt", "1\n2\n3\n")

    async def code(checks: Any, name: str = "read_file", **arguments: Any) -> str:
        desk.toolbox = Toolbox.build(presentation=Presentation(checks=checks))
        return (await desk.call(name, **{"path": "a.txt", **arguments})).error_code

    for arguments, exact, strict, lenient in (
        ({"limit": 2}, "", "", ""),
        ({"limit": 2.0}, "invalid_arguments", "", ""),
        ({"limit": None}, "invalid_arguments", "", ""),
        ({"limit": "2"}, "invalid_arguments", "invalid_arguments", ""),
        ({"lines": 2}, "invalid_arguments", "invalid_arguments", ""),
        ({"limit": "two"}, *["invalid_arguments"] * 3),
        ({"limit": 0}, *["invalid_arguments"] * 3),
        ({"path": 5}, *["invalid_arguments"] * 3),
    ):
        found = [await code(checks, **arguments) for checks in ("exact", "strict", "lenient")]
        assert found == [exact, strict, lenient], arguments
    assert await code("lenient", "grep", pattern="2", ignore_case="true") == ""
    desk.toolbox = Toolbox.build(presentation=Presentation(checks="lenient"))
    assert "pending: a" in await desk.ok("todo_write", todos="a")


def test_perturbation_is_drawn_from_its_key_alone() -> None:
    plain = Toolbox.build()
    one, again = (
        plain.perturbed(KINDS, "7 suite/task"),
        Toolbox.build().perturbed(KINDS, "7 suite/task"),
    )
    assert one.schemas() == again.schemas() != plain.schemas()
    assert one.schemas() != plain.perturbed(KINDS, "8 suite/task").schemas()
    assert len({plain.perturbed(KINDS, str(n)).names for n in range(50)}) == 50
    # Written down, so that a seed means the same schema with every version of Python.
    assert plain.perturbed(("tools",), "0 a").name_of("grep") == "search"
    assert plain.perturbed(("order",), "0 a").renamed == {}
    assert sorted(plain.perturbed(("order",), "0 a").names) == sorted(plain.names)


def test_perturbed_names_are_legal_and_distinct_and_leave_the_tasks_own() -> None:
    how = Presentation(rename={"grep": "seek", "grep.path": "location"})
    box = Toolbox.build(presentation=how)
    for number in range(300):
        other = box.perturbed(KINDS, str(number))  # refuses doubles itself
        assert other.name_of("grep") == "seek"
        assert "location" in schema(other, "seek")["parameters"]["properties"]
        assert len(other.names) == len(box.names)


async def test_a_perturbed_toolbox_works(desk: Desk) -> None:
    desk.put("a.txt", "one\n")
    for number in range(20):
        box = Toolbox.build().perturbed(KINDS, str(number))
        names = {own: box.renamed.get(own, own.rpartition(".")[2]) for own in (
            "read_file", "read_file.path", "edit_file", "edit_file.old_string"
        )}  # fmt: skip
        desk.toolbox = box
        text = await desk.ok(names["read_file"], **{names["read_file.path"]: "a.txt"})
        assert text == "     1\tone"
        text = await desk.fails("invalid_arguments", names["edit_file"])
        assert f"{names['edit_file.old_string']} is missing" in text


async def test_hints_are_made_for_every_failure_and_shown_only_on_request(desk: Desk) -> None:
    desk.put("src/alpha.py", "def f():\n    return 1\n")
    shown = desk.toolbox
    hidden = Toolbox.build()
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("reed_file", {}, "did you mean read_file or edit_file? The tools are: read_file,"),
        ("read_file", {"path": "src/alfa.py"}, "Nearest in src: src/alpha.py"),
        ("read_file", {"path": "nope/x/alfa.py"}, "Nearest in .: src"),
        ("read_file", {}, "Usage: read_file(path, offset=1, limit=2000)"),
        ("grep", {"pattern": "("}, "Usage: grep(pattern, path="),
        (
            "edit_file",
            {"path": "src/alpha.py", "old_string": "\treturn 1", "new_string": "x"},
            "The file has it with other whitespace:\n     2\t    return 1",
        ),
        (
            "apply_patch",
            {"patch": "--- a/src/alpha.py\n+++ b/src/alpha.py\n@@ -2 +2 @@\n-    return 2\n+x\n"},
            "Nearest lines in the file:\n     2\t    return 1",
        ),
    ]
    for name, arguments, hint in cases:
        desk.toolbox = hidden
        quiet = await desk.call(name, **arguments)
        assert quiet.error_code and quiet.hint.startswith(hint), quiet
        assert hint not in quiet.text
        desk.toolbox = shown
        loud = await desk.call(name, **arguments)
        assert loud.text == f"{quiet.text}\nHint: {quiet.hint}"
    assert (await desk.call("list_dir")).hint == ""


async def test_hints_are_short(desk: Desk) -> None:
    desk.put("a.txt", "\n".join("x" * 300 for _ in range(100)))
    outcome = await desk.call("edit_file", path="a.txt", old_string="x" * 299, new_string="")
    assert outcome.error_code == "not_unique"
    wanted = "\n".join("x" * 299 for _ in range(50))
    outcome = await desk.call("edit_file", path="a.txt", old_string=wanted, new_string="")
    assert len(outcome.hint) < 2200
