"""The tools together in a real sandbox: what only a persistent shell and isolation can show."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.sandbox.base import Sandbox, SandboxLimits, SandboxSpec
from repodrome.envs.sandbox.registry import get_backend
from repodrome.tools.base import ToolContext, ToolState
from repodrome.tools.toolbox import Toolbox

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sandbox(tmp_path: Path, sandbox_backend: str) -> AsyncIterator[Sandbox]:
    backend = get_backend(sandbox_backend)
    layer = tmp_path / "layer"
    for name in ("workspace/src", "env", "home"):
        (layer / name).mkdir(parents=True)
    (layer / "workspace/src/a.py").write_text("def f():\n    return 1\n")
    tmp_path.chmod(0o755)
    owner = getattr(backend, "owner", (os.getuid(), os.getgid()))
    for path in (layer, *layer.rglob("*")):
        os.chown(path, *owner, follow_symlinks=False)
    limits = SandboxLimits(memory_mb=256, pids=64, disk_mb=48, inodes=2000)
    async with await backend.start(SandboxSpec(layers=(layer,), limits=limits)) as started:
        yield started
    await backend.close()


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
    box, context = Toolbox.build(["terminal"]), ToolContext(sandbox, ToolState())

    async def run(command: str, **more: Any) -> str:
        outcome = await box.call("terminal", {"command": command, "timeout": 20, **more}, context)
        assert outcome.error_code == "", outcome.text
        return outcome.text

    await run("export WHO=me; cd src")
    text = await run('echo "$WHO in $PWD"; exec sleep 60', background=True)
    assert text.startswith("[job 1 started]")
    waited = await run("until [ -s /tmp/jobs/1.log ]; do sleep 0.01; done; cat /tmp/jobs/1.log")
    assert waited == "me in /workspace/src\n[exit code 0]"
    stop = "p=$(cat /tmp/jobs/1.pid); kill -- -$(cat /tmp/jobs/1.pid); "
    stop += "while kill -0 -- -$p 2>/dev/null; do sleep 0.01; done; echo stopped"
    assert await run(stop) == "stopped\n[exit code 0]"
    await run("exit 3", background=True)
    waited = await run("until [ -s /tmp/jobs/2.exit ]; do sleep 0.01; done; cat /tmp/jobs/2.exit")
    assert waited == "3\n[exit code 0]"
