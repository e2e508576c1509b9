from itertools import count

import pytest

from sieveql import Database

T, F, N = "TRUE", "FALSE", "NULL"
VALUES = {T: True, F: False, N: None}


def value(expression):
    db = Database()
    db.add("one", [{"x": None, "n": 1}])
    (row,) = db.query(f"SELECT {expression} AS v FROM one")
    return row["v"]


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        (T, T, True, True),
        (T, F, False, True),
        (T, N, None, True),
        (F, T, False, True),
        (F, F, False, False),
        (F, N, False, None),
        (N, T, None, True),
        (N, F, False, None),
        (N, N, None, None),
    ],
    ids=count(1),
)
def test_and_or(left, right, both, either):
    assert value(f"{left} AND {right}") is both
    assert value(f"{left} OR {right}") is either


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("NOT NULL", None),
        ("x = x", None),
        ("x != x", None),
        ("n != x", None),
        ("n <> 2", True),
        ("n < x", None),
        ("x + 1", None),
        ("x || 'a'", None),
        ("x LIKE '%'", None),
        ("'a' LIKE x", None),
        ("x IS NULL", True),
        ("x IS NOT NULL", False),
        ("1 IN (1, NULL)", True),
        ("1 IN (NULL, 1)", True),
        ("2 IN (1, NULL)", None),
        ("2 NOT IN (1, NULL)", None),
        ("1 NOT IN (1, NULL)", False),
        ("2 NOT IN (1, 3)", True),
        ("x IN (1, 2)", None),
        ("x IN (NULL)", None),
        ("x NOT IN (1)", None),
        ("x IN ()", False),
        ("x NOT IN ()", True),
        ("1 IN ('1', TRUE)", False),
        ("5 BETWEEN 1 AND NULL", None),
        ("5 BETWEEN 6 AND NULL", False),
        ("5 BETWEEN NULL AND 4", False),
        ("5 BETWEEN NULL AND 6", None),
        ("5 NOT BETWEEN 6 AND NULL", True),
        ("x BETWEEN 1 AND 2", None),
        ("CASE WHEN x = 1 THEN 'a' WHEN NOT x = 1 THEN 'b' ELSE 'c' END", "c"),
        ("CASE WHEN FALSE THEN 1 END", None),
        ("coalesce(x, NULL, 3)", 3),
        ("nullif(1, TRUE)", 1),
        ("nullif(x, 1)", None),
        ("nullif(2, 2)", None),
        ("1 / 0", None),
        ("upper(x)", None),
    ],
    ids=count(1),
)
def test_values(expression, expected):
    found = value(expression)
    assert found is expected if expected is None or isinstance(expected, bool) else found == expected


@pytest.fixture
def db():
    made = Database()
    made.add("a", [{"id": 1, "k": 1}, {"id": 2, "k": None}, {"id": 3, "k": 2}, {"id": 4}])
    made.add("b", [{"bk": 1, "v": "x"}, {"bk": None, "v": "y"}, {"v": "z"}])
    return made


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("k = 1", [1]),
        ("k != 1", [3]),
        ("NOT k = 1", [3]),
        ("k IN (1, NULL)", [1]),
        ("k NOT IN (1, NULL)", []),
        ("k NOT IN (1)", [3]),
        ("NOT (k = 1 AND NULL)", [3]),
        ("k = 1 OR NULL", [1]),
        ("NOT (k BETWEEN 2 AND NULL)", [1]),
        ("NULL", []),
    ],
    ids=count(1),
)
def test_where_keeps_what_is_true(db, condition, ids):
    assert [row["id"] for row in db.query(f"SELECT id FROM a WHERE {condition}")] == ids


@pytest.mark.parametrize("on", ["k = bk", "bk = k", "k = bk AND TRUE", "NOT k != bk"], ids=count(1))
def test_null_keys_match_nothing(db, on):
    assert db.query(f"SELECT id, v FROM a JOIN b ON {on}") == [{"id": 1, "v": "x"}]
    left = db.query(f"SELECT id, v FROM a LEFT JOIN b ON {on}")
    assert [(row["id"], row["v"]) for row in left] == [(1, "x"), (2, None), (3, None), (4, None)]


def test_on_that_is_null_matches_nothing(db):
    rows = db.query("SELECT id, v FROM a LEFT JOIN b ON k = bk AND NULL WHERE id = 1")
    assert rows == [{"id": 1, "v": None}]
