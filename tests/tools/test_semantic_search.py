"""The tool semantic_search: answers, bad input, settings."""

from __future__ import annotations

import pytest

from repodrome.errors import UnknownNameError
from repodrome.tools.toolbox import Toolbox
from tests.tools.conftest import Desk

pytestmark = pytest.mark.anyio

CODE = "class Session:\n    def expire(self, now):\n        return self.deadline < now\n"


async def test_answers_with_places_and_signatures(desk: Desk) -> None:
    desk.put("src/session.py", CODE)
    desk.put("src/other.py", "def unrelated():\n    pass\n")
    outcome = await desk.call("semantic_search", query="when does a session expire")
    first = outcome.text.split("\n")[0]
    assert first.startswith("src/session.py:2-3  ")
    assert first.endswith("  def expire(self, now):  (in Session)")
    assert outcome.data["results"][0]["name"] == "Session.expire"


async def test_limit_and_path(desk: Desk) -> None:
    for number in range(60):
        desk.put(f"src/p{number % 2}/m{number}.py", f"def thing_{number}():\n    pass\n")
    assert len((await desk.ok("semantic_search", query="thing")).split("\n")) == 10
    assert len((await desk.ok("semantic_search", query="thing", limit=1)).split("\n")) == 1
    assert len((await desk.ok("semantic_search", query="thing", limit=999)).split("\n")) == 50
    text = await desk.ok("semantic_search", query="thing", path="src/p1/")
    assert all(line.startswith("src/p1/") for line in text.split("\n"))
    text = await desk.ok(
        "semantic_search", query="thing", path=f"{desk.workspace.root}/src/p1/m1.py"
    )
    assert text.startswith("src/p1/m1.py:1-2")


async def test_files_as_wholes(desk: Desk) -> None:
    desk.put("src/session.py", CODE + "    def renew(self, session):\n        pass\n")
    desk.put("src/other.py", "def session():\n    pass\n")
    text = await desk.ok("semantic_search", query="renew a session that expires", files=True)
    paths = [line.partition(":")[0] for line in text.split("\n")]
    assert paths == ["src/session.py", "src/other.py"]


async def test_bad_input_is_told_apart(desk: Desk) -> None:
    desk.put("src/a.py", CODE)
    (desk.path / "out").symlink_to("/etc")
    (desk.path / "in").symlink_to("src")
    await desk.fails("invalid_arguments", "semantic_search", query="")
    await desk.fails("invalid_arguments", "semantic_search", query="?!. —")
    await desk.fails("invalid_arguments", "semantic_search", query="x" * 5000)
    await desk.fails("invalid_arguments", "semantic_search", query="x", limit=0)
    await desk.fails("not_found", "semantic_search", query="x", path="nothing")
    await desk.fails("escape", "semantic_search", query="x", path="../..")
    await desk.fails("escape", "semantic_search", query="x", path="/etc/passwd")
    await desk.fails("not_regular", "semantic_search", query="x", path="out")
    await desk.fails("not_regular", "semantic_search", query="x", path="in")


async def test_odd_names_and_bytes_are_shown_harmlessly(desk: Desk) -> None:
    desk.put("a\nb.py", b"def expire_\xff\x1b[31m(): pass\n")
    text = await desk.ok("semantic_search", query="expire")
    assert text.startswith('"a\\nb.py":1-1') and "\x1b" not in text


async def test_an_empty_workspace_and_a_query_without_answer(desk: Desk) -> None:
    assert await desk.ok("semantic_search", query="x") == "[nothing found; try other words]"
    desk.put("a.py", CODE)
    assert "nothing found" in await desk.ok("semantic_search", query="xyzzy plugh")


async def test_its_settings_are_checked() -> None:
    Toolbox.build(config={"semantic_search": {"embedder": "none", "max_results": 5}})
    with pytest.raises(UnknownNameError, match="rerank"):
        Toolbox.build(config={"semantic_search": {"rerunk": "openai"}})
