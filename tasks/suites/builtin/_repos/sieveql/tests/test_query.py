from itertools import count

import pytest

from sieveql import Database, QueryError, QuerySyntaxError

PEOPLE = [
    {"name": "Ana", "age": 34, "team": 1},
    {"name": "Bo", "age": None, "team": 2},
    {"name": "Cy", "age": 27, "team": 1},
    {"name": "Di", "age": 41, "team": None},
]
TEAMS = [{"id": 1, "label": "red"}, {"id": 2, "label": "blue"}, {"id": 3, "label": "green"}]


@pytest.fixture
def db():
    made = Database()
    made.add("people", PEOPLE)
    made.add("teams", TEAMS)
    return made


def names(rows):
    return [row["name"] for row in rows]


def test_select_star(db):
    assert db.query("select * from people") == PEOPLE


def test_expressions_are_named_by_their_text(db):
    (row,) = db.query("SELECT upper(name), age + 1 AS next FROM people WHERE name = 'Ana'")
    assert row == {"upper(name)": "ANA", "next": 35}


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("age > 30", ["Ana", "Di"]),
        ("age >= 27 AND team = 1", ["Ana", "Cy"]),
        ("name LIKE '%i'", ["Di"]),
        ("name IN ('Bo', 'Cy')", ["Bo", "Cy"]),
        ("age BETWEEN 27 AND 34", ["Ana", "Cy"]),
        ("age IS NULL", ["Bo"]),
        ("team IS NOT NULL AND NOT name = 'Bo'", ["Ana", "Cy"]),
        ("CASE WHEN age < 30 THEN TRUE ELSE FALSE END", ["Cy"]),
    ],
    ids=count(1),
)
def test_where(db, condition, found):
    assert names(db.query(f"SELECT name FROM people WHERE {condition}")) == found


def test_order(db):
    assert names(db.query("SELECT name FROM people ORDER BY age DESC")) == ["Di", "Ana", "Cy", "Bo"]
    assert names(db.query("SELECT name, age a FROM people ORDER BY a NULLS FIRST LIMIT 2")) == ["Bo", "Cy"]


def test_limit_and_offset(db):
    assert names(db.query("SELECT name FROM people LIMIT 2 OFFSET 1")) == ["Bo", "Cy"]


def test_distinct(db):
    assert db.query("SELECT DISTINCT team FROM people") == [{"team": 1}, {"team": 2}, {"team": None}]


def test_join(db):
    rows = db.query("SELECT name, label FROM people p JOIN teams t ON p.team = t.id")
    assert rows == [
        {"name": "Ana", "label": "red"},
        {"name": "Bo", "label": "blue"},
        {"name": "Cy", "label": "red"},
    ]


def test_left_join(db):
    rows = db.query("SELECT label, name FROM teams LEFT JOIN people ON team = id AND age > 30")
    assert rows == [
        {"label": "red", "name": "Ana"},
        {"label": "blue", "name": None},
        {"label": "green", "name": None},
    ]


@pytest.mark.parametrize(
    "text",
    ["", "SELECT", "SELECT name people", "SELECT name FROM people WHERE", "SELECT name FROM people LIMIT x"],
    ids=count(1),
)
def test_bad_syntax(db, text):
    with pytest.raises(QuerySyntaxError):
        db.query(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT foo FROM people",
        "SELECT name FROM nobody",
        "SELECT x.name FROM people",
        "SELECT name FROM people WHERE name > 1",
        "SELECT a.name FROM people a JOIN people b ON name = name",
    ],
    ids=count(1),
)
def test_bad_queries(db, text):
    with pytest.raises(QueryError):
        db.query(text)
