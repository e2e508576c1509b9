"""Sandboxes start and work whatever the host process inherited: umask, locale, places, HOME."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.sandbox.bubblewrap.client import sandbox_owner

SRC = str(Path(__file__).parents[3] / "src")
PLAY = """
import json, sys
from pathlib import Path
import anyio
from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend

async def main():
    backend, layer, persist = BubblewrapBackend(), Path(sys.argv[1]), Path(sys.argv[2])
    async with await backend.start(SandboxSpec(layers=(layer,))) as sandbox:
        await sandbox.write("new/gr\\u00f6\\u00dfe.txt", b"x")
        said = [await sandbox.shell("cat a.txt new/*; stat -c %a new new/*; umask")]
        said.append(await sandbox.exec(["cat"], stdin=b"through a file"))
        async with await sandbox.fork() as twin:
            said.append(await twin.shell("ls new"))
    built = await backend.start(SandboxSpec(layers=(layer,)), live=False, persist=persist)
    said.append(await built.run(["/bin/sh", "-c", "echo built > /env/b"], cwd="/workspace"))
    await built.commit(persist / "layer")
    await built.close()
    async with await backend.start(SandboxSpec(layers=(layer, persist / "layer"))) as sandbox:
        said.append(await sandbox.shell("cat /env/b"))
    print(json.dumps([[r.exit_code, (r.stdout + r.stderr).decode()] for r in said]))

anyio.run(main)
"""


def place(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir(parents=True)
    return made


@pytest.mark.parametrize(
    ("changes", "umask"),
    [
        ({}, 0o077),
        ({"HOME": None, "USER": None}, 0o022),
        ({"LC_ALL": "POSIX", "LANG": None}, 0o022),
        ({"TMPDIR": "{tmp}/a, b: c" + "d" * 180}, 0o022),
    ],
    ids=["umask", "no home", "posix locale", "odd TMPDIR"],
)
def test_what_the_host_process_inherits(
    tmp_path: Path, changes: dict[str, str | None], umask: int
) -> None:
    odd = place(tmp_path, "spaces, commas: and colons")
    layer, persist = place(odd, "layer"), place(odd, "persist")
    for name in ("workspace", "env", "home"):
        os.chown(place(layer, name), *sandbox_owner())
    (layer / "workspace/a.txt").write_text("a\n")
    odd.chmod(0o700)  # as below /root: only the mounting process has to get there
    env = dict(os.environ)
    for name, value in changes.items():
        env.pop(name, None)
        if value is not None:
            env[name] = value.format(tmp=tmp_path)
    if "TMPDIR" in changes:
        Path(env["TMPDIR"]).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PLAY, str(layer), str(persist)],
        capture_output=True,
        cwd=odd,
        env={**env, "PYTHONPATH": SRC},
        umask=umask,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    said: list[Any] = json.loads(done.stdout)
    assert said == [
        [0, "a\nx755\n644\n0022\n"],
        [0, "through a file"],
        [0, "größe.txt\n"],
        [0, ""],
        [0, "built\n"],
    ]
