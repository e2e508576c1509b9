"""read_file, list_dir, glob and grep on real and on nasty files."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from repodrome.tools.base import ToolContext
from repodrome.tools.glob import GlobPattern
from repodrome.tools.grep import Grep
from repodrome.tools.toolbox import Toolbox
from repodrome.tools.workspace import CommandResult
from tests.fakes.local_workspace import LocalWorkspace
from tests.tools.conftest import Desk

pytestmark = pytest.mark.anyio


async def test_lines_are_numbered(desk: Desk) -> None:
    desk.put("a.py", "one\n\nthree\n")
    assert await desk.ok("read_file", path="a.py") == "     1\tone\n     2\t\n     3\tthree"
    assert await desk.ok("read_file", path=f"{desk.workspace.root}/a.py")
    (desk.path / "x").mkdir()
    assert await desk.ok("read_file", path="x/../a.py")


async def test_a_window_says_how_to_read_on(desk: Desk) -> None:
    desk.put("a.txt", "".join(f"{n}\n" for n in range(1, 5001)))
    first = await desk.call("read_file", path="a.txt")
    assert first.truncated
    assert first.text.endswith("[lines 1-2,000 of 5,000; read on with offset=2001]")
    middle = await desk.ok("read_file", path="a.txt", offset=4999, limit=5)
    assert middle == "  4999\t4999\n  5000\t5000"
    error = await desk.fails("out_of_range", "read_file", path="a.txt", offset=6000)
    assert "5,000 lines" in error
    assert (await desk.ok("read_file", path="a.txt", offset=0, limit=1)).startswith("     1\t1\n")


async def test_windows_agree_with_plain_slicing_across_chunks(desk: Desk) -> None:
    lines = [f"{n}" + "x" * (n * 7919 % 900) for n in range(6000)]
    desk.put("a.txt", "\n".join(lines))  # several chunks, no newline at the end
    for offset in (1, 2, 2300, 2331, 2332, 5999, 6000):
        text = await desk.ok("read_file", path="a.txt", offset=offset, limit=3)
        got = [row.partition("\t")[2] for row in text.split("\n") if "\t" in row]
        assert got == lines[offset - 1 : offset + 2]


async def test_no_newline_and_crlf_are_said(desk: Desk) -> None:
    desk.put("a.txt", "a\r\nb\r\nc")
    text = await desk.ok("read_file", path="a.txt")
    assert "\r" not in text
    assert "CRLF" in text
    assert "no newline at the end" in text


async def test_ten_megabytes_in_one_line(desk: Desk) -> None:
    desk.put("big", b"x" * 10_000_000 + b"\nlast\n")
    outcome = await desk.call("read_file", path="big")
    assert outcome.truncated
    assert len(outcome.text) < 3000
    assert "10,000,000 bytes" in outcome.text
    assert "     2\tlast" in outcome.text


async def test_bytes_are_capped(desk: Desk) -> None:
    desk.put("wide", ("y" * 1500 + "\n") * 1000)
    outcome = await desk.call("read_file", path="wide")
    assert len(outcome.text) < 70_000
    assert "read on with offset=" in outcome.text


async def test_binary_invalid_and_empty(desk: Desk) -> None:
    desk.put("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    desk.put("b.bin", b"abc\0def")
    desk.put("c.txt", "caf\u00e9\n".encode("latin-1"))
    desk.put("d.txt", b"")
    desk.put("e.txt", b"\x1b[31mred\x1b[0m\x07\n")
    assert "PNG image, 108 bytes" in await desk.ok("read_file", path="a.png")
    assert "binary data, 7 bytes" in await desk.ok("read_file", path="b.bin")
    text = await desk.ok("read_file", path="c.txt")
    assert "caf\ufffd" in text
    assert "not valid UTF-8" in text
    assert await desk.ok("read_file", path="d.txt") == "[d.txt is empty]"
    assert "\\x1b[31mred" in await desk.ok("read_file", path="e.txt")


async def test_what_is_not_a_readable_file(desk: Desk) -> None:
    (desk.path / "dir").mkdir()
    os.mkfifo(desk.path / "fifo")
    desk.put("secret", "x")
    desk.workspace.unreadable.add("secret")
    (desk.path / "out").symlink_to("/etc/hostname")
    assert "list_dir" in await desk.fails("is_directory", "read_file", path="dir")
    await desk.fails("not_regular", "read_file", path="fifo")
    await desk.fails("permission", "read_file", path="secret")
    await desk.fails("escape", "read_file", path="out")
    await desk.fails("escape", "read_file", path="../x")
    await desk.fails("escape", "read_file", path="/etc/passwd")
    await desk.fails("not_found", "read_file", path="nothing")
    await desk.fails("bad_path", "read_file", path="a\0b")
    for tool in ("edit_file", "write_file"):
        rest = {"content": "x"} if tool == "write_file" else {"old_string": "a", "new_string": "b"}
        await desk.fails("escape", tool, path="out", **rest)
        await desk.fails("not_regular", tool, path="fifo", **rest)
        await desk.fails("is_directory", tool, path="dir", **rest)
        await desk.fails("permission", tool, path="secret", **rest)


async def test_odd_names_can_be_listed_and_used(desk: Desk) -> None:
    desk.put("a\nb.txt", "needle\n")
    (desk.path / os.fsdecode(b"\xff.txt")).write_text("needle\n")
    listing = await desk.ok("list_dir")
    assert '"a\\nb.txt"' in listing
    assert '"\\udcff.txt"' in listing
    found = await desk.ok("glob", pattern="*.txt")
    assert found.split("\n") == ['"a\\nb.txt"', '"\\udcff.txt"']
    assert "2 matches in 2 files" in await desk.ok("grep", pattern="needle", context=1)
    assert "2 matching lines" in await desk.ok("grep", pattern="needle", output_mode="count")
    assert "2 files" in await desk.ok("grep", pattern="needle", output_mode="files")
    for name in ("a\nb.txt", "\udcff.txt"):
        assert "needle" in await desk.ok("read_file", path=name)


async def test_list_dir(desk: Desk) -> None:
    assert "empty" in await desk.ok("list_dir")
    desk.put("b.txt", "12345")
    desk.put("sub/x", "")
    (desk.path / "link").symlink_to("b.txt")
    os.mkfifo(desk.path / "pipe")
    assert (await desk.ok("list_dir")).split("\n") == [
        "b.txt  (5 bytes)",
        "link@",
        "pipe  (FIFO, socket or device)",
        "sub/",
    ]
    assert "read_file" in await desk.fails("not_directory", "list_dir", path="b.txt")
    for number in range(600):
        desk.put(f"many/{number:04}", "")
    outcome = await desk.call("list_dir", path="many")
    assert outcome.truncated
    assert "100 more entries of 600" in outcome.text


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.py", "a.py", True),
        ("*.py", "x/y/a.py", True),
        ("x/*.py", "x/a.py", True),
        ("x/*.py", "x/y/a.py", False),
        ("**/*.py", "a.py", True),
        ("x/**", "x/y/a.py", True),
        ("x/**", "x", True),
        ("**/y/*", "x/y/a", True),
        ("**/y/**/z", "y/z", True),
        ("**/a/**/b/*.c", "a/x/a/b/q/b/f.c", True),
        ("*.{py,js}", "q/a.js", True),
        ("{src,lib}/*.{a,b}", "lib/x.b", True),
        ("a{b", "a{b", True),
        ("[!a]x", "bx", True),
        ("./x/*", "x/q", True),
        ("x/", "x/y/z", True),
        ("?.c", "ab.c", False),
        (".*", "d/.hidden", True),
    ],
)
def test_glob_patterns(pattern: str, path: str, expected: bool) -> None:
    assert GlobPattern.parse(pattern).matches(path) is expected


def test_a_hostile_glob_is_quick() -> None:
    started = time.perf_counter()
    assert not GlobPattern.parse("*a" * 100 + "b").matches("a" * 255)
    assert not GlobPattern.parse("/".join(["**", "a*"] * 60) + "/b").matches("/".join("a" * 200))
    assert time.perf_counter() - started < 1.0


async def test_glob(desk: Desk) -> None:
    assert "no file matches" in await desk.ok("glob", pattern="**")
    for name in (".git/config", ".github/ci.yml", "src/b.py", "src/a.py", "a.py"):
        desk.put(name, "")
    assert await desk.ok("glob", pattern="**/*") == ".github/ci.yml\na.py\nsrc/a.py\nsrc/b.py"
    assert await desk.ok("glob", pattern="*.py", path="src") == "src/a.py\nsrc/b.py"
    assert await desk.ok("glob", pattern=f"{desk.workspace.root}/*.py") == "a.py"
    text = await desk.ok("glob", pattern="*.py", limit=1)
    assert text.startswith("a.py\n[1 of 3 files shown")
    await desk.fails("invalid_arguments", "glob", pattern="../*")
    await desk.fails("invalid_arguments", "glob", pattern="{a,b}" * 10)
    await desk.fails("escape", "glob", pattern="/etc/*")
    await desk.fails("escape", "glob", pattern="*", path="..")
    await desk.fails("not_directory", "glob", pattern="*", path="a.py")
    await desk.fails("not_found", "glob", pattern="*", path="nope")


class NoRipgrep(LocalWorkspace):
    """A workspace in whose commands there is no rg."""

    async def exec(self, argv, **kwargs) -> CommandResult:  # type: ignore[no-untyped-def]
        bin_dir = Path(self.root).parent / "bin"
        if not bin_dir.exists():
            bin_dir.mkdir()
            for program in ("bash", "grep", "head", "find"):
                (bin_dir / program).symlink_to(f"/usr/bin/{program}")
        return await super().exec(argv, **{**kwargs, "env": {"PATH": str(bin_dir)}})


@pytest.fixture(params=["rg", "grep"])
def searching(request: pytest.FixtureRequest, desk: Desk) -> Desk:
    if request.param == "grep":
        desk.workspace = NoRipgrep(desk.path)
    return desk


async def test_grep(searching: Desk) -> None:
    desk = searching
    assert await desk.ok("grep", pattern="x") == "[no matches]"
    desk.put("b.py", "one\ntwo\nthree\nfour\nTwo\n")
    desk.put("a/c.js", "two\r\n")
    desk.put(".hidden", "two\n")
    desk.put(".git/config", "two\n")
    desk.put("bin", b"two\0two\n")
    os.mkfifo(desk.path / "fifo")
    text = await desk.ok("grep", pattern=r"^tw\w\b")
    assert text == (".hidden\n1:two\n\na/c.js\n1:two\n\nb.py\n2:two\n[3 matches in 3 files]")
    text = await desk.ok("grep", pattern="two", path="b.py", context=1, ignore_case=True)
    assert text == "b.py\n1-one\n2:two\n3-three\n4-four\n5:Two\n[2 matches in 1 file]"
    assert await desk.ok("grep", pattern="two", glob="*.js") == "a/c.js\n1:two\n[1 match in 1 file]"
    assert "b.py" not in await desk.ok("grep", pattern="two", type="js")
    assert "not shown" not in await desk.ok("grep", pattern="-one", path="b.py")
    counts = await desk.ok("grep", pattern="two", output_mode="count", ignore_case=True)
    assert counts == ".hidden:1\na/c.js:1\nb.py:2\n[4 matching lines in 3 files]"
    files = await desk.ok("grep", pattern="two", output_mode="files", head_limit=2)
    assert files == ".hidden\na/c.js\n[3 files; the first 2 shown]"
    await desk.fails("not_regular", "grep", pattern="x", path="fifo")
    await desk.fails("not_found", "grep", pattern="x", path="nope")
    await desk.fails("escape", "grep", pattern="x", path="../..")


async def test_grep_names_what_is_wrong(searching: Desk) -> None:
    desk = searching
    desk.put("a.txt", "a" * 30_000 + "b\n")
    error = await desk.fails("invalid_regex", "grep", pattern="f(x")
    assert "backslash" in error
    await desk.fails("timeout", "grep", pattern=r"(a+)+(?=c)$")
    await desk.fails("invalid_arguments", "grep", pattern="x", type="nope")
    await desk.fails("invalid_arguments", "grep", pattern="x\0y")


async def test_grep_says_at_least_when_it_stopped_early(searching: Desk) -> None:
    desk = searching
    desk.put("a.txt", "needle in a line\n" * 300_000)
    outcome = await desk.call("grep", pattern="needle")
    assert outcome.truncated
    assert outcome.data["at_least"]
    assert "at least" in outcome.text
    assert "the first 100 shown" in outcome.text
    desk.put("a.txt", "z" * 10_000_000)
    text = await desk.ok("grep", pattern="zz")
    assert len(text) < 2000


async def test_a_slow_search_is_stopped(desk: Desk) -> None:
    box = Toolbox([Grep(timeout=0.2)])

    class Sleepy(LocalWorkspace):
        async def exec(self, argv, **kwargs):  # type: ignore[no-untyped-def]
            return await super().exec(["sleep", "60"], **kwargs)

    outcome = await box.call("grep", {"pattern": "x"}, ToolContext(Sleepy(desk.path), desk.state))
    assert outcome.error_code == "timeout"
    assert "0.2 s" in outcome.text


class NoProcess(LocalWorkspace):
    """One that has all the processes that it may have."""

    async def exec(self, argv: Sequence[str], **how: Any) -> CommandResult:
        return CommandResult(254, b"", b"search: fork: Resource temporarily unavailable\n")


@pytest.mark.parametrize("call", [("grep", "x"), ("glob", "*"), ("read_lints", "")])
async def test_no_process_left_is_not_nothing_found(call: tuple[str, str], desk: Desk) -> None:
    desk.workspace = NoProcess(desk.path)
    name, pattern = call
    await desk.fails("no_process", name, **({"pattern": pattern} if pattern else {}))
