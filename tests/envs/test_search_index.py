"""The index of a task's tree: made once, shared by its episodes, never at reset."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from repodrome.envs.episode import Episode
from repodrome.envs.sandbox.registry import get_backend
from repodrome.envs.search_index import INDEX, _made, opened_index
from repodrome.errors import SetupError
from repodrome.tasks.model import EnvironmentSpec, Limits, Task, ToolsSpec
from repodrome.tasks.store import Store
from repodrome.tools.index.maker import LARGE, fitting, indexing
from tests.envs.conftest import call, turn
from tests.fakes.plain_sandbox import PlainBackend

SEARCH = ToolsSpec(config={"semantic_search": {"embedder": "none"}})


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


async def found(episode: Episode, query: str) -> str:
    step = await episode.step(turn(call("semantic_search", query=query)))
    assert not step.results[0].error, step.results[0].text
    return step.results[0].text


def searchable(make_task: Callable[..., Task], **changes: Any) -> Task:
    task = make_task(tools=SEARCH, **changes)
    (task.folder / "workspace" / "a.py").write_text("def zebra_stripes():\n    return 1\n")
    (task.folder / "workspace" / "b.py").write_text("def giraffe_neck():\n    return 2\n")
    return task


def test_is_made_at_the_first_query_and_shared(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    task = searchable(make_task)

    async def scenario() -> None:
        async with (
            await Episode.start(task, backend=backend) as one,
            await Episode.start(task, backend=backend) as two,
        ):
            assert INDEX not in Store().usage()
            first, second = await asyncio.gather(found(one, "zebra"), found(two, "zebra"))
            assert first == second and first.startswith("a.py:1-2")
            assert Store().usage()[INDEX].entries == 1
            await one.step(turn(call("delete_file", path="a.py")))
            assert "nothing found" in await found(one, "zebra")
            assert (await found(two, "zebra")).startswith("a.py:1-2")

    play(scenario())


def test_a_small_model_reads_the_best_results_again(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    settings = {"embedder": "none", "rerank": "minilm"}
    task = make_task(tools=ToolsSpec(config={"semantic_search": settings}))
    workspace = task.folder / "workspace"
    # By words alone the first is ahead: it has them all.
    (workspace / "a.py").write_text("def expired(entries, remove):\n    return entries + remove\n")
    (workspace / "b.py").write_text(
        "def drop_stale_entries(cache, now):\n    cache.prune(older_than=now)\n"
    )

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            text = await found(episode, "remove cached entries that are too old")
            assert text.startswith("b.py:1-2") and "a.py:1-2" in text
            await episode.step(turn(call("terminal", command="mv b.py c.py")))
            text = await found(episode, "remove cached entries that are too old")
            assert text.startswith("c.py:1-2") and "b.py" not in text

    play(scenario())


def test_follows_restore_and_fork(make_task: Callable[..., Task], backend: PlainBackend) -> None:
    task = searchable(make_task)

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            snapshot = await episode.snapshot()
            await episode.step(turn(call("terminal", command="echo 'lion = 1' > c.py; rm a.py")))
            assert "c.py" in await found(episode, "lion")
            async with await episode.fork() as other:
                assert "c.py" in await found(other, "lion")
            await episode.restore(snapshot)
            await snapshot.release()
            assert "nothing found" in await found(episode, "lion")
            assert (await found(episode, "zebra")).startswith("a.py")

    play(scenario())


def test_an_index_that_cannot_be_read_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    store = Store(tmp_path / "cache")

    async def scenario() -> None:
        place, _, _ = await opened_index(tmp_path / "tree", "k", "none", store=store)
        (place / "terms.npy").write_bytes(b"nonsense")
        with pytest.raises(SetupError, match="clean --cache"):
            await opened_index(tmp_path / "tree", "k", "none", store=store)

    play(scenario())


def test_making_it_is_not_the_agents_time(
    make_task: Callable[..., Task], backend: PlainBackend
) -> None:
    """A large tree is indexed by a process of its own; neither it nor its start is counted."""
    task = searchable(make_task, limits=Limits(timeout_sec=30))
    big = "\n".join(f"def number_{n}(): return {n}" for n in range(40_000))
    (task.folder / "workspace" / "big.txt").write_text(big)
    assert len(big) > LARGE

    async def scenario() -> None:
        async with await Episode.start(task, backend=backend) as episode:
            began = time.monotonic()
            step = await episode.step(turn(call("semantic_search", query="zebra")))
            took = time.monotonic() - began
            assert step.results[0].text.startswith("a.py:1-2")
            assert step.results[0].seconds - step.seconds > 0.05
            assert step.seconds < took

    play(scenario())


def test_a_process_that_fails_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "big.txt").write_text("word " * LARGE)
    blocked = tmp_path / "blocked"
    blocked.write_text("")

    async def scenario() -> None:
        with pytest.raises(SetupError, match="could not be made"):
            await _made(indexing(tmp_path / "tree", blocked / "no"), "the index")
        with pytest.raises(RuntimeError, match="Traceback"):
            await _made([*fitting("k", tmp_path), "too", "many"], "the embedder")

    play(scenario())


def test_in_a_real_sandbox(make_task: Callable[..., Task], sandbox_backend: str) -> None:
    """Shell edits, deleted, moved and replaced directories, and what set-up has made."""
    setup = "mkdir made && echo 'def made_by_setup(): pass' > made/m.py && rm b.py"
    task = searchable(make_task, environment=EnvironmentSpec(setup=(setup,)))
    old = task.folder / "workspace" / "pack"
    for name in ("one", "two"):
        (old / name).mkdir(parents=True)
        (old / name / "x.py").write_text(f"def walrus_{name}():\n    pass\n")

    async def scenario() -> None:
        backend = get_backend(sandbox_backend)
        async with await Episode.start(task, backend=backend) as episode:

            async def run(command: str) -> None:
                await episode.step(turn(call("terminal", command=command)))

            assert (await found(episode, "made by setup")).startswith("made/m.py:1-1")
            assert "nothing found" in await found(episode, "giraffe")
            assert {"pack/one/x.py", "pack/two/x.py"} == places(await found(episode, "walrus"))
            await run("mv pack/one pack/three; echo 'def walrus_new(): pass' > pack/two/y.py")
            assert places(await found(episode, "walrus")) == {
                "pack/three/x.py",
                "pack/two/x.py",
                "pack/two/y.py",
            }
            await run("rm -r pack; mkdir -p pack/two; echo 'walrus = 1' > pack/two/z.py")
            assert places(await found(episode, "walrus")) == {"pack/two/z.py"}
            await run("rm -r pack made; ln -s /etc pack; mkfifo made")
            assert "nothing found" in await found(episode, "walrus")
            assert (await found(episode, "zebra")).startswith("a.py:1-2")
        await backend.close()

    play(scenario())


@pytest.mark.slow
def test_a_tree_of_50000_files(make_task: Callable[..., Task]) -> None:
    task = searchable(make_task, limits=Limits(timeout_sec=60))
    for folder in range(500):
        place = task.folder / "workspace" / f"pack{folder}"
        place.mkdir()
        for n in range(100):
            (place / f"m{n}.py").write_text(f"def make_{folder}_{n}(x):\n    return x + {n}\n")

    async def scenario() -> None:
        bubblewrap = get_backend("bubblewrap")
        async with await Episode.start(task, backend=bubblewrap) as episode:
            assert (await found(episode, "zebra")).startswith("a.py:1-2")
            assert (await found(episode, "make_499_99")).startswith("pack499/m99.py:1-2")
            change = "cd pack7 && rm m5.py && echo 'def okapi(): pass' > m6.py"
            await episode.step(turn(call("terminal", command=change)))
            assert places(await found(episode, "okapi")) == {"pack7/m6.py"}
            assert "pack7/m5.py" not in places(await found(episode, "make_7_5"))
        await bubblewrap.close()

    asyncio.run(asyncio.wait_for(scenario(), 300))


def places(text: str) -> set[str]:
    return {line.partition(":")[0] for line in text.split("\n")}
