"""How processes that used the background loop end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Where the tests themselves run in the background, SIGINT comes down ignored.
PRELUDE = """
import os, signal, sys, tempfile
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from repodrome.envs.gym_env import RepoEnv
from repodrome.tasks.model import Source, Task
from tests.fakes.plain_sandbox import PlainBackend

folder = Path(sys.argv[1])
(folder / "workspace").mkdir()
(folder / "workspace" / "a").write_text("")
backend = PlainBackend()
task = Task(id="t/t", instruction="x", folder=folder, source=Source(directory="workspace"))
env = RepoEnv(task, sandbox=backend)
env.reset(seed=1)
"""


def run(tmp_path: Path, script: str) -> subprocess.Popen[str]:
    env = {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "REPODROME_CACHE": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(tmp_path)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_environment_left_open_is_closed_at_exit(tmp_path: Path) -> None:
    process = run(tmp_path, "")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")
    assert not list(tmp_path.glob("repodrome-test-*"))


def test_ctrl_c_in_mid_step(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        calls = [{"name": "terminal", "arguments": {"command": "hang"}}]
        sandbox = env.episode.sandbox
        async def tell():
            await sandbox.running.wait()
            print("running", flush=True)
        env._loop().submit(tell())
        try:
            env.step({"tool_calls": calls})
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "interrupted\n", "")
    assert not list(tmp_path.glob("repodrome-test-*"))


def test_after_ctrl_c_the_environment_is_as_good_as_new(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        import threading
        hang = {"tool_calls": [{"name": "terminal", "arguments": {"command": "hang"}}]}
        for _ in range(3):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                env.step(hang)
            except KeyboardInterrupt:
                # The step has ended, not only been told to: what it did is in the record.
                assert len(env.episode.steps) == 1 and env.episode.stop_reason == "closed"
            env.reset(seed=2)
        assert len(backend.live) == 1
        print("fine")
        """,
    )
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "fine\n", "")


def test_forked_children_never_wait_for_the_parents_loop(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        for environments_are_open in (True, False):
            child = os.fork()
            if child == 0:
                other = RepoEnv(task, sandbox=backend)
                other.reset(seed=1)
                assert len(other.step("{not json")[0]) > 9
                sys.exit(0)  # through all of the interpreter's own clean-up
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            env.close()
        print("fine")
        """,
    )
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "fine\n", "")
