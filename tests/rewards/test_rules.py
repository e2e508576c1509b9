"""Which terms score an episode: specs, schedules, rules files, files beside the task, objects."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from repodrome.envs.rewards.base import RewardContext, RewardResult
from repodrome.envs.rewards.plan import RewardPlan
from repodrome.envs.rewards.registry import make_reward
from repodrome.envs.rewards.report import score, terms_of
from repodrome.envs.rewards.rules import RulesFile, read_rules, rules_file
from repodrome.errors import UnknownNameError, UsageError
from repodrome.tasks.model import RewardSpec, Schedule
from tests.rewards.episodes import TASK, call, context

OWN = """\
from dataclasses import dataclass
from repodrome.envs.rewards.base import RewardResult

@dataclass(frozen=True)
class Short:
    most: int = 3
    name = "short"
    auxiliary = True

    def __call__(self, context):
        return RewardResult(value=float(len(context.trajectory.steps) <= self.most))
"""


@dataclass(frozen=True)
class Constant:
    name: ClassVar[str] = "constant"
    auxiliary: ClassVar[bool] = False
    value: float = 1.0

    def __call__(self, context: RewardContext) -> RewardResult:
        return RewardResult(value=self.value)


# -- schedules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("between", "weights"), [("linear", [0, 0, 0.1, 0.2, 0.2]), ("hold", [0, 0, 0, 0.2, 0.2])]
)
def test_a_scheduled_weight(between: str, weights: list[float]) -> None:
    table = {"points": [[100, 0.0], [200, 0.2]], "between": between}
    spec = RewardSpec.model_validate({"name": "misuse", "weight": table})
    got = [spec.weight_at(step) for step in (0, 100, 150, 200, 10_000)]
    assert got == pytest.approx(weights)
    assert spec.weight_at(None) == 0


def test_a_schedule_is_checked() -> None:
    for points in ([], [[5, 1], [5, 2]], [[5, 1], [1, 2]]):
        with pytest.raises(ValueError):
            Schedule.model_validate({"points": points})


# -- what may be given ----------------------------------------------------------------------------


def test_terms_may_be_names_tables_specs_and_objects() -> None:
    table = {"name": "effort", "weight": 0.5, "q": 0}
    given = ["tests", table, RewardSpec(name="integrity"), Constant(), (Constant(3.0), 0.1)]
    terms = terms_of(given)  # type: ignore[arg-type]
    assert [t.reward.name for t in terms] == ["tests", "effort", "integrity"] + ["constant"] * 2
    assert [t.weight for t in terms] == [1, 0.5, 1, 1, 0.1]
    for wrong, message in (
        (Constant, "no reward"),
        ({"weight": 1}, "name"),
        ("testz", "did you mean 'tests'"),
        ((Constant(), float("nan")), "finite"),
    ):
        with pytest.raises(UsageError, match=message):
            terms_of([wrong])  # type: ignore[list-item]


def test_a_reward_in_a_file_beside_the_task(tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text(OWN)
    spec = RewardSpec.model_validate({"name": "rewards.py:Short", "most": 1})
    reward = make_reward(spec, folder=tmp_path)
    assert reward(context(call("grep"), call("grep"))).value == 0.0
    report = score(context(), terms_of([spec], folder=tmp_path))
    assert (report.rewards[0].name, report.rewards[0].spec) == ("short", "rewards.py:Short")
    assert report.rewards[0].params == {"most": 1}
    # A file that changes is another module.
    (tmp_path / "rewards.py").write_text(OWN.replace("most: int = 3", "most: int = 0"))
    changed = make_reward(RewardSpec(name="rewards.py:Short"), folder=tmp_path)
    assert changed(context(call("grep"))).value == 0.0


def test_faults_of_such_a_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "rewards.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "inner").mkdir()
    for name, message in (
        ("rewards.py:Shorty", "did you mean 'Short'"),
        ("gone.py:Short", "there is no gone.py"),
        ("../rewards.py:Short", "there is no"),
        ("broken.py:X", "can't be imported"),
    ):
        folder = tmp_path / "inner" if name.startswith("..") else tmp_path
        with pytest.raises(UsageError, match=message):
            make_reward(RewardSpec(name=name), folder=folder)


# -- rules files ----------------------------------------------------------------------------------

RULES = """\
version = "7"
remove = ["effort"]

[[rewards]]
name = "misuse"
weight = {points = [[0, 0.0], [10, 0.5]]}

[[rewards]]
name = "communication"
weight = 0.1
tasks = ["other/*"]
"""


def test_rules_replace_remove_add_and_choose_tasks(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    task = TASK.model_copy(
        update={
            "rewards": tuple(RewardSpec(name=n) for n in ("tests", "effort", "misuse", "integrity"))
        }
    )
    rules = read_rules(path)
    assert rules.version.startswith("7@") and len(rules.version) == 14
    terms = rules.terms(task, task.rewards, 5)
    assert [(t.reward.name, t.weight) for t in terms] == [
        ("tests", 1.0),
        ("integrity", 1.0),
        ("misuse", 0.25),
    ]
    other = task.model_copy(update={"id": "other/x"})
    assert [t.reward.name for t in rules.terms(other, other.rewards, 5)][-1] == "communication"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version =", "TOML"),
        ("versoin = 1", "versoin"),
        ("[[rewards]]\nweight = 1", "rewards.0 has no name"),
        ('[[rewards]]\nname = "misus"', "did you mean 'misuse'"),
        ('[[rewards]]\nname = "misuse"\ncapz = {}', "did you mean 'caps'"),
        ('[[rewards]]\nname = "misuse"\nweight = "x"', "rewards.0"),
        ("remove = 3", "list of texts"),
        ("rewards = 3", "not a list"),
    ],
)
def test_wrong_rules_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_rules(path)
    with pytest.raises(UsageError, match="can't read"):
        read_rules(tmp_path / "gone.toml")


def test_running_episodes_see_a_new_version(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('version = "1"\n[[rewards]]\nname = "misuse"\nweight = 0.1\n')
    plan = RewardPlan(TASK, None, rules_file(path))
    assert rules_file(str(path)) is plan.rules
    given = context("{")
    first, _ = plan.score(given)
    path.write_text('version = "2"\n[[rewards]]\nname = "misuse"\nweight = 0.9\n')
    second, _ = plan.score(given, 17)
    assert [r.rules.split("@")[0] for r in (first, second)] == ["1", "2"]
    assert first.total == pytest.approx(1 - 0.01) and second.total == pytest.approx(1 - 0.09)
    assert second.training_step == 17


def test_a_broken_edit_leaves_the_last_good_rules_and_warns_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('version = "1"\n')
    file = RulesFile(path)
    good = file.current()
    path.write_text("version = ")
    with pytest.warns(UserWarning, match=r"stay at version 1@"):
        assert file.current() is good
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert file.current() is good
        path.write_text('version = "1"\n')
        assert file.current() is good
    path.unlink()
    with pytest.warns(UserWarning, match="can't read"):
        assert file.current() is good
    path.write_text('version = "2"\n')
    assert file.current().version.startswith("2@")


def test_unknown_rules_are_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't read the rules"):
        rules_file(tmp_path / "none.toml")
    with pytest.raises(UnknownNameError):
        RewardPlan(TASK, ["testz"]).terms()
