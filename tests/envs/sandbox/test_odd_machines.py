"""Sandboxes start and work whatever the host process inherited: umask, locale, places, HOME."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend
from repodrome.envs.sandbox.direct.client import privileged, sandbox_owner

pytestmark = pytest.mark.anyio
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


DELETING = """
import sys
from pathlib import Path
import anyio
from repodrome.envs.sandbox.base import SandboxSpec
from repodrome.envs.sandbox.bubblewrap.backend import BubblewrapBackend
from repodrome.errors import SandboxError

async def main():
    layer, persist = Path(sys.argv[1]), Path(sys.argv[2])
    spec = SandboxSpec(layers=(layer,))
    built = await BubblewrapBackend().start(spec, live=False, persist=persist)
    await built.run(["rm", "a.txt"])
    try:
        await built.commit(persist / "layer")
    except SandboxError as error:
        print(error)

anyio.run(main)
"""
SAID = [
    [0, "a\nx755\n644\n0022\n"],
    [0, "through a file"],
    [0, "größe.txt\n"],
    [0, ""],
    [0, "built\n"],
]


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
    assert json.loads(done.stdout) == SAID


@pytest.mark.parametrize("base", ["/tmp", "/var/tmp", "/dev/shm"])
async def test_toolchains_in_directories_that_sandboxes_have_of_their_own(
    tmp_path: Path, base: str
) -> None:
    layer = place(tmp_path, "layer")
    for name in ("workspace", "env", "home"):
        os.chown(place(layer, name), *sandbox_owner())
    with tempfile.TemporaryDirectory(prefix="repodrome-test-", dir=base) as tools:
        Path(tools).chmod(0o755)
        (place(Path(tools), "a/b") / "tool").write_text("of the host")
        spec = SandboxSpec(layers=(layer,), toolchains=(f"{tools}/a/b",))
        async with await BubblewrapBackend().start(spec) as sandbox:
            said = await sandbox.shell(f"cat {tools}/a/b/tool")
        assert said.stdout == b"of the host"
    other = Path("/tmp" if base == "/var/tmp" else "/var/tmp")
    assert not (other / Path(tools).name).exists()


def in_overlay(tmp_path: Path, program: str) -> str:
    """What a program says whose layers lie on an overlay, as in a container."""
    lower, upper, work, merged = (place(tmp_path, name) for name in ("l", "u", "w", "m"))
    layer = place(lower, "layer")
    place(lower, "persist")
    for name in ("workspace", "env", "home"):
        os.chown(place(layer, name), *sandbox_owner())
    (layer / "workspace/a.txt").write_text("a\n")
    os.chown(layer / "workspace/a.txt", *sandbox_owner())
    script = (
        'mount -t overlay o -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4" || exit 77; '
        'exec "$5" -c "$6" "$4/layer" "$4/persist"'
    )
    places = map(str, (lower, upper, work, merged))
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *places, sys.executable, program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SRC},
        check=False,
    )
    if done.returncode == 77:
        pytest.skip(f"no overlay can be mounted over {tmp_path}: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not privileged(), reason="mounts an overlay")
def test_the_cache_may_lie_on_an_overlay(tmp_path: Path) -> None:
    assert json.loads(in_overlay(tmp_path, PLAY)) == SAID


@pytest.mark.skipif(not privileged(), reason="mounts an overlay")
def test_deletions_that_an_overlay_cannot_keep_name_the_fix(tmp_path: Path) -> None:
    assert "REPODROME_CACHE" in in_overlay(tmp_path, DELETING)


@pytest.mark.skipif(os.getuid() != 0, reason="makes a user namespace as root")
def test_root_of_a_user_namespace_with_one_uid_is_rootless(tmp_path: Path) -> None:
    layer, persist = place(tmp_path, "layer"), place(tmp_path, "persist")
    for name in ("workspace", "env", "home"):
        place(layer, name)
    (layer / "workspace/a.txt").write_text("a\n")
    done = subprocess.run(
        ["unshare", "-r", sys.executable, "-c", PLAY, str(layer), str(persist)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SRC},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == SAID
