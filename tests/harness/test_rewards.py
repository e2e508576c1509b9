"""Stored episodes: scored again to the bit, by new rules, and what they show over time."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import gymnasium as gym
import pytest

from repodrome.envs.rewards.report import score, terms_of
from repodrome.errors import UsageError
from repodrome.harness.cli.rewards import reward_specs
from repodrome.harness.rescore import rescore, rescore_all
from repodrome.harness.save import save_episode
from repodrome.harness.stats import episode_of, stats_of
from repodrome.harness.trajectory import (
    End,
    Header,
    TrajectoryWriter,
    change_to_json,
    pristine_to_json,
    read_trajectory,
    task_to_json,
)
from repodrome.tasks.suites import resolve_task
from tests.harness.conftest import only_json
from tests.rewards.episodes import TASK, call, context

ALL = (
    *("tests", "style.lint", "style.format", "style.diff", "style.complexity", "style.comments"),
    *("misuse", "effort", "communication", "integrity"),
)
TERMS = [word for name in ALL for word in ("--reward", f"{name}:weight=0.13")]
WORK = (
    ("read_file", {"path": "sums.py"}),
    ("read_file", {"path": "sums.py"}),
    ("edit_file", {"path": "sums.py", "old_string": "a - b", "new_string": "b + a  # noqa"}),
    ("grip", {}),
    ("terminal", {"command": "cat sums.py"}),
    ("finish", {"message": "I mended `sums.py`. All tests pass."}),
)


def test_an_episode_is_scored_again_to_the_bit(cli, make_folder, script, tmp_path):
    folder, runs = make_folder(), tmp_path / "runs"
    agent = f"scripted:{script(*WORK)}"
    played = only_json(cli("run", folder, "--agent", agent, "--json", "--out", runs, *TERMS))
    assert {part["name"] for part in played["rewards"]} == set(ALL)
    assert {p["name"]: p["value"] for p in played["rewards"]}["style.lint"] < 1
    found = only_json(cli("rescore", runs, "--json"))
    assert (found["scored"], found["moved"]) == (1, 0)
    [one] = found["episodes"]
    assert one["now"] == one["before"] == played["reward"]
    replayed = cli("replay", played["trajectory"], "--score")
    assert replayed.exit_code == 0, replayed.output
    # The task folder isn't needed for that.
    (folder / "task.toml").unlink()
    assert only_json(cli("rescore", runs, "--json"))["moved"] == 0


def test_new_rules_say_what_moved_and_the_same_rules_nothing(cli, make_folder, script, tmp_path):
    folder, runs, rules = make_folder(), tmp_path / "runs", tmp_path / "rules.toml"
    rules.write_text(
        'version = "a"\n[[rewards]]\nname = "misuse"\nweight = {points = [[0, 0], [10, 1]]}\n'
    )
    agent = f"scripted:{script(*WORK)}"
    options = ("--json", "--out", runs, "--rules", rules, "--training-step", 7)
    played = only_json(cli("run", folder, "--agent", agent, *options))
    weights = {part["name"]: part["weight"] for part in played["rewards"]}
    assert weights == {"tests": 1.0, "misuse": pytest.approx(0.7)}
    same = only_json(cli("rescore", runs, "--rules", rules, "--json"))
    assert same["moved"] == 0 and same["rules"].startswith("a@")
    assert only_json(cli("rescore", runs, "--json"))["moved"] == 0
    later = only_json(cli("rescore", runs, "--rules", rules, "--training-step", 10, "--json"))
    assert later["moved"] == 1 and later["mean_now"] < later["mean_before"]
    rules.write_text('[[rewards]]\nname = "style.lint"\nweight = 1\n')
    shown = cli("rescore", runs, "--rules", rules)
    assert shown.exit_code == 0
    assert "1 episodes scored by rules rules@" in shown.stdout and "1 moved" in shown.stdout
    [one] = only_json(cli("rescore", runs, "--rules", rules, "--json"))["episodes"]
    assert one["terms"]["style.lint"] == [0.0, 0.75] and one["terms"]["misuse"][1] == 0.0


def test_what_cannot_be_scored_is_left_out_and_said(cli, tmp_path):
    with TrajectoryWriter(tmp_path / "a.jsonl", Header(task_id="x/y", task=task_to_json(TASK))):
        pass
    found = rescore_all([tmp_path])
    assert [one.skipped for one in found] == ["unfinished: its writer died, or is still playing"]
    old = Header(task_id="x/y", schema_version=1)
    store(tmp_path / "b.jsonl", context(final="Done."), header=old)
    assert "older version" in rescore_all([tmp_path / "b.jsonl"])[0].skipped
    assert cli("rescore", tmp_path).exit_code == 0
    assert cli("rescore", tmp_path / "none").exit_code == 2
    (tmp_path / "empty").mkdir()
    assert cli("rescore", tmp_path / "empty").exit_code == 2


def test_a_reward_that_is_gone_is_said(tmp_path):
    path = tmp_path / "a.jsonl"
    store(path, context(final="Done."))
    text = path.read_text().replace('"name": "tests", "weight"', '"name": "testz", "weight"')
    path.write_text(text)
    assert "did you mean 'tests'" in rescore_all([path])[0].skipped


@pytest.mark.slow
def test_several_processes_find_the_same(tmp_path):
    for number in range(100):
        store(tmp_path / f"{number:03}.jsonl", context(*["{"] * (number % 7), final="Done."))
    one, two = rescore_all([tmp_path], jobs=1), rescore_all([tmp_path], jobs=2)
    assert one == two and not any(found.moved or found.skipped for found in one)


def store(path: Path, given, *, header: Header | None = None, step: int | None = None) -> None:
    terms = terms_of(["tests", {"name": "misuse", "weight": 0.1}])
    header = header or Header(
        task_id="t/t", task=task_to_json(TASK), started=f"2026-01-01T00:00:{step or 0:02}"
    )
    with TrajectoryWriter(path, header) as writer:
        for one in given.trajectory.steps:
            writer.step(one)
        writer.end(
            End(
                stop_reason="finished",
                final_message=given.trajectory.final_message,
                report=score(given, terms, training_step=step),
                change=change_to_json(given.change),
                pristine=pristine_to_json(given.pristine),
            )
        )


SHELL = call("terminal", command="ls", exit_code=0)
SHOWN = {
    "terminal_only": context(SHELL, SHELL, SHELL, after={"a.py": "x"}),
    "broken_calls": context("{", "{", after={"a.py": "x"}),
    "thinking_in_comments": context(after={"a.py": "# Hmm, let me think\n" * 9}),
    "clarifying": context(final="Which file do you mean?"),
    "suppressions": context(after={"a.py": "import os  # noqa\n"}),
    "duplicate_calls": context(*[call("grep", pattern="x")] * 3, after={"a.py": "x"}),
    "no_change": context(final="Nothing to do."),
}


@pytest.mark.parametrize("name", SHOWN)
def test_each_behaviour_is_seen(name: str, tmp_path: Path) -> None:
    store(tmp_path / "a.jsonl", SHOWN[name])
    store(tmp_path / "b.jsonl", context(call("grep"), after={"a.py": "x = 1\n"}, final="I did."))
    assert episode_of(read_trajectory(tmp_path / "a.jsonl")).values[name] > 0
    assert episode_of(read_trajectory(tmp_path / "b.jsonl")).values[name] == 0


def test_what_rises_over_training_is_marked(cli, tmp_path):
    for step in range(12):
        lazy = step >= 6
        turns = (SHELL,) * 3 if lazy else (call("grep"), call("glob"))
        store(tmp_path / f"{12 - step}.jsonl", context(*turns, after={"a.py": "x"}), step=step)
    found = stats_of([tmp_path], bins=4)
    assert found.order == "training step" and found.rising == ("terminal_only", "duplicate_calls")
    assert [stretch.label for stretch in found.bins] == ["0", "3", "6", "9"]
    assert [stretch.rates["terminal_only"] for stretch in found.bins] == [0, 0, 1, 1]
    shown = cli("stats", tmp_path)
    assert shown.exit_code == 0 and "on the rise: terminal_only" in shown.stderr
    data = only_json(cli("stats", tmp_path, "--json", "--bins", 2))
    assert data["episodes"] == 12 and len(data["bins"]) == 2


def test_terms_on_the_command_line() -> None:
    specs = reward_specs(["tests", 'style.lint:weight=0.1,select=["F", "B"]', "r.py:Mine:most=2"])
    assert specs is not None
    assert [spec.name for spec in specs] == ["tests", "style.lint", "r.py:Mine"]
    assert specs[1].params == {"select": ["F", "B"]} and specs[2].params == {"most": 2}
    assert reward_specs(None) is None
    with pytest.raises(UsageError, match="can't be read"):
        reward_specs(["tests:weight="])


def test_a_task_with_a_scheduled_weight_is_shown(cli, make_folder):
    folder = make_folder()
    schedule = '[[rewards]]\nname = "misuse"\nweight = {points = [[0, 0], [10, 0.5]]}\n'
    (folder / "task.toml").write_text((folder / "task.toml").read_text() + schedule)
    shown = cli("task", "show", folder)
    assert "misuse × 0 (step 0) … 0.5 (step 10)" in shown.output.replace("\n", " ")


def test_a_task_with_bonuses_is_valid_by_its_tests(cli, make_folder):
    folder = make_folder()
    terms = [f'[[rewards]]\nname = "{name}"\nweight = 0.1\n' for name in ALL]
    (folder / "task.toml").write_text((folder / "task.toml").read_text() + "".join(terms))
    found = cli("task", "validate", folder)
    assert found.exit_code == 0, found.output


def test_gym_pays_at_each_step_what_is_known_there(make_folder):
    made = gym.make(
        "repodrome:repodrome/Repo-v0",
        task=str(make_folder()),
        rewards=["tests", {"name": "misuse", "weight": 0.5}],
        step_rewards=True,
    )
    made.reset(seed=0, options={"training_step": 3})
    edit = {"path": "sums.py", "old_string": "a - b", "new_string": "a + b"}
    turns = [
        "{",
        {"tool_calls": [{"name": "edit_file", "arguments": edit}]},
        {"tool_calls": [{"name": "grip", "arguments": {}}]},
        "I mended it.",
    ]
    rewards, infos = [], []
    for turn in turns:
        _, reward, *_, info = made.step(turn)
        rewards.append(reward)
        infos.append(info)
    made.close()
    assert rewards == pytest.approx([-0.05, 0, -0.025, 1.0])
    assert infos[0]["step_rewards"] == {"misuse": pytest.approx(-0.05)}
    assert sum(rewards) == pytest.approx(1 - 0.5 * 0.15)


def test_a_trainers_episodes_are_stored_like_our_own(cli, make_folder, tmp_path):
    runs, rules = tmp_path / "runs", tmp_path / "rules.toml"
    made = gym.make_vec(
        "repodrome:repodrome/Repo-v0",
        num_envs=2,
        group_size=2,
        task=str(make_folder()),
        rewards=["tests", ("misuse", 0.5)],
        context_budget=20000,
        on_episode=partial(save_episode, directory=runs, agent="step-7"),
    )
    made.reset(seed=4)
    made.unwrapped.training_step = 7
    made.step(["{", {"tool_calls": [{"name": "list_dir", "arguments": {}}]}])
    _, rewards, *_ = made.step(["Nothing done.", "Nothing done."])
    made.close()
    files = sorted(runs.iterdir())
    assert len(files) == 2 and all("-step_7-s4-" in file.name for file in files)
    again = only_json(cli("rescore", runs, "--json"))
    assert again["moved"] == 0 and again["mean_now"] == pytest.approx(sum(rewards) / 2)
    rules.write_text('[[rewards]]\nname = "misuse"\nweight = 1.0\n')
    assert only_json(cli("rescore", runs, "--rules", rules, "--json"))["moved"] == 1
    shown = only_json(cli("stats", runs, "--bins", "1", "--json"))
    assert shown["order"] == "training step" and shown["bins"][0]["rates"]["turns"] == 2.0
    for file in files:
        replayed = cli("replay", file, "--score")
        assert replayed.exit_code == 0, replayed.output


def test_a_changed_copy_of_a_task_is_replayed_with_its_tools(cli, make_folder, tmp_path):
    task = resolve_task(make_folder())
    tools = task.tools.model_copy(update={"perturb": ("tools",), "hints": True})
    made = gym.make(
        "repodrome:repodrome/Repo-v0",
        task=task.model_copy(update={"tools": tools}),
        on_episode=partial(save_episode, directory=tmp_path),
    )
    _, info = made.reset(seed=1)
    shown = [tool["function"] for tool in info["tools"]]
    look = next(one["name"] for one in shown if one["description"].startswith("List one"))
    made.step({"tool_calls": [{"name": look, "arguments": {}}, {"name": "no", "arguments": {}}]})
    made.step("Done.")
    made.close()
    [file] = tmp_path.glob("*.jsonl")
    replayed = cli("replay", file)
    assert replayed.exit_code == 0, replayed.output


def test_an_episode_that_goes_on_is_not_stored(make_folder, tmp_path):
    made = gym.make("repodrome:repodrome/Repo-v0", task=str(make_folder()))
    made.reset(seed=0)
    with pytest.raises(UsageError, match="when it is over"):
        save_episode(made.unwrapped.episode, tmp_path)
    made.close()


def test_a_file_is_read_by_its_own_words(tmp_path):
    given = context(before={"a.py": "x = 1\n"}, after={"a.py": "y = 1\n"}, final="Renamed it.")
    store(tmp_path / "a.jsonl", given)
    again = read_trajectory(tmp_path / "a.jsonl").context()
    assert again is not None
    assert (again.change, again.pristine) == (given.change, given.pristine)
    assert json.loads((tmp_path / "a.jsonl").read_text().split("\n")[0])["schema_version"] == 2
    assert not rescore(tmp_path / "a.jsonl", read_trajectory(tmp_path / "a.jsonl")).moved


def test_running_environments_are_scored_by_the_rules_of_that_moment(make_folder, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('version = "1"\n[[rewards]]\nname = "misuse"\nweight = 0.5\n')
    made = gym.make_vec(
        "repodrome:repodrome/Repo-v0", num_envs=2, task=str(make_folder()), rules=str(rules)
    )
    envs = made.unwrapped
    envs.reset(seed=0)
    envs.step(["{", "{"])
    *_, first = envs.step(["Nothing done.", {"tool_calls": [{"name": "list_dir"}]}])
    table = "{points = [[0, 0.5], [10, 1.0]]}"
    rules.write_text(f'version = "2"\n[[rewards]]\nname = "misuse"\nweight = {table}\n')
    envs.training_step = 5
    *_, second = envs.step(["", "Nothing done."])
    envs.close()
    weights = [info["reward_parts"]["misuse"]["weight"] for info in (first, second)]
    assert [weights[0][0], weights[1][1]] == [0.5, 0.75]
    assert [first["rules"][0][:2], second["rules"][1][:2]] == ["1@", "2@"]
