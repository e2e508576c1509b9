"""The tests' own daemon: it comes up over an earlier one's ruins, and leaves nothing itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.docker.daemon import PREFIX, running, sweep

pytestmark = pytest.mark.slow


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text()


def test_restart_and_kill_keep_data_and_addresses() -> None:
    import docker

    with running(tcp=True) as daemon:
        with closing(docker.APIClient(base_url=daemon.tcp_url, version="auto")) as client:
            made = client.create_container("repodrome/base", "cat", stdin_open=True)["Id"]
            client.start(made)
            daemon.restart(kill=True)
            assert client.inspect_container(made)["Id"] == made
            # A pidfile that names a living stranger, as after a reboot.
            daemon.stop()
            (daemon.folder / "pid").write_text(str(os.getpid()))
            daemon.start()
            assert client.inspect_container(made)["Id"] == made
            client.start(made)
        folder = daemon.folder
    assert not folder.exists()
    assert folder.name not in mounts()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/{folder.name}"))


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, signal; from contextlib import closing; from tests.docker.daemon import *\n"
        "with running() as daemon:\n"
        "    with closing(daemon.client()) as client:\n"
        "        made = client.create_container('repodrome/base', 'sleep 1000')\n"
        "        client.start(made['Id'])\n"
        "    daemon.kill(); print(daemon.folder, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    folder = Path(run.stdout.strip())
    assert folder.name.startswith(PREFIX) and folder.exists()
    sweep()
    assert not folder.exists()
    assert folder.name not in mounts()
