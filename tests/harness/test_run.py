"""``repodrome run`` as its user sees it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from repodrome.harness.trajectory import read_trajectory
from tests.harness.conftest import BROKEN, only_json

NEEDED = {
    "task",
    "agent",
    "reward",
    "rewards",
    "stop_reason",
    "infra_failed",
    "steps",
    "timings",
}
PATCH = """\
--- a/sums.py
+++ b/sums.py
@@ -3,4 +3,4 @@

 def add(a: int, b: int) -> int:
     \"\"\"Add.\"\"\"
-    return a - b
+    return a + b
"""
SOLVE = 'set -e\ntest "$PWD" = /workspace\ncp "$(dirname "$0")/fixed.py" sums.py\n'


def test_oracle_earns_all_and_json_is_one_object(cli, make_folder):
    result = cli("run", make_folder(), "--agent", "oracle", "--json")
    assert result.exit_code == 0, result.output
    answer = only_json(result)
    assert set(answer) >= NEEDED
    assert answer["reward"] == 1.0
    assert answer["stop_reason"] == "finished"
    assert answer["infra_failed"] is False
    assert [part["name"] for part in answer["rewards"]] == ["tests"]


def test_nop_earns_nothing(cli, make_folder):
    result = cli("run", make_folder(), "--agent", "nop", "--json")
    assert only_json(result)["reward"] == 0.0


@pytest.mark.parametrize(
    "solution",
    [
        {"solve.sh": SOLVE, "fixed.py": BROKEN.replace("a - b", "a + b")},
        {"solution.patch": PATCH},
    ],
    ids=["script", "patch"],
)
def test_every_form_of_solution(cli, make_folder, solution):
    folder = make_folder(solution=solution)
    answer = only_json(cli("run", folder, "--json"))
    assert answer["reward"] == 1.0, answer


def test_oracle_restores_what_edits_took(cli, make_folder):
    folder = make_folder(solution={})
    (folder / "workspace" / "sums.py").write_text(BROKEN.replace("a - b", "a + b"))
    with (folder / "task.toml").open("a") as file:
        file.write(
            '\n[source]\ndirectory = "workspace"\n[[source.edits]]\nop = "stub_symbol"\n'
            'path = "sums.py"\nsymbols = ["add"]\n'
        )
    assert only_json(cli("run", folder, "--json"))["reward"] == 1.0
    assert only_json(cli("run", folder, "--json", "--agent", "nop"))["reward"] == 0.0


def test_oracle_plays_a_task_that_takes_its_tools_away(cli, make_folder):
    folder = make_folder(tools='include = ["read_file", "finish"]')
    answer = only_json(cli("run", folder, "--json"))
    assert answer["reward"] == 1.0
    assert read_trajectory(Path(answer["trajectory"])).header.all_tools


def test_without_a_solution_says_where_to_put_one(cli, make_folder):
    result = cli("run", make_folder(solution={}))
    assert result.exit_code == 2
    assert "solution/solve.sh" in result.stderr


def test_steps_and_report_are_printed(cli, make_folder):
    result = cli("run", make_folder())
    assert result.exit_code == 0
    assert "write_file(path=sums.py" in result.stdout
    assert "total" in result.stdout
    assert "trajectory:" in result.stderr


def test_agents_text_cannot_steer_the_terminal(cli, make_folder, script):
    path = script(
        ("terminal", {"command": "printf '\\033[31mred\\033[0m \\033]0;title\\007'"}),
        ("list_dir", {"path": "[bold]x[/bold]\x1b[2J\u202e"}),
    )
    result = cli("run", make_folder(), "--agent", f"scripted:{path}")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert "[bold]x[/bold]" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "builtin/no-such-task"], "unknown task"),
        (["run", "pypi", "--agent", "oracl"], "did you mean 'oracle'"),
        (["run", "pypi", "--agent", "nop:x"], "takes nothing behind a colon"),
        (["run", "pypi", "--agent", "scripted"], "scripted:FILE"),
        (["run", "pypi", "--agent", "scripted:/nowhere.json"], "can't read the script"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(cli, arguments, hint):
    result = cli(*arguments)
    assert result.exit_code == 2
    assert hint in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_unknown_sandbox(cli, make_folder, tmp_path):
    result = cli("run", make_folder(), "--sandbox", "bubblewarp", "--json")
    assert result.exit_code == 2
    assert "did you mean 'bubblewrap'" in result.stderr
    assert result.stdout == ""
    assert list((tmp_path / "runs").glob("*")) == []


def test_bad_task_folder_names_file_and_key(cli, make_folder):
    result = cli("run", make_folder(limits='max_turns = "many"'))
    assert result.exit_code == 2
    assert "task.toml" in result.stderr
    assert "max_turns" in result.stderr


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "no turns"),
        ("[1]", "turn 1"),
        ('[{"content": "x"},\n{"content" "y"}]', "line 2"),
        ('{"content": "x"}\n{"content": \n', "line 2"),
        ("null", "not null"),
    ],
)
def test_bad_script_names_the_place(cli, make_folder, tmp_path, text, hint):
    path = tmp_path / "bad.json"
    path.write_text(text)
    result = cli("run", make_folder(), "--agent", f"scripted:{path}")
    assert result.exit_code == 2
    assert hint in result.stderr


def test_scripts_take_every_form_of_turn(cli, make_folder, tmp_path):
    call = {"name": "list_dir", "arguments": {"path": "."}}
    openai = {"id": "a", "type": "function", "function": {**call, "arguments": '{"path": "."}'}}
    path = tmp_path / "turns.json"
    path.write_text(
        json.dumps(
            [
                {"content": "", "tool_calls": [call]},
                {"role": "assistant", "tool_calls": [openai]},
                json.dumps({"tool_calls": [call]}),
                "{broken",
                "the end",
            ]
        )
    )
    answer = only_json(cli("run", make_folder(), "--agent", f"scripted:{path}", "--json"))
    assert answer["steps"] == 5
    steps = read_trajectory(Path(answer["trajectory"])).steps
    assert [bool(step.turn.malformed) for step in steps] == [False, False, False, True, False]
    assert not any(result.error for step in steps for result in step.results)


def test_a_limit_truncates(cli, make_folder, script):
    path = script(*[("list_dir", {"path": "."})] * 5)
    folder = make_folder(limits="max_turns = 2")
    answer = only_json(cli("run", folder, "--agent", f"scripted:{path}", "--json"))
    assert (answer["stop_reason"], answer["truncated"], answer["steps"]) == ("max_turns", True, 2)
    assert answer["reward"] == 0.0


def test_infra_failure_is_no_reward_and_status_3(cli, make_folder):
    folder = make_folder(environment='setup = ["echo could not reach the moon >&2; exit 7"]')
    result = cli("run", folder, "--json")
    assert result.exit_code == 3
    answer = only_json(result)
    assert answer["infra_failed"] is True
    assert answer["reward"] is None
    assert "could not reach the moon" in answer["infra_error"]


def test_repeats_play_side_by_side(cli, make_folder):
    result = cli("run", make_folder(), "--agent", "nop", "--repeats", 5, "--jobs", 3, "--json")
    answer = only_json(result)
    assert set(answer) >= NEEDED
    assert [episode["seed"] for episode in answer["episodes"]] == [0, 1, 2, 3, 4]
    assert len({episode["trajectory"] for episode in answer["episodes"]}) == 5


def test_a_folder_of_tasks_is_a_suite(cli, make_folder, tmp_path):
    make_folder("suite/one")
    make_folder("suite/two")
    answer = only_json(cli("run", tmp_path / "suite", "--json"))
    assert [episode["reward"] for episode in answer["episodes"]] == [1.0, 1.0]
    assert answer["reward"] == 1.0


def test_renamed_tools_are_in_the_header_and_replay(cli, make_folder, tmp_path):
    folder = make_folder(
        tools='rename = { terminal = "bash", "terminal.command" = "cmd" }\nperturb = ["order"]'
    )
    turns = [
        {"tool_calls": [{"name": "bash", "arguments": {"cmd": "sed -i 's/a - b/a + b/' sums.py"}}]},
        {"tool_calls": [{"name": "terminal", "arguments": {"command": "true"}}]},
        {"content": "Done."},
    ]
    script = tmp_path / "turns.json"
    script.write_text(json.dumps(turns))
    result = cli("run", folder, "--agent", f"scripted:{script}", "--json")
    answer = json.loads(result.stdout)
    assert answer["reward"] == 1.0, result.stderr
    recorded = read_trajectory(Path(answer["trajectory"]))
    assert recorded.trajectory.renamed == {"terminal": "bash", "terminal.command": "cmd"}
    assert recorded.steps[0].results[0].tool == "terminal"
    assert recorded.steps[1].results[0].error == "unknown_tool" and recorded.steps[1].hints
    replayed = cli("replay", answer["trajectory"], "--score", "--json")
    assert json.loads(replayed.stdout)["same"] is True


def test_human_plays_from_a_pipe(make_folder, start_process, tmp_path):
    import subprocess

    folder = make_folder()
    process = start_process(
        "run", folder, "--agent", "human", "--json", "--out", "r", stdin=subprocess.PIPE
    )
    lines = [
        "help",
        "raed_file path=sums.py",
        "read_file path=sums.py limit=50",
        "read_file sums.py",
        "read_file path=sum.py",
        'todo_write todos=\'["completed: look", "mend it"]\'',
        'edit_file path=sums.py old_string="a - b" new_string="a + b"',
        r"$ printf '\033[31m%s' $((6*7))",
        "submit it adds now",
    ]
    out, err = process.communicate("\n".join(lines), timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["reward"] == 1.0
    assert "did you mean 'read_file'" in err
    assert "is not arg=value" in err
    assert "(hint: Nearest in .: sums.py)" in err
    assert "completed: look\npending: mend it\n" in err
    assert "42" in err
    assert "\x1b" not in err


@pytest.mark.parametrize("text", ["", "list_dir", "$ echo hi\n"])
def test_end_of_input_finishes(make_folder, start_process, text):
    import subprocess

    process = start_process(
        "run", make_folder(), "--agent", "human", "--json", stdin=subprocess.PIPE
    )
    out, err = process.communicate(text, timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["stop_reason"] == "finished"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_ends_cleanly_within_a_second(hanging_run, tmp_path, number):
    begun = time.monotonic()
    hanging_run.send_signal(number)
    _, err = hanging_run.communicate(timeout=30)
    assert time.monotonic() - begun < 1.5  # a second, and something for a busy machine
    assert hanging_run.returncode == 130, err
    assert "Traceback" not in err
    assert "trajectories so far: r/" in err
    (file,) = (tmp_path / "r").iterdir()
    recorded = read_trajectory(file)
    assert recorded.end is not None
    assert recorded.end.stop_reason == "closed"
    assert recorded.steps[0].results[0].name == "list_dir"


def test_waiting_for_a_person_can_be_interrupted(make_folder, start_process):
    import subprocess

    process = start_process("run", make_folder(), "--agent", "human", stdin=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if "`help` shows" in line:
            break
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
    assert process.returncode == 130


def test_help_is_quick_to_import():
    import subprocess
    import sys

    heavy = {
        "docker",
        "git",
        "tree_sitter",
        "anyio",
        "asyncio",
        "pydantic",
        "repodrome.envs.episode",
    }
    code = f"import sys, repodrome.harness.cli.app; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_several_episodes_say_where_their_trajectories_are(cli, make_folder, tmp_path):
    result = cli("run", make_folder(), "--agent", "nop", "--repeats", 2, "--out", tmp_path / "kept")
    assert result.exit_code == 0
    assert f"trajectories: {tmp_path / 'kept'}/" in result.stderr
    assert len(list((tmp_path / "kept").iterdir())) == 2
