"""The tools together in a real sandbox: what only a persistent shell and isolation can show."""

from __future__ import annotations

from typing import Any

import pytest

from repodrome.envs.sandbox.base import Sandbox
from repodrome.tools.base import ToolContext, ToolState
from repodrome.tools.toolbox import Toolbox

pytestmark = pytest.mark.anyio


async def test_a_whole_episode_of_tools(sandbox: Sandbox) -> None:
    box, state = Toolbox.build(), ToolState()

    async def call(name: str, code: str = "", **arguments: Any) -> str:
        outcome = await box.call(name, arguments, ToolContext(sandbox, state))
        assert outcome.error_code == code, outcome.text
        return outcome.text

    assert await call("list_dir") == "src/"
    assert await call("glob", pattern="*.py") == "src/a.py"
    assert "return 1" in await call("grep", pattern=r"return \d")
    await call("grep", "invalid_regex", pattern="(")
    await call("grep", "escape", pattern="x", path="/etc")
    assert "return 1" in await call("read_file", path="/workspace/src/a.py")
    await call("edit_file", path="src/a.py", old_string="return 1", new_string="return 2")
    patch = "--- a/src/a.py\n+++ b/src/a.py\n@@ -2 +2 @@\n-    return 2\n+    return 3\n"
    await call("apply_patch", patch=patch)
    await call("write_file", path="src/a\nb.py", content="x = 1\n")
    assert '"src/a\\nb.py"' in await call("glob", pattern="src/*")
    assert "return 3" in await call("terminal", command="cd src; v=kept; cat a.py")
    assert await call("terminal", command='echo "$v $PWD"') == "kept /workspace/src\n[exit code 0]"
    assert "a\n" in await call("terminal", command="yes a | head -c 5000000")
    await call("terminal", command="rm a*b.py; ln -s /etc/passwd out")
    await call("read_file", "escape", path="src/out")
    await call("delete_file", path="src/a.py")
    assert "fresh one" in await call("terminal", command="exit 4")
    await call("finish", message="done")
    assert state.finished == "done"


async def test_background_jobs_outlive_their_command_and_can_be_stopped(sandbox: Sandbox) -> None:
    box, state = Toolbox.build(["terminal", "terminal_job"]), ToolState()

    async def call(name: str, code: str = "", **arguments: Any) -> str:
        outcome = await box.call(name, arguments, ToolContext(sandbox, state))
        assert outcome.error_code == code, outcome.text
        return outcome.text

    await call("terminal", command="export WHO=me; cd src")
    command = 'echo "$WHO in $PWD"; read x; echo "got $x"; cat; sleep 60'
    assert (await call("terminal", command=command, background=True)).startswith("[job 1 started")
    text = await call("terminal_job", action="output", wait=20)
    assert text == "me in /workspace/src\n[job 1: running]"
    text = await call("terminal_job", action="input", input="hello\n", wait=20)
    assert text == "got hello\n[job 1: running]"
    await call("terminal_job", action="end_input")
    await call("terminal_job", "input_ended", action="input", input="x")
    assert await call("terminal_job", action="stop") == "[no new output]\n[job 1: stopped]"
    await call("terminal_job", "not_running", action="stop")
    await call("terminal", command="exit 3", background=True)
    assert "[job 2: ended, exit code 3]" in await call("terminal_job", action="output", wait=20)
    await call("terminal", command="sleep 60", background=True)
    listed = await call("terminal_job")
    assert "job 1: stopped; .repodrome/jobs/1.log" in listed and "job 3: running" in listed
    assert listed.endswith("[3 jobs, 1 running]")

    other = await sandbox.fork()
    try:
        outcome = await box.call("terminal_job", {}, ToolContext(other, state.copy()))
        assert "job 3: lost" in outcome.text and "job 2: ended, exit code 3" in outcome.text
    finally:
        await other.close()


async def test_a_job_that_cant_be_kept_is_never_started(sandbox: Sandbox) -> None:
    box, context = Toolbox.build(), ToolContext(sandbox, ToolState())

    async def fails(command: str) -> str:
        arguments = {"command": command, "background": True}
        outcome = await box.call("terminal", arguments, context)
        assert outcome.error_code in ("failed", "disk_full", "permission"), outcome.text
        running = await sandbox.exec(["pgrep", "-f", "sleep 4321"])
        assert running.stdout == b"", running.stdout
        return outcome.text

    await box.call("terminal", {"command": "echo first", "background": True}, context)
    await box.call("terminal", {"command": "cat /dev/zero > full"}, context)
    assert "No space left" in await fails("sleep 4321")
    await box.call("terminal", {"command": "rm full; cd src; chmod 0 ."}, context)
    await box.call("terminal", {"command": "chmod 0 /workspace"}, context)
    assert "Permission denied" in (text := await fails("sleep 4321")) and "killed" not in text
    await box.call("terminal", {"command": "chmod 755 /workspace"}, context)
    listed = (await box.call("terminal_job", {}, context)).text
    assert listed.startswith("job 1: ended") and listed.endswith("[1 job, 0 running]")


@pytest.mark.slow  # bash tries for 15 s
async def test_no_process_left_is_not_nothing_found(sandbox: Sandbox) -> None:
    box, context = Toolbox.build(), ToolContext(sandbox, ToolState())
    fill = """python3 - <<'END'
import os
try:
    while os.fork():
        pass
    os.execvp("sleep", ["sleep", "600"])
except OSError:
    pass
END"""
    await box.call("terminal", {"command": fill}, context)
    outcome = await box.call("glob", {"pattern": "*"}, context)
    assert outcome.error_code == "no_process", outcome.text


async def test_what_tools_put_aside_is_no_change(sandbox: Sandbox) -> None:
    box, context = Toolbox.build(), ToolContext(sandbox, ToolState())
    await box.call("terminal", {"command": "echo hi", "background": True}, context)
    outcome = await box.call("terminal", {"command": "seq 100000"}, context)
    assert "all of it is in .repodrome/terminal/1.txt" in outcome.text
    read = {"path": ".repodrome/terminal/1.txt", "offset": 50_000, "limit": 1}
    assert "50000\t50000" in (await box.call("read_file", read, context)).text
    listed = await box.call(
        "terminal", {"command": "git init -q . && git add -A && git status --short"}, context
    )
    assert listed.text == "A  src/a.py\n[exit code 0]"
    found = await box.call("grep", {"pattern": "99999"}, context)
    assert found.text == "[no matches]"
    assert (await sandbox.export()).paths == ()
