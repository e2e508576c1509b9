"""Telling a process from another one that got its id."""

from __future__ import annotations

import os
import subprocess
import sys

from repodrome.liveness import has_ended, start_time


def test_a_process_and_its_end() -> None:
    own = start_time(os.getpid())
    assert own is not None and not has_ended(os.getpid(), own) and has_ended(os.getpid(), own + 1)
    child = subprocess.Popen(["sleep", "60"])
    started = start_time(child.pid)
    assert started is not None and not has_ended(child.pid, started)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_time(child.pid) is None and has_ended(child.pid, started)  # a zombie
    child.wait()
    assert start_time(child.pid) is None and has_ended(child.pid, started)


def test_what_cannot_be_known_lives() -> None:
    code = (
        "import os, resource\n"
        "from repodrome.liveness import has_ended\n"
        "from repodrome.envs.sandbox.owner import Owner\n"
        "own = Owner.current()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))\n"
        "assert not has_ended(os.getpid(), own.started) and not own.is_dead()\n"
    )
    source = os.path.join(os.path.dirname(__file__), "..", "src")
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, check=False)
    assert done.returncode == 0
