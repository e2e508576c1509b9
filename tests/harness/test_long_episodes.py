"""Context budgets from the command line, in trajectory files, and played again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repodrome.harness.trajectory import read_trajectory
from tests.harness.conftest import only_json

LOOK = {"tool_calls": [{"name": "terminal", "arguments": {"command": "seq 1 1500"}}]}
BUDGET = ("--context-budget", "6000")
TOOLS = 'include = ["terminal", "finish"]'


@pytest.fixture
def long_run(cli, make_folder, tmp_path):
    """Plays a script that fills several contexts; gives the answer and the trajectory's path."""

    def run(*turns):
        path = tmp_path / "script.json"
        path.write_text(json.dumps(list(turns)))
        folder = make_folder(tools=TOOLS)
        answer = only_json(cli("run", folder, "--agent", f"scripted:{path}", "--json", *BUDGET))
        return answer, Path(answer["trajectory"])

    return run


def test_the_scripted_agent_summarises(long_run):
    answer, file = long_run(*[LOOK] * 3, {"summary": "Counted a lot."}, *[LOOK] * 5)
    recorded = read_trajectory(file)
    assert answer["stop_reason"] == "finished" and answer["segments"] == len(recorded.segments) >= 3
    summaries = [segment.summary for segment in recorded.segments]
    assert summaries[0] == "Counted a lot."
    # Asked where the script has none, it gives its own and loses no turn.
    assert "of the script's 9 turns are played" in summaries[1]
    calls = sum(len(step.turn.tool_calls) for step in recorded.steps)
    assert calls == 8
    assert recorded.header.context_budget == 6000


def test_the_file_holds_every_context(long_run):
    _, file = long_run(*[LOOK] * 5)
    recorded = read_trajectory(file)
    kinds = [json.loads(line)["type"] for line in file.read_text().splitlines()]
    assert kinds[:2] == ["header", "segment"] and kinds[-1] == "end"
    for segment in recorded.segments:
        own = [step for step in recorded.steps if step.segment == segment.index]
        assert len(own) == segment.steps
        assert segment.tokens == own[-1].tokens <= 6000
        assert [message["role"] for message in segment.messages[:2]] == ["system", "user"]
    assert recorded.segments[0].trigger == "budget" and recorded.segments[-1].trigger == ""
    assert recorded.trajectory.openings == recorded.openings


def test_the_next_context_knows_what_changed(long_run):
    commit = "echo x > by-shell.txt; git add -A; git commit -qm x; rm sums.py; echo y > later.txt"
    shell = {"tool_calls": [{"name": "terminal", "arguments": {"command": commit}}]}
    _, file = long_run(shell, *[LOOK] * 3)
    opening = read_trajectory(file).openings[1].messages[-1]["content"]
    assert "Changed files:\n- by-shell.txt\n- later.txt\n- sums.py\n" in opening


def test_a_repository_that_git_cannot_read(long_run):
    broken = {"tool_calls": [{"name": "terminal", "arguments": {"command": "rm -rf .git"}}]}
    _, file = long_run(broken, *[LOOK] * 3)
    opening = read_trajectory(file).openings[1].messages[-1]["content"]
    assert "Changed files: not known" in opening


def test_replay_reproduces_the_contexts(cli, long_run):
    _, file = long_run(*[LOOK] * 4)
    again = only_json(cli("replay", file, "--score", "--json"))
    assert again["divergence"] is None and again["warnings"] == []
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[0]["context_budget"] = 12000
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    differs = only_json(cli("replay", file, "--json"))
    assert differs["divergence"]["what"] in ("text of terminal", "what was said", "context")


def test_a_recording_is_a_script_with_its_summaries(cli, long_run, make_folder):
    _, file = long_run(*[LOOK] * 3, {"summary": "Counted."}, LOOK)
    folder = make_folder("again", tools=TOOLS)
    same = only_json(cli("run", folder, "--agent", f"scripted:{file}", "--json", *BUDGET))
    first = [step.turn.content for step in read_trajectory(file).steps]
    again = [step.turn.content for step in read_trajectory(Path(same["trajectory"])).steps]
    assert first == again and "Counted." in first
    # Without a budget nobody asks for summaries, and none is played.
    free = only_json(cli("run", folder, "--agent", f"scripted:{file}", "--json"))
    turns = [step.turn.content for step in read_trajectory(Path(free["trajectory"])).steps]
    assert "Counted." not in turns and free["segments"] == 1


def test_the_oracle_summarises(cli, make_folder):
    folder = make_folder(
        solution={"workspace/sums.py": "def add(a, b): return a + b\n# " + "x" * 9000}
    )
    answer = only_json(cli("run", folder, "--json", "--context-budget", "9000"))
    assert (answer["reward"], answer["stop_reason"]) == (1.0, "finished")


def test_a_budget_that_is_too_small(cli, make_folder):
    result = cli("run", make_folder(), "--context-budget", "100")
    assert result.exit_code == 2
    assert "give at least" in result.stderr
    assert "did you mean" not in result.stderr
    assert cli("run", make_folder("b"), "--tokenizer", "bites").exit_code == 2


def test_the_screen_tells_of_contexts(cli, make_folder, tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps([LOOK] * 3))
    result = cli("run", make_folder(tools=TOOLS), "--agent", f"scripted:{path}", *BUDGET)
    assert "summary request: Your context is full" in result.stdout
    assert "context 2 begins" in result.stdout


def test_files_of_the_first_version_still_load(tmp_path, cli, long_run):
    _, file = long_run({"content": "Done."})
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows = [row for row in rows if row["type"] != "segment"]
    rows[0]["schema_version"] = 1
    for key in ("context_budget", "tokenizer"):
        rows[0].pop(key)
    for row in rows[1:-1]:
        for key in ("said", "segment", "tokens"):
            row.pop(key)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recorded = read_trajectory(file)
    assert recorded.segments == () and len(recorded.steps) == 1
    assert cli("replay", file, "--score").exit_code == 0
