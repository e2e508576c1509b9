"""A model plays: what is sent, what is made of its answers, and whose fault a failure is."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repodrome.envs.environment import prepare
from repodrome.envs.sandbox.registry import get_backend
from repodrome.envs.trajectory import AssistantTurn
from repodrome.harness.agents.openai import EMPTY, read_answer
from repodrome.harness.agents.oracle import solution_calls
from repodrome.harness.trajectory import read_trajectory
from repodrome.tasks.suites import resolve_task
from tests.fakes.chat_server import CUT, ChatServer, Reply, calls, completion, refused
from tests.harness.conftest import only_json

LOOK = calls(("list_dir", {"path": "."}))
MEND = calls(("terminal", {"command": "sed -i 's/a - b/a + b/' sums.py"}), content="Found it.")
DONE = "It adds now."


@pytest.fixture
def server(monkeypatch):
    with ChatServer(DONE) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k3y")
        yield server


@pytest.fixture
def ask(cli, server):
    """Lets the model play; gives what was printed, as an object, and the trajectory."""

    def run(task, *answers, options=(), status=0):
        server.answers = list(answers)
        result = cli("run", task, "--agent", "openai:org/tiny:7b", "--json", *options)
        assert result.exit_code == status, result.output
        answer = only_json(result)
        return answer, read_trajectory(Path(answer["trajectory"]))

    return run


def settings(*given):
    return [word for one in given for word in ("--agent-config", one)]


def check_requests(server, recorded, tools):
    """Every turn was asked for with its own context as far as it was then, and nothing else."""
    for step, body in zip(recorded.steps, server.asked, strict=True):
        whole = recorded.segments[step.segment].messages
        assert body["messages"] == list(whole[: len(body["messages"])])
        assert [tool["function"]["name"] for tool in body["tools"]] == tools
    for before, body in zip(server.asked, server.asked[1:], strict=False):
        if body["messages"][1] == before["messages"][1]:
            assert body["messages"][: len(before["messages"])] == before["messages"]
            assert len(body["messages"]) > len(before["messages"])


# -- playing ------------------------------------------------------------------------------------


def test_a_builtin_task_is_solved_with_parallel_calls(ask, server):
    ref = "builtin/steadfast-retry-delays"
    task = resolve_task(ref)
    prepared = asyncio.run(prepare(task, get_backend("bubblewrap")))
    solution = solution_calls(task, prepared.materialised)
    looks = [("read_file", {"path": "README.md"}), ("grep", {"pattern": "Retry", "path": "src"})]
    looks += [(name, arguments) for name, arguments in solution if name == "read_file"]
    writes = [one for one in solution if one[0] != "read_file"]
    answer, recorded = ask(
        ref, calls(*looks), calls(*writes), calls(("finish", {"message": "Done."}))
    )
    assert (answer["reward"], answer["stop_reason"]) == (1.0, "finished")
    assert answer["agent"] == "openai:org/tiny:7b"
    ids = [call["id"] for call in calls(*looks)["tool_calls"]]
    assert [result.call_id for result in recorded.steps[0].results] == ids
    assert [m["tool_call_id"] for m in server.asked[1]["messages"][3:]] == ids
    assert server.keys == ["Bearer k3y"] * 3 and server.asked[0]["model"] == "org/tiny:7b"
    assert "finish" in [tool["function"]["name"] for tool in server.asked[0]["tools"]]


def test_a_user_answers_and_wants_something_else(ask, server, make_folder):
    rules = """
[[user.rules]]
when = "question"
say = "The sum, please."

