"""The suite ``locate``: its places are there, its oracle earns all, an empty answer nothing."""

from __future__ import annotations

import asyncio
import re

from repodrome.harness.authoring.validate import validate_many
from repodrome.tasks.locate import Location
from repodrome.tasks.model import Task
from repodrome.tasks.suites import get_suite


def tasks() -> list[Task]:
    return list(get_suite("locate"))


def test_there_are_enough() -> None:
    assert len(tasks()) >= 10
    assert len({task.source.directory for task in tasks()}) == 5
    assert any(len({Location.parse(g).path for g in task.locate.gold}) > 1 for task in tasks())


def test_places_are_there_and_narrow() -> None:
    for task in tasks():
        for gold in task.locate.gold:
            place = Location.parse(gold)
            file = task.folder / (task.source.directory or "") / place.path
            lines = file.read_text(encoding="utf-8").splitlines()
            assert 1 <= place.first <= place.last <= len(lines), f"{task.id}: {gold}"
            assert place.last - place.first < 40
            assert lines[place.first - 1].strip() and lines[place.last - 1].strip()


def test_questions_name_no_places() -> None:
    for task in tasks():
        assert not re.search(r"\.py\b|src/|\w+_\w+|\w+\(\)", task.instruction), task.id


def test_the_oracle_earns_all_and_nop_nothing() -> None:
    found = asyncio.run(validate_many(tasks(), jobs=2))
    assert {one.task: one.findings for one in found if not one.ok} == {}
    assert {one.oracle for one in found} == {(1.0,)}
    assert {one.nop for one in found} == {(0.0,)}
