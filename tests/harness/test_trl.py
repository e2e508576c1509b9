"""Episodes under TRL's ``environment_factory``: its loop as TRL 1.16 has it, without its weight."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from typing import get_args

import pytest

from repodrome.errors import UsageError
from repodrome.harness.adapters.trl import EnvironmentFactory, rows
from repodrome.tools.toolbox import Toolbox

MEND = ("terminal", {"command": "sed -i 's/a - b/a + b/' sums.py"})
END = ("finish", {"message": "It adds now."})


class Trainer:
    """What the trainer does with environments: probe, pool, reset, call, ask for the reward.

    Attributes:
        said: what each rollout's calls gave in the last batch.
    """

    def __init__(self, factory):
        self.factory = factory
        self.pool = [factory()]
        self.tools = [
            name
            for name, _ in inspect.getmembers(type(self.pool[0]), predicate=inspect.isfunction)
            if name not in ("reset", "get_reward") and not name.startswith("_")
        ]
        self.said = []

    def batch(self, row, *rollouts):
        """Rewards of a group that plays the given turns, each a list of calls."""
        while len(self.pool) < len(rollouts):
            self.pool.append(self.factory())
        assert len({type(one) for one in self.pool}) == 1
        environments = self.pool[: len(rollouts)]
        self.prompts = [env.reset(**row) for env in environments]
        self.said = [
            [self._turn(env, calls) for calls in turns]
            for env, turns in zip(environments, rollouts, strict=True)
        ]
        return [env.get_reward() for env in environments]

    def _turn(self, env, calls):
        async def together():
            coroutines = [getattr(env, name)(**arguments) for name, arguments in calls]
            return await asyncio.gather(*coroutines, return_exceptions=True)

        assert all(inspect.iscoroutinefunction(getattr(env, name)) for name, _ in calls)
        return asyncio.run(together())


@pytest.fixture
def trainer():
    return Trainer(EnvironmentFactory())


def row(folder, **more):
    (made,) = rows([str(folder)])
    return {**made, **more}


def test_a_group_is_played_and_scored(trainer, make_folder):
    folder = make_folder()
    looks = [("read_file", {"path": "sums.py"}), ("list_dir", {})]
    assert trainer.batch(row(folder), [looks, [MEND], [END]], [looks, [END]]) == [1.0, 0.0]
    assert "return a - b" in trainer.said[0][0][0] and "sums.py" in trainer.said[0][0][1]
    assert trainer.said[0][2] == ["[finished]"]
    assert trainer.batch(row(folder), [[END]], [[MEND]]) == [0.0, 1.0], "instances are used again"


def test_calls_that_come_together_are_one_turn(trainer, make_folder):
    folder = make_folder(limits="max_turns = 2\nmax_calls_per_turn = 2")
    turns = [[("list_dir", {})] * 3, [MEND], [END]]
    assert trainer.batch(row(folder), turns) == [1.0]
    first, second, third = trainer.said[0]
    assert "at most 2 calls a turn" in first[2] and "sums.py" in first[1]
    assert second[0].endswith("The episode is over: max_turns.")
    assert third == ["The episode is over: max_turns."]


def test_a_rollout_that_just_stops_is_graded(trainer, make_folder):
    assert trainer.batch(row(make_folder()), [[MEND]], []) == [1.0, 0.0]
    assert trainer.pool[0].get_reward() == 1.0
    assert Trainer(EnvironmentFactory()).pool[0].get_reward() is None


def test_wrong_arguments_are_the_agents_fault(make_folder):
    trainer = Trainer(EnvironmentFactory(rewards=["tests", {"name": "misuse", "weight": 0.5}]))
    wrong = [("read_file", {"file": "sums.py"}), ("read_file", {})]
    honest, wasteful = trainer.batch(row(make_folder()), [[MEND], [END]], [wrong, [MEND], [END]])
    assert all(text.startswith("Error") for text in trainer.said[1][0])
    assert honest > wasteful > 0


def test_there_are_no_contexts(trainer, make_folder):
    folder = make_folder(tools="[context]\nbudget = 6000")
    output = [("terminal", {"command": "seq 1 9000"})]
    assert trainer.batch(row(folder), [output] * 4 + [[MEND]]) == [1.0]
    assert not any("context is full" in text for turn in trainer.said[0] for text in turn)


def test_a_machine_that_fails_gives_no_reward(trainer, make_folder):
    folder = make_folder(environment='setup = ["exit 7"]')
    assert trainer.batch(row(folder), [[MEND]]) == [None]
    assert "not your fault" in trainer.said[0][0][0]


def test_the_prompt_is_in_the_row_or_given_by_reset(trainer, make_folder):
    folder = make_folder()
    made = row(folder)
    assert [message["role"] for message in made["prompt"]] == ["system", "user"]
    env = trainer.pool[0]
    assert env.reset(**made) is None
    text = "\n\n".join(message["content"] for message in made["prompt"])
    for prompt in (None, "", [{"role": "user", "content": ""}], [{"role": "user"}]):
        assert env.reset(**{**made, "prompt": prompt}) == text
    parts = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    assert env.reset(**{**made, "prompt": parts, "another": 1}) is None
    assert len(rows([str(folder)], seeds=(1, 2))) == 2
    env.get_reward()


def test_tools_are_told_by_signature_and_docstring(trainer):
    schemas = {one["function"]["name"]: one["function"] for one in Toolbox.build().schemas()}
    assert set(trainer.tools) == set(schemas)
    kinds = {str: "string", int: "integer", float: "number", bool: "boolean", list[str]: "array"}
    for name in trainer.tools:
        method, schema = getattr(trainer.pool[0], name), schemas[name]
        doc, wanted = inspect.getdoc(method), schema["parameters"]
        assert doc.startswith(schema["description"]) and "\nReturns:\n" in doc
        parameters = inspect.signature(method).parameters
        assert list(parameters) == list(wanted["properties"])
        required = [k for k, p in parameters.items() if p.default is inspect.Parameter.empty]
        assert required == wanted["required"]
        for key, parameter in parameters.items():
            known = wanted["properties"][key]
            assert f"\n    {key}: {known['description']}" in doc
            hint = parameter.annotation
            assert list(get_args(hint)) == known["enum"] if "enum" in known else True
            assert "enum" in known or kinds[hint] == known["type"]


def test_other_tools_want_a_factory_of_their_own(trainer, make_folder):
    folder = make_folder(tools='include = ["terminal", "finish"]\nrename = { terminal = "bash" }')
    with pytest.raises(UsageError, match="EnvironmentFactory"):
        trainer.batch(row(folder), [])
    own = Trainer(EnvironmentFactory(tools_of=str(folder)))
    assert own.tools == ["bash", "finish"]
    assert own.batch(row(folder), [[("bash", MEND[1])]]) == [1.0]
    assert type(own.pool[0]) is not type(trainer.pool[0])


@pytest.mark.parametrize(
    ("tools", "why"),
    [
        ('perturb = ["tools"]', "anew for each seed"),
        ('[[user.rules]]\nwhen = "question"\nsay = "Yes."', "has a user"),
        ('exclude = ["finish"]', "no tool 'finish'"),
        ('rename = { grep = "reset" }', "rename it"),
    ],
)
def test_what_trl_cannot_play_is_refused(make_folder, tools, why):
    with pytest.raises(UsageError, match=why):
        rows([str(make_folder(tools=tools))])
        EnvironmentFactory(tools_of=str(make_folder("again", tools=tools)))()


def test_a_row_without_a_task(trainer):
    with pytest.raises(UsageError, match="rows"):
        trainer.pool[0].reset(prompt="x")


def test_factories_can_be_sent_to_another_process():
    factory = EnvironmentFactory(rewards=["tests"], sandbox="bubblewrap")
    assert pickle.loads(pickle.dumps(factory)) == factory
