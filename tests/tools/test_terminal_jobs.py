"""Background jobs, and long output put aside."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repodrome.errors import WorkspaceError
from repodrome.tools.terminal import Terminal
from repodrome.tools.terminal_job import TerminalJob
from repodrome.tools.toolbox import Toolbox
from tests.fakes.local_workspace import LocalWorkspace
from tests.tools.conftest import Desk

pytestmark = pytest.mark.anyio


@pytest.fixture
async def jobs(desk: Desk, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose jobs end with it."""
    places = {"job_dir": str(tmp_path / "jobs")}
    small = {"max_output_bytes": 1000, "input_timeout": 0.5}
    config = {"terminal": places, "terminal_job": {**places, **small}}
    desk.toolbox = Toolbox.build(["terminal", "terminal_job"], config=config)
    yield desk
    for number in range(1, 4):
        await desk.call("terminal_job", action="stop", job=number)


async def test_a_job_is_polled_fed_and_ended(jobs: Desk) -> None:
    command = "echo 'it''s on'; read a; echo \"<$a>\"; cat; exit 7"
    started = await jobs.call("terminal", command=command, background=True)
    assert started.data["job"] == 1 and started.data["log"] == ".repodrome/jobs/1.log"
    assert "with terminal_job]" in started.text
    first = await jobs.ok("terminal_job", action="output", job=1, wait=10)
    assert first == "its on\n[job 1: running]"
    assert await jobs.ok("terminal_job", action="output") == "[no new output]\n[job 1: running]"
    text = await jobs.ok("terminal_job", action="input", input="a b\n", wait=10)
    assert text == "<a b>\n[job 1: running]"
    await jobs.ok("terminal_job", action="input", input="x\0é")
    assert "is ended" in await jobs.ok("terminal_job", action="end_input")
    while "running" in (text := await jobs.ok("terminal_job", action="output", wait=10)):
        pass
    assert text.endswith("[job 1: ended, exit code 7]")
    assert (jobs.path / ".repodrome/jobs/1.log").read_bytes() == "its on\n<a b>\nx\0é".encode()
    await jobs.fails("not_running", "terminal_job", action="input", input="x")
    await jobs.fails("not_running", "terminal_job", action="end_input")


async def test_all_of_a_job_is_stopped(jobs: Desk) -> None:
    command = "sleep 600 & sleep 600 & wait; sleep 600"
    await jobs.ok("terminal", command=command, background=True)
    await jobs.ok("terminal", command="exit 0", background=True)
    assert "job 1: stopped" in await jobs.ok("terminal_job", action="stop", job=1)
    assert "job 2: ended, exit code 0" in await jobs.ok("terminal_job", action="output", wait=10)
    listed = await jobs.call("terminal_job")
    assert listed.text.startswith("job 1: stopped; .repodrome/jobs/1.log\n  $ sleep 600 &")
    assert listed.text.endswith("[2 jobs, 0 running]")
    assert [job["state"] for job in listed.data["jobs"]] == ["stopped", "ended"]


async def test_long_output_of_jobs(jobs: Desk) -> None:
    await jobs.ok("terminal", command="seq 10000", background=True)
    await jobs.ok("terminal", command="until [ -s .repodrome/jobs/1.log ]; do :; done; sleep 0.2")
    outcome = await jobs.call("terminal_job", action="output")
    assert outcome.truncated and outcome.text.startswith("1\n2\n")
    assert "all of it is in .repodrome/jobs/1.log" in outcome.text and "\n10000\n" in outcome.text
    await jobs.ok("terminal", command="rm -r .repodrome")
    text = await jobs.ok("terminal_job", action="output")
    assert text == "[no new output]\n[job 1: ended, exit code 0]"


async def test_wrong_uses_of_jobs_name_the_fix(jobs: Desk) -> None:
    text = await jobs.fails("no_such_job", "terminal_job", action="output")
    assert "by terminal with background=true" in text
    assert await jobs.ok("terminal_job") == "[0 jobs, 0 running]"
    await jobs.ok("terminal", command="sleep 600", background=True)
    assert "from 1 to 1" in await jobs.fails("no_such_job", "terminal_job", action="stop", job=2)
    await jobs.fails("invalid_arguments", "terminal_job", action="input")
    await jobs.fails("invalid_arguments", "terminal_job", action="feed")
    text = await jobs.fails("timeout", "terminal_job", action="input", input="x" * 200_000)
    assert "doesn't read its input" in text
    await jobs.ok("terminal_job", action="stop")
    (jobs.path.parent / "jobs/1.exit").unlink()  # as if it had been left behind by a fork
    assert "job 1: lost" in await jobs.ok("terminal_job")
    (jobs.path.parent / "jobs/1.exit").write_text("\x1b[2J ../odd 12x\n")
    assert "job 1: unknown" in await jobs.ok("terminal_job")


async def test_a_job_that_cant_be_started(desk: Desk) -> None:
    desk.toolbox = Toolbox([Terminal(job_dir="/proc/nope")])
    text = await desk.fails("failed", "terminal", command="true", background=True)
    assert "could not be started" in text
    shutil.rmtree(desk.path / ".repodrome")
    desk.put(".repodrome", "a file")
    assert "log can't be made" in await desk.fails(
        "not_directory", "terminal", command="true", background=True
    )
    desk.toolbox = Toolbox([TerminalJob()])
    await desk.fails("no_such_job", "terminal_job", action="output")


async def test_long_output_is_put_aside(desk: Desk) -> None:
    desk.toolbox = Toolbox([Terminal(max_output_bytes=1000, kept_bytes=10_000, kept_outputs=2)])
    for number in (1, 2, 3):
        outcome = await desk.call("terminal", command="seq 1500")
        assert f"all of it is in .repodrome/terminal/{number}.txt …]" in outcome.text
    kept = desk.path / ".repodrome/terminal"
    assert sorted(path.name for path in kept.iterdir()) == ["2.txt", "3.txt"]
    assert (kept / "3.txt").read_text() == "".join(f"{n}\n" for n in range(1, 1501))
    assert (desk.path / ".repodrome/.gitignore").read_text() == "*\n"
    await desk.ok("terminal", command="rm .repodrome/terminal/*; seq 100000")
    text = (kept / "4.txt").read_text()
    assert "bytes were not kept …]" in text and text.startswith("1\n") and text.endswith("100000\n")
    assert "terminal" not in await desk.ok("terminal", command="echo short")
    desk.toolbox = Toolbox([Terminal(max_output_bytes=1000, kept_outputs=0)])
    assert "send the output to a file" in await desk.ok("terminal", command="seq 1500")


async def test_output_that_cant_be_put_aside_is_shown_all_the_same(desk: Desk) -> None:
    class Full(LocalWorkspace):
        async def write(self, path: str, data: bytes, *, executable: bool | None = None) -> None:
            raise WorkspaceError("the disk is full", code="disk_full")

    desk.workspace = Full(desk.path)
    outcome = await desk.call("terminal", command="seq 100000")
    assert outcome.error_code == "" and outcome.data["exit_code"] == 0
    assert "it can't be kept in .repodrome/terminal/1.txt (disk_full)" in outcome.text
