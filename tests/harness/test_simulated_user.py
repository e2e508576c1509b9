"""A task's user as the command line, trajectory files and replays know them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repodrome.harness.trajectory import read_trajectory
from tests.harness.conftest import only_json

RULES = """
[[user.rules]]
when = "question"
say = "The sum, please."

[[user.rules]]
when = "turns"
after = 3
say = "Hurry up."
"""
LOOK = {"tool_calls": [{"name": "list_dir", "arguments": {"path": "."}}]}


@pytest.fixture
def talk(cli, make_folder, tmp_path):
    """Plays a talk; gives the printed result and the trajectory's path."""
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(["What do you want?", LOOK, LOOK, "Fine."]))
    result = cli("run", make_folder(tools=RULES), "--agent", f"scripted:{path}")
    assert result.exit_code == 0, result.output
    (file,) = (tmp_path / "runs").iterdir()
    return result, file


def test_what_was_said_is_shown_and_recorded(talk):
    result, file = talk
    assert "answer: The sum, please." in result.stdout
    assert "interrupt: Hurry up." in result.stdout
    said = [[one.text for one in step.said] for step in read_trajectory(file).steps]
    assert said == [["The sum, please."], [], ["Hurry up."], []]


def test_replay_compares_what_was_said(cli, talk):
    _, file = talk
    assert only_json(cli("replay", file, "--score", "--json"))["divergence"] is None
    toml = Path(read_trajectory(file).header.task_ref) / "task.toml"
    toml.write_text(toml.read_text().replace("Hurry up.", "Take your time."))
    found = only_json(cli("replay", file, "--json"))["divergence"]
    assert (found["step"], found["what"]) == (2, "what was said")


def test_a_model_without_an_endpoint(cli, make_folder, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    result = cli("run", make_folder(tools='[user]\nmodel = "some-model"'))
    assert result.exit_code == 2
    assert "OPENAI_BASE_URL" in result.stderr


def test_rules_are_shown_and_checked(cli, make_folder):
    assert "2 rules" in cli("task", "show", make_folder(tools=RULES)).stdout
    wrong = make_folder("wrong", tools=RULES.replace('"turns"', '"turn"'))
    result = cli("task", "show", wrong)
    assert result.exit_code == 2
    assert "user.rules.1.when" in result.stderr and "'turns'" in result.stderr
    unknown = make_folder("unknown", tools=RULES.replace("after = 3", "after = 3\naftr = 4"))
    assert "user.rules.1.aftr" in cli("task", "show", unknown).stdout
