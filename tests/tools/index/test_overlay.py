"""What a workspace has changed is found, and what it has removed is not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from repodrome.tools.index import index as indexes
from repodrome.tools.index.index import Index
from repodrome.tools.index.overlay import Overlay
from repodrome.tools.index.query import Hit
from tests.fakes.local_workspace import LocalWorkspace

pytestmark = pytest.mark.anyio


class Desk:
    """An indexed tree and a workspace that began as it."""

    def __init__(self, base: Path, files: int = 6) -> None:
        self.path = base / "workspace"
        self.path.mkdir()
        for number in range(files):
            self.put(f"src/m{number}.py", f"def shared_thing_{number}(x):\n    return x\n")
        self.put(".gitignore", "ignored/\n")
        self.index = self.built(base / "index")
        self.overlay = Overlay(self.index, None)
        self.workspace = LocalWorkspace(self.path)

    def built(self, target: Path) -> Index:
        target.mkdir()
        indexes.build(self.path, target)
        return Index.open(target)

    def put(self, name: str, text: str | bytes) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    async def find(
        self, query: str, limit: int = 10, below: str = ".", changed: Sequence[str] | None = None
    ) -> list[Hit]:
        return await self.overlay.search(self.workspace, query, limit, below=below, changed=changed)

    async def paths(self, query: str, **more: object) -> set[str]:
        return {hit.path for hit in await self.find(query, **more)}  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_edits_new_files_and_deletions(desk: Desk) -> None:
    everything = {f"src/m{n}.py" for n in range(6)}
    assert await desk.paths("shared thing") == everything
    desk.put("src/m0.py", "def quite_different():\n    return 'zebra'\n")
    desk.put("new/n.py", "def shared_thing_too():\n    pass\n")
    (desk.path / "src/m1.py").unlink()
    assert await desk.paths("shared thing") == everything - {"src/m0.py", "src/m1.py"} | {
        "new/n.py"
    }
    (hit,) = await desk.find("zebra")
    assert (hit.path, hit.start, hit.end, hit.name) == ("src/m0.py", 1, 2, "quite_different")


async def test_what_is_put_back_is_as_before(desk: Desk) -> None:
    before = await desk.find("shared thing")
    original = (desk.path / "src/m0.py").read_bytes()
    desk.put("src/m0.py", "zebra = 1\n")
    (desk.path / "src/m1.py").rename(desk.path / "src/moved.py")
    assert await desk.find("shared thing") != before
    desk.put("src/m0.py", original)  # at another time
    (desk.path / "src/moved.py").rename(desk.path / "src/m1.py")
    assert await desk.find("shared thing") == before


async def test_only_named_paths_are_looked_at(desk: Desk) -> None:
    desk.put("src/m0.py", "def zebra():\n    pass\n")
    desk.put("src/m1.py", "def zebra():\n    pass\n")
    assert await desk.paths("zebra", changed=["src/m0.py"]) == {"src/m0.py"}
    assert await desk.paths("zebra", changed=["src/m0.py", "src/m1.py"]) == {
        "src/m0.py",
        "src/m1.py",
    }


async def test_a_directory_stands_for_all_that_was_and_is_below_it(desk: Desk) -> None:
    (desk.path / "src").rename(desk.path / "lib")
    desk.put("src/fresh.py", "def shared_thing_fresh():\n    pass\n")
    expected = {f"lib/m{n}.py" for n in range(6)} | {"src/fresh.py"}
    assert await desk.paths("shared thing", changed=["src", "lib"]) == expected
    for file in (desk.path / "lib").iterdir():
        file.unlink()
    (desk.path / "lib").rmdir()
    desk.put("lib", "shared thing in a file now\n")
    assert await desk.paths("shared thing", changed=["src", "lib"]) == {"src/fresh.py", "lib"}


async def test_ignored_binary_huge_and_odd_files(desk: Desk) -> None:
    desk.put("ignored/x.py", "def zebra(): pass\n")
    desk.put("src/m0.py", b"\x00 zebra")
    desk.put("src/m1.py", b"def zebra(): pass\n" * 100_000)
    desk.put("invalid.py", b"def zebra_invalid():\n    '\xff\xfe'\n")
    desk.put("new\nline \udcff.py", "def zebra_line(): pass\n")
    (desk.path / "link.py").symlink_to("/etc/passwd")
    (desk.path / "loop").symlink_to(".")
    assert await desk.paths("zebra") == {"invalid.py", "new\nline \udcff.py"}
    assert await desk.paths("shared thing") == {f"src/m{n}.py" for n in range(2, 6)}


async def test_stays_below_a_path(desk: Desk) -> None:
    desk.put("src2/m.py", "def shared_thing(): pass\n")
    assert await desk.paths("shared thing", below="src2") == {"src2/m.py"}
    assert await desk.paths("shared thing", below="src/m3.py") == {"src/m3.py"}
    assert await desk.paths("shared thing", below="src") == {f"src/m{n}.py" for n in range(6)}
    assert await desk.paths("shared thing", below="nothing") == set()


async def test_too_many_changes_are_counted_not_hidden(desk: Desk) -> None:
    desk.overlay = Overlay(desk.index, None, max_files=10)
    for number in range(15):
        desk.put(f"many/f{number}.py", "def zebra(): pass\n")
    assert len(await desk.find("zebra", 50)) == 10
    assert desk.overlay.left_out == 5
    for number in range(10):
        (desk.path / f"many/f{number}.py").unlink()
    await desk.find("zebra", 50)
    assert desk.overlay.left_out == 0


async def test_what_is_asked_for_has_room_first(desk: Desk) -> None:
    desk.overlay = Overlay(desk.index, None, max_files=10)
    for number in range(15):
        desk.put(f"many/f{number}.py", "def zebra(): pass\n")
    desk.put("there/f.py", "def zebra(): pass\n")
    assert await desk.paths("zebra", below="there") == {"there/f.py"}


async def test_ranks_as_an_index_made_anew_does(tmp_path: Path) -> None:
    desk = Desk(tmp_path, files=60)
    chance = random.Random(0)
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
    for number in range(0, 60, 3):
        name, body = chance.choice(words), " + ".join(chance.choices(words, k=8))
        desk.put(f"src/m{number}.py", f"def {name}_{number}(x):\n    return {body}\n")
    anew = Overlay(desk.built(tmp_path / "anew"), None)
    same = total = 0
    for query in ["shared thing", *words, *(f"{a} {b}" for a, b in pairwise(words))]:
        one = {(h.path, h.start) for h in await desk.find(query)}
        two = {(h.path, h.start) for h in await anew.search(desk.workspace, query, 10)}
        same, total = same + len(one & two), total + len(two)
    assert same / total >= 0.99


async def test_whole_files_follow_changes_and_stay_below(desk: Desk) -> None:
    desk.put("src/m1.py", "def other():\n    pass\n")
    desk.put("new.py", "def shared_thing_9(x):\n    return shared_thing_9\n")
    (desk.path / "src/m2.py").unlink()

    async def found(below: str = ".") -> set[str]:
        hits = await desk.overlay.search(
            desk.workspace, "shared thing", 10, below=below, files=True
        )
        return {hit.path for hit in hits}

    assert await found() == {"src/m0.py", "src/m3.py", "src/m4.py", "src/m5.py", "new.py"}
    assert await found("src") == {"src/m0.py", "src/m3.py", "src/m4.py", "src/m5.py"}
