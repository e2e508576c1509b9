from itertools import count

import pytest

from sieveql import Database, QueryError


@pytest.fixture
def db():
    made = Database()
    made.add("people", [{"name": "Ana", "age": 34}, {"name": None, "age": 1}])
    return made


@pytest.mark.parametrize(
    ("width", "expected"), [(5, "Ana  "), (4, "Ana "), (3, "Ana"), (1, "Ana"), (0, "Ana")], ids=count(1)
)
def test_pad(db, width, expected):
    (row,) = db.query(f"select pad(name, {width}) as x from people where age = 34")
    assert row == {"x": expected}


def test_null_stays_null(db):
    rows = db.query("select pad(name, 5) as x from people where age = 1")
    assert rows == [{"x": None}]
    assert db.query("select pad('a', null) as x from people where age = 1") == [{"x": None}]


def test_kinds_are_checked(db):
    with pytest.raises(QueryError):
        db.query("select pad(age, 5) as x from people where age = 34")


def test_pad_is_the_only_one(db):
    assert db.query("select pad('b', 2) as x from people where age = 1") == [{"x": "b "}]
    for name in ("head", "tail"):
        with pytest.raises(QueryError):
            db.query(f"select {name}(name, 2) as x from people")
