"""The store under threads, processes and crashes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from repodrome.errors import SetupError, UsageError
from repodrome.tasks.store import Store, remove_tree

BUILDER = """
import sys
from pathlib import Path
from repodrome.tasks.store import Store

root, log, wait = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "wait"

def build(staged):
    (staged / "half").write_text("1")
    with log.open("a") as f:
        f.write("built\\n")
    if wait:
        print("half-way", flush=True)
        sys.stdin.read()
    (staged / "whole").write_text("2")

print("ready", flush=True)
sys.stdin.readline()
entry = Store(root).get_or_build("kind", "key", build)
print(sorted(p.name for p in entry.iterdir()), flush=True)
"""


def start(store: Store, log: Path, mode: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(store.root), str(log), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def test_of_many_processes_one_builds(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [start(store, log) for _ in range(4)]
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=30)[0] for process in processes]
    assert outputs == ["['half', 'whole']\n"] * 4
    assert log.read_text() == "built\n"
    assert store.usage()["staging"].entries == 0


def test_of_many_threads_one_builds(store: Store) -> None:
    together = threading.Barrier(8)
    built: list[int] = []

    def build(staged: Path) -> None:
        built.append(1)
        (staged / "x").write_text("x")

    def ask() -> Path:
        together.wait()
        return store.get_or_build("kind", "key", build)

    with ThreadPoolExecutor(8) as pool:
        entries = {f.result() for f in [pool.submit(ask) for _ in range(8)]}
    assert built == [1] and entries == {store.path("kind", "key")}


def test_a_builder_killed_half_way_leaves_no_entry(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = start(store, log, "wait")
    assert child.stdin and child.stdout
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "half-way\n"
    assert store.clean().removed == 0, "its owner is alive"
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert store.get("kind", "key") is None
    assert store.usage()["staging"].entries == 1
    cleaned = store.clean()
    assert (cleaned.removed, cleaned.size) == (1, 1)
    # The dead one's lock is free, and its half-built content isn't reused.
    entry = store.get_or_build("kind", "key", lambda staged: (staged / "new").touch())
    assert [p.name for p in entry.iterdir()] == ["new"]


def test_a_failing_build_leaves_nothing_and_may_be_tried_again(store: Store) -> None:
    def fail(staged: Path) -> None:
        (staged / "x").touch()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.get_or_build("kind", "key", fail)
    assert store.get("kind", "key") is None and store.usage()["staging"].entries == 0
    store.get_or_build("kind", "key", lambda staged: None)


def test_asynchronous_builders_use_the_parts(store: Store) -> None:
    lock = store.acquire("layer", "k")
    waiting = threading.Event()
    got = threading.Event()

    def other() -> None:
        waiting.set()
        with store.acquire("layer", "k"):
            got.set()

    thread = threading.Thread(target=other)
    thread.start()
    waiting.wait()
    with store.staging("layer") as staged:
        (staged / "f").write_text("f")
        assert not got.is_set()
        entry = store.publish(staged, "layer", "k")
    lock.release()
    lock.release()
    thread.join(10)
    assert got.is_set() and (entry / "f").read_text() == "f"
    # Whoever publishes the same key second gets the first one's.
    with store.staging("layer") as staged:
        (staged / "g").touch()
        assert store.publish(staged, "layer", "k") == entry
    assert [p.name for p in entry.iterdir()] == ["f"]


def test_cleaning_while_others_wait_for_the_lock(store: Store) -> None:
    """A lock file that clean() removed excludes nobody; waiters notice and take the new one."""
    inside = threading.Semaphore(1)
    overlaps: list[str] = []

    def work() -> None:
        for _ in range(50):
            with store.acquire("kind", "key"):
                if not inside.acquire(blocking=False):
                    overlaps.append("two at once")
                    return
                inside.release()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        store.clean()
    for thread in threads:
        thread.join(30)
    assert not overlaps


def test_clean_everything(store: Store) -> None:
    store.get_or_build("a", "1", lambda staged: (staged / "x").write_bytes(b"12345"))
    store.get_or_build("b", "2", lambda staged: None)
    assert store.usage()["a"].size == 5
    assert store.clean().removed == 0
    cleaned = store.clean(stale_only=False)
    assert (cleaned.removed, cleaned.size) == (2, 5)
    assert store.get("a", "1") is None and not list((store.root / "staging").iterdir())


def test_what_another_host_left_goes_by_age(store: Store) -> None:
    with store.staging("x"):
        foreign = store.root / "staging" / "x.0badcafe.1.1.abcdef"
        foreign.mkdir()
        assert store.clean().removed == 0
        yesterday = time.time() - 90_000
        os.utime(foreign, (yesterday, yesterday))
        assert store.clean().removed == 1


def test_a_cache_that_cannot_be_written_names_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="REPODROME_CACHE"):
        Store(tmp_path / "file").get_or_build("kind", "key", lambda staged: None)


def test_a_full_disk_is_infrastructure_trouble(store: Store) -> None:
    def fill(staged: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SetupError, match="repodrome clean"):
        store.get_or_build("kind", "key", fill)


@pytest.mark.parametrize("word", ["", "..", "a/b", ".x", "staging", "locks", "x\n"])
def test_keys_cannot_lead_elsewhere(store: Store, word: str) -> None:
    with pytest.raises(ValueError, match="store kind or key"):
        store.path("kind", word)


def test_remove_tree_manages_closed_directories(tmp_path: Path) -> None:
    inner = tmp_path / "top/work/inner"
    inner.mkdir(parents=True)
    (inner / "f").touch()
    (tmp_path / "top/link").symlink_to(tmp_path)
    inner.chmod(0)
    inner.parent.chmod(0)
    remove_tree(tmp_path / "top")
    assert not (tmp_path / "top").exists() and tmp_path.exists()


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"REPODROME_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/repodrome"),
        ({"XDG_CACHE_HOME": "rel"}, "/h/.cache/repodrome"),
        ({}, "/h/.cache/repodrome"),
    ],
)
def test_where_the_cache_is(env: dict[str, str], expected: str) -> None:
    code = "from repodrome.tasks.store import Store; print(Store().root)"
    paths = {"HOME": "/h", "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.check_output([sys.executable, "-c", code], env=paths | env, text=True)
    assert out.strip() == expected


@pytest.mark.skipif(os.getuid() != 0, reason="becomes an account that has no home")
def test_an_account_without_a_home_is_told_to_choose_a_cache(tmp_path: Path) -> None:
    script = """
import os
from repodrome.errors import UsageError
from repodrome.tasks.store import Store
os.setgid(59_999)
os.setuid(59_999)
try:
    Store().acquire("kind", "key")
except UsageError as error:
    print(error)
"""
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    env.pop("REPODROME_CACHE", None)
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**env, "PYTHONPATH": source},
        check=False,
    )
    assert "set REPODROME_CACHE" in done.stdout, done.stderr
