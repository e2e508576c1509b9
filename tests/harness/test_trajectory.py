"""The file of an episode, and replaying it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from repodrome.envs.rewards.base import RewardReport
from repodrome.envs.sandbox.base import Change, ChangedFile
from repodrome.envs.trajectory import AssistantTurn, Step, ToolResult
from repodrome.errors import UsageError
from repodrome.harness.replay import blank
from repodrome.harness.trajectory import (
    End,
    Header,
    TrajectoryWriter,
    change_from_json,
    change_to_json,
    read_trajectory,
)
from tests.harness.conftest import only_json

HEADER = Header(task_id="x/y", seed=3, agent="nop", sandbox="bubblewrap")
STEPS = [
    Step(index=0, turn=AssistantTurn(content="Grüße 🎵"), observation="ok"),
    Step(
        index=1,
        turn=AssistantTurn(content=""),
        results=(ToolResult(call_id="1", name="t", text="\x1b[0m\u2028"),),
    ),
]
CHANGE = Change(
    files=(
        ChangedFile(path="a.py", kind="modified", data=b"x = 1\n", executable=True),
        ChangedFile(path="bin\udcff", kind="added", data=b"\xff\x00\n"),
        ChangedFile(path="gone", kind="deleted"),
        ChangedFile(path="link", kind="refused", note="a link"),
    )
)


def write(path: Path) -> None:
    with TrajectoryWriter(path, HEADER) as writer:
        for step in STEPS:
            writer.step(step)
        writer.end(
            End(
                stop_reason="finished",
                report=RewardReport(total=0.5),
                change=change_to_json(CHANGE),
            )
        )


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "t.jsonl"
    write(path)
    recorded = read_trajectory(path)
    assert recorded.header == HEADER
    assert list(recorded.steps) == STEPS
    assert recorded.change == CHANGE
    assert recorded.end is not None
    assert recorded.end.report == RewardReport(total=0.5)
    assert not recorded.torn


def test_change_is_readable_json():
    rows = json.loads(json.dumps(change_to_json(CHANGE)))
    assert rows[0]["text"] == "x = 1\n"
    assert "base64" in rows[1]
    assert change_from_json(rows) == CHANGE


def test_every_cut_loses_at_most_the_last_line(tmp_path):
    path = tmp_path / "t.jsonl"
    write(path)
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    for cut in range(first, len(data)):
        torn = tmp_path / "torn.jsonl"
        torn.write_bytes(data[:cut])
        recorded = read_trajectory(torn)
        whole = data[:cut].count(b"\n")
        assert len(recorded.steps) == min(2, whole - 1)
        assert recorded.torn == (not data[:cut].endswith(b"\n"))


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"", "empty"),
        (b'{"type": "head', "empty or torn"),
        (b"{}\n", "line 1"),
        (b"[]\n", "line 1"),
        (b'{"type": "step"}\n', "line 1"),
        (b"\xff\xfe\n", "line 1"),
        (b'{"type": "header", "task_id": "a", "schema_version": 99}\n', "upgrade"),
    ],
)
def test_what_is_no_trajectory_is_refused(tmp_path, cli, data, hint):
    path = tmp_path / "t.jsonl"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=hint):
        read_trajectory(path)
    assert cli("replay", path).exit_code == 2


def test_missing_file(cli):
    result = cli("replay", "/no/such/file.jsonl")
    assert result.exit_code == 2
    assert "can't read" in result.stderr


def test_an_existing_file_is_never_overwritten(tmp_path):
    path = tmp_path / "t.jsonl"
    write(path)
    with pytest.raises(UsageError, match="--out"):
        TrajectoryWriter(path, HEADER)


def test_out_that_cannot_be_written(cli, make_folder, tmp_path):
    (tmp_path / "file").write_text("")
    result = cli("run", make_folder(), "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert "--out" in result.stderr


def test_kill_leaves_what_was_played(hanging_run, tmp_path):
    hanging_run.send_signal(signal.SIGKILL)
    hanging_run.wait()
    (file,) = (tmp_path / "r").iterdir()
    recorded = read_trajectory(file)
    assert recorded.end is None
    assert [step.turn.tool_calls[0].name for step in recorded.steps] == ["list_dir"]


def play(cli, folder, script_file) -> Path:
    answer = only_json(cli("run", folder, "--agent", f"scripted:{script_file}", "--json"))
    return Path(answer["trajectory"])


def test_replay_finds_the_same(cli, make_folder, script):
    path = script(
        ("list_dir", {"path": "."}),
        ("terminal", {"command": "date; python3 -c 'print(object())'; ls -l"}),
        ("terminal", {"command": "cd /tmp && mktemp && echo x > /workspace/new.txt"}),
        ("read_file", {"path": "nothing"}),
        ("no_such_tool", {}),
    )
    file = play(cli, make_folder(), path)
    text = file.read_text()
    assert "new.txt" in text
    answer = only_json(cli("replay", file, "--score", "--json"))
    assert answer["divergence"] is None
    assert answer["warnings"] == []
    assert (answer["steps"], answer["recorded_reward"], answer["reward"]) == (6, 0.0, 0.0)


def test_replay_names_the_first_divergence(cli, make_folder, script):
    path = script(
        ("list_dir", {"path": "."}),
        ("terminal", {"command": "cat /proc/sys/kernel/random/uuid"}),
        ("terminal", {"command": "echo never compared"}),
    )
    file = play(cli, make_folder(), path)
    result = cli("replay", file)
    assert result.exit_code == 1
    assert "diverged at step 2, call 1: text of terminal" in result.stdout
    assert "--- recorded" in result.stdout
    answer = only_json(cli("replay", file, "--json"))
    assert (answer["same"], answer["divergence"]["step"]) == (False, 1)


def test_replay_of_a_changed_task_says_so(cli, make_folder):
    folder = make_folder()
    file = Path(only_json(cli("run", folder, "--json"))["trajectory"])
    assert cli("replay", file).exit_code == 0
    (folder / "workspace" / "sums.py").write_text("# all is new\n")
    result = cli("replay", file)
    assert result.exit_code == 1
    assert "has changed since the recording" in result.stderr


def test_a_trajectory_is_a_script(cli, make_folder):
    folder = make_folder()
    first = only_json(cli("run", folder, "--json"))
    second = only_json(cli("run", folder, "--json", "--agent", f"scripted:{first['trajectory']}"))
    assert (second["reward"], second["steps"]) == (1.0, first["steps"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2 passed in 0.12s", "2 passed in 3.40s"),
        ("real\t0m0.004s", "real\t0m1.204s"),
        ("<object object at 0x7f12ab34cd56>", "<object object at 0x7fffffffffff>"),
        ("[1] 4242", "[1] 17"),
        ("-rw-r--r-- 1 a a 5 Nov 22 00:05 x", "-rw-r--r-- 1 a a 5 Dec  1 10:15 x"),
        ("2024-01-02T03:04:05.678Z", "2025-11-12T13:14:15.1Z"),
        ("/tmp/tmp.AbC123/x", "/tmp/tmp.Zz9/x"),
    ],
)
def test_volatile_parts_are_blanked(one, other):
    assert blank(one) == blank(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("2 passed in 1s", "3 passed in 1s"), ("x = 0x10", "x = 0x11"), ("a 5", "a 6")],
)
def test_what_matters_is_not(one, other):
    assert blank(one) != blank(other)