[[user.rules]]
when = "done"
say = "Write a file done.txt, too."
kind = "change"
"""
    folder = make_folder(tools=rules)
    more = calls(("write_file", {"path": "done.txt", "content": "x"}))
    answer, recorded = ask(folder, "What should it give?", MEND, DONE, more, "Written.")
    assert (answer["reward"], answer["steps"]) == (1.0, 5)
    assert server.asked[1]["messages"][-2:] == [
        {"role": "assistant", "content": "What should it give?"},
        {"role": "user", "content": "The sum, please."},
    ]
    assert server.asked[3]["messages"][-1]["content"] == "Write a file done.txt, too."
    assert recorded.end.final_message == "Written."


def test_places_are_found(ask):
    looks = [("grep", {"pattern": "is missing"}), ("read_file", {"path": "src/quill/lexer.py"})]
    answer, _ = ask(
        "locate/quill-closing-marks",
        calls(*looks),
        "- `src/quill/lexer.py:13`\n- `src/quill/lexer.py:25-33`",
    )
    assert (answer["reward"], answer["steps"]) == (1.0, 2)


def test_a_context_budget_with_two_summaries(ask, server, make_folder):
    folder = make_folder(tools='include = ["terminal", "finish"]')
    counted = calls(("terminal", {"command": "seq 1 1500"}))

    def model(body):
        texts = [message["content"] for message in body["messages"]]
        if "Your context is full" in str(texts[-1]):
            return f"I have counted {len(server.asked)} times."
        if "2 earlier summaries" in str(texts[1]) or "1 earlier summary" in str(texts[1]):
            return MEND if len(texts) == 2 else DONE
        return counted

    answer, recorded = ask(folder, model, options=("--context-budget", 6000))
    assert (answer["reward"], answer["segments"]) == (1.0, 3)
    assert [segment.trigger for segment in recorded.segments] == ["budget", "budget", ""]
    assert all(s.summary.startswith("I have counted") for s in recorded.segments[:2])
    assert recorded.segments[0].summary in server.asked[-1 - 2]["messages"][1]["content"]
    check_requests(server, recorded, ["terminal", "finish"])


def test_a_suite_is_played_with_settings(cli, server, make_folder, tmp_path):
    make_folder("suite/one")
    make_folder("suite/two")
    server.answers = [lambda body: DONE if len(body["messages"]) > 2 else MEND]
    given = settings("temperature=0.2", "top_p=0.9", "max_tokens=500", "seed=40")
    given += settings('extra_body={"top_k": 20}')
    run = ("run", tmp_path / "suite", "--agent", "openai:m", "--json", "--seed", 2, "--jobs", 2)
    answer = only_json(cli(*run, *given))
    assert [episode["reward"] for episode in answer["episodes"]] == [1.0, 1.0]
    for body in server.asked:
        assert {key: body[key] for key in body if key not in ("messages", "tools", "model")} == {
            **{"temperature": 0.2, "top_p": 0.9, "max_tokens": 500},
            **{"seed": 42, "top_k": 20},
        }
    header = read_trajectory(Path(answer["episodes"][0]["trajectory"])).header
    assert header.agent == "openai:m" and header.agent_config["extra_body"] == {"top_k": 20}


def test_what_the_server_counts_and_the_model_thinks_is_kept(ask, cli, server, make_folder):
    thought = {**MEND, "reasoning_content": "It subtracts 🤔"}
    answer, recorded = ask(make_folder(), thought, {"content": DONE, "reasoning": "Fine."})
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
    assert recorded.steps[0].turn.usage == {**usage, "reasoning_tokens": 4}
    assert answer["usage"] == {key: 2 * n for key, n in recorded.steps[0].turn.usage.items()}
    assert recorded.steps[0].tokens > 0
    assert [step.turn.reasoning for step in recorded.steps] == ["It subtracts 🤔", "Fine."]
    assert "subtracts" not in json.dumps(server.asked[1]["messages"])
    server.answers = [{**thought, "tool_calls": None, "content": DONE}]
    shown = cli("run", make_folder("other"), "--agent", "openai:m").stdout
    assert "· 1,000 + 10 tokens\nIt subtracts 🤔\nIt adds now." in shown


# -- what the model does wrong --------------------------------------------------------------------


def test_unreadable_arguments_are_the_agents_fault(ask, server, make_folder):
    broken = calls(("terminal", '{"command": "ls'), ("list_dir", "[1]"), ("list_dir", ""))
    answer, recorded = ask(make_folder(), broken, MEND, DONE)
    assert (answer["reward"], answer["infra_failed"]) == (1.0, False)
    first = recorded.steps[0]
    assert first.turn.tool_calls[0].arguments == '{"command": "ls'
    assert [bool(result.error) for result in first.results] == [True, True, False]
    # Servers refuse a whole conversation for arguments in it that are no JSON object.
    sent = [call["function"]["arguments"] for call in server.asked[1]["messages"][2]["tool_calls"]]
    assert [json.loads(one) for one in sent] == [
        {"unreadable": '{"command": "ls'},
        {"unreadable": "[1]"},
        {},
    ]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (Reply(completion("I will now", finish_reason="length")), "cut off at the most tokens"),
        (Reply(completion(MEND, finish_reason="length")), "cut off at the most tokens"),
        (Reply(completion("No", finish_reason="content_filter")), "content filter cut it off"),
        ({"role": "assistant", "content": None}, EMPTY),
        ({"content": " \n", "tool_calls": []}, EMPTY),
        ({"content": None, "tool_calls": "ls"}, "not a list"),
        ({"content": None, "tool_calls": [{"function": {"arguments": "{}"}}]}, "no 'name'"),
    ],
    ids=["text", "calls", "filter", "empty", "blank", "no list", "no name"],
)
def test_turns_that_are_none_are_observations(ask, server, make_folder, broken, why):
    answer, recorded = ask(make_folder(), broken, MEND, DONE)
    assert (answer["reward"], answer["steps"]) == (1.0, 3)
    assert why in recorded.steps[0].observation and not recorded.steps[0].results
    assert server.asked[1]["messages"][2]["content"].strip(), "many servers refuse an empty one"


def test_a_refusal_is_what_the_agent_said(ask, make_folder):
    answer, recorded = ask(make_folder(), {"content": None, "refusal": "I can't help with it."})
    assert (answer["stop_reason"], answer["reward"]) == ("finished", 0.0)
    assert recorded.end.final_message == "I can't help with it."


def test_a_summary_is_taken_as_far_as_it_goes():
    cut = completion("I looked at", finish_reason="length")
    assert read_answer(cut).malformed
    assert not read_answer(cut, summary_wanted=True).malformed
    assert read_answer(completion(LOOK, finish_reason="length"), summary_wanted=True).malformed


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
KEYS = ["content", "tool_calls", "refusal", "reasoning", "function_call"]


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING), ANYTHING, ANYTHING, st.booleans())
def test_whatever_a_server_answers_is_a_turn(message, reason, usage, summary):
    answer = {"choices": [{"message": message, "finish_reason": reason}], "usage": usage}
    turn = read_answer(answer, summary_wanted=summary)
    assert AssistantTurn.model_validate_json(turn.model_dump_json()) == turn
    assert turn.content.strip() or turn.tool_calls or turn.malformed


# -- what the machine does wrong ------------------------------------------------------------------


def test_a_busy_server_is_asked_again(ask, server, make_folder, capfd):
    busy = refused(429, "slow down", Retry_After="0.6")
    answer, _ = ask(make_folder(), LOOK, busy, MEND, DONE)
    assert answer["reward"] == 1.0 and len(server.asked) == 4
    assert server.asked[1] == server.asked[2]


def test_a_server_that_goes_makes_the_episode_infra_failed(ask, make_folder):
    options = settings("retries=1")
    answer, recorded = ask(make_folder(), MEND, CUT, options=options, status=3)
    assert answer["infra_failed"] and answer["reward"] is None
    assert (answer["stop_reason"], answer["steps"]) == ("infra", 1)
    assert "can't be reached" in recorded.end.infra_error and recorded.end.report is None


def test_a_full_context_truncates_and_is_graded(ask, cli, server, make_folder):
    full = refused(400, "This model's maximum context length is 4096 tokens.")
    answer, _ = ask(make_folder(), MEND, full)
    assert (answer["stop_reason"], answer["truncated"]) == ("max_context", True)
    assert (answer["reward"], answer["infra_failed"]) == (1.0, False)
    assert only_json(cli("replay", answer["trajectory"], "--score", "--json"))["same"]
    assert read_trajectory(Path(answer["trajectory"])).end.stop_reason == "max_context"


@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        (refused(401, "bad key"), "OPENAI_API_KEY"),
        (refused(403, "not you"), "OPENAI_API_KEY"),
        (refused(404, "no model m"), "/v1/models"),
        (refused(400, "tools are not supported"), "takes `tools`"),
        (refused(400, "maximum context length is 16 tokens"), "larger context"),
    ],
    ids=["key", "person", "model", "tools", "context"],
)
def test_a_refused_first_request_is_the_callers_fault(
    cli, server, make_folder, tmp_path, answer, fix
):
    server.answers = [answer]
    result = cli("run", make_folder(), "--agent", "openai:m", "--json")
    assert result.exit_code == 2 and fix in result.stderr and "k3y" not in result.output
    assert result.stdout == "" and list((tmp_path / "runs").glob("*")) == []


def test_a_later_refusal_is_not(ask, make_folder):
    answer, _ = ask(make_folder(), MEND, refused(400, "template error"), status=3)
    assert answer["infra_failed"] and "template error" in answer["infra_error"]


def test_a_key_that_is_withdrawn_leaves_the_trajectory(cli, server, make_folder, tmp_path):
    server.answers = [MEND, refused(401, "expired")]
    assert cli("run", make_folder(), "--agent", "openai:m").exit_code == 2
    (file,) = (tmp_path / "runs").iterdir()
    recorded = read_trajectory(file)
    assert len(recorded.steps) == 1 and recorded.end.stop_reason == "closed"


def test_waiting_for_an_answer_can_be_interrupted(server, make_folder, start_process, tmp_path):
    never = threading.Event()
    server.answers = [LOOK, Reply(completion(DONE), after=never)]
    process = start_process("run", make_folder(), "--agent", "openai:m", "--out", "r")
    for line in process.stdout:
        if "list_dir" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    never.set()
    assert process.returncode == 130 and "Traceback" not in err
    (file,) = (tmp_path / "r").iterdir()
    recorded = read_trajectory(file)
    assert recorded.end.stop_reason == "closed" and len(recorded.steps) == 1


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "given", "fix"),
    [
        ("openai", (), "openai:MODEL"),
        ("openai:m", ("temprature=1",), "did you mean 'temperature'"),
        ("openai:m", ("temperature=hot",), "temperature: Input should be a valid number"),
        ("openai:m", ("temperature",), "write KEY=VALUE"),
        ("openai:m", ('extra_body={"stream": true}',), "'stream' is not for settings"),
        ("openai:m", ("base_url=localhost",), "no web address"),
        ("nop", ("temperature=1",), "agent 'nop' has no settings"),
    ],
)
def test_wrong_settings(cli, server, make_folder, agent, given, fix):
    result = cli("run", make_folder(), "--agent", agent, *settings(*given))
    assert result.exit_code == 2
    assert fix in result.stderr and result.stderr.count("\n") == 1
    assert server.asked == []


def test_without_a_server(cli, make_folder, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    result = cli("run", make_folder(), "--agent", "openai:m")
    assert result.exit_code == 2 and "OPENAI_BASE_URL" in result.stderr
